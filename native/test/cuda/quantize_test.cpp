// Quantising and dequantising on the device: the reference's bits, for every kind, type and odd size.
//
// Nothing is tolerated: codes and scales come from the same rounded operations in the same order.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "../../kernels/cuda/quantize.h"
#include "../../kernels/reference/quantized.h"
#include "checks.h"

namespace {

using namespace llama;
using cuda::QuantizedView;
using checks::expect;
using checks::generator;
using Floats = std::vector<float>;

// Blocks of very different size, some of them all zero, ties between the largest of both signs, and numbers on NF4's thresholds.
Floats random_weights(int64_t count) {
  std::normal_distribution<float> normal(0, 1);
  Floats values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = i / 64 % 5 == 2 ? 0.0f : normal(generator) * std::exp2(static_cast<float>(i / 64 % 7) - 5);
  if (count > 70) values[64] = 2, values[69] = -2;
  for (int i = 0; count > 192 && i < 16; ++i) values[128 + i] = i < 15 ? nf4_midpoints.at[i] : 1.0f;
  if (count > 1) values[count - 1] = -0.0f;
  return values;
}

template <class T>
const char* name_of() {
  return std::is_same_v<T, float> ? "f32" : std::is_same_v<T, Bf16> ? "bf16" : "f16";
}
const char* name_of(Quantization kind) { return kind == Quantization::int8 ? "int8" : kind == Quantization::int4 ? "int4" : "nf4"; }

// Memory that ends where its contents do.
template <class T>
struct Device {
  T* at;
  explicit Device(size_t count) : at(static_cast<T*>(::operator new(count * sizeof(T)))) { std::memset(static_cast<void*>(at), 0xff, count * sizeof(T)); }
  ~Device() { ::operator delete(at); }
  Device(const Device&) = delete;
};

template <class T>
bool equal(const T* device, const std::vector<T>& expected) {
  return expected.empty() || std::memcmp(device, expected.data(), expected.size() * sizeof(T)) == 0;
}

template <class S>
void test_matrix(int64_t rows, int64_t cols, Quantization kind, bool twice, int64_t shift) {
  const std::string what = std::string(name_of(kind)) + (twice ? " twice " : " ") + name_of<S>() + " " + std::to_string(rows) + "x" + std::to_string(cols) + " from " + std::to_string(shift);
  const int64_t count = rows * cols;
  Floats values = random_weights(count);
  Device<S> weights(static_cast<size_t>(count + shift));
  for (int64_t i = 0; i < count; ++i) {
    weights.at[i + shift] = cuda::from_float<S>(values[static_cast<size_t>(i)]);
    values[static_cast<size_t>(i)] = cuda::to_float(weights.at[i + shift]);
  }
  const reference::QuantizedMatrix expected = reference::quantize(values.data(), rows, cols, kind, twice);

  QuantizedView view;
  view.kind = kind;
  view.rows = rows;
  view.cols = cols;
  Device<uint8_t> codes(expected.codes.size()), scale_codes(expected.scale_codes.size());
  Device<float> scales(expected.scales.size()), nested(expected.nested_scales.size()), offset(1);
  view.codes = codes.at;
  view.scales = twice ? nullptr : scales.at;
  if (twice) view.scale_codes = scale_codes.at, view.nested_scales = nested.at, view.scale_offset = offset.at;
  Device<unsigned char> scratch(cuda::quantize_scratch_bytes(view));
  cuda::quantize(nullptr, weights.at + shift, view, scratch.at);
  expect(equal(codes.at, expected.codes), "codes, " + what);
  expect(equal(scales.at, expected.scales), "scales, " + what);
  expect(equal(scale_codes.at, expected.scale_codes), "scale codes, " + what);
  expect(equal(nested.at, expected.nested_scales), "nested scales, " + what);
  if (twice) expect(std::memcmp(offset.at, &expected.scale_offset, 4) == 0, "offset, " + what);

  Floats back(static_cast<size_t>(count));
  reference::dequantize(expected, back.data());
  std::vector<S> rounded(back.size());
  for (size_t i = 0; i < back.size(); ++i) rounded[i] = cuda::from_float<S>(back[i]);
  Device<S> out(static_cast<size_t>(count + shift));
  cuda::dequantize(nullptr, view, out.at + shift);
  expect(equal(out.at + shift, rounded), "dequantised, " + what);
#if defined(LLAMA_CUDA_EMULATED)  // the card's own function
  bool same = true;
  for (int64_t i = 0; i < count; i += 7) {
    const float element = cuda::weight_at(view, i / cols, i % cols);
    same = same && std::memcmp(&element, &back[static_cast<size_t>(i)], 4) == 0;
  }
  expect(same, "single elements, " + what);
#endif
}

template <class S>
void test_type() {
  struct Shape {
    int64_t rows, cols;
  };
  for (const auto& [rows, cols] : {Shape{1, 1}, Shape{1, 2}, Shape{3, 5}, Shape{2, 64}, Shape{7, 65}, Shape{5, 200}, Shape{33, 96}, Shape{3, 4104}}) {
    for (const int64_t shift : {0, 1}) {
      test_matrix<S>(rows, cols, Quantization::int8, false, shift);
      for (const bool twice : {false, true}) {
        test_matrix<S>(rows, cols, Quantization::int4, twice, shift);
        test_matrix<S>(rows, cols, Quantization::nf4, twice, shift);
      }
    }
  }
}

void test_orders() {
  checks::in_every_order([] {
    for (const bool twice : {false, true}) test_matrix<Bf16>(66, 300, Quantization::nf4, twice, 0);
    test_matrix<Half>(9, 300, Quantization::int4, true, 0);
    test_matrix<Half>(9, 300, Quantization::int8, false, 0);
  });
}

void test_layout() {
  // What the parts of a 7B model's largest linear cost: bits per weight, the 256-byte multiples aside.
  const auto bits = [](Quantization kind, bool twice) {
    return static_cast<double>(cuda::quantized_layout(kind, twice, 11008, 4096).bytes) * 8 / (11008.0 * 4096);
  };
  expect(std::abs(bits(Quantization::int8, false) - (8 + 32.0 / 4096)) < 1e-3, "int8 bits");
  expect(std::abs(bits(Quantization::nf4, false) - 4.5) < 1e-3, "nf4 bits");
  expect(std::abs(bits(Quantization::nf4, true) - 4.127) < 1e-3, "doubly quantised nf4 bits");
  struct alignas(256) Block {
    unsigned char at[8192];
  };
  const auto block = std::make_unique<Block>();
  for (const bool twice : {false, true}) {
    for (const Quantization kind : {Quantization::int8, Quantization::int4, Quantization::nf4}) {
      const size_t bytes = cuda::quantized_layout(kind, twice, 13, 77).bytes;
      expect(bytes <= sizeof(Block), "a small matrix");
      const QuantizedView view = cuda::quantized_in(block->at, kind, twice, 13, 77);
      expect(view.double_quantized() == (twice && kind != Quantization::int8), "int8 has nothing to quantise doubly");
      Device<unsigned char> scratch(cuda::quantize_scratch_bytes(view));
      const Floats weights = random_weights(13 * 77);
      cuda::quantize(nullptr, weights.data(), view, scratch.at);
      Floats back(weights.size()), expected(weights.size());
      cuda::dequantize(nullptr, view, back.data());
      reference::dequantize(reference::quantize(weights.data(), 13, 77, kind, twice && kind != Quantization::int8), expected.data());
      expect(equal(back.data(), expected), "parts in one piece of memory");
    }
  }
}

}  // namespace

int main() {
  checks::begin();
  test_type<float>();
  test_type<Bf16>();
  test_type<Half>();
  test_orders();
  test_layout();
  return checks::report();
}
