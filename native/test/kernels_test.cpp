// Every operation of every implementation this processor can run, against the reference, on odd sizes and random data.
//
// Tolerances: operands are of order one and sums run over at most ~1,000 products in float32 (the reference sums in
// double), so an error of 1e-5 of the largest value in a result is rounding; a wrong index or a missed element is 1e-2 and
// more. vdpbf16ps implementations round activations to bf16 (2^-9 relative each): 1e-2 there.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "../kernels/dropout.h"
#include "../kernels/ops.h"
#include "../kernels/storage.h"
#include "../kernels/thread_pool.h"
#include "expect.h"

#if defined(LLAMA_EMULATED)
namespace llama {
// The AVX-512 kernels compiled on portable intrinsics.
std::unique_ptr<Ops> make_emulated_ops(int threads);
}  // namespace llama
#endif

namespace {

using namespace llama;
using Floats = std::vector<float>;

using checks::current;
using checks::expect;

// max |a - b| <= tolerance * max(1, max |b|)
void expect_close(const Floats& a, const Floats& b, double tolerance, const std::string& what) {
  double worst = 0, largest = 1;
  size_t at = 0;
  bool finite = a.size() == b.size();
  for (size_t i = 0; finite && i < a.size(); ++i) {
    if (!std::isfinite(a[i])) {
      finite = false;
      at = i;
    }
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
    const double gap = std::abs(static_cast<double>(a[i]) - b[i]);
    if (gap > worst) worst = gap, at = i;
  }
  expect(finite && worst <= tolerance * largest, what + ": off by " + std::to_string(worst) + " of " + std::to_string(largest) + " at " + std::to_string(at));
}

void expect_equal(const Floats& a, const Floats& b, const std::string& what) {
  expect(a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0, what + ": bits differ");
}

std::mt19937 generator(1);

Floats random_floats(int64_t n, float scale = 1) {
  std::normal_distribution<float> normal(0, scale);
  Floats values(n);
  for (float& value : values) value = normal(generator);
  return values;
}

int64_t random_int(int64_t least, int64_t most) { return std::uniform_int_distribution<int64_t>(least, most)(generator); }

// Exactly as long as its contents: the address sanitizer sees a read or write past the end.
std::vector<unsigned char> stored(const Floats& values, StorageType type) {
  std::vector<unsigned char> bytes(values.size() * bytes_of(type));
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == StorageType::f32) std::memcpy(&bytes[i * 4], &values[i], 4);
    const uint16_t half = type == StorageType::f16 ? f16_from_f32(values[i]) : bf16_from_f32(values[i]);
    if (type != StorageType::f32) std::memcpy(&bytes[i * 2], &half, 2);
  }
  return bytes;
}

const char* name_of(StorageType type) { return type == StorageType::f32 ? "f32" : type == StorageType::f16 ? "f16" : "bf16"; }
constexpr StorageType kTypes[] = {StorageType::f32, StorageType::f16, StorageType::bf16};

struct Pair {
  Ops& fast;
  Ops& plain;
  bool rounds_activations;  // vdpbf16ps
};

