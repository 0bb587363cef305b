#include "device.h"
#include "plain_product.h"

namespace llama::cuda {
namespace {

constexpr int tile = 16;

// C[m, n] = alpha * op(A) op(B) + beta * C, a thread for each element of C.
template <class T, class C>
__global__ void __launch_bounds__(tile* tile) multiply(Gemm::Product p) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * tile + threadIdx.x, row = static_cast<int64_t>(blockIdx.y) * tile + threadIdx.y;
  if (row >= p.m || column >= p.n) return;
  const T* a = static_cast<const T*>(p.a) + (p.transpose_a ? row : row * p.lda);
  const T* b = static_cast<const T*>(p.b) + (p.transpose_b ? column * p.ldb : column);
  const int64_t step_a = p.transpose_a ? p.lda : 1, step_b = p.transpose_b ? 1 : p.ldb;
  float sum = 0;
  for (int64_t i = 0; i < p.k; ++i) sum = fmaf(to_float(a[i * step_a]), to_float(b[i * step_b]), sum);
  C& c = static_cast<C*>(p.c)[row * p.ldc + column];
  sum *= p.alpha;
  if (p.beta != 0) sum = fmaf(p.beta, to_float(c), sum);
  c = from_float<C>(sum);
}

template <class T, class C>
void run(cudaStream_t stream, Gemm::Product p) {
  // A grid has fewer rows of blocks than a product may have.
  const int64_t most_rows = most_blocks_y * tile;
  const int64_t rows = p.m;
  for (int64_t first = 0; first < rows; first += most_rows) {
    Gemm::Product part = p;
    part.m = first + most_rows < rows ? most_rows : rows - first;
    part.a = static_cast<const T*>(p.a) + (p.transpose_a ? first : first * p.lda);
    part.c = static_cast<C*>(p.c) + first * p.ldc;
    launch(multiply<T, C>, Grid{blocks_for(p.n, tile), blocks_for(part.m, tile)}, dim3(tile, tile), 0, stream, part);
  }
}

}  // namespace

void plain_product(cudaStream_t stream, const Gemm::Product& p) {
  switch (p.type) {
    case StorageType::f32:
      return run<float, float>(stream, p);
    case StorageType::f16:
      return p.result == StorageType::f32 ? run<Half, float>(stream, p) : run<Half, Half>(stream, p);
    case StorageType::bf16:
      return p.result == StorageType::f32 ? run<Bf16, float>(stream, p) : run<Bf16, Bf16>(stream, p);
  }
}

}  // namespace llama::cuda
