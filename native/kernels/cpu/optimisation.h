// Loss and optimiser.
#pragma once
#include <cmath>

#include "rows.h"

namespace llama {
namespace {

constexpr int64_t kSpan = 8192;  // elements per chunk of a long array

// Three passes over a row of logits: maximum, sum of exponentials (left in place), gradient. The sum also takes in 0 times
// every logit, so that one of -infinity, whose exponential is 0, makes the loss not a number.
inline double cross_entropy_row(float* z, int64_t vocab, int32_t target, float gradient_scale) {
  Vec most = set1(z[0]);
  for_lanes(vocab, [&](int64_t i, int lanes) {
    if (lanes == kLanes) {
      most = max(most, load(z + i));
    } else {
      for (int64_t j = i; j < vocab; ++j) most = max(most, set1(z[j]));
    }
  });
  const float highest = largest(most), labelled = z[target];
  const Vec shift = set1(highest);
  double total = 0;
  for (int64_t begin = 0; begin < vocab; begin += kSpan) {  // float sums of a span, double across spans
    Vec part = zero();
    const int64_t count = std::min(kSpan, vocab - begin);
    float* span = z + begin;
    for_lanes(count, [&](int64_t i, int lanes) {
      const Vec logits = load_lanes(span + i, lanes);
      part = fma(logits, zero(), part);
      store_lanes(span + i, exp(sub(logits, shift)), lanes);
      if (lanes == kLanes) part = add(part, load(span + i));
      else part = add(part, load_first(span + i, lanes));
    });
    total += sum(part);
  }
  const Vec scale = set1(static_cast<float>(gradient_scale / total));
  for_lanes(vocab, [&](int64_t i, int lanes) { store_lanes(z + i, mul(load_lanes(z + i, lanes), scale), lanes); });
  z[target] -= gradient_scale;
  return static_cast<double>(highest) + std::log(total) - labelled;
}

inline double cross_entropy_rows(ThreadPool& pool, AlignedBuffer& buffer, float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets, float gradient_scale) {
  buffer.reserve(static_cast<size_t>(rows) * sizeof(double));
  auto* losses = static_cast<double*>(buffer.data());
  pool.parallel_for(rows, 1, [&](int64_t row, int64_t, int) {
    losses[row] = cross_entropy_row(logits + row * ld, vocab, targets[row], gradient_scale);
  });
  double loss = 0;
  for (int64_t row = 0; row < rows; ++row) loss += losses[row];
  return loss;
}

inline double sum_squares_of(ThreadPool& pool, AlignedBuffer& buffer, const float* x, int64_t n) {
  const int64_t spans = (n + kSpan - 1) / kSpan;
  buffer.reserve(static_cast<size_t>(spans) * sizeof(double));
  auto* parts = static_cast<double*>(buffer.data());
  pool.parallel_for(spans, 1, [&](int64_t span, int64_t, int) {
    double part = 0;
    const float* from = x + span * kSpan;
    for_lanes(std::min(kSpan, n - span * kSpan), [&](int64_t i, int lanes) { part += sum_of_squares(load_lanes(from + i, lanes)); });
    parts[span] = part;
  });
  double total = 0;
  for (int64_t span = 0; span < spans; ++span) total += parts[span];
  return total;
}

inline void adamw_update(ThreadPool& pool, float* parameter, const float* gradient, float* m, float* v, int64_t n, const AdamW& settings) {
  const double correction1 = 1.0 - std::pow(settings.beta1, static_cast<double>(settings.step));
  const double correction2 = 1.0 - std::pow(settings.beta2, static_cast<double>(settings.step));
  const auto constant = [](double value) { return set1(static_cast<float>(value)); };
  const Vec beta1 = constant(settings.beta1), rest1 = constant(1.0 - settings.beta1);
  const Vec beta2 = constant(settings.beta2), rest2 = constant(1.0 - settings.beta2);
  const Vec clip = constant(settings.gradient_scale), epsilon = constant(settings.epsilon);
  const Vec rate = constant(settings.learning_rate / correction1), root = constant(1.0 / std::sqrt(correction2));
  const Vec decay = constant(1.0 - settings.learning_rate * settings.weight_decay);
  pool.parallel_for((n + kSpan - 1) / kSpan, 1, [&](int64_t span, int64_t, int) {
    const int64_t begin = span * kSpan;
    for_lanes(std::min(kSpan, n - begin), [&](int64_t offset, int lanes) {
      const int64_t i = begin + offset;
      const Vec g = mul(load_lanes(gradient + i, lanes), clip);
      const Vec mean = fma(beta1, load_lanes(m + i, lanes), mul(rest1, g));
      const Vec square = fma(beta2, load_lanes(v + i, lanes), mul(rest2, mul(g, g)));
      const Vec step = div(mul(rate, mean), fma(sqrt(square), root, epsilon));
      store_lanes(m + i, mean, lanes);
      store_lanes(v + i, square, lanes);
      store_lanes(parameter + i, sub(mul(load_lanes(parameter + i, lanes), decay), step), lanes);
    });
  });
}

}  // namespace
}  // namespace llama
