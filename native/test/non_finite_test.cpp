// What is not finite stays so, in every implementation: one element that is infinite or not a number, anywhere in the operands of
// an operation, leaves a result that is not finite wherever the reference's is not (kernels/non_finite.h).
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "../kernels/ops.h"
#include "../kernels/sampling.h"
#include "../kernels/storage.h"
#include "expect.h"

namespace {

using namespace llama;
using Floats = std::vector<float>;

using checks::current;
using checks::expect;

constexpr float infinity = std::numeric_limits<float>::infinity();
const struct {
  float value;
  const char* name;
} overflows[] = {{std::nanf(""), "NaN"}, {infinity, "+inf"}, {-infinity, "-inf"}};

std::mt19937 generator(3);

Floats random_floats(int64_t n) {
  std::normal_distribution<float> normal(0, 1);
  Floats values(static_cast<size_t>(n));
  for (float& value : values) value = normal(generator);
  return values;
}

bool all_finite(const float* values, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(values[i])) return false;
  }
  return true;
}
bool all_finite(const Floats& values) { return all_finite(values.data(), static_cast<int64_t>(values.size())); }

// 70 tokens and then one more, which sees them all.
void test_cached_attention(Ops& ops, StorageType type) {
  const AttentionShape shape{4, 2, 16, 0, 0.25f};
  const int64_t width = 8 * 16, out = 4 * 16, tokens = 70;
  std::vector<int32_t> positions(tokens + 1);
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(i);
  const Floats angles = [&] {
    Floats table;
    for (const float angle : random_floats((tokens + 1) * 8)) table.insert(table.end(), {std::cos(angle), std::sin(angle)});
    return table;
  }();
  const Floats x = random_floats((tokens + 1) * width);
  // Of the prefill's rows the last; of the decode step its only one.
  const auto last_rows = [&](Floats qkv) {
    const auto cache = ops.make_cache(1, shape.kv_heads, shape.head_dim, 128, type);
    Floats o(static_cast<size_t>((tokens + 1) * out));
    ops.plan_attention({{cache.get(), 0, tokens, 0}});
    ops.attention(shape, 0, {positions.data(), angles.data()}, qkv.data(), width, tokens, o.data(), out);
    ops.plan_attention({{cache.get(), 0, 1, tokens}});
    ops.attention(shape, 0, {positions.data() + tokens, angles.data()}, qkv.data() + tokens * width, width, 1, o.data() + tokens * out, out);
    return std::pair(all_finite(o.data() + (tokens - 1) * out, out), all_finite(o.data() + tokens * out, out));
  };
  const std::string what = std::string("attention over a cache of ") + (type == StorageType::f32 ? "f32: " : type == StorageType::f16 ? "f16: " : "bf16: ");
  expect(last_rows(x) == std::pair(true, true), what + "finite rows give finite rows");
  // A key of 65520 and more is past a half's range; bf16 and f32 hold it.
  for (const auto& [value, name] : {std::pair(std::nanf(""), "NaN"), {infinity, "+inf"}, {-infinity, "-inf"}, {1e30f, "1e30"}, {-1e30f, "-1e30"}}) {
    for (const auto& [part, column] : {std::pair("key", out + 5), {"value", out + 2 * 16 + 5}}) {
      for (const int64_t row : {0, 33, 69}) {
        Floats with = x;
        with[static_cast<size_t>(row * width + column)] = value;
        const bool fits = std::isfinite(value) && type != StorageType::f16;
        if (fits && std::string(part) == "key") continue;  // its scores may overflow or not
        expect(last_rows(with) == std::pair(fits, fits), what + name + " in the " + part + " of row " + std::to_string(row));
      }
    }
    if (std::isfinite(value)) continue;
    Floats with = x;
    with[static_cast<size_t>((tokens - 1) * width + 20)] = value;
    expect(last_rows(with) == std::pair(false, true), what + name + " in a query of the prefill");
    with = x;
    with[static_cast<size_t>(tokens * width + 20)] = value;
    expect(last_rows(with) == std::pair(true, false), what + name + " in a query of the decode step");
  }
}

void test_packed_attention(Ops& ops) {
  const AttentionShape shape{4, 2, 16, 0, 0.25f};
  const int64_t tokens = 150, q_width = 64, kv_width = 32;
  const std::vector<int32_t> offsets = {0, 30, 150}, positions = [] {
    std::vector<int32_t> all;
    for (int i = 0; i < 30; ++i) all.push_back(i);
    for (int i = 0; i < 120; ++i) all.push_back(i);
    return all;
  }();
  const Floats angles = random_floats(120 * 16);
  for (const auto& [value, name] : overflows) {
    for (const std::string part : {"query", "key", "value"}) {
      Floats q = random_floats(tokens * q_width), k = random_floats(tokens * kv_width), v = random_floats(tokens * kv_width);
      if (part == "query") q[static_cast<size_t>(149 * q_width + 3)] = value;
      if (part == "key") k[static_cast<size_t>(40 * kv_width + 3)] = value;
      if (part == "value") v[static_cast<size_t>(40 * kv_width + 3)] = value;
      const Rotary rotary{positions.data(), angles.data()};
      ops.rope({4, 0, 16, 0, 1}, rotary, q.data(), q_width, tokens, q.data(), q_width);
      ops.rope({2, 0, 16, 0, 1}, rotary, k.data(), kv_width, tokens, k.data(), kv_width);
      Floats o(static_cast<size_t>(tokens * q_width)), lse(static_cast<size_t>(tokens * 4));
      ops.attention_packed(shape, {offsets.data(), 2, tokens}, q.data(), q_width, k.data(), v.data(), kv_width, o.data(), q_width, lse.data());
      expect(!all_finite(o.data() + 149 * q_width, q_width), "packed attention: " + std::string(name) + " in a " + part);
      expect(all_finite(o.data(), 30 * q_width), "packed attention: another row is as it was beside " + std::string(name) + " in a " + part);
      const Floats g = random_floats(tokens * q_width);
      Floats dq(q.size()), dk(k.size()), dv(v.size());
      ops.attention_packed_backward(shape, {offsets.data(), 2, tokens}, q.data(), q_width, k.data(), v.data(), kv_width, o.data(), q_width, lse.data(), g.data(), q_width, dq.data(), q_width, dk.data(), dv.data(), kv_width);
      expect(!all_finite(dq), "packed attention backward: " + std::string(name) + " in a " + part);
    }
  }
}

