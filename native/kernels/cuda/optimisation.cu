#include "optimisation.h"

#include <cmath>

#include "block_sum.h"
#include "packs.h"

namespace llama::cuda {
namespace {

constexpr int threads = 256;
constexpr int64_t most_blocks = 1024;
constexpr int batch = 4;  // packs under way together

int64_t sum_blocks(int64_t n) { return std::clamp<int64_t>(n / (threads * batch * 4), 1, most_blocks); }

// x [n] -> partial [blocks]: 4 bytes an element, bound by memory (on cards with few float64 units by their additions, at
// about the same time). The last elements that fill no pack are the last block's.
template <int N>
__global__ void __launch_bounds__(threads) square_kernel(const float* x, int64_t n, double* partial) {
  __shared__ double scratch[warp_size];
  const int64_t packs = n / N, stride = int64_t{gridDim.x} * blockDim.x;
  double sum = 0;
  for (int64_t first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; first < packs; first += batch * stride) {
    float values[batch][N] = {};
    for (int i = 0; i < batch; ++i) {
      if (first + i * stride < packs) load_floats(x + (first + i * stride) * N, values[i]);
    }
    for (int i = 0; i < batch; ++i) {
      for (int j = 0; j < N; ++j) sum += static_cast<double>(values[i][j]) * static_cast<double>(values[i][j]);
    }
  }
  const int64_t last = packs * N + threadIdx.x;
  if (blockIdx.x + 1 == gridDim.x && last < n) sum += static_cast<double>(x[last]) * static_cast<double>(x[last]);
  sum = block_sum_double(sum, scratch);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(threads) sum_partials_kernel(const double* partial, int count, double* result) {
  __shared__ double scratch[warp_size];
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) sum += partial[i];
  sum = block_sum_double(sum, scratch);
  if (threadIdx.x == 0) *result = sum;
}

// Float32 forms that keep what float64 settings say: 1 - beta, not beta, is what is rounded.
struct Update {
  float gradient_scale, one_minus_beta1, one_minus_beta2, inverse_correction1, inverse_correction2, epsilon, learning_rate, weight_decay;
};

Update update_of(const AdamW& settings) {
  const auto steps = static_cast<double>(settings.step);
  return {static_cast<float>(settings.gradient_scale),
          static_cast<float>(1.0 - settings.beta1),
          static_cast<float>(1.0 - settings.beta2),
          static_cast<float>(1.0 / (1.0 - std::pow(settings.beta1, steps))),
          static_cast<float>(1.0 / (1.0 - std::pow(settings.beta2, steps))),
          static_cast<float>(settings.epsilon),
          static_cast<float>(settings.learning_rate),
          static_cast<float>(settings.weight_decay)};
}

__device__ inline float updated(float parameter, float gradient, float& m, float& v, const Update& update) {
  const float g = gradient * update.gradient_scale;
  m += update.one_minus_beta1 * (g - m);
  v += update.one_minus_beta2 * (g * g - v);
  const float step = m * update.inverse_correction1 / (sqrtf(v * update.inverse_correction2) + update.epsilon);
  return parameter - update.learning_rate * (step + update.weight_decay * parameter);
}

// parameter, gradient, m, v, copy [n]: 28 + sizeof(T) bytes an element; bound by memory. A thread past the last pack has one
// of the elements that fill none.
template <class T, int N>
__global__ void __launch_bounds__(threads) adamw_kernel(float* parameter, const float* gradient, float* m, float* v, int64_t n, Update update, T* copy) {
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, packs = n / N;
  const auto apply = [&](int64_t at, auto width) {
    constexpr int count = width.value;
    float p[count], g[count], first[count], second[count];
    load_floats(parameter + at, p);
    load_floats(gradient + at, g);
    load_floats(m + at, first);
    load_floats(v + at, second);
    for (int i = 0; i < count; ++i) p[i] = updated(p[i], g[i], first[i], second[i], update);
    store_floats(parameter + at, p);
    store_floats(m + at, first);
    store_floats(v + at, second);
    if (copy != nullptr) store_floats(copy + at, p);
  };
  if (index < packs) {
    apply(index * N, std::integral_constant<int, N>{});
  } else if (packs * N + (index - packs) < n) {
    apply(packs * N + (index - packs), std::integral_constant<int, 1>{});
  }
}

// Whether packs of 4 from here on are aligned; how many there are does not matter.
template <class T>
bool aligned(const T* pointer) {
  return packable(pointer, 4, 4, 4);
}

}  // namespace

size_t sum_squares_scratch_bytes(int64_t n) { return static_cast<size_t>(sum_blocks(n)) * sizeof(double); }

void sum_squares(cudaStream_t stream, const float* x, int64_t n, double* result, void* scratch) {
  auto* partial = static_cast<double*>(scratch);
  const int64_t blocks = sum_blocks(n);
  by_packs<4>(aligned(x), [&](auto width) {
    launch(square_kernel<width>, Grid{blocks}, dim3(threads), 0, stream, x, n, partial);
  });
  launch(sum_partials_kernel, Grid{1}, dim3(threads), 0, stream, partial, static_cast<int>(blocks), result);
}

template <class T>
void adamw(cudaStream_t stream, float* parameter, const float* gradient, float* m, float* v, int64_t n, const AdamW& settings, T* copy) {
  const bool packed = aligned(parameter) && aligned(gradient) && aligned(m) && aligned(v) && aligned(copy);
  by_packs<4>(packed, [&](auto width) {
    const int64_t wanted = n / width + n % width;
    launch(adamw_kernel<T, width>, Grid{blocks_for(wanted, threads)}, dim3(threads), 0, stream, parameter, gradient, m, v, n, update_of(settings), copy);
  });
}

template void adamw(cudaStream_t, float*, const float*, float*, float*, int64_t, const AdamW&, float*);
template void adamw(cudaStream_t, float*, const float*, float*, float*, int64_t, const AdamW&, Bf16*);
template void adamw(cudaStream_t, float*, const float*, float*, float*, int64_t, const AdamW&, Half*);

}  // namespace llama::cuda
