#include <cstring>

#include "../aligned_buffer.h"
#include "../implementations.h"
#include "../matrix_sources.h"
#include "../storage.h"
#include "reference_ops.h"

namespace llama {

std::unique_ptr<Ops> make_reference_ops(int threads) { return std::make_unique<ReferenceOps>(threads); }

namespace {

// [rows, cols] as it was in the file, blocks as float32.
class PlainMatrix final : public PackedMatrix {
 public:
  AlignedBuffer values;
  size_t bytes() const override { return values.bytes(); }
  float at(int64_t row, int64_t col) const { return load_element(values.data(), type, row * cols + col); }
};

}  // namespace

std::unique_ptr<PackedMatrix> ReferenceOps::pack(const std::vector<MatrixSource>& sources) {
  auto matrix = std::make_unique<PlainMatrix>();
  matrix->rows = stacked_rows(sources);
  matrix->cols = sources[0].cols;
  matrix->type = sources[0].type;
  const size_t width = static_cast<size_t>(matrix->cols) * bytes_of(matrix->type);
  matrix->values = AlignedBuffer(static_cast<size_t>(matrix->rows) * width);
  auto* to = static_cast<unsigned char*>(matrix->values.data());
  for (const MatrixSource& source : sources) {
    for (int64_t row = 0; row < source.rows; ++row, to += width) {
      if (source.blocks == BlockFormat::none) std::memcpy(to, row_of(source, row), width);
      else load_row(source, row, reinterpret_cast<float*>(to));
    }
  }
  return matrix;
}

void ReferenceOps::linear_f32(const PackedMatrix& w, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy, bool accumulate) {
  const auto& matrix = static_cast<const PlainMatrix&>(w);
  pool_.parallel_for(matrix.rows, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t t = 0; t < tokens; ++t) {
        double sum = accumulate ? y[t * ldy + o] : 0.0;
        for (int64_t k = 0; k < matrix.cols; ++k) sum += static_cast<double>(x[t * ldx + k]) * matrix.at(o, k);
        y[t * ldy + o] = static_cast<float>(sum);
      }
    }
  });
}

void ReferenceOps::linear_backward(const PackedMatrix& w, const float* g, int64_t ldg, int64_t tokens, float* dx, int64_t lddx, bool accumulate) {
  const auto& matrix = static_cast<const PlainMatrix&>(w);
  pool_.parallel_for(matrix.cols, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t k = begin; k < end; ++k) {
      for (int64_t t = 0; t < tokens; ++t) {
        double sum = accumulate ? dx[t * lddx + k] : 0.0;
        for (int64_t o = 0; o < matrix.rows; ++o) sum += static_cast<double>(g[t * ldg + o]) * matrix.at(o, k);
        dx[t * lddx + k] = static_cast<float>(sum);
      }
    }
  });
}

namespace {

// C[i, j] = beta C + alpha sum_l X(i, l) Y(l, j) with any strides; C is not read where beta is 0.
void product(ThreadPool& pool, const float* x, int64_t x_row, int64_t x_col, const float* y, int64_t y_row, int64_t y_col, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) {
  pool.parallel_for(m, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t l = 0; l < k; ++l) sum += static_cast<double>(x[i * x_row + l * x_col]) * y[l * y_row + j * y_col];
        const double old = beta == 0 ? 0.0 : static_cast<double>(beta) * c[i * ldc + j];
        c[i * ldc + j] = static_cast<float>(old + alpha * sum);
      }
    }
  });
}

}  // namespace

void ReferenceOps::matmul_nt(const float* x, int64_t ldx, const float* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) {
  product(pool_, x, ldx, 1, y, 1, ldy, c, ldc, m, n, k, alpha, beta);
}

void ReferenceOps::matmul_nn(const float* x, int64_t ldx, const float* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) {
  product(pool_, x, ldx, 1, y, ldy, 1, c, ldc, m, n, k, alpha, beta);
}

void ReferenceOps::matmul_tn(const float* x, int64_t ldx, const float* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) {
  product(pool_, x, 1, ldx, y, ldy, 1, c, ldc, m, n, k, alpha, beta);
}

}  // namespace llama
