#include <algorithm>
#include <cmath>

#include "reference_ops.h"

namespace llama {

double ReferenceOps::cross_entropy_in_place(float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets, float gradient_scale) {
  double loss = 0;
  for (int64_t row = 0; row < rows; ++row) {
    float* z = logits + row * ld;
    const double most = *std::max_element(z, z + vocab);
    double total = 0;
    for (int64_t i = 0; i < vocab; ++i) total += std::exp(z[i] - most) + 0.0 * z[i];  // see non_finite.h
    loss += most + std::log(total) - z[targets[row]];
    for (int64_t i = 0; i < vocab; ++i) {
      const double p = std::exp(z[i] - most) / total;
      z[i] = static_cast<float>((p - (i == targets[row] ? 1.0 : 0.0)) * gradient_scale);
    }
  }
  return loss;
}

double ReferenceOps::sum_squares(const float* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

// Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, with Adam's bias correction; epsilon is added
// outside the root, as PyTorch does.
void ReferenceOps::adamw(float* parameter, const float* gradient, float* m, float* v, int64_t n, const AdamW& settings) {
  const double correction1 = 1.0 - std::pow(settings.beta1, static_cast<double>(settings.step));
  const double correction2 = 1.0 - std::pow(settings.beta2, static_cast<double>(settings.step));
  for (int64_t i = 0; i < n; ++i) {
    const double g = gradient[i] * settings.gradient_scale;
    m[i] = static_cast<float>(settings.beta1 * m[i] + (1.0 - settings.beta1) * g);
    v[i] = static_cast<float>(settings.beta2 * v[i] + (1.0 - settings.beta2) * g * g);
    const double step = (m[i] / correction1) / (std::sqrt(v[i] / correction2) + settings.epsilon);
    const double decayed = parameter[i] * (1.0 - settings.learning_rate * settings.weight_decay);
    parameter[i] = static_cast<float>(decayed - settings.learning_rate * step);
  }
}

}  // namespace llama
