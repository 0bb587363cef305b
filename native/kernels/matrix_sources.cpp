#include "matrix_sources.h"

#include <stdexcept>

#include "storage.h"

namespace llama {

int64_t stacked_rows(const std::vector<MatrixSource>& sources) {
  if (sources.empty()) throw std::invalid_argument("pack needs at least one matrix");
  int64_t rows = 0;
  for (const MatrixSource& source : sources) {
    if (source.cols != sources[0].cols || source.type != sources[0].type) {
      throw std::invalid_argument("stacked matrices must have the same columns and storage type");
    }
    // Keeps every later product of sizes (rows * cols * 4 bytes, padding included) far inside 63 bits.
    constexpr int64_t kMost = int64_t{1} << 28;
    if (source.rows < 1 || source.cols < 1 || source.rows > kMost || source.cols > kMost) {
      throw std::invalid_argument("a matrix must have 1 to 2^28 rows and columns");
    }
    rows += source.rows;
    if (rows > kMost) throw std::invalid_argument("stacked matrices have more than 2^28 rows");
  }
  return rows;
}

int64_t stored_row(int64_t row, int64_t rows, int interleaved_heads) {
  if (interleaved_heads == 0) return row;
  const int64_t head_dim = rows / interleaved_heads, half = head_dim / 2, within = row % head_dim;
  return row - within + (within < half ? 2 * within : 2 * (within - half) + 1);
}

int64_t row_bytes(const MatrixSource& source) {
  if (source.blocks == BlockFormat::none) return source.cols * static_cast<int64_t>(bytes_of(source.type));
  const BlockLayout layout = layout_of(source.blocks);
  return source.cols / layout.elements * layout.bytes;
}

const unsigned char* row_of(const MatrixSource& source, int64_t row) {
  return static_cast<const unsigned char*>(source.data) +
         stored_row(row, source.rows, source.interleaved_heads) * row_bytes(source);
}

void load_row(const MatrixSource& source, int64_t row, float* to) {
  const unsigned char* from = row_of(source, row);
  if (source.blocks != BlockFormat::none) return dequantize_blocks(source.blocks, from, source.cols, to);
  for (int64_t i = 0; i < source.cols; ++i) to[i] = load_element(from, source.type, i);
}

}  // namespace llama
