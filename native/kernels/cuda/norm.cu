#include "norm.h"

#include "packs.h"

namespace llama::cuda {
namespace {

// A row's packs of 4 that a thread keeps in registers between its two passes: widths up to 16,384 are read once.
constexpr int held = 4;

int threads_for(int64_t packs) {
  const int64_t wanted = (packs + held - 1) / held;
  return static_cast<int>(std::clamp<int64_t>((wanted + warp_size - 1) / warp_size * warp_size, warp_size, 1024));
}

// x [tokens, width], w [width] -> y [tokens, width], a block per token: 4 + sizeof(T) bytes an element, w from the caches;
// bound by memory.
template <class T, int N>
__global__ void __launch_bounds__(1024) rms_norm_kernel(const float* x, int64_t ldx, const float* w, float eps, int64_t width, T* y, int64_t ldy, float* inverse_rms) {
  __shared__ float scratch[warp_size];
  const int64_t token = blockIdx.x, packs = width / N, stride = blockDim.x;
  const float* row = x + token * ldx;
  T* to = y + token * ldy;
  float values[held][N] = {};
  for (int i = 0; i < held; ++i) {
    const int64_t pack = threadIdx.x + i * stride;
    if (pack < packs) load_floats(row + pack * N, values[i]);
  }
  float squares = 0;
  for (int i = 0; i < held; ++i) {
    for (int j = 0; j < N; ++j) squares += values[i][j] * values[i][j];
  }
  for (int64_t pack = threadIdx.x + held * stride; pack < packs; pack += stride) {
    float more[N];
    load_floats(row + pack * N, more);
    for (int j = 0; j < N; ++j) squares += more[j] * more[j];
  }
  const float r = norm_factor(1.0f / sqrtf(block_sum(squares, scratch) / static_cast<float>(width) + eps));
  if (threadIdx.x == 0 && inverse_rms != nullptr) inverse_rms[token] = r;

  const auto write = [&](int64_t pack, float (&of)[N]) {
    float weights[N];
    load_floats(w + pack * N, weights);
    for (int j = 0; j < N; ++j) of[j] = of[j] * r * weights[j];
    store_floats(to + pack * N, of);
  };
  for (int i = 0; i < held; ++i) {
    const int64_t pack = threadIdx.x + i * stride;
    if (pack < packs) write(pack, values[i]);
  }
  for (int64_t pack = threadIdx.x + held * stride; pack < packs; pack += stride) {
    float more[N];
    load_floats(row + pack * N, more);
    write(pack, more);
  }
}

// g, x, dx [tokens, width], a block per token: sizeof(T) + 12 bytes an element, w from the caches; bound by memory.
template <class T, int N>
__global__ void __launch_bounds__(1024) rms_norm_backward_kernel(const T* g, int64_t ldg, const float* x, int64_t ldx, const float* w, const float* inverse_rms, int64_t width, float* dx, int64_t lddx) {
  __shared__ float scratch[warp_size];
  const int64_t token = blockIdx.x, packs = width / N, stride = blockDim.x;
  const T* gradient = g + token * ldg;
  const float* row = x + token * ldx;
  float* to = dx + token * lddx;
  const auto load = [&](int64_t pack, float (&scaled)[N], float (&values)[N]) {
    float weights[N];
    load_floats(gradient + pack * N, scaled);
    load_floats(row + pack * N, values);
    load_floats(w + pack * N, weights);
    for (int j = 0; j < N; ++j) scaled[j] *= weights[j];
  };
  float scaled[held][N] = {}, values[held][N] = {};
  for (int i = 0; i < held; ++i) {
    const int64_t pack = threadIdx.x + i * stride;
    if (pack < packs) load(pack, scaled[i], values[i]);
  }
  float dot = 0;
  for (int i = 0; i < held; ++i) {
    for (int j = 0; j < N; ++j) dot += scaled[i][j] * values[i][j];
  }
  for (int64_t pack = threadIdx.x + held * stride; pack < packs; pack += stride) {
    float more_scaled[N], more[N];
    load(pack, more_scaled, more);
    for (int j = 0; j < N; ++j) dot += more_scaled[j] * more[j];
  }
  const float r = inverse_rms[token];
  const float shrink = r * r * r * (block_sum(dot, scratch) / static_cast<float>(width));

  const auto write = [&](int64_t pack, const float (&of_scaled)[N], const float (&of)[N]) {
    float sums[N];
    load_floats(to + pack * N, sums);
    for (int j = 0; j < N; ++j) sums[j] += r * of_scaled[j] - of[j] * shrink;
    store_floats(to + pack * N, sums);
  };
  for (int i = 0; i < held; ++i) {
    const int64_t pack = threadIdx.x + i * stride;
    if (pack < packs) write(pack, scaled[i], values[i]);
  }
  for (int64_t pack = threadIdx.x + held * stride; pack < packs; pack += stride) {
    float more_scaled[N], more[N];
    load(pack, more_scaled, more);
    write(pack, more_scaled, more);
  }
}

}  // namespace

template <class T>
void rms_norm(cudaStream_t stream, const float* x, int64_t ldx, const float* w, float eps, int64_t tokens, int64_t width, T* y, int64_t ldy, float* inverse_rms) {
  const bool packed = packable(x, ldx, width, 4) && packable(w, width, width, 4) && packable(y, ldy, width, 4);
  by_packs<4>(packed, [&](auto n) {
    launch(rms_norm_kernel<T, n>, Grid{tokens}, dim3(threads_for(width / n)), 0, stream, x, ldx, w, eps, width, y, ldy, inverse_rms);
  });
}

template <class T>
void rms_norm_backward(cudaStream_t stream, const T* g, int64_t ldg, const float* x, int64_t ldx, const float* w, const float* inverse_rms, int64_t tokens, int64_t width, float* dx, int64_t lddx) {
  const bool packed = packable(g, ldg, width, 4) && packable(x, ldx, width, 4) && packable(w, width, width, 4) && packable(dx, lddx, width, 4);
  by_packs<4>(packed, [&](auto n) {
    launch(rms_norm_backward_kernel<T, n>, Grid{tokens}, dim3(threads_for(width / n)), 0, stream, g, ldg, x, ldx, w, inverse_rms, width, dx, lddx);
  });
}

#define LLAMA_INSTANTIATE(T)                                                                                                  \
  template void rms_norm(cudaStream_t, const float*, int64_t, const float*, float, int64_t, int64_t, T*, int64_t, float*);   \
  template void rms_norm_backward(cudaStream_t, const T*, int64_t, const float*, int64_t, const float*, const float*, int64_t, \
                                  int64_t, float*, int64_t);
LLAMA_INSTANTIATE(float)
LLAMA_INSTANTIATE(Bf16)
LLAMA_INSTANTIATE(Half)
#undef LLAMA_INSTANTIATE

}  // namespace llama::cuda
