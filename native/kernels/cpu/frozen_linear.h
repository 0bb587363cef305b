// Products with frozen weights: forward, input gradient, and the vector product of decoding.
#pragma once
#include "panels.h"
#include "product.h"

namespace llama {
namespace {

class PanelRight final : public Right {
 public:
  explicit PanelRight(const PanelMatrix& w) : w_(w) {}
  Block block(int64_t panel, int64_t k, int64_t depth, float* scratch) const override {
    return {expand_panel(w_, panel, k, depth, scratch), kPanel};
  }

 private:
  const PanelMatrix& w_;
};

class TransposedRight final : public Right {
 public:
  explicit TransposedRight(const PanelMatrix& w) : w_(w) {}
  Block block(int64_t panel, int64_t k, int64_t depth, float* scratch) const override {
    expand_transposed(w_, panel * kPanel, k, depth, scratch);
    return {scratch, kPanel};
  }

 private:
  const PanelMatrix& w_;
};

#if defined(LLAMA_BF16_DOT)
// The same two over pairs of bf16, 4 bytes a step: panels as they are, and pairs of rows joined after transposing.
class PairedRight final : public Right {
 public:
  explicit PairedRight(const PanelMatrix& w) : w_(w) {}
  Block block(int64_t panel, int64_t k, int64_t, float*) const override {
    return {reinterpret_cast<const float*>(w_.half_at(panel, 2 * k)), kPanel};
  }

 private:
  const PanelMatrix& w_;
};

class PairedTransposedRight final : public Right {
 public:
  explicit PairedTransposedRight(const PanelMatrix& w) : w_(w) {}
  Block block(int64_t panel, int64_t k, int64_t depth, float* scratch) const override {
    expand_transposed(w_, panel * kPanel, 2 * k, 2 * depth, scratch);
    for (int64_t i = 0; i < depth; ++i) {
      for (int half = 0; half < kPanel; half += kLanes) {
        const float* rows = scratch + 2 * i * kPanel + half;
        store(scratch + i * kPanel + half, join_pairs(load(rows), load(rows + kPanel)));
      }
    }
    return {scratch, kPanel};
  }

 private:
  const PanelMatrix& w_;
};

// x [tokens, cols] -> pairs [tokens][(cols + 1) / 2]; an odd column is paired with 0.
inline const float* paired_rows(ThreadPool& pool, AlignedBuffer& buffer, const float* x, int64_t ldx, int64_t tokens, int64_t cols) {
  const int64_t half = (cols + 1) / 2;
  buffer.reserve(static_cast<size_t>(tokens) * half * sizeof(float));
  float* to = static_cast<float*>(buffer.data());
  pool.parallel_for(tokens, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for_lanes(half, [&](int64_t i, int lanes) {
        const auto left = [&](int64_t from) { return static_cast<int>(std::clamp<int64_t>(cols - from, 0, kLanes)); };
        const float* from = x + t * ldx + 2 * i;
        const Vec low = load_lanes(from, left(2 * i)), high = load_lanes(from + kLanes, left(2 * i + kLanes));
        store_lanes(to + t * half + i, round_pairs(low, high), lanes);
      });
    }
  });
  return to;
}
#endif

constexpr int kStreams = 4;  // panels read side by side: 8 sums hide the FMA latency though each runs in order
constexpr int64_t kAhead = 1024;  // bytes of prefetch distance in each stream

// How a weight panel is read, one step of the tile's depth at a time.
enum class Reading { words, halves, pairs };  // 4 bytes as they are; f16; two columns of bf16

// sums[r] += sum_k W[r, k] x[k] for `count` panels from `panel` on. Moves the panels' bytes once; bound by memory.
// Adds in the order of the tile kernel (blocks of kDepth), so that one token gives the bits it gives in a batch.
// `from` is the first panel, panel_bytes long; x has k steps (cols, or words of pairs).
template <int count, Reading reading, bool paired>
void multiply_vector(const unsigned char* from, int64_t panel_bytes, int64_t k, const float* x, float* sums) {
  constexpr int64_t step = kPanel * (reading == Reading::words ? 4 : 2);
  for (int64_t at = 0; at < k; at += kDepth) {
    const int64_t end = std::min(k, at + kDepth);
    Vec part[count][2];
#pragma GCC unroll 8
    for (int s = 0; s < count; ++s) part[s][0] = part[s][1] = zero();
    for (int64_t i = at; i < end; i += reading == Reading::pairs ? 2 : 1) {
      const Vec x0 = set1(x[i]);
      const Vec x1 = reading == Reading::pairs && i + 1 < k ? set1(x[i + 1]) : zero();
#pragma GCC unroll 8
      for (int s = 0; s < count; ++s) {
        const unsigned char* here = from + s * panel_bytes + i * step;
        prefetch(here + kAhead);
        if constexpr (reading == Reading::words) {
          const auto* values = reinterpret_cast<const float*>(here);
          part[s][0] = multiply_add<paired>(x0, load(values), part[s][0]);
          part[s][1] = multiply_add<paired>(x0, load(values + kLanes), part[s][1]);
        } else if constexpr (reading == Reading::halves) {
          const auto* values = reinterpret_cast<const uint16_t*>(here);
          part[s][0] = fma(x0, load_f16(values), part[s][0]);
          part[s][1] = fma(x0, load_f16(values + kLanes), part[s][1]);
        } else {
          const auto* values = reinterpret_cast<const uint16_t*>(here);
          const Vec first = load_pairs(values), second = load_pairs(values + 2 * kLanes);
          part[s][0] = fma(x0, even_of_pairs(first), part[s][0]);
          part[s][1] = fma(x0, even_of_pairs(second), part[s][1]);
          part[s][0] = fma(x1, odd_of_pairs(first), part[s][0]);
          part[s][1] = fma(x1, odd_of_pairs(second), part[s][1]);
        }
      }
    }
    for (int s = 0; s < count; ++s) {
      for (int half = 0; half < 2; ++half) {
        float* to = sums + s * kPanel + half * kLanes;
        store(to, add(part[s][half], load(to)));
      }
    }
  }
}

