// How the parts of one query's attention become one: those of a block's warps, then those of several blocks.
//
// A part is, for each head, the largest score m (in powers of two), the sum l of 2^(score - m) and the sum o of values
// weighted with them; parts of nothing have m = -infinity. The order of the sums is always that of the positions' parts, so
// that results do not depend on which block is last.
#pragma once
#include <cmath>

#include "attention_cached_kernels.h"

namespace llama::cuda {

constexpr int decode_warps = 4;
constexpr int decode_threads = decode_warps * warp_size;
constexpr int decode_heads = 8;  // of one key head that a pass over its keys serves

// In shared memory; D is head_dim or more.
template <int D, int count>
struct DecodeParts {
  float most[count][decode_heads];
  float sum[count][decode_heads];
  alignas(16) float o[count][decode_heads][D];
};

// Weight of a part with largest score m among parts with largest score `most`.
__device__ inline float weight_of(float m, float most) { return m == -INFINITY ? 0.0f : exp2f(m - most); }

// parts -> o, or the split's place in scratch memory where the query has several. `heads` heads from `head` on.
template <class T, int D, int count>
__device__ inline void merge_parts(const CachedAttention<T>& a, const DecodeSplit& split, const DecodeParts<D, count>& parts,
                                   int head, int heads) {
  for (int i = static_cast<int>(threadIdx.x); i < heads * D; i += decode_threads) {
    const int h = i / D, column = i % D;
    if (column >= a.head_dim) continue;
    float most = -INFINITY, sum = 0, o = 0;
    for (int part = 0; part < count; ++part) most = fmaxf(most, parts.most[part][h]);
    for (int part = 0; part < count; ++part) {
      const float weight = weight_of(parts.most[part][h], most);
      sum += weight * parts.sum[part][h];
      o += weight * parts.o[part][h][column];
    }
    if (split.count == 1) {
      a.o[split.row * a.ldo + static_cast<int64_t>(head + h) * a.head_dim + column] = from_float<T>(o / sum);
      continue;
    }
    const int64_t place = static_cast<int64_t>(blockIdx.x) * a.heads + head + h;
    a.partial[place * a.partial_width + column] = o;
    if (column == 0) {
      a.statistics[place * 2] = most;
      a.statistics[place * 2 + 1] = sum;
    }
  }
}

// The last block of a query's splits puts them together: a warp for each head, a lane for each split's weight.
template <class T>
__device__ inline void combine_splits(const CachedAttention<T>& a, const DecodeSplit& split, int kv_head) {
  if (split.count == 1) return;
  __shared__ bool is_last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    const auto others = static_cast<unsigned>(split.count - 1);
    is_last = atomicInc(a.plan.counters + split.counter + kv_head, others) == others;  // back to 0 for the next layer
    __threadfence();
  }
  __syncthreads();
  if (!is_last) return;
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int64_t stride = static_cast<int64_t>(a.heads) * a.partial_width;
  for (int h = warp; h < a.group; h += decode_warps) {
    const int head = kv_head * a.group + h;
    float m = -INFINITY, l = 0;
    if (lane < split.count) {
      const float* statistics = a.statistics + (static_cast<int64_t>(split.first + lane) * a.heads + head) * 2;
      m = statistics[0];
      l = statistics[1];
    }
    float weight = weight_of(m, warp_max(m));
    weight /= warp_sum(weight * l);
    const float* from = a.partial + (static_cast<int64_t>(split.first) * a.heads + head) * a.partial_width;
    for (int first = 0; first < a.partial_width; first += 4 * warp_size) {
      const int column = first + 4 * lane;
      const bool holds = column < a.partial_width;
      Pack<float, 4> o{};
      // Eight loads at a time are on their way.
      constexpr int batch = 8;
      for (int begin = 0; begin < split.count; begin += batch) {
        Pack<float, 4> x[batch];
        for (int i = 0; i < batch; ++i) {
          x[i] = holds && begin + i < split.count ? load_pack<float, 4>(from + (begin + i) * stride + column) : Pack<float, 4>{};
        }
        for (int i = 0; i < batch; ++i) {
          const float w = __shfl_sync(all_lanes, weight, begin + i);
          for (int j = 0; j < 4; ++j) o.at[j] += w * x[i].at[j];
        }
      }
      T* to = a.o + split.row * a.ldo + static_cast<int64_t>(head) * a.head_dim + column;
      for (int j = 0; j < 4; ++j) {
        if (column + j < a.head_dim) to[j] = from_float<T>(o.at[j]);
      }
    }
  }
}

}  // namespace llama::cuda
