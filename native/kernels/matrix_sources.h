// What every implementation checks before it packs a stack of matrices.
#pragma once
#include <vector>

#include "ops.h"

namespace llama {

// Rows of the whole stack. Throws std::invalid_argument where the sources do not fit together.
int64_t stacked_rows(const std::vector<MatrixSource>& sources);

// Where a row of the packed order lies in the file, in rows.
int64_t stored_row(int64_t row, int64_t rows, int interleaved_heads);

// Bytes of a row in the file.
int64_t row_bytes(const MatrixSource& source);

// First byte of a row, counted in the packed order.
const unsigned char* row_of(const MatrixSource& source, int64_t row);

// A row of the packed order as float32, [cols].
void load_row(const MatrixSource& source, int64_t row, float* to);

}  // namespace llama
