// GGUF's blocks: the values that gguf-py 0.17 (gguf.quants.dequantize) gives for the same bytes, whole arrays as FNV-1a
// hashes, and matrices that are packed from blocks and from interleaved rows beside the same ones in plain float32.
// test/engine/tensors/blocks.test.ts has the same bytes and hashes.
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "../kernels/matrix_sources.h"
#include "../kernels/ops.h"
#include "expect.h"

namespace {

using namespace llama;
using checks::expect;
using Floats = std::vector<float>;
using Bytes = std::vector<unsigned char>;

struct Case {
  BlockFormat format;
  std::string name;
  std::vector<int64_t> halves;  // where a block's f16 numbers are
  uint64_t hash;                // of 64 blocks' values
};
const std::vector<Case> cases = {
    {BlockFormat::q4_0, "Q4_0", {0}, 0x2d4fe7fbdadaaa03u},      {BlockFormat::q4_1, "Q4_1", {0, 2}, 0x70e17d087939f720u},
    {BlockFormat::q5_0, "Q5_0", {0}, 0xaf6462b73cd06fc7u},      {BlockFormat::q5_1, "Q5_1", {0, 2}, 0x9e358984f3dde325u},
    {BlockFormat::q8_0, "Q8_0", {0}, 0x94091d38cd3c0a93u},      {BlockFormat::q2_k, "Q2_K", {80, 82}, 0x2efa98c9a269d76fu},
    {BlockFormat::q3_k, "Q3_K", {108}, 0x6742293f635d79ecu},    {BlockFormat::q4_k, "Q4_K", {0, 2}, 0x61c8801a1540dc41u},
    {BlockFormat::q5_k, "Q5_K", {0, 2}, 0x789f71f1c5669f04u},   {BlockFormat::q6_k, "Q6_K", {208}, 0x3347d47a50bb3e69u}};

uint64_t hash_of(const void* data, size_t bytes) {
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 1099511628211u;
  return hash;
}

// Bytes of a linear congruential generator; scales are between 1/16 and 1/8, every seventh block's are subnormal.
Bytes random_blocks(const Case& of, int64_t count) {
  const int64_t size = layout_of(of.format).bytes;
  Bytes bytes(static_cast<size_t>(count * size));
  uint32_t state = 1;
  for (unsigned char& byte : bytes) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<unsigned char>(state >> 24);
  }
  for (int64_t block = 0; block < count; ++block) {
    for (const int64_t half : of.halves) {
      unsigned char& high = bytes[static_cast<size_t>(block * size + half + 1)];
      high = static_cast<unsigned char>((high & 0x83) | (block % 7 == 6 ? 0 : 0x2c));
    }
  }
  return bytes;
}

void test_values() {
  for (const Case& of : cases) {
    const Bytes blocks = random_blocks(of, 64);
    Floats values(static_cast<size_t>(64 * layout_of(of.format).elements));
    dequantize_blocks(of.format, blocks.data(), static_cast<int64_t>(values.size()), values.data());
    expect(hash_of(values.data(), values.size() * 4) == of.hash, of.name + " has other values than gguf-py's");
  }
}

// What a packed matrix holds: its product with one column's unit vector after another.
Floats held_by(Ops& ops, const PackedMatrix& matrix) {
  Floats all(static_cast<size_t>(matrix.rows * matrix.cols)), unit(static_cast<size_t>(matrix.cols * matrix.cols));
  for (int64_t i = 0; i < matrix.cols; ++i) unit[static_cast<size_t>(i * matrix.cols + i)] = 1;
  ops.linear_f32(matrix, unit.data(), matrix.cols, matrix.cols, all.data(), matrix.rows, false);
  return all;
}

// The same matrix in plain float32 and in the packed order.
Floats plain_rows(const MatrixSource& source) {
  Floats stored(static_cast<size_t>(source.rows * source.cols)), ordered;
  MatrixSource in_file = source;
  in_file.interleaved_heads = 0;
  for (int64_t row = 0; row < source.rows; ++row) load_row(in_file, row, stored.data() + row * source.cols);
  const int64_t heads = source.interleaved_heads, dim = heads > 0 ? source.rows / heads : source.rows;
  // [heads, dim / 2, 2] -> [heads, 2, dim / 2]
  for (int64_t head = 0; head < std::max<int64_t>(heads, 1); ++head) {
    for (int64_t i = 0; i < dim; ++i) {
      const int64_t from = heads == 0 ? i : i < dim / 2 ? 2 * i : 2 * (i - dim / 2) + 1;
      const float* row = stored.data() + (head * dim + from) * source.cols;
      ordered.insert(ordered.end(), row, row + source.cols);
    }
  }
  return ordered;
}

void test_packing(Ops& ops, const Case& of, int heads) {
  const std::string what = std::string(ops.name()) + ", " + of.name + (heads > 0 ? " interleaved" : "");
  const int64_t cols = layout_of(of.format).elements == 32 ? 96 : 256, rows = heads > 0 ? heads * 6 : 37;
  const Bytes bytes = random_blocks(of, (rows + 5) * cols / layout_of(of.format).elements);
  const MatrixSource first{bytes.data(), StorageType::f32, rows, cols, of.format, heads};
  const MatrixSource second{bytes.data() + rows * row_bytes(first), StorageType::f32, 5, cols, of.format};
  const Floats a = plain_rows(first), b = plain_rows(second);
  const auto blocks = ops.pack({first, second});
  const auto plain = ops.pack({{a.data(), StorageType::f32, rows, cols}, {b.data(), StorageType::f32, 5, cols}});
  expect(held_by(ops, *blocks) == held_by(ops, *plain), what + ": packed otherwise than its float32 twin");

  const auto table = ops.make_embedding(first, nullptr), twin = ops.make_embedding({a.data(), StorageType::f32, rows, cols}, nullptr);
  const std::vector<int32_t> ids = {0, static_cast<int32_t>(rows - 1), 3};
  Floats x(static_cast<size_t>(3 * cols)), y = x;
  ops.embed(*table, ids.data(), 3, x.data(), cols);
  ops.embed(*twin, ids.data(), 3, y.data(), cols);
  expect(x == y, what + ": embeds otherwise than its float32 twin");
}

// Rows of 16-bit types stay in their type.
void test_interleaved_halves(Ops& ops, StorageType type) {
  const int64_t cols = 33, rows = 24;
  std::vector<uint16_t> stored(static_cast<size_t>(rows * cols));
  for (size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<uint16_t>(0x3c00 + i);
  const MatrixSource source{stored.data(), type, rows, cols, BlockFormat::none, 2};
  const auto packed = ops.pack({source});
  expect(packed->type == type, "an interleaved matrix changes its type");
  Floats expected(static_cast<size_t>(rows * cols));
  const Floats ordered = plain_rows(source);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t col = 0; col < cols; ++col) {
      expected[static_cast<size_t>(col * rows + row)] = ordered[static_cast<size_t>(row * cols + col)];
    }
  }
  expect(held_by(ops, *packed) == expected, std::string(ops.name()) + ": interleaved rows in 16 bits are out of order");
}

}  // namespace

int main() {
  test_values();
  for (const std::string& name : available_ops()) {
    const auto ops = make_ops(name, 3);
    for (const Case& of : cases) {
      for (const int heads : {0, 5}) test_packing(*ops, of, heads);
    }
    for (const StorageType type : {StorageType::f16, StorageType::bf16}) test_interleaved_halves(*ops, type);
  }
  return checks::summary();
}
