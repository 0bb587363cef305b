// Sequences on pages, steps over them, and what double loops say must come out.
//
// The truth starts from the rotated q, k and v that rotate_and_store leaves in qkv, so that its rounding does not count
// twice.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "../../kernels/cuda/attention_cached.h"
#include "../../kernels/cuda/page_pool.h"
#include "checks.h"

namespace {

using namespace llama;
using namespace llama::cuda;
using checks::current;
using checks::expect;
using checks::generator;

float random_float() { return std::normal_distribution<float>(0, 1)(generator); }

class HeapDevice final : public Device {
 public:
  std::unique_ptr<Memory> allocate(size_t bytes) override {
    struct Block final : Memory {
      ~Block() override { ::operator delete(data); }
    };
    auto block = std::make_unique<Block>();
    block->data = ::operator new(bytes);
    block->bytes = bytes;
    std::memset(block->data, 0xff, bytes);  // NaN: what nobody wrote must not be read
    return block;
  }
  int64_t available() const override { return INT64_MAX; }
  void upload(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void download(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void copy(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void clear(void* to, size_t bytes) override { std::memset(to, 0, bytes); }
};

// Elements exactly as long as their rows, `offset` elements after a 16-byte boundary.
template <class T>
class Rows {
 public:
  Rows(int64_t rows, int64_t width, int64_t gap, int64_t offset)
      : ld(width + gap), offset_(offset), memory_(static_cast<T*>(::operator new(bytes(rows, width)))) {
    std::memset(static_cast<void*>(memory_), 0x11, bytes(rows, width));
  }
  Rows(const Rows&) = delete;
  ~Rows() { ::operator delete(memory_); }
  T* data() { return memory_ + offset_; }
  T& at(int64_t row, int64_t column) { return data()[row * ld + column]; }
  const int64_t ld;

 private:
  size_t bytes(int64_t rows, int64_t width) const {
    return static_cast<size_t>((rows - 1) * ld + width + offset_) * sizeof(T);
  }
  int64_t offset_;
  T* memory_;
};

// Of the largest value. float32: sums of at most a few thousand terms. 16-bit types round weights and results once
// each, to 2^-9 (bf16) or 2^-12 (f16) relative, which leaves room for the sum of both. A wrong position, page or head
// is off by 1e-1 and more.
template <class T>
constexpr double tolerance_of = 1e-5;
template <>
constexpr double tolerance_of<Bf16> = 1.0 / 128;
template <>
constexpr double tolerance_of<Half> = 1.0 / 1024;

constexpr int layers = 2;
constexpr int64_t longest = 4200;

// A sequence and what its cache must hold: [layer][position][keys, values][kv_heads * head_dim].
struct Sequence {
  std::unique_ptr<PagedCache> cache;
  std::vector<std::vector<float>> rows[layers];
};

struct Piece {
  int sequence;
  int64_t position, count;
};

template <class T>
class Scene {
 public:
  // `offset`: of q, o and their neighbours from an aligned address, in elements.
  Scene(const AttentionShape& shape_, const std::vector<int64_t>& capacities, int64_t offset = 0)
      : shape(shape_), offset_(offset) {
    const PageLayout layout{layers, shape.kv_heads, shape.head_dim, sizeof(T)};
    pool_ = std::make_shared<PagePool>(device_, layout, size_t{1} << 30);
    for (const int64_t capacity : capacities) sequences_.push_back({std::make_unique<PagedCache>(pool_, capacity), {}});
    for (int64_t position = 0; position < longest; ++position) {
      for (int i = 0; i < shape.head_dim / 2; ++i) {
        const double angle = static_cast<double>(position) / std::pow(100.0, static_cast<double>(i) / shape.head_dim);
        turns_.push_back(static_cast<float>(std::cos(angle)));
        turns_.push_back(static_cast<float>(std::sin(angle)));
      }
    }
  }

  // From now on rows have a bias as large as Qwen2's, or their heads a norm, before they are rotated.
  void prepare_heads(bool biased, bool normed) {
    const auto draw = [](std::vector<float>& values, int64_t n, float scale) {
      for (int64_t i = 0; i < n; ++i) values.push_back(scale * random_float());
    };
    if (biased) draw(bias_, int64_t{shape.heads + 2 * shape.kv_heads} * shape.head_dim, 10);
    if (!normed) return;
    draw(q_norm_, shape.head_dim, 1);
    draw(k_norm_, shape.head_dim, 1);
  }

  // A step in every layer, with rows behind it that belong to no span.
  void step(const std::vector<Piece>& pieces, int64_t unplanned = 0) {
    plan(pieces, unplanned);
    for (int layer = 0; layer < layers; ++layer) run(layer, pieces);
  }

  // Puts `count` random positions into the cache as the layout says, without the kernels.
  void fill(int sequence, int64_t count) {
    Sequence& one = sequences_[static_cast<size_t>(sequence)];
    one.cache->reserve(count);
    const int row = page_row(shape.head_dim, sizeof(T));
    for (int layer = 0; layer < layers; ++layer) {
      for (int64_t position = 0; position < count; ++position) {
        std::vector<float> values;
        for (int head = 0; head < 2 * shape.kv_heads; ++head) {
          auto* page = static_cast<T*>(one.cache->pages()[static_cast<size_t>(position / 32)]);
          T* to = page + ((layer * 2 * shape.kv_heads + head) * int64_t{32} + position % 32) * row;
          for (int i = 0; i < row; ++i) to[i] = from_float<T>(i < shape.head_dim ? random_float() : 0.0f);
          for (int i = 0; i < shape.head_dim; ++i) values.push_back(to_float(to[i]));
        }
        one.rows[layer].push_back(values);
      }
    }
  }

  // A step's two halves, as a caller that replays records has them.
  void plan(const std::vector<Piece>& pieces, int64_t unplanned = 0) {
    std::vector<AttentionSpan> spans;
    positions_.clear();
    for (const Piece& piece : pieces) {
      PagedCache& cache = *sequences_[static_cast<size_t>(piece.sequence)].cache;
      cache.reserve(piece.position + piece.count);
      spans.push_back({&cache, static_cast<int64_t>(positions_.size()), piece.count, piece.position});
      for (int64_t i = 0; i < piece.count; ++i) positions_.push_back(static_cast<int32_t>(piece.position + i));
    }
    for (int64_t i = 0; i < unplanned; ++i) positions_.push_back(0);
    rows_ = static_cast<int64_t>(positions_.size());
    bounds = bounds_of(spans, rows_);
    std::vector<unsigned char> host(plan_bytes(bounds));
    write_plan(host.data(), spans, bounds);
    if (block_ == nullptr || block_->bytes < host.size()) block_ = device_.allocate(host.size());
    device_.upload(block_->data, host.data(), host.size());
    view = plan_view(block_->data, bounds);
  }
  // Draws inputs, runs one layer and compares. Returns the rows of o.
  std::vector<std::vector<T>> run(int layer, const std::vector<Piece>& pieces) {
    const int64_t width = int64_t{shape.heads} * shape.head_dim, kv_width = int64_t{shape.kv_heads} * shape.head_dim;
    const int64_t all = width + 2 * kv_width;
    Rows<T> qkv(rows_, all, 8, offset_), before(rows_, all, 8, offset_), o(rows_, width, 8, offset_);
    for (int64_t row = 0; row < rows_; ++row) {
      for (int64_t i = 0; i < all; ++i) before.at(row, i) = qkv.at(row, i) = from_float<T>(random_float());
    }
    rotate_and_store<T>(nullptr, shape, layer, rotary(), qkv.data(), qkv.ld, rows_, view);
    const auto scratch = device_.allocate(attention_cached_scratch_bytes(shape, bounds));
    attention_cached<T>(nullptr, shape, layer, qkv.data(), qkv.ld, o.data(), o.ld, view, scratch->data);

    std::vector<std::vector<T>> outputs;
    double worst = 0, largest = 1;
    int64_t row = 0;
    for (const Piece& piece : pieces) {
      auto& rows = sequences_[static_cast<size_t>(piece.sequence)].rows[layer];
      rows.resize(static_cast<size_t>(piece.position));  // later ones are forgotten
      for (int64_t i = 0; i < piece.count; ++i, ++row) {
        std::vector<float> values;
        for (int64_t j = 0; j < 2 * kv_width; ++j) values.push_back(to_float(qkv.at(row, width + j)));
        rows.push_back(values);
        const std::vector<double> truth = attend(rows, &qkv.at(row, 0));
        outputs.emplace_back(&o.at(row, 0), &o.at(row, 0) + width);
        for (int64_t j = 0; j < width; ++j) {
          const double gap = std::abs(to_float(o.at(row, j)) - truth[static_cast<size_t>(j)]);
          largest = std::max(largest, std::abs(truth[static_cast<size_t>(j)]));
          worst = std::isfinite(gap) ? std::max(worst, gap) : 1e9;
        }
      }
    }
    expect_rotated(before, qkv, row);
    expect(worst <= tolerance_of<T> * largest,
           "attention is off by " + std::to_string(worst) + " of " + std::to_string(largest));
    expect_clean(o, row, width);
    return outputs;
  }

  const AttentionShape shape;
  AttentionBounds bounds;
  PlanView view{};

 private:
  Rotary rotary() const {
    Rotary result{positions_.data(), turns_.data()};
    if (!bias_.empty()) result.bias = bias_.data();
    if (!q_norm_.empty()) result.q_norm = q_norm_.data(), result.k_norm = k_norm_.data(), result.eps = 1e-5f;
    return result;
  }

  // A head of a planned row before it is turned.
  std::vector<double> prepared(Rows<T>& before, int64_t row, int head) const {
    std::vector<double> values;
    double squares = 0;
    for (int i = 0; i < shape.head_dim; ++i) {
      const int64_t column = int64_t{head} * shape.head_dim + i;
      values.push_back(to_float(before.at(row, column)) + (bias_.empty() ? 0.0 : bias_[static_cast<size_t>(column)]));
      squares += values.back() * values.back();
    }
    if (q_norm_.empty() || head >= shape.heads + shape.kv_heads) return values;
    const std::vector<float>& norm = head < shape.heads ? q_norm_ : k_norm_;
    const double r = 1 / std::sqrt(squares / shape.head_dim + 1e-5);
    for (int i = 0; i < shape.head_dim; ++i) values[static_cast<size_t>(i)] *= r * norm[static_cast<size_t>(i)];
    return values;
  }

  void expect_rotated(Rows<T>& before, Rows<T>& after, int64_t planned) {
    const int half = shape.head_dim / 2;
    double worst = 0;
    bool values_stay = true;
    for (int64_t row = 0; row < rows_; ++row) {
      for (int head = 0; head < shape.heads + 2 * shape.kv_heads; ++head) {
        const std::vector<double> from = prepared(before, row, head);
        for (int i = 0; i < half; ++i) {
          const int64_t column = int64_t{head} * shape.head_dim + i;
          const double x = from[static_cast<size_t>(i)], y = from[static_cast<size_t>(i + half)];
          const double a = to_float(after.at(row, column)), b = to_float(after.at(row, column + half));
          if (row >= planned || (bias_.empty() && head >= shape.heads + shape.kv_heads)) {
            values_stay = values_stay && a == to_float(before.at(row, column)) && b == to_float(before.at(row, column + half));
            continue;
          }
          if (head >= shape.heads + shape.kv_heads) {
            worst = std::max({worst, std::abs(a - x) / std::max(1.0, std::abs(x)), std::abs(b - y) / std::max(1.0, std::abs(y))});
            continue;
          }
          const size_t at = static_cast<size_t>((int64_t{positions_[static_cast<size_t>(row)]} * half + i) * 2);
          const double c = turns_[at], s = turns_[at + 1];
          for (const auto& [value, truth] : {std::pair{a, x * c - y * s}, std::pair{b, y * c + x * s}}) {
            worst = std::max(worst, std::abs(value - truth) / std::max(1.0, std::abs(truth)));
          }
        }
      }
    }
    expect(worst <= tolerance_of<T>, "rotation is off by " + std::to_string(worst));
    expect(values_stay, "values are not rotated");
  }

  // Of what the kernels must leave alone.
  void expect_clean(Rows<T>& o, int64_t planned, int64_t width) {
    bool untouched = true, zeros = true;
    T pattern;
    std::memset(static_cast<void*>(&pattern), 0x11, sizeof pattern);
    for (int64_t row = 0; row < rows_; ++row) {
      for (int64_t i = row < planned ? width : 0; i < (row + 1 < rows_ ? o.ld : width); ++i) {
        untouched = untouched && std::memcmp(&o.at(row, i), &pattern, sizeof pattern) == 0;
      }
    }
    expect(untouched, "nothing is written between rows, nor to rows without a span");
    for (int64_t i = 0; i < view.rows * shape.kv_heads; ++i) zeros = zeros && view.counters[i] == 0;
    const int tiles = view.prefill_span_count > 0 ? prefill_blocks : 0;
    for (int i = 0; i < tiles; ++i) zeros = zeros && view.prefill_counters[i] == 0;
    expect(zeros, "counters are zero again");
  }

  // The last of `rows` attends to all of them.
  std::vector<double> attend(const std::vector<std::vector<float>>& rows, const T* q) const {
    const int group = shape.heads / shape.kv_heads, width = shape.head_dim;
    const auto count = static_cast<int64_t>(rows.size());
    const int64_t first = shape.window > 0 ? std::max<int64_t>(0, count - shape.window) : 0;
    std::vector<double> result;
    for (int head = 0; head < shape.heads; ++head) {
      const size_t k = static_cast<size_t>(head / group * width), v = k + static_cast<size_t>(shape.kv_heads * width);
      std::vector<double> scores;
      for (int64_t j = first; j < count; ++j) {
        double score = 0;
        const float* key = rows[static_cast<size_t>(j)].data() + k;
        for (int i = 0; i < width; ++i) score += double{to_float(q[head * width + i])} * key[i];
        scores.push_back(score * shape.scale);
      }
      const double most = *std::max_element(scores.begin(), scores.end());
      double total = 0;
      for (double& score : scores) total += score = std::exp(score - most);
      for (int i = 0; i < width; ++i) {
        double sum = 0;
        for (size_t j = 0; j < scores.size(); ++j) {
          sum += scores[j] * rows[static_cast<size_t>(first) + j][v + static_cast<size_t>(i)];
        }
        result.push_back(sum / total);
      }
    }
    return result;
  }

  HeapDevice device_;  // outlives the pages
  std::shared_ptr<PagePool> pool_;
  std::vector<Sequence> sequences_;
  std::unique_ptr<Memory> block_;
  std::vector<float> turns_, bias_, q_norm_, k_norm_;
  std::vector<int32_t> positions_;
  int64_t offset_, rows_ = 0;
};

}  // namespace
