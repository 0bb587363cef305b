#include "decode_tensor.h"

#include <algorithm>

#include "weight_fragments.h"

namespace llama::cuda {

namespace {

constexpr int warps = 16;
constexpr int threads = warps * warp_size;
constexpr int tile_rows = 16;
constexpr int depth = 4;  // rounds of weights under way in every lane; a lane of four has one round's scale
constexpr int partial_size = tile_rows * most_decode_tokens;

// Packs of eight elements of x in shared memory: two tokens read at once must not meet in a bank.
template <class Fragments>
__device__ inline unsigned place_of(unsigned pack, int token) {
  return pack ^ static_cast<unsigned>(token & 1) * (Fragments::each == 8 ? 4 : 1);
}

// How many elements of x a token takes in shared memory.
inline int64_t staged_width(int64_t cols) { return (cols + 63) / 64 * 64; }

// All of x, made if need be, as T, with zeros up to `width`. Every block does so for itself; block 0 also keeps what was made.
// Four groups are loaded before the first is needed.
template <bool packed, class T, class Fragments>
__device__ inline void stage(const DecodeInput<T>& input, int cols, int width, int tokens, const float* inverse, T* staged) {
  constexpr int at_once = 4;
  const bool keeps = blockIdx.x == 0 && input.made != nullptr;
  const int packs = width / group_width, count = tokens * packs;
  for (int first = static_cast<int>(threadIdx.x); first < count; first += at_once * threads) {
    InputGroup groups[at_once] = {};
#pragma unroll
    for (int j = 0; j < at_once; ++j) {
      const int i = first + j * threads, k = i % packs * group_width;
      if (i < count && k < cols) load_input(input, cols, i / packs, k, packed, groups[j]);
    }
#pragma unroll
    for (int j = 0; j < at_once; ++j) {
      const int i = first + j * threads, token = i / packs, pack = i % packs;
      if (i >= count) break;
      float values[group_width];
      make_input(input, groups[j], inverse[token], values);
      if (keeps && pack * group_width < cols) keep_group(input, cols, token, pack * group_width, values);
      Pack<uint32_t, 4> words;
#pragma unroll
      for (int p = 0; p < 4; ++p) words.at[p] = pair_of<T>(values[2 * p], values[2 * p + 1]);
      Fragments::arrange(words);
      T* to = staged + token * width + place_of<Fragments>(static_cast<unsigned>(pack), token) * group_width;
      store_pack<uint32_t, 4>(reinterpret_cast<uint32_t*>(to), words);
    }
  }
}

// W [rows, cols] (its bytes once), x [tokens, cols] (once per multiprocessor), y [tokens, rows]: bound by memory. A block
// takes tiles of 16 rows in turn, its 16 warps interleaved shares of k: round r of warp w is the row's span (16 r + w). While a round is
// multiplied, the next three are on their way, across the ends of tiles, and the first are asked for before x is made.
// The shares are summed in the order of the warps.
template <class T, class Fragments, bool staged>
__global__ void __launch_bounds__(threads, 1) decode_tiles(Fragments w, int rows, int cols, int width, DecodeInput<T> input, DecodeTerms<T> terms, int tokens, ProductOutput<T> output) {
  LLAMA_SHARED(uint32_t, table);
  float* partials = reinterpret_cast<float*>(table + Fragments::table_words);  // [2][warps][16 rows][8 tokens]
  T* x = reinterpret_cast<T*>(partials + 2 * warps * partial_size);            // [tokens][width]
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int g = lane / 4, c = lane % 4;
  const int tiles = (rows + tile_rows - 1) / tile_rows, step_tiles = static_cast<int>(gridDim.x);
  // Along k everything is counted in groups of eight elements.
  constexpr unsigned each = Fragments::each / group_width, stride = warps * 4 * each;
  const unsigned length = static_cast<unsigned>(cols) / group_width, passes = (length + depth * stride - 1) / (depth * stride);
  const unsigned first = static_cast<unsigned>(warp) * 4 * each, own = static_cast<unsigned>(c) * each;
  const auto place_at = [&](int tile, int row, unsigned group) { return w.at(static_cast<unsigned>(min(tile * tile_rows + row, rows - 1)) * length + group, c); };

  __shared__ SharedTerms<T> shared_terms;
  const bool adapted = terms.rows != nullptr, has_term = adapted && static_cast<int>(threadIdx.x) < tokens * most_decode_terms;
  typename SharedTerms<T>::Term term{};
  if (has_term) term = load_term(terms, static_cast<int>(threadIdx.x));

  typename Fragments::Row low[depth] = {}, high[depth] = {};
  typename Fragments::Scale low_scale{}, high_scale{};  // of round c
  int tile = static_cast<int>(blockIdx.x);
  auto low_place = place_at(tile, g, first), high_place = place_at(tile, g + 8, first);
#pragma unroll
  for (unsigned j = 0; j < depth; ++j) {
    if (first + j * stride + own < length) low[j] = w.load(low_place, j * stride), high[j] = w.load(high_place, j * stride);
  }
  const unsigned own_round = static_cast<unsigned>(c) * stride;
  if (first + own_round < length) low_scale = w.load_scale(low_place, own_round), high_scale = w.load_scale(high_place, own_round);
  w.fill_table(table);
  __shared__ float inverse[most_decode_tokens];
  if (has_term) (&shared_terms.of[0][0])[threadIdx.x] = term;
  if constexpr (staged) {
    if (input.prologue == Prologue::rms_norm) {
      find_inverse_rms(input, cols, tokens, blockIdx.x == 0, partials, inverse);
    } else if (adapted) {
      __syncthreads();
    }
    if (adapted) prefetch_share(terms, shared_terms, cols, tokens);
    if (input.packed) {
      stage<true, T, Fragments>(input, cols, width, tokens, inverse, x);
    } else {
      stage<false, T, Fragments>(input, cols, width, tokens, inverse, x);
    }
  }
  __syncthreads();
  if (adapted) {
    shrink(terms, shared_terms, input, cols, tokens, inverse, partials, static_cast<int>(blockIdx.x), step_tiles);
    arrive(terms.meeting);
  }

  // Where the lane reads x in the first round. Rounds are whole multiples of the bank pattern apart.
  const int token = min(g, tokens - 1);  // columns past the last token repeat it and are not read
  const T* own_x[each];
#pragma unroll
  for (unsigned i = 0; i < each; ++i) {
    own_x[i] = staged ? x + token * width + place_of<Fragments>(first + own + i, token) * group_width : input.x + token * input.ld + (first + own + i) * group_width;
  }

  // The element of a tile that the thread writes.
  const int row = static_cast<int>(threadIdx.x) / most_decode_tokens, column = static_cast<int>(threadIdx.x) % most_decode_tokens;
  bool waits = adapted;
  for (int parity = 0; tile < tiles; tile += step_tiles, parity ^= 1) {
    const int out = tile * tile_rows + row;
    const bool writes = row < tile_rows && column < tokens && out < rows;
    if (adapted && writes) prefetch_terms(shared_terms, column, out);
    float sums[4] = {};
    for (unsigned pass = 0; pass < passes; ++pass) {
      const bool last = pass + 1 == passes;
      const unsigned here = pass * depth * stride, next = last ? 0 : here + depth * stride;
      const int next_tile = last ? tile + step_tiles : tile;
      const unsigned next_length = next_tile < tiles ? length : 0;
      low_place = place_at(next_tile, g, next + first);
      high_place = place_at(next_tile, g + 8, next + first);
      const float low_scales = w.value_of_scale(low_scale), high_scales = w.value_of_scale(high_scale);
      if (next + first + own_round < next_length) low_scale = w.load_scale(low_place, own_round), high_scale = w.load_scale(high_place, own_round);
#pragma unroll
      for (unsigned j = 0; j < depth; ++j) {
        const unsigned at = here + j * stride;
        if (at + first < length) {
          uint32_t pairs[Fragments::each / 2];
#pragma unroll
          for (unsigned i = 0; i < each; ++i) {
            Pack<uint32_t, 4> words{};
            if (staged || at + first + own < length) words = load_pack<uint32_t, 4>(reinterpret_cast<const uint32_t*>(own_x[i] + at * group_width));
            if constexpr (!staged) w.arrange(words);
#pragma unroll
            for (unsigned p = 0; p < 4; ++p) pairs[4 * i + p] = words.at[p];
          }
          float block[4] = {};
#pragma unroll
          for (int step = 0; step < Fragments::steps; ++step) {
            uint32_t a[4];
            w.pairs(low[j], step, table, a[0], a[2]);
            w.pairs(high[j], step, table, a[1], a[3]);
            const uint32_t b[2] = {pairs[2 * step], pairs[2 * step + 1]};
            mma_16x8x16<T>(Fragments::block_scales ? block : sums, a, b);
          }
          if constexpr (Fragments::block_scales) {
            const float low_factor = of_lane(low_scales, static_cast<int>(j)), high_factor = of_lane(high_scales, static_cast<int>(j));
#pragma unroll
            for (int i = 0; i < 4; ++i) sums[i] += block[i] * (i < 2 ? low_factor : high_factor);
          }
        }
        // Past the end the old weights stay: x has zeros there, or the round is left out.
        if (next + j * stride + first + own < next_length) low[j] = w.load(low_place, j * stride), high[j] = w.load(high_place, j * stride);
      }
    }
    // Two tiles' partial sums alternate, so that one barrier a tile is enough.
    float* tile_partials = partials + parity * warps * partial_size;
    float* mine = tile_partials + warp * partial_size + 2 * c;
    store_pack<float, 2>(mine + g * most_decode_tokens, {sums[0], sums[1]});
    store_pack<float, 2>(mine + (g + 8) * most_decode_tokens, {sums[2], sums[3]});
    __syncthreads();
    if (waits && !wait_for_all(terms.meeting)) shrink_alone(terms, shared_terms, input, cols, tokens, inverse, partials + warps * partial_size);
    waits = false;
    if (writes) {
      float sum = 0.0f;
      for (int i = 0; i < warps; ++i) sum += tile_partials[i * partial_size + static_cast<int>(threadIdx.x)];
      sum *= w.row_scale(out);
      if (adapted) sum += low_rank_sum(terms, shared_terms, column, out);
      output.put(column, out, sum);
    }
  }
}

// The rows alone, one block per token, where a block has no room for all of them.
template <class T>
__global__ void __launch_bounds__(threads) make_rows(DecodeInput<T> input, int cols) {
  __shared__ float scratch[warps * most_decode_tokens];
  __shared__ float inverse[most_decode_tokens];
  const int64_t token = blockIdx.x;
  if (input.prologue == Prologue::rms_norm) {
    input.residual += token * input.ld;
    if (input.inverse_rms != nullptr) input.inverse_rms += token;
    find_inverse_rms(input, cols, 1, true, scratch, inverse);
  } else {
    input.x += token * input.ld;
    input.up += token * input.ld;
  }
  input.made += token * input.ld_made;
  for (int k = static_cast<int>(threadIdx.x) * group_width; k < cols; k += threads * group_width) {
    float values[group_width];
    input_group(input, cols, 0, k, inverse[0], values);
    keep_group(input, cols, 0, k, values);
  }
}

template <class T, class Fragments>
bool launch_decode(cudaStream_t stream, const Fragments& fragments, const WeightView& w, DecodeInput<T> input, const DecodeTerms<T>& terms, int tokens, const ProductOutput<T>& output, const DeviceLimits& limits) {
  input.packed = input.packable(w.cols);
  const auto cols = static_cast<int>(w.cols);
  const int64_t width = staged_width(w.cols);
  const size_t fixed = Fragments::table_words * sizeof(uint32_t) + 2 * warps * partial_size * sizeof(float);
  const size_t bytes = fixed + static_cast<size_t>(tokens * width) * sizeof(T);
  const int64_t tiles = (w.rows + tile_rows - 1) / tile_rows;
  const Grid grid{std::min<int64_t>(tiles, limits.multiprocessors)};
  constexpr size_t static_bytes = 1024 + sizeof(SharedTerms<T>);  // the kernel's own, and what the driver keeps
  if (bytes + static_bytes <= limits.shared_bytes) {
    launch(decode_tiles<T, Fragments, true>, grid, dim3(threads), bytes, stream, fragments, static_cast<int>(w.rows), cols, static_cast<int>(width), input, terms, tokens, output);
    return true;
  }
  DecodeInput<T> made = input;
  if (input.prologue != Prologue::none) {
    if (input.made == nullptr) return false;
    made = DecodeInput<T>::plain(input.made, input.ld_made);
    made.packed = made.packable(w.cols);
  }
  if (!groups_packable(made.x, made.ld)) return false;
  if (input.prologue != Prologue::none) launch(make_rows<T>, Grid{tokens}, dim3(threads), 0, stream, input, cols);
  launch(decode_tiles<T, Fragments, false>, grid, dim3(threads), fixed, stream, fragments, static_cast<int>(w.rows), cols, 0, made, terms, tokens, output);
  return true;
}

}  // namespace

template <class T>
bool decode_tensor(cudaStream_t stream, const WeightView& w, const DecodeInput<T>& input, const DecodeTerms<T>& terms, int tokens, const ProductOutput<T>& output, const DeviceLimits& limits) {
  const QuantizedView& matrix = w.quantized;
  const auto run = [&](const auto& fragments) { return launch_decode(stream, fragments, w, input, terms, tokens, output, limits); };
  switch (matrix.kind) {
    case Quantization::none: {
      const auto* values = static_cast<const T*>(w.values);
      return w.type == storage_of<T> && packable(values, w.cols, w.cols, group_width) && run(PlainFragments<T>(values));
    }
    case Quantization::int8:
      return packable(matrix.codes, w.cols, w.cols, 16) && run(Int8Fragments<T>(matrix));
    case Quantization::int4:
      if (w.cols % weights_per_scale != 0) return false;
      return matrix.double_quantized() ? run(FourBitFragments<T, Quantization::int4, true>(matrix)) : run(FourBitFragments<T, Quantization::int4, false>(matrix));
    case Quantization::nf4:
      if (w.cols % weights_per_scale != 0) return false;
      return matrix.double_quantized() ? run(FourBitFragments<T, Quantization::nf4, true>(matrix)) : run(FourBitFragments<T, Quantization::nf4, false>(matrix));
  }
  return false;
}

template bool decode_tensor(cudaStream_t, const WeightView&, const DecodeInput<Bf16>&, const DecodeTerms<Bf16>&, int, const ProductOutput<Bf16>&, const DeviceLimits&);
template bool decode_tensor(cudaStream_t, const WeightView&, const DecodeInput<Half>&, const DecodeTerms<Half>&, int, const ProductOutput<Half>&, const DeviceLimits&);

}  // namespace llama::cuda
