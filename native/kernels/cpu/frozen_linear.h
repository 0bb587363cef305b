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

constexpr int kStreams = 4;  // panels read side by side: 8 sums hide the FMA latency though each runs in order
constexpr int64_t kAhead = 1024;  // bytes of prefetch distance in each stream

// y[r] (+)= sum_k W[r, k] x[k] for `count` panels from `panel` on. Moves the panels' bytes once; bound by memory.
// Adds in the order of the tile kernel (blocks of kDepth), so that one token gives the bits it gives in a batch.
template <int count, StorageType type>
void multiply_vector(const PanelMatrix& w, int64_t panel, const float* x, float* sums) {
  Vec total[count][2];
  for (int64_t at = 0; at < w.cols; at += kDepth) {
    const int64_t end = std::min(w.cols, at + kDepth);
    Vec part[count][2];
#pragma GCC unroll 8
    for (int s = 0; s < count; ++s) part[s][0] = part[s][1] = zero();
    if constexpr (type == StorageType::bf16) {
      for (int64_t k = at; k < end; k += 2) {
        const bool odd = k + 1 < w.cols;
        const Vec x0 = set1(x[k]), x1 = odd ? set1(x[k + 1]) : zero();
#pragma GCC unroll 8
        for (int s = 0; s < count; ++s) {
          const uint16_t* from = w.half_at(panel + s, k);
          prefetch(reinterpret_cast<const char*>(from) + kAhead);
          const Vec first = load_pairs(from), second = load_pairs(from + 2 * kLanes);
          part[s][0] = fma(x0, even_of_pairs(first), part[s][0]);
          part[s][1] = fma(x0, even_of_pairs(second), part[s][1]);
          part[s][0] = fma(x1, odd_of_pairs(first), part[s][0]);
          part[s][1] = fma(x1, odd_of_pairs(second), part[s][1]);
        }
      }
    } else {
      for (int64_t k = at; k < end; ++k) {
        const Vec x0 = set1(x[k]);
#pragma GCC unroll 8
        for (int s = 0; s < count; ++s) {
          Vec first, second;
          if constexpr (type == StorageType::f32) {
            const float* from = w.f32_at(panel + s, k);
            prefetch(reinterpret_cast<const char*>(from) + kAhead);
            first = load(from);
            second = load(from + kLanes);
          } else {
            const uint16_t* from = w.half_at(panel + s, k);
            if (k % 2 == 0) prefetch(reinterpret_cast<const char*>(from) + kAhead);
            first = load_f16(from);
            second = load_f16(from + kLanes);
          }
          part[s][0] = fma(x0, first, part[s][0]);
          part[s][1] = fma(x0, second, part[s][1]);
        }
      }
    }
    for (int s = 0; s < count; ++s) {
      for (int half = 0; half < 2; ++half) {
        float* to = sums + s * kPanel + half * kLanes;
        total[s][half] = add(part[s][half], load(to));
        store(to, total[s][half]);
      }
    }
  }
}

template <StorageType type>
void multiply_vector(const PanelMatrix& w, int64_t panel, int64_t count, const float* x, float* sums) {
  if (count == kStreams) return multiply_vector<kStreams, type>(w, panel, x, sums);
  for (int64_t s = 0; s < count; ++s) multiply_vector<1, type>(w, panel + s, x, sums + s * kPanel);
}

inline void frozen_vector(ThreadPool& pool, const PanelMatrix& w, const float* x, float* y, bool accumulate) {
  const int64_t panels = w.panels(), groups = (panels + kStreams - 1) / kStreams;
  const int64_t chunk = std::clamp<int64_t>(groups / (8 * pool.size()), 1, 8);
  pool.parallel_for(groups, chunk, [&](int64_t begin, int64_t end, int) {
    for (int64_t g = begin; g < end; ++g) {
      const int64_t panel = g * kStreams, count = std::min<int64_t>(kStreams, panels - panel), row = panel * kPanel;
      const int64_t rows = std::min<int64_t>(count * kPanel, w.rows - row);
      alignas(64) float sums[kStreams * kPanel] = {};
      if (accumulate) std::copy(y + row, y + row + rows, sums);
      if (w.type == StorageType::f32) multiply_vector<StorageType::f32>(w, panel, count, x, sums);
      if (w.type == StorageType::f16) multiply_vector<StorageType::f16>(w, panel, count, x, sums);
      if (w.type == StorageType::bf16) multiply_vector<StorageType::bf16>(w, panel, count, x, sums);
      std::copy(sums, sums + rows, y + row);
    }
  });
}

inline void frozen_linear(ThreadPool& pool, AlignedBuffer& buffer, const PanelMatrix& w, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy, bool accumulate) {
  if (tokens == 1) return frozen_vector(pool, w, x, y, accumulate);
  multiply(pool, buffer, x, ldx, PanelRight(w), {y, ldy, 0, 1.0f, accumulate ? 1.0f : 0.0f}, tokens, w.rows, w.cols);
}

inline void frozen_linear_backward(ThreadPool& pool, AlignedBuffer& buffer, const PanelMatrix& w, const float* g, int64_t ldg, int64_t tokens, float* dx, int64_t lddx, bool accumulate) {
  multiply(pool, buffer, g, ldg, TransposedRight(w), {dx, lddx, 0, 1.0f, accumulate ? 1.0f : 0.0f}, tokens, w.cols, w.rows);
}

}  // namespace
}  // namespace llama