void test_rows(Ops& ops) {
  for (const int64_t width : {5, 16, 40}) {
    const Floats x = random_floats(width), w = random_floats(width);
    Floats y(static_cast<size_t>(width));
    const auto norm = [&](const Floats& row, const Floats& weights) {
      float inverse = 0;
      ops.rms_norm(row.data(), width, weights.data(), 1e-5f, 1, width, y.data(), width, &inverse);
      return all_finite(y);
    };
    expect(norm(x, w), "rms_norm of a finite row");
    for (const int64_t at : {int64_t{0}, width - 1}) {
      for (const auto& [value, name] : overflows) {
        Floats with = x, weights = w;
        with[static_cast<size_t>(at)] = weights[static_cast<size_t>(at)] = value;
        expect(!norm(with, w) && !norm(x, weights), "rms_norm: " + std::string(name));
        ops.swiglu(with.data(), x.data(), width, 1, width, y.data(), width);
        expect(!all_finite(y), "swiglu: " + std::string(name) + " in the gate");
        ops.swiglu(x.data(), with.data(), width, 1, width, y.data(), width);
        expect(!all_finite(y), "swiglu: " + std::string(name) + " in up");
      }
      Floats with = x;
      with[static_cast<size_t>(at)] = 1e25f;  // its square is past float32
      expect(!norm(with, w), "rms_norm: a sum of squares that overflows is no row of zeros");
    }
  }
}

void test_cross_entropy(Ops& ops) {
  for (const int64_t vocab : {7, 64, 9001}) {
    for (const auto& [value, name] : overflows) {
      for (const int64_t at : {int64_t{0}, vocab / 2, vocab - 1}) {
        Floats logits = random_floats(vocab);
        logits[static_cast<size_t>(at)] = value;
        const int32_t target = 3;
        double loss = 0;
        ops.cross_entropy(logits.data(), vocab, 1, vocab, &target, 1, logits.data(), vocab, &loss);
        expect(!std::isfinite(loss), "cross_entropy: " + std::string(name) + " at " + std::to_string(at) + " of " + std::to_string(vocab));
      }
    }
  }
}

void test_linear(Ops& ops) {
  const int64_t rows = 37, cols = 51;
  for (const StorageType type : {StorageType::f32, StorageType::f16, StorageType::bf16}) {
    for (const auto& [value, name] : overflows) {
      Floats weights = random_floats(rows * cols);
      weights[static_cast<size_t>(5 * cols + 50)] = value;
      std::vector<unsigned char> bytes(weights.size() * bytes_of(type));
      for (size_t i = 0; i < weights.size(); ++i) {
        const uint16_t half = type == StorageType::f16 ? f16_from_f32(weights[i]) : bf16_from_f32(weights[i]);
        if (type == StorageType::f32) std::memcpy(&bytes[i * 4], &weights[i], 4);
        else std::memcpy(&bytes[i * 2], &half, 2);
      }
      const auto w = ops.pack({{bytes.data(), type, rows, cols}});
      for (const int64_t tokens : {1, 9}) {
        const Floats x = random_floats(tokens * cols), g = random_floats(tokens * rows);
        Floats y(static_cast<size_t>(tokens * rows)), dx(static_cast<size_t>(tokens * cols));
        ops.linear(*w, x.data(), cols, tokens, y.data(), rows);
        expect(!std::isfinite(y[5]), "linear: " + std::string(name));
        ops.linear_backward(*w, g.data(), rows, tokens, dx.data(), cols, false);
        expect(!std::isfinite(dx[50]), "linear_backward: " + std::string(name));
      }
    }
  }
}

void test_sampling() {
  current = "sampling";
  for (const auto& [value, name] : overflows) {
    for (const float temperature : {0.0f, 1.0f}) {
      for (const std::vector<int32_t>& forbidden : {std::vector<int32_t>{}, {2}, {3}}) {
        Floats logits = {0, 1, 2, 3};
        logits[2] = value;
        Sampling sampling;
        sampling.temperature = temperature;
        sampling.forbidden = forbidden;
        expect(sample(logits.data(), 4, {0}, sampling) == -1, std::string("no token is drawn beside ") + name);
      }
    }
  }
}

}  // namespace

int main() {
  test_sampling();
  for (const std::string& name : available_ops()) {
    const auto ops = make_ops(name, 2);
    current = name;
    for (const StorageType type : {StorageType::f32, StorageType::f16, StorageType::bf16}) test_cached_attention(*ops, type);
    test_packed_attention(*ops);
    test_rows(*ops);
    test_cross_entropy(*ops);
    test_linear(*ops);
  }
  return checks::summary();
}
