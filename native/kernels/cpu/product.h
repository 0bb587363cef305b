// Blocked matrix products, C[m, n] = alpha A[m, k] B[k, n] + beta C, for every source of B.
//
// A is packed once per call into tiles (shared by all threads). The work is split into blocks of rows times panels; inside,
// one depth block of a panel of B (16 KB with AVX2) stays in the first-level cache while A streams past it at 4 bytes per
// cycle. Sums run over depth in order and blocks are added in order, so that the result depends neither on the number of
// threads nor on the rows computed beside it.
// Over 80 % of the FMA peak on a Zen 3 core for 512 rows.
#pragma once
#include <algorithm>
#include <cstring>

#include "../aligned_buffer.h"
#include "../thread_pool.h"
#include "tile.h"

namespace llama {
namespace {

constexpr int64_t kDepth = 256;
constexpr int64_t kBlockRows = 480;  // a multiple of kTileRows; shares one conversion of a panel
constexpr int64_t kPanelScratch = (2 * kDepth + kPanel) * kPanel;
constexpr size_t kPackedBytes = size_t{32} << 20;  // most memory for the packed A

// Where a block of B is: rows `step` floats apart.
struct Block {
  const float* data;
  int64_t step;
};

// Gives rows [k, k + depth) of columns [panel * kPanel, ...), kPanel wide whatever n is.
class Right {
 public:
  virtual Block block(int64_t panel, int64_t k, int64_t depth, float* scratch) const = 0;

 protected:
  ~Right() = default;
};

// One product over operands that are in place. Packed: tile t of A starts at a.data + t * k * kTileRows.
template <bool pairs>
void run_blocks(ThreadPool& pool, Left a, bool packed, const Right& right, const Target& c, int64_t m, int64_t n, int64_t k) {
  if (m == 0 || n == 0) return;
  const int64_t panels = (n + kPanel - 1) / kPanel;
  const int64_t tiles = (m + kTileRows - 1) / kTileRows;
  // Even heights (8 rows: 4 + 4, not 6 + 2), since a tile with few rows cannot hide the FMA latency.
  const int64_t tile_rows = packed ? kTileRows : (m + tiles - 1) / tiles;
  int64_t blocks = (m + kBlockRows - 1) / kBlockRows;
  // Thin results have few panels: split the rows further, as long as a panel's conversion is shared by a few tiles.
  while (blocks * panels < 4 * pool.size() && blocks * 8 < tiles) blocks *= 2;
  const int64_t block_tiles = (tiles + blocks - 1) / blocks;
  blocks = (tiles + block_tiles - 1) / block_tiles;
  pool.parallel_for(blocks * panels, 1, [&](int64_t item, int64_t, int thread) {
    float* scratch = static_cast<float*>(pool.scratch(thread, kPanelScratch * sizeof(float)));
    const int64_t panel = item % panels, first = item / panels * block_tiles, last = std::min(tiles, first + block_tiles);
    const int cols = static_cast<int>(std::min<int64_t>(kPanel, n - panel * kPanel));
    for (int64_t at = 0; at < k; at += kDepth) {
      const int64_t depth = std::min(kDepth, k - at);
      const Block b = right.block(panel, at, depth, scratch);
      for (int64_t t = first; t < last; ++t) {
        const int64_t row = t * tile_rows;
        if (row >= m) break;
        const int height = static_cast<int>(std::min(tile_rows, m - row));
        const Left left = packed ? Left{a.data + row * k + at * kTileRows, 1, kTileRows}
                                 : Left{a.data + row * a.row + at * a.step, a.row, a.step};
        tile_of<pairs>(height)(left, b.data, b.step, depth,
                               {c.data + row * c.ld + panel * kPanel, c.ld, cols, c.alpha, at == 0 ? c.beta : 1.0f});
      }
    }
  });
}

// A[m, k] row-major with many columns to multiply with: packed first, in pieces of at most kPackedBytes.
template <bool pairs>
void multiply_packed(ThreadPool& pool, AlignedBuffer& buffer, const float* a, int64_t lda, const Right& right, const Target& c, int64_t m, int64_t n, int64_t k) {
  const int64_t affordable = static_cast<int64_t>(kPackedBytes / sizeof(float)) / k / kTileRows * kTileRows;
  const int64_t most = std::max<int64_t>(kBlockRows, affordable);
  for (int64_t first = 0; first < m; first += most) {
    const int64_t rows = std::min(most, m - first);
    const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
    buffer.reserve(static_cast<size_t>(tiles) * kTileRows * k * sizeof(float));
    auto* packed = static_cast<float*>(buffer.data());
    pool.parallel_for(tiles, 4, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        const int height = static_cast<int>(std::min<int64_t>(kTileRows, rows - t * kTileRows));
        transpose_into(a + (first + t * kTileRows) * lda, lda, height, k, packed + t * kTileRows * k, kTileRows, kTileRows);
      }
    });
    run_blocks<pairs>(pool, {packed, 1, kTileRows}, true, right, {c.data + first * c.ld, c.ld, c.cols, c.alpha, c.beta}, rows, n, k);
  }
}

// Small m (a few decoding sequences) reads A where it lies.
template <bool pairs = false>
void multiply(ThreadPool& pool, AlignedBuffer& buffer, const float* a, int64_t lda, const Right& right, const Target& c, int64_t m, int64_t n, int64_t k) {
  if (m <= 2 * kTileRows || n <= 2 * kPanel) {
    run_blocks<pairs>(pool, {a, lda, 1}, false, right, c, m, n, k);
  } else {
    multiply_packed<pairs>(pool, buffer, a, lda, right, c, m, n, k);
  }
}

}  // namespace
}  // namespace llama