void test_linear(Pair ops) {
  struct Shape {
    std::vector<int64_t> rows;
    int64_t cols, tokens;
  };
  std::vector<Shape> shapes = {{{1}, 1, 1}, {{16}, 2, 1}, {{37, 5}, 33, 1}, {{64, 32, 32}, 96, 7}, {{129}, 511, 13}, {{70, 70}, 515, 100}, {{300}, 257, 250}, {{33}, 700, 500}};
  for (int i = 0; i < 12; ++i) shapes.push_back({{random_int(1, 150), random_int(1, 90)}, random_int(1, 600), random_int(1, 40)});
  for (const Shape& shape : shapes) {
    for (const StorageType type : kTypes) {
      std::vector<std::vector<unsigned char>> data;
      std::vector<MatrixSource> sources;
      int64_t rows = 0;
      for (const int64_t part : shape.rows) {
        data.push_back(stored(random_floats(part * shape.cols, 1 / std::sqrt(static_cast<float>(shape.cols))), type));
        rows += part;
      }
      for (size_t i = 0; i < data.size(); ++i) sources.push_back({data[i].data(), type, shape.rows[i], shape.cols});
      const auto fast = ops.fast.pack(sources), plain = ops.plain.pack(sources);
      const double tolerance = ops.rounds_activations && type == StorageType::bf16 ? 1e-2 : 1e-5;
      const std::string what = std::string(name_of(type)) + " " + std::to_string(rows) + "x" + std::to_string(shape.cols) + " tokens " + std::to_string(shape.tokens);
      for (const bool accumulate : {false, true}) {
        const int64_t ldx = shape.cols + 3, ldy = rows + 5;
        const Floats x = random_floats(shape.tokens * ldx), start = random_floats(shape.tokens * ldy);
        Floats a = start, b = start;
        ops.fast.linear_f32(*fast, x.data(), ldx, shape.tokens, a.data(), ldy, accumulate);
        ops.plain.linear_f32(*plain, x.data(), ldx, shape.tokens, b.data(), ldy, accumulate);
        expect_close(a, b, tolerance, "linear " + what);
        // A token alone gives the bits it gives in the batch: batching never changes an answer.
        if (ops.fast.name() != std::string("reference")) {
          Floats alone = start;
          for (int64_t t = 0; t < shape.tokens; ++t) ops.fast.linear_f32(*fast, x.data() + t * ldx, ldx, 1, alone.data() + t * ldy, ldy, accumulate);
          expect_equal(alone, a, "linear alone and in a batch " + what);
        }
        const Floats g = random_floats(shape.tokens * ldy), first = random_floats(shape.tokens * ldx);
        Floats da = first, db = first;
        ops.fast.linear_backward(*fast, g.data(), ldy, shape.tokens, da.data(), ldx, accumulate);
        ops.plain.linear_backward(*plain, g.data(), ldy, shape.tokens, db.data(), ldx, accumulate);
        expect_close(da, db, tolerance * 2, "linear_backward " + what);
      }
    }
  }
}

void test_thin_products(Pair ops) {
  for (int i = 0; i < 40; ++i) {
    int64_t m = random_int(1, 300), n = random_int(1, 300), k = random_int(1, 300);
    const int64_t rank = random_int(1, 20);
    (i % 3 == 0 ? m : i % 3 == 1 ? n : k) = rank;
    const float alpha = i % 2 == 0 ? 1.0f : 0.25f, beta = i % 4 == 0 ? 0.0f : i % 4 == 1 ? 1.0f : -0.5f;
    const int64_t extra = random_int(0, 5);
    const std::string what = std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k);
    const Floats start = random_floats(m * (n + extra));
    const auto check = [&](const char* name, int64_t x_rows, int64_t x_cols, int64_t y_rows, int64_t y_cols, auto method) {
      const Floats x = random_floats((x_rows - 1) * (x_cols + extra) + x_cols), y = random_floats((y_rows - 1) * (y_cols + extra) + y_cols);
      Floats a = start, b = start;
      if (beta == 0) std::fill(a.begin(), a.end(), std::nanf(""));  // beta 0 means C is not read
      (ops.fast.*method)(x.data(), x_cols + extra, y.data(), y_cols + extra, a.data(), n + extra, m, n, k, alpha, beta);
      (ops.plain.*method)(x.data(), x_cols + extra, y.data(), y_cols + extra, b.data(), n + extra, m, n, k, alpha, beta);
      for (int64_t row = 0; row < m; ++row) {
        for (int64_t col = n; col < n + extra; ++col) a[row * (n + extra) + col] = b[row * (n + extra) + col] = 0;
      }
      expect_close(a, b, 1e-5, std::string(name) + " " + what);
    };
    check("matmul_nt", m, k, n, k, &Ops::matmul_nt);
    check("matmul_nn", m, k, k, n, &Ops::matmul_nn);
    check("matmul_tn", k, m, k, n, &Ops::matmul_tn);
  }
}

