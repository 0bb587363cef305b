// Operations on the rows of activations. All are bound by memory: each element is read and written once.
#pragma once
#include <algorithm>
#include <cstring>

#include "../matrix_sources.h"
#include "../non_finite.h"
#include "../ops.h"
#include "vec.h"

namespace llama {
namespace {

constexpr int64_t kRowChunk = 4;

// body(row) for every row, on all threads.
template <class Body>
inline void each_row(ThreadPool& pool, int64_t rows, Body body) {
  pool.parallel_for(rows, kRowChunk, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) body(row);
  });
}

inline void embed_rows(ThreadPool& pool, const MatrixSource& table, const int32_t* ids, int64_t tokens, float* x, int64_t ldx) {
  each_row(pool, tokens, [&](int64_t t) {
    float* to = x + t * ldx;
    if (table.blocks != BlockFormat::none) return load_row(table, ids[t], to);
    const unsigned char* from = row_of(table, ids[t]);
    if (table.type == StorageType::f32) {
      std::memcpy(to, from, static_cast<size_t>(table.cols) * 4);
      return;
    }
    for_lanes(table.cols, [&](int64_t i, int lanes) {
      uint16_t halves[kLanes] = {};
      std::memcpy(halves, from + i * 2, static_cast<size_t>(lanes) * 2);
      store_lanes(to + i, table.type == StorageType::f16 ? load_f16(halves) : load_bf16(halves), lanes);
    });
  });
}

inline void rms_norm_rows(ThreadPool& pool, const float* x, int64_t ldx, const float* w, float eps, int64_t tokens, int64_t width, float* y, int64_t ldy, float* inverse_rms) {
  each_row(pool, tokens, [&](int64_t t) {
    const float* row = x + t * ldx;
    Vec squares = zero();
    for_lanes(width, [&](int64_t i, int lanes) {
      const Vec v = load_lanes(row + i, lanes);
      squares = fma(v, v, squares);
    });
    const float r = norm_factor(1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(width) + eps));
    const Vec scale = set1(r);
    for_lanes(width, [&](int64_t i, int lanes) {
      store_lanes(y + t * ldy + i, mul(mul(load_lanes(row + i, lanes), scale), load_lanes(w + i, lanes)), lanes);
    });
    if (inverse_rms != nullptr) inverse_rms[t] = r;
  });
}

inline void rms_norm_backward_rows(ThreadPool& pool, const float* g, int64_t ldg, const float* x, int64_t ldx, const float* w, const float* inverse_rms, int64_t tokens, int64_t width, float* dx, int64_t lddx) {
  each_row(pool, tokens, [&](int64_t t) {
    const float *gradient = g + t * ldg, *row = x + t * ldx;
    float* to = dx + t * lddx;
    Vec dot = zero();
    for_lanes(width, [&](int64_t i, int lanes) {
      dot = fma(mul(load_lanes(gradient + i, lanes), load_lanes(w + i, lanes)), load_lanes(row + i, lanes), dot);
    });
    const float r = inverse_rms[t];
    const Vec scale = set1(r), shrink = set1(r * r * r * (sum(dot) / static_cast<float>(width)));
    for_lanes(width, [&](int64_t i, int lanes) {
      const Vec scaled = mul(load_lanes(gradient + i, lanes), load_lanes(w + i, lanes));
      const Vec change = fma_negated(load_lanes(row + i, lanes), shrink, mul(scale, scaled));
      store_lanes(to + i, add(load_lanes(to + i, lanes), change), lanes);
    });
  });
}

inline void swiglu_rows(ThreadPool& pool, const float* gate, const float* up, int64_t ld, int64_t tokens, int64_t width, float* h, int64_t ldh) {
  each_row(pool, tokens, [&](int64_t t) {
    for_lanes(width, [&](int64_t i, int lanes) {
      const Vec a = load_lanes(gate + t * ld + i, lanes);
      store_lanes(h + t * ldh + i, mul(mul(a, sigmoid(a)), load_lanes(up + t * ld + i, lanes)), lanes);
    });
  });
}

inline void swiglu_backward_rows(ThreadPool& pool, const float* dh, int64_t lddh, const float* gate, const float* up, int64_t ld, int64_t tokens, int64_t width, float* d_gate, float* d_up, int64_t ldd) {
  each_row(pool, tokens, [&](int64_t t) {
    for_lanes(width, [&](int64_t i, int lanes) {
      const Vec g = load_lanes(dh + t * lddh + i, lanes), a = load_lanes(gate + t * ld + i, lanes), b = load_lanes(up + t * ld + i, lanes);
      const Vec s = sigmoid(a), one = set1(1.0f);
      const Vec slope = mul(s, fma(a, sub(one, s), one));
      store_lanes(d_gate + t * ldd + i, mul(mul(g, b), slope), lanes);
      store_lanes(d_up + t * ldd + i, mul(g, mul(a, s)), lanes);
    });
  });
}

inline void add_rows(ThreadPool& pool, const float* x, int64_t ldx, float* y, int64_t ldy, int64_t tokens, int64_t width) {
  each_row(pool, tokens, [&](int64_t t) {
    for_lanes(width, [&](int64_t i, int lanes) {
      store_lanes(y + t * ldy + i, add(load_lanes(x + t * ldx + i, lanes), load_lanes(y + t * ldy + i, lanes)), lanes);
    });
  });
}

}  // namespace
}  // namespace llama
