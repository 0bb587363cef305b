#include <cmath>
#include <vector>

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

namespace {

// One head, in place.
void turn(float* head, int head_dim, const float* angles, float sign) {
  const int half = head_dim / 2;
  for (int i = 0; i < half; ++i) {
    const float cos = angles[2 * i], sin = sign * angles[2 * i + 1];
    const float a = head[i], b = head[half + i];
    head[i] = finite_or_nan(a * cos - b * sin);
    head[half + i] = finite_or_nan(b * cos + a * sin);
  }
}

float head_factor(const float* head, int head_dim, float eps) {
  double squares = 0;
  for (int i = 0; i < head_dim; ++i) squares += static_cast<double>(head[i]) * head[i];
  return norm_factor(static_cast<float>(1.0 / std::sqrt(static_cast<float>(squares) / static_cast<double>(head_dim) + eps)));
}

}  // namespace

void ReferenceOps::rope(const AttentionShape& shape, const Rotary& rotary, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy) {
  const int dim = shape.head_dim, turned = shape.heads + shape.kv_heads;
  pool_.parallel_for(tokens, kRows, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int head = 0; head < turned + shape.kv_heads; ++head) {
        const int64_t column = static_cast<int64_t>(head) * dim;
        const float* from = x + t * ldx + column;
        float* to = y + t * ldy + column;
        for (int i = 0; i < dim; ++i) to[i] = rotary.bias != nullptr ? from[i] + rotary.bias[column + i] : from[i];
        if (head >= turned) continue;
        if (const float* norm = head < shape.heads ? rotary.q_norm : rotary.k_norm) {
          const float r = head_factor(to, dim, rotary.eps);
          for (int i = 0; i < dim; ++i) to[i] = to[i] * r * norm[i];
        }
        turn(to, dim, rotary.cos_sin + static_cast<int64_t>(rotary.positions[t]) * dim, 1);
      }
    }
  });
}

// With h = x + bias, r its factor and n = h r w: g' = (g turned back) w, dx = r g' - h r³ mean(g' h).
void ReferenceOps::rope_backward(const AttentionShape& shape, const Rotary& rotary, const float* x, int64_t ldx, int64_t tokens, float* g, int64_t ldg) {
  const int dim = shape.head_dim;
  pool_.parallel_for(tokens, kRows, [&](int64_t begin, int64_t end, int) {
    std::vector<float> values(static_cast<size_t>(dim));
    for (int64_t t = begin; t < end; ++t) {
      for (int head = 0; head < shape.heads + shape.kv_heads; ++head) {
        const int64_t column = static_cast<int64_t>(head) * dim;
        float* to = g + t * ldg + column;
        turn(to, dim, rotary.cos_sin + static_cast<int64_t>(rotary.positions[t]) * dim, -1);
        const float* norm = head < shape.heads ? rotary.q_norm : rotary.k_norm;
        if (norm == nullptr) continue;
        for (int i = 0; i < dim; ++i) values[static_cast<size_t>(i)] = x[t * ldx + column + i] + (rotary.bias != nullptr ? rotary.bias[column + i] : 0.0f);
        const double r = head_factor(values.data(), dim, rotary.eps);
        double mean = 0;
        for (int i = 0; i < dim; ++i) mean += static_cast<double>(to[i]) * norm[i] * values[static_cast<size_t>(i)];
        mean /= dim;
        for (int i = 0; i < dim; ++i) to[i] = static_cast<float>(r * to[i] * norm[i] - values[static_cast<size_t>(i)] * r * r * r * mean);
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
