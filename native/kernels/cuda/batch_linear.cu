#include "batch_linear.h"

#include <algorithm>
#include <type_traits>

#include "weight_fragments.h"

namespace llama::cuda {

namespace {

constexpr int warps = 8;
constexpr int threads = warps * warp_size;
constexpr int warp_rows = 32;                         // two tiles of 16, which share what is read of x
constexpr int row_groups = 4;                         // warps beside one another
constexpr int slices = warps / row_groups;            // warps that share rows and take turns along k
constexpr int block_rows = row_groups * warp_rows;
constexpr int span = static_cast<int>(weights_per_scale);
constexpr int stage_width = slices * span;
constexpr int stage_packs = stage_width / group_width;
constexpr int least_stages = 4;  // of a split

// Two tokens that are read at once must not meet in a bank.
__device__ inline int place_of(int pack, int token) { return pack ^ (token & 1); }

// x [first token .., stage's k] -> one half of the ring, zeros past the ends.
template <class T, int columns>
__device__ inline void copy_stage(const T* x, int64_t ldx, int tokens, int cols, int stage, T* ring) {
  constexpr int tokens_at_once = threads / stage_packs;
  static_assert(columns % tokens_at_once == 0 && tokens_at_once % 2 == 0);
  const int pack = static_cast<int>(threadIdx.x) % stage_packs, k = stage * stage_width + pack * group_width;
  int token = static_cast<int>(threadIdx.x) / stage_packs;
  const T* from = x + token * ldx + k;
  T* to = ring + token * stage_width + place_of(pack, token) * group_width;
  for (int i = 0; i < columns / tokens_at_once; ++i) {
    const bool valid = token < tokens && k < cols;
    copy_16(to, valid ? from : x, valid);
    token += tokens_at_once;
    from += tokens_at_once * ldx;
    to += tokens_at_once * stage_width;
  }
  commit_copies();
}

// W [rows, cols] in its codes (once), x [tokens, cols] (once per 128 rows), y [tokens, rows], 2 tokens rows cols FLOPs: bound by
// memory up to some 40 tokens, by the tensor cores above. A block takes 128 rows and one of `splits` ranges of k, in stages of 128:
// x comes through shared memory, one stage ahead; every warp reads the codes of 32 rows and half a stage, two stages ahead,
// and turns them into fragments once for all tokens. Partial sums [splits, tokens, rows] are added by another kernel.
template <class T, class Fragments, int token_tiles>
__global__ void __launch_bounds__(threads, token_tiles <= 4 ? 2 : 1) batch_tiles(Fragments w, int rows, int cols, const T* x, int64_t ldx, int tokens, ProductOutput<T> output, float* partials) {
  constexpr int columns = token_tiles * 8;
  static_assert(Fragments::span == span && Fragments::steps == 4);
  LLAMA_SHARED(uint32_t, table);
  T* ring = reinterpret_cast<T*>(table + Fragments::table_words);  // [2][columns][stage_width]
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int g = lane / 4, c = lane % 4, group = warp % row_groups, slice = warp / row_groups;
  const int first_row = static_cast<int>(blockIdx.x) * block_rows + group * warp_rows + g;
  const int stages = (cols + stage_width - 1) / stage_width, splits = static_cast<int>(gridDim.y), split = static_cast<int>(blockIdx.y);
  const int first = stages * split / splits, last = stages * (split + 1) / splits;

  struct Codes {
    typename Fragments::Row rows[4];
    typename Fragments::Scale scale;  // of row c
  };
  unsigned starts[4];  // in groups of eight elements
#pragma unroll
  for (int i = 0; i < 4; ++i) starts[i] = static_cast<unsigned>(min(first_row + 8 * i, rows - 1)) * static_cast<unsigned>(cols / group_width);
  const unsigned own_start = c == 0 ? starts[0] : c == 1 ? starts[1] : c == 2 ? starts[2] : starts[3];
  const auto load = [&](Codes& to, int stage) {
    const int k = stage * stage_width + slice * span;
    if (stage >= last || k >= cols) return;
    const unsigned group = static_cast<unsigned>(k) / group_width;
#pragma unroll
    for (int i = 0; i < 4; ++i) to.rows[i] = w.load(w.at(starts[i] + group, c), 0);
    to.scale = w.load_scale(w.at(own_start + group, c), 0);
  };
  Codes even{}, odd{};
  load(even, first);
  load(odd, first + 1);
  copy_stage<T, columns>(x, ldx, tokens, cols, first, ring);
  w.fill_table(table);

  float sums[2][token_tiles][4] = {};
  const auto multiply = [&](int stage, Codes& codes) {
    wait_for_copies<0>();
    __syncthreads();
    const T* here = ring + (stage - first) % 2 * columns * stage_width;
    if (stage + 1 < last) copy_stage<T, columns>(x, ldx, tokens, cols, stage + 1, ring + (stage + 1 - first) % 2 * columns * stage_width);
    if (stage * stage_width + slice * span < cols) {
      uint32_t a[2][Fragments::steps][4];
#pragma unroll
      for (int step = 0; step < Fragments::steps; ++step) {
#pragma unroll
        for (int i = 0; i < 4; ++i) w.pairs(codes.rows[i], step, table, a[i / 2][step][i % 2], a[i / 2][step][2 + i % 2]);
      }
      float scales[4];
      if constexpr (Fragments::block_scales) {
        const float own = w.value_of_scale(codes.scale);
#pragma unroll
        for (int i = 0; i < 4; ++i) scales[i] = of_lane(own, i);
      }
#pragma unroll
      for (int tile = 0; tile < token_tiles; ++tile) {
        const int token = tile * 8 + g;
        uint32_t pairs[8];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int pack = slice * (span / group_width) + c * 2 + i;
          auto words = load_pack<uint32_t, 4>(reinterpret_cast<const uint32_t*>(here + token * stage_width + place_of(pack, token) * group_width));
          w.arrange(words);
#pragma unroll
          for (int p = 0; p < 4; ++p) pairs[4 * i + p] = words.at[p];
        }
        float block[2][4] = {};
#pragma unroll
        for (int step = 0; step < Fragments::steps; ++step) {
          const uint32_t b[2] = {pairs[2 * step], pairs[2 * step + 1]};
#pragma unroll
          for (int half = 0; half < 2; ++half) mma_16x8x16<T>(Fragments::block_scales ? block[half] : sums[half][tile], a[half][step], b);
        }
        if constexpr (Fragments::block_scales) {
#pragma unroll
          for (int i = 0; i < 8; ++i) sums[i / 4][tile][i % 4] += block[i / 4][i % 4] * scales[i / 2];
        }
      }
    }
    load(codes, stage + 2);
  };
  // Two sets of registers in turn: to hand one on would mean to wait for it.
  for (int stage = first; stage < last; stage += 2) {
    multiply(stage, even);
    if (stage + 1 < last) multiply(stage + 1, odd);
  }

