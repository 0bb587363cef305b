#include <cmath>

#include "attention_decode.h"
#include "tensor_core.h"

namespace llama::cuda {
namespace {

constexpr int tile_tokens = 16;

// Elements [column, column + 8) of a query, zeros behind its end.
template <class T>
__device__ inline Words query_words(const CachedAttention<T>& a, const T* q, int column, bool valid) {
  Words words{};
  if (a.packed_q) {
    if (valid && column < a.head_dim) words = load_pack<uint32_t, 4>(reinterpret_cast<const uint32_t*>(q + column));
    return words;
  }
  for (int i = 0; i < 8; ++i) {
    if (!valid || column + i >= a.head_dim) break;
    words.at[i / 2] |= static_cast<uint32_t>(q[column + i].bits) << (i % 2 * 16);
  }
  return words;
}

// The lower (upper) elements of two words as one.
__device__ inline uint32_t lower_pair(uint32_t first, uint32_t second) { return (first & 0xffffu) | (second << 16); }
__device__ inline uint32_t upper_pair(uint32_t first, uint32_t second) { return (first >> 16) | (second & 0xffff0000u); }

// One query of each planned row against its pages: q [heads, head_dim], keys and values [position, head_dim] of one key
// head and one split -> o or a part of it. Moves 2 head_dim 2 bytes a position for 4 group head_dim FLOPs: bound by
// memory for any group, so all heads of the group share one pass, and tensor cores do the products because their
// operands come straight from global memory into registers, 16 bytes a load, without shared memory or sums across
// lanes.
//
// A warp takes 16 positions at a time. With g = lane / 4 and c = lane % 4:
//   S = Q Kᵀ: the sum over head_dim may run in any order, so the lane that supplies columns 2c.. of the product loads
//     elements 8c .. 8c + 7 of every 32 of position g, and of head g: four loads of 64 bytes a position.
//   Oᵀ = Vᵀ Pᵀ: P's fragment is what S leaves in the lane: positions 2c, 2c + 1, 2c + 8, 2c + 9 of head g. The lane
//     loads elements 8g .. 8g + 7 of every 64 of these positions and has two of them in each 16 x 16 of Vᵀ.
template <class T, int D>
__global__ void __launch_bounds__(decode_threads, D <= 64 ? 4 : D <= 128 ? 3 : 2) decode_kernel(CachedAttention<T> a) {
  constexpr int key_blocks = D / 32, value_blocks = (D + 63) / 64;
  __shared__ DecodeParts<D, decode_warps> parts;
  const DecodeSplit split = a.plan.splits[blockIdx.x];
  if (split.row < 0) return;
  const int kv_head = static_cast<int>(blockIdx.y);
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int g = lane / 4, c = lane % 4;
  const int first = max(first_visible(a, split.position), split.first_page * page_tokens);
  const int last = min(split.position, split.end_page * page_tokens - 1);
  void* const* pages = a.plan.pages + split.pages;
  const int64_t keys_at = a.keys + static_cast<int64_t>(kv_head) * page_tokens * a.row;
  const int own_key = g * a.row + 8 * c, own_value = static_cast<int>(a.values - a.keys) + 2 * c * a.row + 8 * g;

  for (int done = 0; done < a.group; done += decode_heads) {
    const int heads = min(decode_heads, a.group - done), head = kv_head * a.group + done;
    const T* query = a.q + split.row * a.ldq + static_cast<int64_t>(head + g) * a.head_dim;
    Words q[key_blocks];
    for (int b = 0; b < key_blocks; ++b) q[b] = query_words(a, query, 32 * b + 8 * c, g < heads);
    float o[value_blocks][4][4] = {};
    float most = -INFINITY, sum = 0;  // of head g

    int start = first / tile_tokens * tile_tokens + warp * tile_tokens;
    const void* page = start <= last ? pages[start / page_tokens] : nullptr;
    while (start <= last) {
      const int next = start + decode_warps * tile_tokens;
      const void* next_page = next <= last ? pages[next / page_tokens] : nullptr;
      const T* tile = static_cast<const T*>(page) + keys_at + start % page_tokens * a.row;

      Words k[key_blocks][2], v[value_blocks][4];
      const auto load_values = [&] {
        for (int b = 0; b < value_blocks; ++b) {
          for (int i = 0; i < 4; ++i) {
            const bool valid = start + 2 * c + i % 2 + i / 2 * 8 <= last && 64 * b + 8 * g < a.row;
            v[b][i] = load_from_page(tile + own_value + (i % 2 + i / 2 * 8) * a.row + 64 * b, valid);
          }
        }
      };
      for (int b = 0; b < key_blocks; ++b) {
        for (int i = 0; i < 2; ++i) {
          const bool valid = start + g + 8 * i <= last && 32 * b + 8 * c < a.row;
          k[b][i] = load_from_page(tile + own_key + 8 * i * a.row + 32 * b, valid);
        }
      }
      if constexpr (D <= 128) {
        load_values();
        __syncwarp();  // keeps the compiler from moving them behind products, which wait for the keys
      }

      float s[2][4] = {};
      for (int b = 0; b < key_blocks; ++b) {
        for (int half = 0; half < 2; ++half) {
          const uint32_t rows[4] = {q[b].at[2 * half], 0, q[b].at[2 * half + 1], 0};
          for (int i = 0; i < 2; ++i) {
            const uint32_t columns[2] = {k[b][i].at[2 * half], k[b][i].at[2 * half + 1]};
            mma_16x8x16<T>(s[i], rows, columns);
          }
        }
      }
      if constexpr (D > 128) load_values();  // registers for both at once are not there

      float p[4], largest = most;
      for (int i = 0; i < 4; ++i) {
        const int position = start + 2 * c + i % 2 + i / 2 * 8;
        p[i] = position >= first && position <= last ? s[i / 2][i % 2] * a.scale : -INFINITY;
        largest = fmaxf(largest, p[i]);
      }
      largest = fmaxf(largest, __shfl_xor_sync(all_lanes, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(all_lanes, largest, 2));
      if (__any_sync(all_lanes, largest > most)) {
        const float shrink = weight_of(most, largest);
        const float even = __shfl_sync(all_lanes, shrink, 8 * c), odd = __shfl_sync(all_lanes, shrink, 8 * c + 4);
        for (int b = 0; b < value_blocks; ++b) {
          for (int i = 0; i < 4; ++i) {
            for (int j = 0; j < 4; ++j) o[b][i][j] *= j % 2 == 0 ? even : odd;
          }
        }
        sum *= shrink;
        most = largest;
      }
      for (float& x : p) sum += x = weight_of(x, most);

      const uint32_t weights[2] = {pair_of<T>(p[0], p[1]), pair_of<T>(p[2], p[3])};
      for (int b = 0; b < value_blocks; ++b) {
        for (int i = 0; i < 4; ++i) {
          const uint32_t rows[4] = {
              lower_pair(v[b][0].at[i], v[b][1].at[i]), upper_pair(v[b][0].at[i], v[b][1].at[i]),
              lower_pair(v[b][2].at[i], v[b][3].at[i]), upper_pair(v[b][2].at[i], v[b][3].at[i])};
          mma_16x8x16<T>(o[b][i], rows, weights);
        }
      }
      start = next;
      page = next_page;
    }

    sum += __shfl_xor_sync(all_lanes, sum, 1);
    sum += __shfl_xor_sync(all_lanes, sum, 2);
    if (c == 0) {
      parts.most[warp][g] = most;
      parts.sum[warp][g] = sum;
    }
    // o[b][i]: elements 64 b + 8 g + 2 i (0, 1) and the next (2, 3) of heads 2c and 2c + 1.
    for (int b = 0; b < value_blocks; ++b) {
      const int column = 64 * b + 8 * g;
      if (column >= D) continue;
      for (int odd = 0; odd < 2; ++odd) {
        for (int i = 0; i < 4; i += 2) {
          const Pack<float, 4> four{{o[b][i][odd], o[b][i][2 + odd], o[b][i + 1][odd], o[b][i + 1][2 + odd]}};
          store_pack<float, 4>(&parts.o[warp][2 * c + odd][column + 2 * i], four);
        }
      }
    }
    __syncthreads();
    merge_parts(a, split, parts, head, heads);
    __syncthreads();
  }
  combine_splits(a, split, kv_head);
}

}  // namespace

template <class T>
void attention_decode(cudaStream_t stream, const CachedAttention<T>& a) {
  const auto kernel = a.head_dim <= 32    ? decode_kernel<T, 32>
                      : a.head_dim <= 64  ? decode_kernel<T, 64>
                      : a.head_dim <= 96  ? decode_kernel<T, 96>
                      : a.head_dim <= 128 ? decode_kernel<T, 128>
                                          : decode_kernel<T, 256>;
  launch(kernel, Grid{a.plan.split_count, a.kv_heads}, dim3(decode_threads), 0, stream, a);
}

template void attention_decode(cudaStream_t, const CachedAttention<Bf16>&);
template void attention_decode(cudaStream_t, const CachedAttention<Half>&);

}  // namespace llama::cuda