void test_rows(Pair ops) {
  for (const int64_t width : {1, 7, 8, 16, 33, 100, 768}) {
    const int64_t tokens = random_int(1, 20), ld = width + 3;
    const std::string what = "width " + std::to_string(width);
    const Floats x = random_floats(tokens * ld), y = random_floats(tokens * ld), g = random_floats(tokens * ld), w = random_floats(width);
    Floats a(tokens * ld, 0), b = a, ra(tokens), rb(tokens);
    ops.fast.rms_norm(x.data(), ld, w.data(), 1e-5f, tokens, width, a.data(), ld, ra.data());
    ops.plain.rms_norm(x.data(), ld, w.data(), 1e-5f, tokens, width, b.data(), ld, rb.data());
    expect_close(a, b, 1e-5, "rms_norm " + what);
    expect_close(ra, rb, 1e-5, "rms_norm inverse " + what);
    ops.fast.rms_norm(x.data(), ld, w.data(), 1e-5f, tokens, width, a.data(), ld, nullptr);
    expect_close(a, b, 1e-5, "rms_norm without inverse " + what);
    a = b = y;
    ops.fast.rms_norm_backward(g.data(), ld, x.data(), ld, w.data(), rb.data(), tokens, width, a.data(), ld);
    ops.plain.rms_norm_backward(g.data(), ld, x.data(), ld, w.data(), rb.data(), tokens, width, b.data(), ld);
    expect_close(a, b, 1e-5, "rms_norm_backward " + what);
    ops.fast.swiglu(x.data(), y.data(), ld, tokens, width, a.data(), ld);
    ops.plain.swiglu(x.data(), y.data(), ld, tokens, width, b.data(), ld);
    expect_close(a, b, 1e-5, "swiglu " + what);
    Floats gate_a = x, up_a = y, gate_b = x, up_b = y;
    gate_a[0] = gate_b[0] = 200, gate_a[tokens * ld - 4] = gate_b[tokens * ld - 4] = -200;  // the exponential's ends
    ops.fast.swiglu_backward(g.data(), ld, gate_a.data(), up_a.data(), ld, tokens, width, gate_a.data(), up_a.data(), ld);
    ops.plain.swiglu_backward(g.data(), ld, gate_b.data(), up_b.data(), ld, tokens, width, gate_b.data(), up_b.data(), ld);
    expect_close(gate_a, gate_b, 1e-5, "swiglu_backward gate " + what);
    expect_close(up_a, up_b, 1e-5, "swiglu_backward up " + what);
    a = b = y;
    ops.fast.add(x.data(), ld, a.data(), ld, tokens, width);
    ops.plain.add(x.data(), ld, b.data(), ld, tokens, width);
    expect_equal(a, b, "add " + what);
    for (const float p : {0.0f, 0.05f, 0.5f}) {
      ops.fast.dropout(x.data(), ld, a.data(), ld, tokens, width, p, 0x123456789abcdefULL, 7, 30);
      ops.plain.dropout(x.data(), ld, b.data(), ld, tokens, width, p, 0x123456789abcdefULL, 7, 30);
      expect_equal(a, b, "dropout " + what);
    }
    for (const StorageType type : kTypes) {
      const auto table = stored(random_floats(11 * width), type);
      const std::vector<int32_t> ids = {0, 10, 3, 3, 9};
      Floats ea(ids.size() * ld, 0), eb = ea;
      const MatrixSource source{table.data(), type, 11, width};
      ops.fast.embed(*ops.fast.make_embedding(source, nullptr), ids.data(), 5, ea.data(), ld);
      ops.plain.embed(*ops.plain.make_embedding(source, nullptr), ids.data(), 5, eb.data(), ld);
      expect_equal(ea, eb, std::string("embed ") + name_of(type) + " " + what);
    }
  }
}

