#include "quantize.h"

#include <cmath>

#include "groups.h"

namespace llama::cuda {

namespace {

constexpr int threads = 256;
constexpr int mean_threads = 1024;

// [rows, cols] -> codes [rows, cols], scales [rows]. Reads the row twice (the second time from L2), writes a byte an element:
// bound by memory. One block per row.
template <class S>
__global__ void __launch_bounds__(threads) int8_rows(const S* weights, int64_t cols, bool packed, uint8_t* codes, float* scales) {
  __shared__ float scratch[warp_size];
  const int64_t row = blockIdx.x;
  const S* from = weights + row * cols;
  float largest = 0.0f, overflow = 0.0f;  // overflow: not a number where a weight is not finite
  for (int64_t k = static_cast<int64_t>(threadIdx.x) * group_width; k < cols; k += threads * group_width) {
    float values[group_width];
    load_group(from + k, cols - k, packed, values);
    for (const float value : values) {
      largest = fmaxf(largest, fabsf(value));
      overflow += 0.0f * value;
    }
  }
  largest = block_max(largest, scratch);
  overflow = block_sum(overflow, scratch);
  const float inverse = largest >= least_scaled ? 127.0f / largest : 0.0f;
  for (int64_t k = static_cast<int64_t>(threadIdx.x) * group_width; k < cols; k += threads * group_width) {
    float values[group_width];
    load_group(from + k, cols - k, packed, values);
    Pack<uint8_t, group_width> group;
    for (int i = 0; i < group_width; ++i) {
      const float code = fminf(127.0f, fmaxf(-127.0f, rintf(values[i] * inverse)));
      group.at[i] = static_cast<uint8_t>(static_cast<int8_t>(code));
    }
    uint8_t* to = codes + row * cols + k;
    if (packed) {
      store_pack<uint8_t, group_width>(to, group);
    } else {
      for (int i = 0; i < group_width; ++i) {
        if (k + i < cols) to[i] = group.at[i];
      }
    }
  }
  if (threadIdx.x == 0) scales[row] = overflow == 0.0f ? largest / 127.0f : NAN;
}

__device__ inline int nf4_code(float value) {
  constexpr Codebook<15> midpoints = nf4_midpoints;
  int code = 0;
#pragma unroll
  for (int i = 0; i < 15; ++i) code += value > midpoints.at[i] ? 1 : 0;
  return code;
}

__device__ inline int int4_code(float value) { return static_cast<int>(fminf(15.0f, fmaxf(0.0f, rintf(value) + 8.0f))); }

// [count] -> codes [count / 2], scales [count / 64]. Reads each weight once and writes half a byte: bound by memory. A thread
// takes eight elements, eight neighbouring lanes a block of 64.
template <class S, Quantization kind>
__global__ void __launch_bounds__(threads) four_bit_blocks(const S* weights, int64_t count, bool packed, uint8_t* codes, float* scales) {
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x) * group_width;
  float values[group_width];
  load_group(weights + first, count - first, packed && first + group_width <= count, values);
  // Compared, not fmaxf: among zeros the sign of the first stays, as in the reference.
  float highest = 0.0f, lowest = 0.0f, overflow = 0.0f;
  for (const float value : values) {
    if (value > highest) highest = value;
    if (value < lowest) lowest = value;
    overflow += 0.0f * value;
  }
  for (int offset = 1; offset < 8; offset *= 2) {
    overflow += __shfl_xor_sync(all_lanes, overflow, offset);
    const float high = __shfl_xor_sync(all_lanes, highest, offset), low = __shfl_xor_sync(all_lanes, lowest, offset);
    if (high > highest) highest = high;
    if (low < lowest) lowest = low;
  }
  float inverse, scale;
  if constexpr (kind == Quantization::nf4) {
    const float largest = highest >= -lowest ? highest : -lowest;
    inverse = largest >= least_scaled ? 1.0f / largest : 0.0f;
    scale = largest;
  } else {
    const float extreme = highest >= -lowest ? highest : lowest;
    inverse = fabsf(extreme) >= least_scaled ? -8.0f / extreme : 0.0f;
    scale = extreme * -0.125f;
  }
  if (first >= count) return;
  if (first % weights_per_scale == 0) scales[first / weights_per_scale] = overflow == 0.0f ? scale : NAN;
  Pack<uint8_t, group_width / 2> group;
  for (int i = 0; i < group_width; i += 2) {
    const float even = values[i] * inverse, odd = values[i + 1] * inverse;
    const int high = kind == Quantization::nf4 ? nf4_code(even) : int4_code(even);
    const int low = kind == Quantization::nf4 ? nf4_code(odd) : int4_code(odd);
    group.at[i / 2] = static_cast<uint8_t>(high << 4 | low);
  }
  if (first + group_width <= count) {
    store_pack<uint8_t, group_width / 2>(codes + first / 2, group);
  } else {
    for (int i = 0; i < group_width / 2; ++i) {
      if (2 * i < count - first) codes[first / 2 + i] = group.at[i];
    }
  }
}

// The mean of values [count] in the reference's order. One block: 1/16 of a byte per weight is too little to be worth two.
__global__ void __launch_bounds__(mean_threads) mean_of(const float* values, int64_t count, float* mean) {
  __shared__ double sums[mean_threads];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += mean_threads) sum += values[i];
  sums[threadIdx.x] = sum;
  __syncthreads();
  for (unsigned half = mean_threads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) *mean = static_cast<float>(sums[0] / static_cast<double>(count));
}

