// What every implementation checks before it packs a stack of matrices.
#pragma once
#include <vector>

#include "ops.h"

namespace llama {

// Rows of the whole stack. Throws std::invalid_argument where the sources do not fit together.
int64_t stacked_rows(const std::vector<MatrixSource>& sources);

}  // namespace llama