// Every width with and without a bias and norms, in place and into other rows; values are as large as Qwen2's biases are.
void test_rope(Pair ops) {
  for (const int head_dim : {2, 6, 16, 48, 64, 80, 128}) {
    const AttentionShape shape{3, 2, head_dim, 0, 1};
    const int64_t tokens = 9, width = 7 * head_dim, ld = width + 2, ldy = width + 5;
    const Floats table = random_floats(32 * head_dim);
    std::vector<int32_t> positions(tokens);
    for (int32_t& position : positions) position = static_cast<int32_t>(random_int(0, 31));
    const Floats x = random_floats(tokens * ld);
    Floats bias = random_floats(width);
    for (float& value : bias) value *= 50;
    const Floats q_norm = random_floats(head_dim), k_norm = random_floats(head_dim), g = random_floats(tokens * ldy);
    for (int kind = 0; kind < 4; ++kind) {
      Rotary rotary{positions.data(), table.data()};
      if (kind & 1) rotary.bias = bias.data();
      if (kind & 2) rotary.q_norm = q_norm.data(), rotary.k_norm = k_norm.data(), rotary.eps = 1e-5f;
      const std::string what = std::to_string(head_dim) + (kind & 1 ? " with a bias" : "") + (kind & 2 ? " with norms" : "");
      Floats a = x, b = x, ya = g, yb = g;
      ops.fast.rope(shape, rotary, x.data(), ld, tokens, ya.data(), ldy);
      ops.plain.rope(shape, rotary, x.data(), ld, tokens, yb.data(), ldy);
      expect_close(ya, yb, 1e-5, "rope " + what + " into other rows");
      ops.fast.rope(shape, rotary, a.data(), ld, tokens, a.data(), ld);
      ops.plain.rope(shape, rotary, b.data(), ld, tokens, b.data(), ld);
      expect_close(a, b, 1e-5, "rope " + what);
      bool same = true;
      for (int64_t t = 0; t < tokens; ++t) same = same && std::equal(&a[t * ld], &a[t * ld] + width, &ya[t * ldy]);
      expect(same, "rope " + what + " in place and into other rows");
      Floats ga = g, gb = g;
      const float* read = kind & 2 ? x.data() : nullptr;
      ops.fast.rope_backward(shape, rotary, read, ld, tokens, ga.data(), ldy);
      ops.plain.rope_backward(shape, rotary, read, ld, tokens, gb.data(), ldy);
      expect_close(ga, gb, 1e-4, "rope_backward " + what);
    }
  }
}

// The gradient against the slope of sum(g rope(x)), in the reference: central differences, whose error is 1e-3 of the largest.
void test_rope_slope(Ops& ops) {
  const AttentionShape shape{2, 1, 6, 0, 1};
  const int64_t width = 24, turned = 18;
  const std::vector<int32_t> positions = {3};
  const Floats table = random_floats(32 * 6), bias = random_floats(width), q_norm = random_floats(6), k_norm = random_floats(6);
  const Floats x = random_floats(width), g = random_floats(width);
  for (const bool normed : {false, true}) {
    Rotary rotary{positions.data(), table.data(), bias.data()};
    if (normed) rotary.q_norm = q_norm.data(), rotary.k_norm = k_norm.data(), rotary.eps = 1e-5f;
    const auto value = [&](int64_t at, float change) {
      Floats moved = x, y(x.size());
      moved[at] += change;
      ops.rope(shape, rotary, moved.data(), width, 1, y.data(), width);
      double sum = 0;
      for (int64_t i = 0; i < turned; ++i) sum += static_cast<double>(g[i]) * y[i];
      return sum;
    };
    Floats slope(turned), gradient = g;
    for (int64_t i = 0; i < turned; ++i) slope[i] = static_cast<float>((value(i, 1e-2f) - value(i, -1e-2f)) / 2e-2);
    ops.rope_backward(shape, rotary, x.data(), width, 1, gradient.data(), width);
    gradient.resize(turned);
    expect_close(gradient, slope, 5e-3, std::string("rope_backward is the slope of rope") + (normed ? " with norms" : ""));
  }
}

AttentionShape random_shape() {
  const int group = static_cast<int>(random_int(1, 4)), kv_heads = static_cast<int>(random_int(1, 3));
  const int widths[] = {2, 6, 8, 16, 24, 48, 64, 80, 128};
  const int head_dim = widths[random_int(0, 8)];
  const int64_t window = random_int(0, 2) == 0 ? random_int(1, 90) : 0;
  return {group * kv_heads, kv_heads, head_dim, window, 1 / std::sqrt(static_cast<float>(head_dim))};
}

std::string describe(const AttentionShape& shape) {
  return "heads " + std::to_string(shape.heads) + "/" + std::to_string(shape.kv_heads) + " x " + std::to_string(shape.head_dim) + " window " + std::to_string(shape.window);
}

