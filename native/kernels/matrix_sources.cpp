#include "matrix_sources.h"

#include <stdexcept>

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

}  // namespace llama
