// Float32 products with LoRA's matrices, one side of which is only the rank wide.
#pragma once
#include "product.h"

namespace llama {
namespace {

// B = Yᵀ with Y [n, k] row-major.
class TransposedRows final : public Right {
 public:
  TransposedRows(const float* y, int64_t ldy, int64_t n) : y_(y), ldy_(ldy), n_(n) {}
  Block block(int64_t panel, int64_t k, int64_t depth, float* scratch) const override {
    const int64_t first = panel * kPanel;
    transpose_into(y_ + first * ldy_ + k, ldy_, n_ - first, depth, scratch, kPanel, kPanel);
    return {scratch, kPanel};
  }

 private:
  const float* y_;
  int64_t ldy_, n_;
};

// B = Y [k, n] row-major: used where it lies, except for a last panel that is not whole.
class PlainRows final : public Right {
 public:
  PlainRows(const float* y, int64_t ldy, int64_t n) : y_(y), ldy_(ldy), n_(n) {}
  Block block(int64_t panel, int64_t k, int64_t depth, float* scratch) const override {
    const int64_t first = panel * kPanel;
    const float* from = y_ + k * ldy_ + first;
    if (n_ - first >= kPanel) return {from, ldy_};
    const int width = static_cast<int>(n_ - first);
    for (int64_t i = 0; i < depth; ++i) {
      for (int half = 0; half < kPanel; half += kLanes) {
        store(scratch + i * kPanel + half, load_lanes(from + i * ldy_ + half, std::clamp(width - half, 0, kLanes)));
      }
    }
    return {scratch, kPanel};
  }

 private:
  const float* y_;
  int64_t ldy_, n_;
};

inline void thin_nt(ThreadPool& pool, AlignedBuffer& buffer, const float* x, int64_t ldx, const float* y, int64_t ldy, const Target& c, int64_t m, int64_t n, int64_t k) {
  multiply(pool, buffer, x, ldx, TransposedRows(y, ldy, n), c, m, n, k);
}

inline void thin_nn(ThreadPool& pool, AlignedBuffer& buffer, const float* x, int64_t ldx, const float* y, int64_t ldy, const Target& c, int64_t m, int64_t n, int64_t k) {
  multiply(pool, buffer, x, ldx, PlainRows(y, ldy, n), c, m, n, k);
}

// X [k, m] is already in the order a tile reads.
inline void thin_tn(ThreadPool& pool, const float* x, int64_t ldx, const float* y, int64_t ldy, const Target& c, int64_t m, int64_t n, int64_t k) {
  run_blocks<false>(pool, {x, 1, ldx}, false, PlainRows(y, ldy, n), c, m, n, k);
}

}  // namespace
}  // namespace llama
