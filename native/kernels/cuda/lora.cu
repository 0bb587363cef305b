#include "lora.h"

#include "device.h"

namespace llama::cuda {
namespace {

constexpr int shrink_threads = 256, expand_threads = 128;
constexpr int tile_columns = 128;  // of y, per block of expand
constexpr int steps = 4;           // outputs of expand that a thread has in flight

// A block's rows lie side by side; those of one adapter share the reads of its weights. Says which rows of the tile have
// the adapter of row `lead`, or 0 where an earlier row had it already or there is none.
template <class T, int tile>
__device__ __forceinline__ unsigned rows_like(const LoraRow<T> (&rows)[tile], int lead) {
  unsigned members = 0;
  if (rows[lead].terms == nullptr) return 0;
  for (int i = 0; i < tile; ++i) {
    if (rows[i].terms != rows[lead].terms) continue;
    if (i < lead) return 0;
    members |= 1u << i;
  }
  return members;
}

template <class T, int tile>
__device__ __forceinline__ void load_rows(LoraRow<T> (&rows)[tile], const LoraRow<T>* from, int64_t first, int64_t tokens) {
  if (threadIdx.x < tile) {
    const int64_t row = first + static_cast<int64_t>(threadIdx.x);
    rows[threadIdx.x] = row < tokens ? from[row] : LoraRow<T>{};
  }
  __syncthreads();
}

template <class T>
__device__ __forceinline__ bool aligned_to_pack(const T* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

// The warp's sums of `count` values, a power of two: value[0] of lane i becomes the sum of value[i / (32 / count)]. Each step
// halves what a lane still holds, so it takes count + log2(32 / count) exchanges instead of 5 count. Every sum is formed in
// the same order.
template <int count, int offset = warp_size / 2>
__device__ __forceinline__ void scatter_sums(float* value) {
  if constexpr (count > 1) {
    const bool upper = (threadIdx.x & offset) != 0;
#pragma unroll
    for (int i = 0; i < count / 2; ++i) {
      const float given = upper ? value[i] : value[i + count / 2];
      const float kept = upper ? value[i + count / 2] : value[i];
      value[i] = kept + __shfl_xor_sync(all_lanes, given, offset);
    }
  } else {
    value[0] += __shfl_xor_sync(all_lanes, value[0], offset);
  }
  if constexpr (offset > 1) scatter_sums<(count > 1 ? count / 2 : 1), offset / 2>(value);
}

// sum[row][rank] += x[row] a[rank]ᵀ, this thread's part of k. `ahead` packs of each are loaded before the first is used.
template <class T, int tile, int tile_ranks, int width, int ahead>
__device__ __forceinline__ void accumulate(const T* x, int64_t ldx, const T* a, int64_t in, int ranks, unsigned members,
                                  float (&sum)[tile][tile_ranks]) {
  constexpr int64_t stride = static_cast<int64_t>(shrink_threads) * width;
  for (int64_t begin = static_cast<int64_t>(threadIdx.x) * width; begin < in; begin += stride * ahead) {
    Pack<T, width> xs[ahead][tile], as[ahead][tile_ranks];
#pragma unroll
    for (int step = 0; step < ahead; ++step) {
      const int64_t k = begin + step * stride;
#pragma unroll
      for (int i = 0; i < tile_ranks; ++i) {
        if (i < ranks && k < in) as[step][i] = load_pack<T, width>(a + i * in + k);
      }
#pragma unroll
      for (int row = 0; row < tile; ++row) {
        if (((members >> row) & 1) != 0 && k < in) xs[step][row] = load_pack<T, width>(x + row * ldx + k);
      }
    }
#pragma unroll
    for (int step = 0; step < ahead; ++step) {
      if (begin + step * stride >= in) break;
#pragma unroll
      for (int row = 0; row < tile; ++row) {
        if (((members >> row) & 1) == 0) continue;
#pragma unroll
        for (int i = 0; i < tile_ranks; ++i) {
          if (i >= ranks) continue;
#pragma unroll
          for (int j = 0; j < width; ++j) {
            sum[row][i] = fmaf(to_float(xs[step][row].at[j]), to_float(as[step][i].at[j]), sum[row][i]);
          }
        }
      }
    }
  }
}

// u[t, r] = sum_k x[t, k] A[r, k]
//   x [tokens, in], A [rank, in] of the row's terms at this place, side by side in u [tokens, ranks]
// Moves rank * in * sizeof(T) bytes per adapter (131 KB at rank 16, in 4096, 16 bits), again from the L2 cache for each tile
// of rows; bound by the latency of one read of memory for few rows, by the L2 cache for many. A block has a tile of rows
// and of ranks to itself and all of k, so sums need no second pass: 256 threads read 4 KB of a row at a time.
template <class T, int tile, int tile_ranks, int ahead>
__global__ void __launch_bounds__(shrink_threads)
    shrink(const LoraRow<T>* rows, int place, const T* x, int64_t ldx, bool packed_x, int64_t tokens, int64_t ranks, float* u) {
  static_assert(lora_rank_unit % tile_ranks == 0);
  constexpr int values = tile * tile_ranks, warps = shrink_threads / warp_size;
  __shared__ LoraRow<T> own[tile];
  __shared__ float partial[warps][values];
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * tile;
  const int64_t first_rank = static_cast<int64_t>(blockIdx.y) * tile_ranks;
  load_rows<T, tile>(own, rows, first_row, tokens);

  float sum[tile][tile_ranks] = {};
  unsigned present = 0;  // 8 bits for each row: how many ranks of this tile its adapter has
  for (int lead = 0; lead < tile; ++lead) {
    const unsigned members = rows_like<T, tile>(own, lead);
    if (members == 0) continue;
    const LoraTerm<T>* term = own[lead].terms + place * own[lead].stride;
    int64_t rank = first_rank;  // in the term, once it is found
    int64_t left = own[lead].stride;
    while (left > 0 && rank >= padded_rank(term->rank)) {
      rank -= padded_rank(term->rank);
      ++term;
      --left;
    }
    if (left == 0 || rank >= term->rank) continue;
    const int count = static_cast<int>(min(static_cast<int64_t>(tile_ranks), term->rank - rank));
    const T* a = term->a + rank * term->in;
    const T* from = x + first_row * ldx;
    if (packed_x && term->in % pack_width<T> == 0 && aligned_to_pack(term->a)) {
      accumulate<T, tile, tile_ranks, pack_width<T>, ahead>(from, ldx, a, term->in, count, members, sum);
    } else {
      accumulate<T, tile, tile_ranks, 1, ahead>(from, ldx, a, term->in, count, members, sum);
    }
#pragma unroll
    for (int row = 0; row < tile; ++row) {
      if (((members >> row) & 1) != 0) present |= static_cast<unsigned>(count) << (8 * row);
    }
  }
  if (present == 0) return;  // the same for all threads of a block

  float value[values];
#pragma unroll
  for (int i = 0; i < values; ++i) value[i] = sum[i / tile_ranks][i % tile_ranks];
  scatter_sums<values>(value);
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  if (lane % (warp_size / values) == 0) partial[warp][lane / (warp_size / values)] = value[0];
  __syncthreads();
  const int index = static_cast<int>(threadIdx.x);
  if (index >= values) return;
  if (index % tile_ranks >= static_cast<int>((present >> (8 * (index / tile_ranks))) & 0xff)) return;
  float total = 0;
#pragma unroll
  for (int i = 0; i < warps; ++i) total += partial[i][index];
  u[(first_row + index / tile_ranks) * ranks + first_rank + index % tile_ranks] = total;
}

// y[row][begin .. end) += scale u[row] b[begin .. end)ᵀ for the members of a tile of rows. A group of lanes reads one row of b
// together, 16 bytes each, so that reads and writes of a warp are contiguous whatever the rank.
template <class T, class Y, int tile, int width>
__device__ __forceinline__ void add_outputs(const LoraTerm<T>& term, int64_t begin, int64_t end, const float* u, int64_t ldu, Y* y,
                                   int64_t ldy, unsigned members) {
  int lanes = 1;
  while (lanes < warp_size && lanes * width < term.rank) lanes *= 2;
  const int member = static_cast<int>(threadIdx.x) % lanes, group = static_cast<int>(threadIdx.x) / lanes;
  const int groups = expand_threads / lanes;
  for (int64_t base = begin; base < end; base += static_cast<int64_t>(groups) * steps) {
    float sum[tile][steps] = {};
    // Few rows wait for memory: y is read beside b. Many have other warps to wait with, and need the registers.
    float old[steps] = {};
    if constexpr (tile == 1) {
#pragma unroll
      for (int step = 0; step < steps; ++step) {
        const int64_t output = base + static_cast<int64_t>(step) * groups + group;
        if (output < end && member == step % lanes) old[step] = to_float(y[output]);
      }
    }
    for (int r = member * width; r < term.rank; r += lanes * width) {
      Pack<T, width> bs[steps];
#pragma unroll
      for (int step = 0; step < steps; ++step) {
        const int64_t output = base + static_cast<int64_t>(step) * groups + group;
        if (output < end) bs[step] = load_pack<T, width>(term.b + output * term.rank + r);
      }
#pragma unroll
      for (int row = 0; row < tile; ++row) {
        if (((members >> row) & 1) == 0) continue;
        float us[width];
        constexpr int quad = width < 4 ? width : 4;
#pragma unroll
        for (int j = 0; j < width; j += quad) {
          const auto four = load_pack<float, quad>(u + row * ldu + r + j);
#pragma unroll
          for (int i = 0; i < quad; ++i) us[j + i] = four.at[i];
        }
#pragma unroll
        for (int step = 0; step < steps; ++step) {
          if (base + static_cast<int64_t>(step) * groups + group >= end) continue;
#pragma unroll
          for (int j = 0; j < width; ++j) sum[row][step] = fmaf(us[j], to_float(bs[step].at[j]), sum[row][step]);
        }
      }
    }
#pragma unroll
    for (int row = 0; row < tile; ++row) {
      if (((members >> row) & 1) == 0) continue;
#pragma unroll
      for (int step = 0; step < steps; ++step) {
        float total = sum[row][step];
        for (int offset = lanes / 2; offset > 0; offset /= 2) total += __shfl_xor_sync(all_lanes, total, offset);
        const int64_t output = base + static_cast<int64_t>(step) * groups + group;
        if (output >= end || member != step % lanes) continue;
        Y* to = y + row * ldy + output;
        *to = from_float<Y>(fmaf(term.scale, total, tile == 1 ? old[step] : to_float(*to)));
      }
    }
  }
}

// y[t, column + o] += scale * sum_r u[t, r] B[o, r]
//   B [out, rank] of the row's terms at this place, u [tokens, ranks] from shrink, y [tokens, width]
// Moves out * rank * sizeof(T) bytes per adapter and y twice; bound by latency for few rows. A block has 128 columns of a
// tile of rows, so that no two blocks write the same element.
template <class T, class Y, int tile>
__global__ void __launch_bounds__(expand_threads, 4)
    expand(const LoraRow<T>* rows, int place, const float* u, int64_t ranks, int64_t tokens, Y* y, int64_t ldy) {
  __shared__ LoraRow<T> own[tile];
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * tile;
  const int64_t first_column = static_cast<int64_t>(blockIdx.y) * tile_columns;
  load_rows<T, tile>(own, rows, first_row, tokens);
  for (int lead = 0; lead < tile; ++lead) {
    const unsigned members = rows_like<T, tile>(own, lead);
    if (members == 0) continue;
    const LoraTerm<T>* terms = own[lead].terms + place * own[lead].stride;
    int64_t rank = 0;
    for (int64_t i = 0; i < own[lead].stride; ++i) {
      const LoraTerm<T> term = terms[i];
      const int64_t begin = max(int64_t{0}, first_column - term.column);
      const int64_t end = min(term.out, first_column + tile_columns - term.column);
      if (term.rank > 0 && begin < end) {
        const float* own_u = u + first_row * ranks + rank;
        Y* own_y = y + first_row * ldy + term.column;
        if (term.rank % pack_width<T> == 0 && aligned_to_pack(term.b)) {
          add_outputs<T, Y, tile, pack_width<T>>(term, begin, end, own_u, ranks, own_y, ldy, members);
        } else {
          add_outputs<T, Y, tile, 1>(term, begin, end, own_u, ranks, own_y, ldy, members);
        }
      }
      rank += padded_rank(term.rank);
    }
  }
}

// From here on rows share the reads of their adapter's weights.
constexpr int64_t shared_from = 4;

}  // namespace

template <class T>
void lora_shrink(cudaStream_t stream, const LoraRow<T>* rows, int place, const T* x, int64_t ldx, int64_t tokens,
                 int64_t ranks, float* u) {
  const bool packed = packable(x, ldx, pack_width<T>, pack_width<T>);
  if (tokens < shared_from) {
    launch(shrink<T, 1, 1, 4>, Grid{blocks_for(tokens, 1), blocks_for(ranks, 1)}, dim3(shrink_threads), 0, stream, rows, place,
           x, ldx, packed, tokens, ranks, u);
  } else {
    launch(shrink<T, 4, 4, 1>, Grid{blocks_for(tokens, 4), blocks_for(ranks, 4)}, dim3(shrink_threads), 0, stream, rows, place,
           x, ldx, packed, tokens, ranks, u);
  }
}

template <class T, class Y>
void lora_expand(cudaStream_t stream, const LoraRow<T>* rows, int place, const float* u, int64_t ranks, int64_t tokens,
                 int64_t width, Y* y, int64_t ldy) {
  const int64_t columns = blocks_for(width, tile_columns);
  if (tokens < shared_from) {
    launch(expand<T, Y, 1>, Grid{blocks_for(tokens, 1), columns}, dim3(expand_threads), 0, stream, rows, place, u, ranks,
           tokens, y, ldy);
  } else {
    launch(expand<T, Y, 4>, Grid{blocks_for(tokens, 4), columns}, dim3(expand_threads), 0, stream, rows, place, u, ranks,
           tokens, y, ldy);
  }
}

#define LLAMA_INSTANTIATE(T)                                                                                             \
  template void lora_shrink(cudaStream_t, const LoraRow<T>*, int, const T*, int64_t, int64_t, int64_t, float*);         \
  template void lora_expand(cudaStream_t, const LoraRow<T>*, int, const float*, int64_t, int64_t, int64_t, T*, int64_t);
LLAMA_INSTANTIATE(float)
LLAMA_INSTANTIATE(Bf16)
LLAMA_INSTANTIATE(Half)
template void lora_expand(cudaStream_t, const LoraRow<Bf16>*, int, const float*, int64_t, int64_t, int64_t, float*, int64_t);
template void lora_expand(cudaStream_t, const LoraRow<Half>*, int, const float*, int64_t, int64_t, int64_t, float*, int64_t);
#undef LLAMA_INSTANTIATE

}  // namespace llama::cuda
