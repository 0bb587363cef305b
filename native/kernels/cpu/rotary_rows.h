// The heads of q, k and v between their product and attention: bias, norm of each head, turn by position (Rotary in ops.h).
// Bound by memory: each element is read and written once, from the first cache where a norm goes before the turn.
#pragma once
#include "rows.h"

namespace llama {
namespace {

// cos and sin of a token's pairs, each in its own array.
class Angles {
 public:
  Angles(float* scratch, int half) : cosines_(scratch), sines_(scratch + half), half_(half) {}

  void load(const float* angles, float sign) {
    for (int i = 0; i < half_; ++i) {
      cosines_[i] = angles[2 * i];
      sines_[i] = sign * angles[2 * i + 1];
    }
  }

  void turn(float* head) const {
    float* second = head + half_;
    for_lanes(half_, [&](int64_t i, int lanes) {
      const Vec a = load_lanes(head + i, lanes), b = load_lanes(second + i, lanes);
      const Vec cos = load_lanes(cosines_ + i, lanes), sin = load_lanes(sines_ + i, lanes);
      store_lanes(head + i, finite(fma_negated(b, sin, mul(a, cos))), lanes);
      store_lanes(second + i, finite(fma(a, sin, mul(b, cos))), lanes);
    });
  }

 private:
  float *cosines_, *sines_;
  int half_;
};

inline float head_factor(const float* head, int head_dim, float eps) {
  Vec squares = zero();
  for_lanes(head_dim, [&](int64_t i, int lanes) {
    const Vec v = load_lanes(head + i, lanes);
    squares = fma(v, v, squares);
  });
  return norm_factor(1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(head_dim) + eps));
}

// y = x + bias, where there is one.
inline void biased_row(const float* x, const float* bias, int64_t width, float* y) {
  for_lanes(width, [&](int64_t i, int lanes) {
    const Vec v = load_lanes(x + i, lanes);
    store_lanes(y + i, bias == nullptr ? v : add(v, load_lanes(bias + i, lanes)), lanes);
  });
}

inline void rope_rows(ThreadPool& pool, const AttentionShape& shape, const Rotary& rotary, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy) {
  const int dim = shape.head_dim, turned = shape.heads + shape.kv_heads;
  const int64_t width = static_cast<int64_t>(turned + shape.kv_heads) * dim;
  pool.parallel_for(tokens, kRowChunk, [&](int64_t begin, int64_t end, int thread) {
    Angles angles(static_cast<float*>(pool.scratch(thread, static_cast<size_t>(dim) * sizeof(float))), dim / 2);
    for (int64_t t = begin; t < end; ++t) {
      float* row = y + t * ldy;
      if (x != y || rotary.bias != nullptr) biased_row(x + t * ldx, rotary.bias, width, row);
      angles.load(rotary.cos_sin + static_cast<int64_t>(rotary.positions[t]) * dim, 1.0f);
      for (int head = 0; head < turned; ++head) {
        float* at = row + static_cast<int64_t>(head) * dim;
        if (const float* norm = head < shape.heads ? rotary.q_norm : rotary.k_norm) {
          const Vec scale = set1(head_factor(at, dim, rotary.eps));
          for_lanes(dim, [&](int64_t i, int lanes) {
            store_lanes(at + i, mul(mul(load_lanes(at + i, lanes), scale), load_lanes(norm + i, lanes)), lanes);
          });
        }
        angles.turn(at);
      }
    }
  });
}

// g' = (g turned back) norm, dx = r g' - h r³ mean(g' h) with h = x + bias and r its factor.
inline void head_norm_backward(const float* h, const float* norm, float eps, int head_dim, float* g) {
  Vec dot = zero();
  for_lanes(head_dim, [&](int64_t i, int lanes) {
    dot = fma(mul(load_lanes(g + i, lanes), load_lanes(norm + i, lanes)), load_lanes(h + i, lanes), dot);
  });
  const float r = head_factor(h, head_dim, eps);
  const Vec scale = set1(r), shrink = set1(r * r * r * (sum(dot) / static_cast<float>(head_dim)));
  for_lanes(head_dim, [&](int64_t i, int lanes) {
    const Vec scaled = mul(load_lanes(g + i, lanes), load_lanes(norm + i, lanes));
    store_lanes(g + i, fma_negated(load_lanes(h + i, lanes), shrink, mul(scale, scaled)), lanes);
  });
}

inline void rope_backward_rows(ThreadPool& pool, const AttentionShape& shape, const Rotary& rotary, const float* x, int64_t ldx, int64_t tokens, float* g, int64_t ldg) {
  const int dim = shape.head_dim;
  pool.parallel_for(tokens, kRowChunk, [&](int64_t begin, int64_t end, int thread) {
    float* scratch = static_cast<float*>(pool.scratch(thread, static_cast<size_t>(2 * dim) * sizeof(float)));
    float* biased = scratch + dim;
    Angles angles(scratch, dim / 2);
    for (int64_t t = begin; t < end; ++t) {
      angles.load(rotary.cos_sin + static_cast<int64_t>(rotary.positions[t]) * dim, -1.0f);
      for (int head = 0; head < shape.heads + shape.kv_heads; ++head) {
        const int64_t column = static_cast<int64_t>(head) * dim;
        float* at = g + t * ldg + column;
        angles.turn(at);
        const float* norm = head < shape.heads ? rotary.q_norm : rotary.k_norm;
        if (norm == nullptr) continue;
        const float* h = x + t * ldx + column;
        if (rotary.bias != nullptr) biased_row(h, rotary.bias + column, dim, biased);
        head_norm_backward(rotary.bias != nullptr ? biased : h, norm, rotary.eps, dim, at);
      }
    }
  });
}

}  // namespace
}  // namespace llama