  // Both slices' sums meet in the ring's memory, [columns][block_rows] with the rows turned so that lanes meet in no bank; from
  // there whole rows are written.
  float* together = reinterpret_cast<float*>(ring);
  const auto place = [](int token, int row) { return token * block_rows + (row ^ (token >> 1 & 3) << 3); };
  for (int turn = slices - 1; turn >= 0; --turn) {
    __syncthreads();
    if (slice != turn) continue;
#pragma unroll
    for (int i = 0; i < 2 * token_tiles * 4; ++i) {
      const int half = i / (4 * token_tiles), tile = i / 4 % token_tiles, j = i % 4;
      float& sum = together[place(tile * 8 + 2 * c + j % 2, group * warp_rows + half * 16 + j / 2 * 8 + g)];
      sum = turn == slices - 1 ? sums[half][tile][j] : sum + sums[half][tile][j];
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < tokens * block_rows; i += threads) {
    const int token = i / block_rows, row = static_cast<int>(blockIdx.x) * block_rows + i % block_rows;
    if (row >= rows) continue;
    const float sum = together[place(token, i % block_rows)] * w.row_scale(row);
    if (partials == nullptr) {
      output.put(token, row, sum);
    } else {
      partials[(static_cast<int64_t>(split) * tokens + token) * rows + row] = sum;
    }
  }
}

// partials [splits, tokens, rows] -> y [tokens, rows], in the order of the splits.
template <class T>
__global__ void __launch_bounds__(threads) add_splits(const float* partials, int splits, int tokens, int64_t rows, ProductOutput<T> output) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  const int token = static_cast<int>(blockIdx.y);
  if (row >= rows) return;
  float sum = 0.0f;
  for (int split = 0; split < splits; ++split) sum += partials[(static_cast<int64_t>(split) * tokens + token) * rows + row];
  output.put(token, row, sum);
}

int token_tiles_of(int tokens) { return tokens <= 16 ? 2 : tokens <= 32 ? 4 : 8; }

// As many ranges of k as fill the card, each long enough to be worth its start.
int splits_of(const QuantizedView& w, int tokens, const DeviceLimits& limits) {
  const int64_t blocks = (w.rows + block_rows - 1) / block_rows, stages = (w.cols + stage_width - 1) / stage_width;
  const int64_t wanted = static_cast<int64_t>(limits.multiprocessors) * (token_tiles_of(tokens) <= 4 ? 2 : 1) / blocks;
  return static_cast<int>(std::max<int64_t>(1, std::min(wanted, stages / least_stages)));
}

}  // namespace

