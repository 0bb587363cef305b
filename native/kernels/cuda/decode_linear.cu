#include "decode_linear.h"

#include <type_traits>

#include "decode_tensor.h"
#include "tensor_core.h"
#include "weight_packs.h"

namespace llama::cuda {

namespace {

constexpr int warps = 8;
constexpr int threads = warps * warp_size;
// Rows of a warp, which share what is read of x: as many as the registers hold beside eight tokens' sums.
template <class Packs>
constexpr int rows_per_warp = Packs::each == group_width ? 4 : 2;

// What a block does before its products: the tokens' RMS, and in block 0 the rows that are made, for those who want them.
template <class T>
__device__ inline void begin(const DecodeInput<T>& input, int64_t cols, int tokens, float* inverse) {
  __shared__ float scratch[warps * most_decode_tokens];
  const bool first = blockIdx.x == 0;
  if (input.prologue == Prologue::rms_norm) find_inverse_rms(input, cols, tokens, first, scratch, inverse);
  if (!first || input.made == nullptr) return;
  for (int token = 0; token < tokens; ++token) {
    for (int64_t k = static_cast<int64_t>(threadIdx.x) * group_width; k < cols; k += threads * group_width) {
      float values[group_width];
      input_group(input, cols, token, k, inverse[token], values);
      keep_group(input, cols, token, k, values);
    }
  }
}

// W [rows, cols] (its bytes once), x [tokens, cols] (once per warp, from the first-level cache), y [tokens, rows]: bound by
// memory. A warp takes a few rows, its lanes neighbouring packs of them.
template <class T, class Packs>
__global__ void __launch_bounds__(threads, Packs::each == group_width ? 2 : 1) decode_rows(Packs w, int rows, int cols, DecodeInput<T> input, int tokens, ProductOutput<T> output) {
  __shared__ float inverse[most_decode_tokens];
  __shared__ float table[16];
  if (threadIdx.x < 16) table[threadIdx.x] = w.code_value(static_cast<int>(threadIdx.x));
  begin(input, cols, tokens, inverse);
  __syncthreads();
  constexpr int row_count = rows_per_warp<Packs>;
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int first_row = (static_cast<int>(blockIdx.x) * warps + static_cast<int>(threadIdx.x) / warp_size) * row_count;
  if (first_row >= rows) return;
  float sums[most_decode_tokens][row_count] = {};
  for (int k = lane * Packs::each; k < cols; k += warp_size * Packs::each) {
    typename Packs::Row packs[row_count];
#pragma unroll
    for (int r = 0; r < row_count; ++r) packs[r] = w.load(static_cast<int64_t>(min(first_row + r, rows - 1)) * cols, k);
#pragma unroll
    for (int index = 0; index < Packs::each / group_width; ++index) {
      float weights[row_count][group_width];
#pragma unroll
      for (int r = 0; r < row_count; ++r) w.group(packs[r], index, table, weights[r]);
#pragma unroll
      for (int token = 0; token < most_decode_tokens; ++token) {
        if (token >= tokens) continue;
        float values[group_width];
        input_group(input, cols, token, k + index * group_width, inverse[token], values);
#pragma unroll
        for (int r = 0; r < row_count; ++r) {
          for (int i = 0; i < group_width; ++i) sums[token][r] += weights[r][i] * values[i];
        }
      }
    }
  }
#pragma unroll
  for (int token = 0; token < most_decode_tokens; ++token) {
    if (token >= tokens) continue;
#pragma unroll
    for (int r = 0; r < row_count; ++r) {
      const float sum = warp_sum(sums[token][r]);
      if (lane == 0 && first_row + r < rows) output.put(token, first_row + r, sum * w.row_scale(first_row + r));
    }
  }
}

// The same for any layout, element by element. A warp takes one row.
template <class T>
__global__ void __launch_bounds__(threads, 1) decode_elements(WeightView w, DecodeInput<T> input, int tokens, ProductOutput<T> output) {
  __shared__ float inverse[most_decode_tokens];
  begin(input, w.cols, tokens, inverse);
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * warps + static_cast<int>(threadIdx.x) / warp_size;
  if (row >= w.rows) return;
  float sums[most_decode_tokens] = {};
  for (int64_t k = lane * group_width; k < w.cols; k += warp_size * group_width) {
    float weights[group_width];
    for (int i = 0; i < group_width; ++i) weights[i] = k + i < w.cols ? weight_at(w, row, k + i) : 0.0f;
#pragma unroll
    for (int token = 0; token < most_decode_tokens; ++token) {
      if (token >= tokens) continue;
      float values[group_width];
      input_group(input, w.cols, token, k, inverse[token], values);
      for (int i = 0; i < group_width; ++i) sums[token] += weights[i] * values[i];
    }
  }
#pragma unroll
  for (int token = 0; token < most_decode_tokens; ++token) {
    if (token >= tokens) continue;
    const float sum = warp_sum(sums[token]);
    if (lane == 0) output.put(token, row, sum);
  }
}

// Whether the weights were read in packs, as float32 activations can.
template <class T>
bool decode_packs(cudaStream_t stream, const WeightView& w, const DecodeInput<T>& input, int tokens, const ProductOutput<T>& output) {
  const auto run = [&](const auto& packs) {
    using Packs = std::decay_t<decltype(packs)>;
    if (w.cols % Packs::each != 0) return false;
    launch(decode_rows<T, Packs>, Grid{blocks_for(w.rows, warps * rows_per_warp<Packs>)}, dim3(threads), 0, stream, packs, static_cast<int>(w.rows), static_cast<int>(w.cols), input, tokens, output);
    return true;
  };
  switch (w.quantized.kind) {
    case Quantization::none: {
      const auto* values = static_cast<const float*>(w.values);
      return w.type == StorageType::f32 && packable(values, w.cols, w.cols, pack_width<float>) && run(FloatPacks{values});
    }
    case Quantization::int8:
      return packable(w.quantized.codes, w.cols, w.cols, 16) && run(Int8Packs{w.quantized});
    case Quantization::int4:
    case Quantization::nf4:
      return w.cols % weights_per_scale == 0 && run(FourBitPacks{w.quantized});
  }
  return false;
}

}  // namespace

template <class T>
bool decode_linear(cudaStream_t stream, const WeightView& w, const DecodeInput<T>& input, const DecodeTerms<T>& terms, int tokens, const ProductOutput<T>& output, const DeviceLimits& limits) {
  DecodeInput<T> rows = input;
  rows.packed = input.packable(w.cols);
  const bool complete = terms.rows == nullptr;
  if constexpr (is_16_bit<T>) {
    if (decode_tensor(stream, w, input, terms, tokens, output, limits)) return true;
  } else {
    if (decode_packs(stream, w, rows, tokens, output)) return complete;
  }
  launch(decode_elements<T>, Grid{blocks_for(w.rows, warps)}, dim3(threads), 0, stream, w, rows, tokens, output);
  return complete;
}

template bool decode_linear(cudaStream_t, const WeightView&, const DecodeInput<float>&, const DecodeTerms<float>&, int, const ProductOutput<float>&, const DeviceLimits&);
template bool decode_linear(cudaStream_t, const WeightView&, const DecodeInput<Bf16>&, const DecodeTerms<Bf16>&, int, const ProductOutput<Bf16>&, const DeviceLimits&);
template bool decode_linear(cudaStream_t, const WeightView&, const DecodeInput<Half>&, const DecodeTerms<Half>&, int, const ProductOutput<Half>&, const DeviceLimits&);

}  // namespace llama::cuda
