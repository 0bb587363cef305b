#include "loss.h"

#include <cfloat>

#include "block_sum.h"
#include "packs.h"

namespace llama::cuda {
namespace {

constexpr int threads = 512;

// logits [rows, vocab] -> row_losses [rows], gradient [rows, vocab], a block per row: 4 bytes an element for the loss, and
// 4 + sizeof(T) more for the gradient (less what the L2 cache still has of the row), two exponentials; bound by memory. The
// sum of exponentials is kept relative to the greatest logit so far (Milakov and Gimelshein, 2018).
template <class T, int N>
__global__ void __launch_bounds__(threads) cross_entropy_kernel(const float* logits, int64_t ld, int64_t vocab, const int32_t* targets, float gradient_scale, T* gradient, int64_t ldg, float* row_losses) {
  __shared__ float scratch[warp_size];
  constexpr int batch = 16 / N < 4 ? 16 / N : 4;  // packs under way together
  const int64_t row = blockIdx.x, packs = vocab / N, stride = blockDim.x;
  const float* z = logits + row * ld;
  const int64_t target = targets[row];
  const float at_target = threadIdx.x == 0 ? z[target] : 0.0f;  // before the gradient takes its place

  float greatest = -FLT_MAX, sum = 0;
  for (int64_t first = threadIdx.x; first < packs; first += batch * stride) {
    float values[batch][N];
    for (int i = 0; i < batch; ++i) {
      for (int j = 0; j < N; ++j) values[i][j] = -FLT_MAX;  // adds 0
      if (first + i * stride < packs) load_floats(z + (first + i * stride) * N, values[i]);
    }
    float most = greatest;
    for (int i = 0; i < batch; ++i) {
      for (int j = 0; j < N; ++j) most = fmaxf(most, values[i][j]);
    }
    sum *= expf(greatest - most);
    greatest = most;
    for (int i = 0; i < batch; ++i) {
      for (int j = 0; j < N; ++j) sum += expf(values[i][j] - most) + 0.0f * values[i][j];  // see non_finite.h
    }
  }
  const float most = block_max(greatest, scratch);
  const float total = block_sum(sum * expf(greatest - most), scratch);
  if (threadIdx.x == 0) row_losses[row] = logf(total) + (most - at_target);
  if (gradient == nullptr) return;

  const float scale = gradient_scale / total;
  for (int64_t pack = threadIdx.x; pack < packs; pack += stride) {
    float values[N];
    load_floats(z + pack * N, values);
    for (int j = 0; j < N; ++j) values[j] = expf(values[j] - most) * scale - (pack * N + j == target ? gradient_scale : 0.0f);
    store_floats(gradient + row * ldg + pack * N, values);
  }
}

// *loss += the sum of row_losses [rows], one block.
__global__ void __launch_bounds__(threads) sum_losses_kernel(const float* row_losses, int64_t rows, double* loss) {
  __shared__ double scratch[warp_size];
  double sum = 0;
  for (int64_t row = threadIdx.x; row < rows; row += blockDim.x) sum += static_cast<double>(row_losses[row]);
  sum = block_sum_double(sum, scratch);
  if (threadIdx.x == 0) *loss += sum;
}

}  // namespace

template <class T>
void cross_entropy(cudaStream_t stream, float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets, float gradient_scale, T* gradient, int64_t ldg, double* loss, float* row_losses) {
  if (rows == 0) return;
  const bool packed = packable(logits, ld, vocab, 4) && (gradient == nullptr || packable(gradient, ldg, vocab, 4));
  by_packs<4>(packed, [&](auto n) {
    launch(cross_entropy_kernel<T, n>, Grid{rows}, dim3(threads), 0, stream, logits, ld, vocab, targets, gradient_scale, gradient, ldg, row_losses);
  });
  launch(sum_losses_kernel, Grid{1}, dim3(threads), 0, stream, row_losses, rows, loss);
}

template void cross_entropy(cudaStream_t, float*, int64_t, int64_t, int64_t, const int32_t*, float, float*, int64_t, double*, float*);
template void cross_entropy(cudaStream_t, float*, int64_t, int64_t, int64_t, const int32_t*, float, Bf16*, int64_t, double*, float*);
template void cross_entropy(cudaStream_t, float*, int64_t, int64_t, int64_t, const int32_t*, float, Half*, int64_t, double*, float*);

}  // namespace llama::cuda
