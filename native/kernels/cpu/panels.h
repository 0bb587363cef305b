// Frozen weights in memory: panels of kPanel output rows, read front to back by both the vector product (decode) and the
// matrix product. Lane = output row, so no sum ever crosses lanes.
//   f32, f16: [panel][col][kPanel]
//   bf16:     [panel][col / 2][kPanel][2]   pairs of columns side by side: a shift and a mask turn one load into two
//                                           float vectors, and vdpbf16ps takes them as they are
// Rows are padded with zeros to a whole panel, bf16 columns to an even number.
#pragma once
#include <cstring>
#include <memory>
#include <vector>

#include "../aligned_buffer.h"
#include "../matrix_sources.h"
#include "../ops.h"
#include "vec.h"

namespace llama {
namespace {

class PanelMatrix final : public PackedMatrix {
 public:
  AlignedBuffer values;
  size_t bytes() const override { return values.bytes(); }

  int64_t panels() const { return (rows + kPanel - 1) / kPanel; }
  int64_t stored_cols() const { return type == StorageType::bf16 ? round_up(cols, 2) : cols; }
  // First element of column `col` (even for bf16) in a panel.
  const float* f32_at(int64_t panel, int64_t col) const { return static_cast<const float*>(values.data()) + (panel * cols + col) * kPanel; }
  const uint16_t* half_at(int64_t panel, int64_t col) const {
    return static_cast<const uint16_t*>(values.data()) + (panel * stored_cols() + col) * kPanel;
  }
};

// One row into its lane.
template <class Element>
inline void scatter_row(const unsigned char* row, int64_t cols, Element* panel, int lane, bool pairs) {
  for (int64_t k = 0; k < cols; ++k) {
    const int64_t at = pairs ? (k / 2 * kPanel + lane) * 2 + k % 2 : k * kPanel + lane;
    std::memcpy(panel + at, row + k * sizeof(Element), sizeof(Element));
  }
}

inline std::unique_ptr<PackedMatrix> pack_panels(ThreadPool& pool, const std::vector<MatrixSource>& sources) {
  auto matrix = std::make_unique<PanelMatrix>();
  matrix->rows = stacked_rows(sources);
  matrix->cols = sources[0].cols;
  matrix->type = sources[0].type;
  const size_t element = bytes_of(matrix->type);
  const size_t panel_bytes = static_cast<size_t>(matrix->stored_cols()) * kPanel * element;
  matrix->values = AlignedBuffer(panel_bytes * matrix->panels());
  const bool pairs = matrix->type == StorageType::bf16;
  pool.parallel_for(matrix->panels(), 1, [&](int64_t panel, int64_t, int thread) {
    unsigned char* to = static_cast<unsigned char*>(matrix->values.data()) + panel_bytes * panel;
    const int64_t first = panel * kPanel;
    if (first + kPanel > matrix->rows || matrix->stored_cols() != matrix->cols) std::memset(to, 0, panel_bytes);
    int64_t start = 0;
    for (const MatrixSource& source : sources) {
      for (int64_t row = std::max(first, start); row < std::min(first + kPanel, start + source.rows); ++row) {
        const unsigned char* from = row_of(source, row - start);
        if (source.blocks != BlockFormat::none) {
          auto* values = static_cast<float*>(pool.scratch(thread, static_cast<size_t>(source.cols) * sizeof(float)));
          load_row(source, row - start, values);
          from = reinterpret_cast<const unsigned char*>(values);
        }
        const int lane = static_cast<int>(row - first);
        if (element == 4) {
          scatter_row(from, source.cols, reinterpret_cast<float*>(to), lane, false);
        } else {
          scatter_row(from, source.cols, reinterpret_cast<uint16_t*>(to), lane, pairs);
        }
      }
      start += source.rows;
    }
  });
  return matrix;
}

// Columns [col, col + depth) of a panel as float32 [depth][kPanel]; col is even. Returns where they are: f32 panels are
// used in place, others are converted into scratch (depth + 1 rows large).
inline const float* expand_panel(const PanelMatrix& w, int64_t panel, int64_t col, int64_t depth, float* scratch) {
  if (w.type == StorageType::f32) return w.f32_at(panel, col);
  const uint16_t* from = w.half_at(panel, col);
  if (w.type == StorageType::f16) {
    for (int64_t i = 0; i < depth * kPanel; i += kLanes) store(scratch + i, load_f16(from + i));
    return scratch;
  }
  for (int64_t k = 0; k < depth; k += 2, from += 2 * kPanel) {
    float* to = scratch + k * kPanel;
    for (int half = 0; half < kPanel; half += kLanes) {
      const Vec both = load_pairs(from + 2 * half);
      store(to + half, even_of_pairs(both));
      store(to + kPanel + half, odd_of_pairs(both));
    }
  }
  return scratch;
}

// kLanes rows (from lane `half` of a panel on) of column `col`.
inline Vec load_column(const PanelMatrix& w, int64_t panel, int64_t col, int half) {
  if (col >= w.cols) return zero();
  if (w.type == StorageType::f32) return load(w.f32_at(panel, col) + half);
  if (w.type == StorageType::f16) return load_f16(w.half_at(panel, col) + half);
  const Vec both = load_pairs(w.half_at(panel, col & ~int64_t{1}) + 2 * half);
  return col % 2 == 0 ? even_of_pairs(both) : odd_of_pairs(both);
}

// Rows [row, row + depth) of columns [col, col + kPanel) as float32 [depth][kPanel], row a multiple of kPanel: the operand
// of the input gradient. scratch holds depth rounded up to kPanel rows.
inline void expand_transposed(const PanelMatrix& w, int64_t col, int64_t row, int64_t depth, float* scratch) {
  for (int64_t r = 0; r < depth; r += kLanes) {
    const int64_t panel = (row + r) / kPanel;
    const int half = static_cast<int>((row + r) % kPanel);
    for (int c = 0; c < kPanel; c += kLanes) {
      Vec block[kLanes];
      for (int i = 0; i < kLanes; ++i) block[i] = load_column(w, panel, col + c + i, half);
      transpose(block);
      for (int i = 0; i < kLanes; ++i) store(scratch + (r + i) * kPanel + c, block[i]);
    }
  }
}

}  // namespace
}  // namespace llama