// cos and sin for rope, [positions, head_dim / 2, 2]. No turn at all where keys are rounded afterwards: a last bit that two
// implementations turn differently would become a last bit of a half.
Floats turns(int64_t positions, int head_dim, StorageType type) {
  Floats table;
  for (int64_t i = 0; i < positions * head_dim / 2; ++i) {
    const float angle = type == StorageType::f32 ? random_floats(1)[0] : 0;
    table.push_back(std::cos(angle));
    table.push_back(std::sin(angle));
  }
  return table;
}

void test_cached_attention(Pair ops) {
  for (int round = 0; round < 24; ++round) {
    const AttentionShape shape = random_shape();
    const StorageType type = kTypes[round % 3];
    const int64_t capacity = random_int(150, 260), query_width = shape.heads * shape.head_dim, key_width = shape.kv_heads * shape.head_dim;
    const int64_t ldq = query_width + 2 * key_width, total = 140;
    std::vector<std::unique_ptr<KvCache>> fast, plain, single;
    for (int i = 0; i < 2; ++i) {
      fast.push_back(ops.fast.make_cache(2, shape.kv_heads, shape.head_dim, capacity, type));
      plain.push_back(ops.plain.make_cache(2, shape.kv_heads, shape.head_dim, capacity, type));
      single.push_back(ops.fast.make_cache(2, shape.kv_heads, shape.head_dim, capacity, type));
    }
    // Two sequences of `total` tokens in steps of uneven size; q, k, v side by side as the fused projection leaves them.
    const Floats first = random_floats(total * ldq), second = random_floats(total * ldq), angles = turns(total, shape.head_dim, type);
    for (int64_t done = 0; done < total;) {
      const int64_t count = done == 0 ? random_int(1, 130) : random_int(1, std::min<int64_t>(5, total - done));
      const int64_t taken = std::min(count, total - done);
      Floats x(first.begin() + done * ldq, first.begin() + (done + taken) * ldq);
      x.insert(x.end(), second.begin() + done * ldq, second.begin() + (done + taken) * ldq);
      Floats a(2 * taken * query_width), b = a, c = a;
      std::vector<int32_t> positions;
      for (int64_t row = 0; row < 2 * taken; ++row) positions.push_back(static_cast<int32_t>(done + row % taken));
      const auto spans = [&](auto& caches) { return std::vector<AttentionSpan>{{caches[0].get(), 0, taken, done}, {caches[1].get(), taken, taken, done}}; };
      const auto attend = [&](Ops& each, const std::vector<AttentionSpan>& planned, Floats& o) {
        Floats qkv = x;  // rotated in place
        each.plan_attention(planned);
        each.attention(shape, 1, {positions.data(), angles.data()}, qkv.data(), ldq, 2 * taken, o.data(), query_width);
      };
      attend(ops.fast, spans(fast), a);
      attend(ops.plain, spans(plain), b);
      expect_close(a, b, 2e-5, "attention " + describe(shape) + " at " + std::to_string(done) + " + " + std::to_string(taken));
      if (ops.fast.name() != std::string("reference")) {
        for (int64_t row = 0; row < 2 * taken; ++row) {
          attend(ops.fast, {{single[row / taken].get(), row, 1, done + row % taken}}, c);
        }
        expect_equal(c, a, "attention token by token " + describe(shape));
      }
      done += taken;
    }
  }
}

