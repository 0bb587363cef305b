// What both decode kernels do with the parts of one query's attention.
#pragma once
#include "attention_merge.h"

namespace llama::cuda {

constexpr int decode_warps = 4;
constexpr int decode_threads = decode_warps * warp_size;
constexpr int decode_heads = 8;  // of one key head that a pass over its keys serves

// Parts of a block in shared memory; D is head_dim or more.
template <int D, int count>
struct DecodeParts {
  float most[count][decode_heads];
  float sum[count][decode_heads];
  alignas(16) float o[count][decode_heads][D];
};

// parts -> o, or the split's place in scratch memory where the query has several. `heads` heads from `head` on.
template <class T, int D, int count>
__device__ inline void merge_parts(const CachedAttention<T>& a, const DecodeSplit& split,
                                   const DecodeParts<D, count>& parts, int head, int heads) {
  const Parts whole(a.scratch, a.plan.split_count * a.heads, a.head_dim);
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
    whole.o[place * whole.width + column] = o;
    if (column == 0) {
      whole.statistics[place * 2] = most;
      whole.statistics[place * 2 + 1] = sum;
    }
  }
}

// The last block of a query's splits puts them together: a warp for each head, a lane for each split's weight.
template <class T>
__device__ inline void combine_splits(const CachedAttention<T>& a, const DecodeSplit& split, int kv_head) {
  __shared__ int last;
  if (split.count == 1 || !comes_last(a.plan.counters + split.counter + kv_head, split.count, &last)) return;
  const Parts parts(a.scratch, a.plan.split_count * a.heads, a.head_dim);
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int64_t apart = static_cast<int64_t>(a.heads) * parts.width;
  for (int h = warp; h < a.group; h += decode_warps) {
    const int head = kv_head * a.group + h;
    const int64_t first = static_cast<int64_t>(split.first) * a.heads + head;
    float m = -INFINITY, l = 0;
    if (lane < split.count) {
      const float* statistics = parts.statistics + (first + static_cast<int64_t>(lane) * a.heads) * 2;
      m = statistics[0];
      l = statistics[1];
    }
    float weight = weight_of(m, warp_max(m));
    weight /= warp_sum(weight * l);
    for (int begin = 0; begin < parts.width; begin += 4 * warp_size) {
      const int column = begin + 4 * lane;
      const bool holds = column < parts.width;
      const float* from = parts.o + first * parts.width + column;
      Pack<float, 4> o{};
      // Eight loads at a time are on their way.
      constexpr int batch = 8;
      for (int s = 0; s < split.count; s += batch) {
        Pack<float, 4> x[batch] = {};
        for (int i = 0; i < batch; ++i) {
          if (holds && s + i < split.count) x[i] = load_pack<float, 4>(from + (s + i) * apart);
        }
        for (int i = 0; i < batch; ++i) {
          const float w = __shfl_sync(all_lanes, weight, s + i);
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
