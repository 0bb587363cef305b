#include <cmath>

#include "attention_decode.h"

namespace llama::cuda {
namespace {

// As decode_kernel of attention_decode.cu, for float32: products and sums on the ordinary units. 2 head_dim 4 bytes a
// position for 4 group head_dim FLOPs: bound by memory for small groups, by the sums across lanes for large ones.
//
// D / 4 lanes (at most 32) read one position, 16 bytes each; a warp reads `steps` times 32 lanes' worth before it
// computes.
template <int D>
__global__ void __launch_bounds__(decode_threads) decode_f32_kernel(CachedAttention<float> a) {
  constexpr int lanes = D / 4 < warp_size ? D / 4 : warp_size, together = warp_size / lanes, packs = D / (4 * lanes);
  constexpr int steps = D > 128 ? 2 : 4, tile = together * steps;
  __shared__ DecodeParts<D, decode_warps * together> parts;
  const DecodeSplit split = a.plan.splits[blockIdx.x];
  if (split.row < 0) return;
  const int kv_head = static_cast<int>(blockIdx.y);
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int member = lane / lanes, own = lane % lanes;  // position of those read together; place in its row
  const int first = max(first_visible(a, split.position), split.first_page * page_tokens);
  const int last = min(split.position, split.end_page * page_tokens - 1);
  void* const* pages = a.plan.pages + split.pages;

  for (int done = 0; done < a.group; done += decode_heads) {
    const int heads = min(decode_heads, a.group - done), head = kv_head * a.group + done;
    Pack<float, 4> q[decode_heads][packs], o[decode_heads][packs];
    float most[decode_heads], sum[decode_heads];
    for (int h = 0; h < decode_heads; ++h) {
      most[h] = -INFINITY;
      sum[h] = 0;
      const float* query = a.q + split.row * a.ldq + static_cast<int64_t>(head + h) * a.head_dim;
      for (int n = 0; n < packs; ++n) {
        o[h][n] = {};
        for (int j = 0; j < 4; ++j) {
          const int column = 4 * (own + n * lanes) + j;
          q[h][n].at[j] = h < heads && column < a.head_dim ? query[column] * a.scale : 0.0f;
        }
      }
    }

    int start = first / tile * tile + warp * tile;
    const void* page = start <= last ? pages[start / page_tokens] : nullptr;
    while (start <= last) {
      const int next = start + decode_warps * tile;
      const void* next_page = next <= last ? pages[next / page_tokens] : nullptr;
      const int64_t in_page = static_cast<int64_t>(start % page_tokens) * a.row;
      const float* keys = head_of_page(a, page, a.keys, kv_head) + in_page;
      const float* values = head_of_page(a, page, a.values, kv_head) + in_page;
      Words k[steps][packs], v[steps][packs];
      bool visible[steps];
      for (int u = 0; u < steps; ++u) {
        const int token = u * together + member;
        visible[u] = start + token >= first && start + token <= last;
        for (int n = 0; n < packs; ++n) {
          const int column = 4 * (own + n * lanes);
          const bool valid = visible[u] && column < a.row;
          k[u][n] = load_from_page(keys + token * a.row + column, valid);
          v[u][n] = load_from_page(values + token * a.row + column, valid);
        }
      }
      for (int h = 0; h < decode_heads; ++h) {
        if (h >= heads) break;
        float s[steps], largest = most[h];
        for (int u = 0; u < steps; ++u) {
          s[u] = 0;
          for (int n = 0; n < packs; ++n) {
            for (int j = 0; j < 4; ++j) s[u] += q[h][n].at[j] * __uint_as_float(k[u][n].at[j]);
          }
          for (int offset = lanes / 2; offset > 0; offset /= 2) s[u] += __shfl_xor_sync(all_lanes, s[u], offset);
          if (!visible[u]) s[u] = -INFINITY;
          largest = fmaxf(largest, s[u]);
        }
        const float shrink = weight_of(most[h], largest);
        most[h] = largest;
        sum[h] *= shrink;
        for (int n = 0; n < packs; ++n) {
          for (int j = 0; j < 4; ++j) o[h][n].at[j] *= shrink;
        }
        for (int u = 0; u < steps; ++u) {
          const float weight = weight_of(s[u], largest);
          sum[h] += weight;
          for (int n = 0; n < packs; ++n) {
            for (int j = 0; j < 4; ++j) o[h][n].at[j] += weight * __uint_as_float(v[u][n].at[j]);
          }
        }
      }
      start = next;
      page = next_page;
    }

    const int part = warp * together + member;
    for (int h = 0; h < decode_heads; ++h) {
      if (own == 0) {
        parts.most[part][h] = most[h];
        parts.sum[part][h] = sum[h];
      }
      for (int n = 0; n < packs; ++n) store_pack<float, 4>(&parts.o[part][h][4 * (own + n * lanes)], o[h][n]);
    }
    __syncthreads();
    merge_parts(a, split, parts, head, heads);
    __syncthreads();
  }
  combine_splits(a, split, kv_head);
}

}  // namespace

template <>
void attention_decode(cudaStream_t stream, const CachedAttention<float>& a) {
  const auto kernel = a.head_dim <= 32    ? decode_f32_kernel<32>
                      : a.head_dim <= 64  ? decode_f32_kernel<64>
                      : a.head_dim <= 128 ? decode_f32_kernel<128>
                                          : decode_f32_kernel<256>;
  launch(kernel, Grid{a.plan.split_count, a.kv_heads}, dim3(decode_threads), 0, stream, a);
}

}  // namespace llama::cuda