void test_packed_attention(Pair ops) {
  for (int round = 0; round < 24; ++round) {
    const AttentionShape shape = random_shape();
    std::vector<int32_t> offsets = {0};
    const int64_t rows = random_int(1, 4);
    for (int64_t row = 0; row < rows; ++row) offsets.push_back(offsets.back() + static_cast<int32_t>(random_int(1, row == 0 ? 200 : 70)));
    const int64_t tokens = offsets.back(), query_width = shape.heads * shape.head_dim, key_width = shape.kv_heads * shape.head_dim;
    const int64_t ldq = query_width + 1, ldkv = key_width + 3, ldo = query_width + 2;
    // Not longer than needed: reads past the last row are seen by the address sanitizer.
    const Floats q = random_floats((tokens - 1) * ldq + query_width), k = random_floats((tokens - 1) * ldkv + key_width);
    const Floats v = random_floats((tokens - 1) * ldkv + key_width), g = random_floats((tokens - 1) * ldo + query_width);
    Floats oa((tokens - 1) * ldo + query_width, 0), ob = oa, la(tokens * shape.heads), lb = la;
    ops.fast.attention_packed(shape, {offsets.data(), rows, tokens}, q.data(), ldq, k.data(), v.data(), ldkv, oa.data(), ldo, la.data());
    ops.plain.attention_packed(shape, {offsets.data(), rows, tokens}, q.data(), ldq, k.data(), v.data(), ldkv, ob.data(), ldo, lb.data());
    const std::string what = describe(shape) + " tokens " + std::to_string(tokens);
    expect_close(oa, ob, 2e-5, "attention_packed " + what);
    expect_close(la, lb, 2e-5, "attention_packed lse " + what);
    const auto gradients = [&](Ops& each) {
      Floats dq(q.size(), 9), dk(k.size(), 9), dv(v.size(), 9);
      each.attention_packed_backward(shape, {offsets.data(), rows, tokens}, q.data(), ldq, k.data(), v.data(), ldkv, ob.data(), ldo, lb.data(), g.data(), ldo, dq.data(), ldq, dk.data(), dv.data(), ldkv);
      return std::vector<Floats>{dq, dk, dv};
    };
    const auto fast = gradients(ops.fast), plain = gradients(ops.plain);
    for (int i = 0; i < 3; ++i) expect_close(fast[i], plain[i], 2e-5, std::string("attention_packed_backward ") + "qkv"[i] + " " + what);
  }
}

void test_optimisation(Pair ops) {
  for (const int64_t vocab : {1, 5, 17, 512, 9001}) {
    const int64_t rows = 5, ld = vocab + 2;
    const Floats logits = random_floats(rows * ld, 4);
    std::vector<int32_t> targets(rows);
    for (int32_t& target : targets) target = static_cast<int32_t>(random_int(0, vocab - 1));
    Floats a = logits, b = logits;
    double la = 0, lb = 0;
    ops.fast.cross_entropy(a.data(), ld, rows, vocab, targets.data(), 0.5f, a.data(), ld, &la);
    ops.plain.cross_entropy(b.data(), ld, rows, vocab, targets.data(), 0.5f, b.data(), ld, &lb);
    expect(std::abs(la - lb) <= 1e-5 * std::max(1.0, lb), "cross_entropy loss, vocab " + std::to_string(vocab));
    expect_close(a, b, 1e-6, "cross_entropy gradient, vocab " + std::to_string(vocab));
  }
  for (const int64_t n : {1, 15, 8192, 20001}) {
    const Floats gradient = random_floats(n), start = random_floats(n);
    const double a = ops.fast.sum_squares(gradient.data(), n), b = ops.plain.sum_squares(gradient.data(), n);
    expect(std::abs(a - b) <= 1e-12 * b, "sum_squares " + std::to_string(n));
    Floats pa = start, pb = start, ma(n, 0), mb(n, 0), va(n, 0), vb(n, 0);
    for (int64_t step = 1; step <= 5; ++step) {
      const AdamW settings{1e-2, 0.9, 0.999, 1e-8, 0.1, 0.7, step};
      ops.fast.adamw(pa.data(), gradient.data(), ma.data(), va.data(), n, settings);
      ops.plain.adamw(pb.data(), gradient.data(), mb.data(), vb.data(), n, settings);
    }
    expect_close(pa, pb, 1e-6, "adamw parameter");
    expect_close(ma, mb, 1e-6, "adamw m");
    expect_close(va, vb, 1e-6, "adamw v");
  }
}

// The same bits with any number of threads.
void test_thread_counts(const std::string& name) {
  std::vector<Floats> results;
  for (const int threads : {1, 2, 5}) {
    generator.seed(77);
    const auto ops = make_ops(name, threads);
    const int64_t rows = 210, cols = 515, tokens = 130, rank = 8;
    const auto data = stored(random_floats(rows * cols), StorageType::bf16);
    const auto w = ops->pack({{data.data(), StorageType::bf16, rows, cols}});
    const Floats x = random_floats(tokens * cols), g = random_floats(tokens * rows), a = random_floats(rank * cols);
    Floats result(tokens * rows + tokens * cols + tokens * rank + rank * cols + 1);
    float* to = result.data();
    ops->linear_f32(*w, x.data(), cols, tokens, to, rows, false);
    ops->linear_backward(*w, g.data(), rows, tokens, to += tokens * rows, cols, false);
    ops->matmul_nt(x.data(), cols, a.data(), cols, to += tokens * cols, rank, tokens, rank, cols, 1, 0);
    ops->matmul_tn(to, rank, x.data(), cols, to + tokens * rank, cols, rank, cols, tokens, 1, 0);
    to += tokens * rank + rank * cols;
    *to = static_cast<float>(ops->sum_squares(x.data(), tokens * cols));
    results.push_back(result);
  }
  expect_equal(results[1], results[0], "two threads as one");
  expect_equal(results[2], results[0], "five threads as one");
}

