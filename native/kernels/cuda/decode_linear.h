// Products of a few tokens with a frozen matrix at the speed of its memory, together with what lies before and after them.
#pragma once
#include "decode_input.h"
#include "decode_terms.h"
#include "product_output.h"
#include "quantized.h"

namespace llama::cuda {

// A frozen linear [rows (out), cols (in)] in device memory: values of `type`, or codes.
struct WeightView {
  StorageType type = StorageType::f32;
  const void* values = nullptr;
  QuantizedView quantized;
  int64_t rows = 0, cols = 0;

  static WeightView plain(StorageType type, const void* values, int64_t rows, int64_t cols) { return {type, values, {}, rows, cols}; }
  static WeightView of(const QuantizedView& matrix) { return {StorageType::f32, nullptr, matrix, matrix.rows, matrix.cols}; }
};

// What launches are fitted to.
struct DeviceLimits {
  int multiprocessors;
  size_t shared_bytes;  // that a block may ask for
};

inline DeviceLimits limits_of(int major, int minor, int multiprocessors) {
  size_t kibibytes = 99;  // 8.6, 8.9, 12.x
  if (major < 8) kibibytes = 64;
  if (major == 8 && (minor == 0 || minor == 7)) kibibytes = 163;
  if (major == 9 || major == 10) kibibytes = 227;
  return {multiprocessors, kibibytes << 10};
}

// y[t, o] (+)= sum_k x[t, k] W[o, k] for 1 to 8 tokens. The result of a token does not depend on the others beside it.
// Rows that are made are those of the operations alone, rounded to T before the product. Returns whether the terms, if there
// are any, have been added: it takes tensor cores.
template <class T>
bool decode_linear(cudaStream_t stream, const WeightView& w, const DecodeInput<T>& input, const DecodeTerms<T>& terms, int tokens,
                   const ProductOutput<T>& output, const DeviceLimits& limits);

}  // namespace llama::cuda
