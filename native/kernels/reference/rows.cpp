#include <cmath>

#include "../dropout.h"
#include "../non_finite.h"
#include "../matrix_sources.h"
#include "reference_ops.h"

namespace llama {

namespace {
constexpr int64_t kRows = 8;  // rows per chunk
}

void ReferenceOps::dropout(const float* x, int64_t ldx, float* y, int64_t ldy, int64_t rows, int64_t cols, float p, uint64_t seed, uint32_t step, uint32_t module) {
  const float scale = 1.0f / (1.0f - p);
  pool_.parallel_for(rows, kRows, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t col = 0; col < cols; ++col) {
        const auto element = static_cast<uint64_t>(row * cols + col);
        const bool kept = dropout_keeps(dropout_words(element / 4, seed, step, module)[element % 4], p);
        y[row * ldy + col] = kept ? x[row * ldx + col] * scale : 0.0f;
      }
    }
  });
}

void ReferenceOps::embed(const EmbeddingTable& embedding, const int32_t* ids, int64_t tokens, float* x, int64_t ldx) {
  for (int64_t t = 0; t < tokens; ++t) load_row(embedding.source, ids[t], x + t * ldx);
}

void ReferenceOps::rms_norm(const float* x, int64_t ldx, const float* w, float eps, int64_t tokens, int64_t width, float* y, int64_t ldy, float* inverse_rms) {
  pool_.parallel_for(tokens, kRows, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const float* row = x + t * ldx;
      double squares = 0;
      for (int64_t i = 0; i < width; ++i) squares += static_cast<double>(row[i]) * row[i];
      const auto r = static_cast<float>(1.0 / std::sqrt(static_cast<float>(squares) / static_cast<double>(width) + eps));
      for (int64_t i = 0; i < width; ++i) y[t * ldy + i] = row[i] * norm_factor(r) * w[i];
      if (inverse_rms != nullptr) inverse_rms[t] = norm_factor(r);
    }
  });
}

void ReferenceOps::rms_norm_backward(const float* g, int64_t ldg, const float* x, int64_t ldx, const float* w, const float* inverse_rms, int64_t tokens, int64_t width, float* dx, int64_t lddx) {
  pool_.parallel_for(tokens, kRows, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const double r = inverse_rms[t];
      double mean = 0;
      for (int64_t i = 0; i < width; ++i) mean += static_cast<double>(g[t * ldg + i]) * w[i] * x[t * ldx + i];
      mean /= width;
      for (int64_t i = 0; i < width; ++i) {
        const double scaled = static_cast<double>(g[t * ldg + i]) * w[i];
        dx[t * lddx + i] += static_cast<float>(r * scaled - x[t * ldx + i] * r * r * r * mean);
      }
    }
  });
}

void ReferenceOps::rope(float* x, int64_t ldx, int64_t tokens, int heads, int head_dim, const int32_t* positions, const float* cos_sin, bool inverse) {
  const int half = head_dim / 2;
  pool_.parallel_for(tokens, kRows, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const float* angles = cos_sin + static_cast<int64_t>(positions[t]) * half * 2;
      for (int head = 0; head < heads; ++head) {
        float* first = x + t * ldx + static_cast<int64_t>(head) * head_dim;
        float* second = first + half;
        for (int i = 0; i < half; ++i) {
          const float cos = angles[2 * i], sin = inverse ? -angles[2 * i + 1] : angles[2 * i + 1];
          const float a = first[i], b = second[i];
          first[i] = finite_or_nan(a * cos - b * sin);
          second[i] = finite_or_nan(b * cos + a * sin);
        }
      }
    }
  });
}

void ReferenceOps::swiglu(const float* gate, const float* up, int64_t ld, int64_t tokens, int64_t width, float* h, int64_t ldh) {
  pool_.parallel_for(tokens, kRows, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t i = 0; i < width; ++i) {
        const double a = gate[t * ld + i];
        h[t * ldh + i] = static_cast<float>(a / (1.0 + std::exp(-a)) * up[t * ld + i]);
      }
    }
  });
}

void ReferenceOps::swiglu_backward(const float* dh, int64_t lddh, const float* gate, const float* up, int64_t ld, int64_t tokens, int64_t width, float* d_gate, float* d_up, int64_t ldd) {
  pool_.parallel_for(tokens, kRows, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t i = 0; i < width; ++i) {
        const double g = dh[t * lddh + i], a = gate[t * ld + i], b = up[t * ld + i];
        const double sigmoid = 1.0 / (1.0 + std::exp(-a));
        d_gate[t * ldd + i] = static_cast<float>(g * b * sigmoid * (1.0 + a * (1.0 - sigmoid)));
        d_up[t * ldd + i] = static_cast<float>(g * a * sigmoid);
      }
    }
  });
}

void ReferenceOps::add(const float* x, int64_t ldx, float* y, int64_t ldy, int64_t tokens, int64_t width) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < width; ++i) y[t * ldy + i] += x[t * ldx + i];
  }
}

}  // namespace llama