void test_storage() {
  current = "storage";
  // Every half converts back to itself, and half-way cases round to even.
  bool f16 = true, bf16 = true;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    if (!std::isnan(f32_from_f16(half))) f16 = f16 && f16_from_f32(f32_from_f16(half)) == half;
    if (!std::isnan(f32_from_bf16(half))) bf16 = bf16 && bf16_from_f32(f32_from_bf16(half)) == half;
  }
  expect(f16 && bf16, "round trip");
  expect(f16_from_f32(1 + 0x1p-11f) == 0x3c00 && f16_from_f32(1 + 3 * 0x1p-11f) == 0x3c02, "f16 ties to even");
  expect(f16_from_f32(0x1p-25f) == 0 && f16_from_f32(3 * 0x1p-25f) == 2, "f16 subnormal ties to even");
  expect(f16_from_f32(65519) == 0x7bff && f16_from_f32(65520) == 0x7c00, "f16 overflow");
  expect(bf16_from_f32(1 + 0x1p-8f) == 0x3f80 && bf16_from_f32(1 + 3 * 0x1p-8f) == 0x3f82, "bf16 ties to even");
  expect(bf16_from_f32(3.4e38f) == 0x7f80, "bf16 overflow");
  expect(std::isnan(f32_from_f16(f16_from_f32(NAN))) && std::isnan(f32_from_bf16(bf16_from_f32(NAN))), "NaN stays NaN");
}

void test_philox() {
  current = "philox";
  // Known answers of Random123's kat_vectors.
  expect(philox_4x32_10({0, 0, 0, 0}, 0, 0) == PhiloxWords{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, "zeros");
  expect(philox_4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0) == PhiloxWords{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}, "pi");
}

void test_pool() {
  current = "pool";
  ThreadPool pool(3);
  std::vector<int> seen(1000, 0);
  for (int round = 0; round < 200; ++round) {
    pool.parallel_for(1000, 7, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) ++seen[i];
    });
  }
  expect(seen == std::vector<int>(1000, 200), "every index once per loop");
  bool thrown = false;
  try {
    pool.run([](int thread) {
      if (thread == 2) throw std::runtime_error("from a worker");
    });
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  expect(thrown, "an exception reaches the caller");
  bool refused = false;
  try {
    make_ops("no-such-set", 1);
  } catch (const std::invalid_argument&) {
    refused = true;
  }
  expect(refused, "an unknown implementation is refused");
}

}  // namespace

int main() {
  test_storage();
  test_philox();
  test_pool();
  test_rope_slope(*make_ops("reference", 1));
  const auto run = [](const std::string& label, Ops& fast, bool rounds_activations) {
    const auto plain = make_ops("reference", 2);
    const Pair ops{fast, *plain, rounds_activations};
    current = label;
    test_linear(ops);
    test_thin_products(ops);
    test_rows(ops);
    test_rope(ops);
    test_cached_attention(ops);
    test_packed_attention(ops);
    test_optimisation(ops);
  };
#if defined(LLAMA_EMULATED)
  const auto fast = make_emulated_ops(2);
  run(LLAMA_EMULATED " (emulated)", *fast, std::string(LLAMA_EMULATED) == "avx512_bf16");
#else
  for (const std::string& name : available_ops()) {
    const auto fast = make_ops(name, 2);
    run(name, *fast, name == "avx512" && __builtin_cpu_supports("avx512bf16"));
    if (name != "reference") test_thread_counts(name);
  }
#endif
  return checks::summary();
}