// scales [count] -> codes [count], nested [count / 256]. One block per nested scale.
__global__ void __launch_bounds__(threads) quantize_scales(const float* scales, int64_t count, const float* offset, uint8_t* codes, float* nested) {
  static_assert(threads == scales_per_nested);
  __shared__ float scratch[warp_size];
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  const float deviation = i < count ? scales[i] - *offset : 0.0f;
  const float largest = block_max(fabsf(deviation), scratch);
  const float inverse = largest >= least_scaled ? 1.0f / largest : 0.0f;
  if (threadIdx.x == 0) nested[blockIdx.x] = largest;
  if (i >= count) return;
  const float value = deviation * inverse;
  int code = 0;  // as many as there are midpoints below the value
  for (int step = 128; step > 0; step /= 2) {
    if (value > device_dynamic_midpoints.at[code + step - 1]) code += step;
  }
  codes[i] = static_cast<uint8_t>(code);
}

// codes [rows, cols] -> weights. One block per row: a byte read, sizeof(T) written an element, bound by memory.
template <class T>
__global__ void __launch_bounds__(threads) dequantize_rows(QuantizedView matrix, bool packed, T* weights) {
  const int64_t row = blockIdx.x, cols = matrix.cols;
  const float scale = matrix.scales[row];
  const uint8_t* from = matrix.codes + row * cols;
  for (int64_t k = static_cast<int64_t>(threadIdx.x) * group_width; k < cols; k += threads * group_width) {
    float values[group_width];
    if (packed) {
      const Pack<uint8_t, group_width> group = load_pack<uint8_t, group_width>(from + k);
      for (int i = 0; i < group_width; ++i) values[i] = static_cast<float>(static_cast<int8_t>(group.at[i])) * scale;
    } else {
      for (int i = 0; i < group_width; ++i) values[i] = k + i < cols ? static_cast<float>(static_cast<int8_t>(from[k + i])) * scale : 0.0f;
    }
    store_group(weights + row * cols + k, cols - k, packed, values);
  }
}

// codes [count / 2] -> weights [count]: half a byte read, sizeof(T) written an element, bound by memory. A thread takes eight
// elements, which have one scale.
template <class T>
__global__ void __launch_bounds__(threads) dequantize_blocks(QuantizedView matrix, int64_t count, bool packed, T* weights) {
  __shared__ float value[16];  // 16 banks: lanes that read the same code share a word
  if (threadIdx.x < 16) value[threadIdx.x] = value_of(matrix.kind, static_cast<int>(threadIdx.x));
  __syncthreads();
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x) * group_width;
  if (first >= count) return;
  Pack<uint8_t, group_width / 2> group{};
  if (first + group_width <= count) {
    group = load_pack<uint8_t, group_width / 2>(matrix.codes + first / 2);
  } else {
    for (int i = 0; i < group_width / 2; ++i) {
      if (2 * i < count - first) group.at[i] = matrix.codes[first / 2 + i];
    }
  }
  const float scale = scale_of(matrix, first / weights_per_scale);
  float values[group_width];
  for (int i = 0; i < group_width; i += 2) {
    values[i] = value[group.at[i / 2] >> 4] * scale;
    values[i + 1] = value[group.at[i / 2] & 15] * scale;
  }
  store_group(weights + first, count - first, packed && first + group_width <= count, values);
}

}  // namespace

size_t quantize_scratch_bytes(const QuantizedView& to) {
  return to.double_quantized() ? static_cast<size_t>(to.blocks()) * sizeof(float) : 0;
}

template <class S>
void quantize(cudaStream_t stream, const S* weights, const QuantizedView& to, void* scratch) {
  if (to.kind == Quantization::int8) {
    const bool packed = groups_packable(weights, to.cols) && packable(to.codes, to.cols, to.cols, group_width);
    launch(int8_rows<S>, Grid{to.rows}, dim3(threads), 0, stream, weights, to.cols, packed, to.codes, to.scales);
    return;
  }
  const int64_t count = to.rows * to.cols;
  const bool twice = to.double_quantized();
  float* scales = twice ? static_cast<float*>(scratch) : to.scales;
  const auto kernel = to.kind == Quantization::nf4 ? four_bit_blocks<S, Quantization::nf4> : four_bit_blocks<S, Quantization::int4>;
  launch(kernel, Grid{blocks_for(count, threads * group_width)}, dim3(threads), 0, stream, weights, count, groups_packable(weights, 8), to.codes, scales);
  if (!twice) return;
  launch(mean_of, Grid{1}, dim3(mean_threads), 0, stream, scales, to.blocks(), to.scale_offset);
  launch(quantize_scales, Grid{blocks_for(to.blocks(), threads)}, dim3(threads), 0, stream, scales, to.blocks(), to.scale_offset, to.scale_codes, to.nested_scales);
}

template <class T>
void dequantize(cudaStream_t stream, const QuantizedView& matrix, T* weights) {
  if (matrix.kind == Quantization::int8) {
    const bool packed = groups_packable(weights, matrix.cols) && packable(matrix.codes, matrix.cols, matrix.cols, group_width);
    launch(dequantize_rows<T>, Grid{matrix.rows}, dim3(threads), 0, stream, matrix, packed, weights);
    return;
  }
  const int64_t count = matrix.rows * matrix.cols;
  launch(dequantize_blocks<T>, Grid{blocks_for(count, threads * group_width)}, dim3(threads), 0, stream, matrix, count, groups_packable(weights, 8), weights);
}

template void quantize(cudaStream_t, const float*, const QuantizedView&, void*);
template void quantize(cudaStream_t, const Bf16*, const QuantizedView&, void*);
template void quantize(cudaStream_t, const Half*, const QuantizedView&, void*);
template void dequantize(cudaStream_t, const QuantizedView&, float*);
template void dequantize(cudaStream_t, const QuantizedView&, Bf16*);
template void dequantize(cudaStream_t, const QuantizedView&, Half*);

}  // namespace llama::cuda