template <Reading reading, bool paired = false>
void multiply_vector(const PanelMatrix& w, int64_t panel, int64_t count, int64_t k, const float* x, float* sums) {
  const int64_t panel_bytes = w.stored_cols() * kPanel * static_cast<int64_t>(bytes_of(w.type));
  const auto* from = static_cast<const unsigned char*>(w.values.data()) + panel * panel_bytes;
  if (count == kStreams) return multiply_vector<kStreams, reading, paired>(from, panel_bytes, k, x, sums);
  for (int64_t s = 0; s < count; ++s) {
    multiply_vector<1, reading, paired>(from + s * panel_bytes, panel_bytes, k, x, sums + s * kPanel);
  }
}

// x has k steps: see multiply_vector.
inline void frozen_vector(ThreadPool& pool, const PanelMatrix& w, const float* x, int64_t k, float* y, bool accumulate) {
  constexpr int64_t most = 4 * kStreams;  // panels that a thread takes at once
  pool.parallel_for_shrinking(w.panels(), most, [&](int64_t begin, int64_t end, int) {
    for (int64_t panel = begin; panel < end;) {
      const int64_t count = end - panel >= kStreams ? kStreams : 1, row = panel * kPanel;
      const int64_t rows = std::min<int64_t>(count * kPanel, w.rows - row);
      alignas(64) float sums[kStreams * kPanel] = {};
      if (accumulate) std::copy(y + row, y + row + rows, sums);
      if (w.type == StorageType::f32) multiply_vector<Reading::words>(w, panel, count, k, x, sums);
      if (w.type == StorageType::f16) multiply_vector<Reading::halves>(w, panel, count, k, x, sums);
      if (w.type == StorageType::bf16) multiply_vector<kBf16Dot ? Reading::words : Reading::pairs, kBf16Dot>(w, panel, count, k, x, sums);
      std::copy(sums, sums + rows, y + row);
      panel += count;
    }
  });
}

// Shared by all threads: packed activations, and activations as pairs of bf16.
struct ProductBuffers {
  AlignedBuffer packed;
  AlignedBuffer paired;
};

inline void frozen_linear(ThreadPool& pool, ProductBuffers& buffers, const PanelMatrix& w, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy, bool accumulate) {
  const Target target{y, ldy, 0, 1.0f, accumulate ? 1.0f : 0.0f};
#if defined(LLAMA_BF16_DOT)
  if (w.type == StorageType::bf16) {
    const int64_t half = (w.cols + 1) / 2;
    const float* pairs = paired_rows(pool, buffers.paired, x, ldx, tokens, w.cols);
    if (tokens == 1) return frozen_vector(pool, w, pairs, half, y, accumulate);
    return multiply<true>(pool, buffers.packed, pairs, half, PairedRight(w), target, tokens, w.rows, half);
  }
#endif
  if (tokens == 1) return frozen_vector(pool, w, x, w.cols, y, accumulate);
  multiply(pool, buffers.packed, x, ldx, PanelRight(w), target, tokens, w.rows, w.cols);
}

inline void frozen_linear_backward(ThreadPool& pool, ProductBuffers& buffers, const PanelMatrix& w, const float* g, int64_t ldg, int64_t tokens, float* dx, int64_t lddx, bool accumulate) {
  const Target target{dx, lddx, 0, 1.0f, accumulate ? 1.0f : 0.0f};
#if defined(LLAMA_BF16_DOT)
  if (w.type == StorageType::bf16) {
    const int64_t half = (w.rows + 1) / 2;
    const float* pairs = paired_rows(pool, buffers.paired, g, ldg, tokens, w.rows);
    return multiply<true>(pool, buffers.packed, pairs, half, PairedTransposedRight(w), target, tokens, w.cols, half);
  }
#endif
  multiply(pool, buffers.packed, g, ldg, TransposedRight(w), target, tokens, w.cols, w.rows);
}

}  // namespace
}  // namespace llama