size_t batch_linear_scratch_bytes(const QuantizedView& w, int tokens, const DeviceLimits& limits) {
  const int splits = splits_of(w, tokens, limits);
  return splits == 1 ? 0 : static_cast<size_t>(splits) * static_cast<size_t>(tokens) * static_cast<size_t>(w.rows) * sizeof(float);
}

template <class T>
bool batch_linear(cudaStream_t stream, const QuantizedView& w, const T* x, int64_t ldx, int tokens, const ProductOutput<T>& output, const DeviceLimits& limits, void* scratch) {
  if (w.cols % span != 0 || !groups_packable(x, ldx)) return false;
  const int splits = splits_of(w, tokens, limits);
  auto* partials = splits == 1 ? nullptr : static_cast<float*>(scratch);
  const Grid grid{blocks_for(w.rows, block_rows), splits};
  const auto run_tiles = [&]<class Fragments, int token_tiles>(const Fragments& fragments, std::integral_constant<int, token_tiles>) {
    const size_t bytes = Fragments::table_words * sizeof(uint32_t) + size_t{2} * token_tiles * 8 * stage_width * sizeof(T);
    launch(batch_tiles<T, Fragments, token_tiles>, grid, dim3(threads), bytes, stream, fragments, static_cast<int>(w.rows), static_cast<int>(w.cols), x, ldx, tokens, output, partials);
  };
  const auto run = [&](const auto& fragments) {
    switch (token_tiles_of(tokens)) {
      case 2:
        return run_tiles(fragments, std::integral_constant<int, 2>());
      case 4:
        return run_tiles(fragments, std::integral_constant<int, 4>());
      default:
        return run_tiles(fragments, std::integral_constant<int, 8>());
    }
  };
  const bool twice = w.double_quantized();
  switch (w.kind) {
    case Quantization::none:
      return false;
    case Quantization::int8:
      run(Int8Fragments<T>(w));
      break;
    case Quantization::int4:
      twice ? run(FourBitFragments<T, Quantization::int4, true>(w)) : run(FourBitFragments<T, Quantization::int4, false>(w));
      break;
    case Quantization::nf4:
      twice ? run(FourBitFragments<T, Quantization::nf4, true>(w)) : run(FourBitFragments<T, Quantization::nf4, false>(w));
      break;
  }
  if (partials != nullptr) launch(add_splits<T>, Grid{blocks_for(w.rows, threads), tokens}, dim3(threads), 0, stream, partials, splits, tokens, w.rows, output);
  return true;
}

template bool batch_linear(cudaStream_t, const QuantizedView&, const Bf16*, int64_t, int, const ProductOutput<Bf16>&, const DeviceLimits&, void*);
template bool batch_linear(cudaStream_t, const QuantizedView&, const Half*, int64_t, int, const ProductOutput<Half>&, const DeviceLimits&, void*);

}  // namespace llama::cuda
