// Serving attention over pages against double loops: decode steps, prefills and both together.
//
// The truth starts from the rotated q, k and v that rotate_and_store leaves in qkv, so that its rounding does not count
// twice. Tolerances, of the largest value: float32 1e-5 (sums of at most a few thousand terms); 16-bit types round weights
// and results once each, to 2^-9 (bf16) or 2^-12 (f16) relative: 2^-7 and 2^-10 leave room for the sum of both. A wrong
// position, page or head is off by 1e-1 and more.
#include "../../kernels/cuda/attention_cached.h"

#include <cmath>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "../../kernels/cuda/device.h"
#include "../../kernels/cuda/page_pool.h"

namespace {

using namespace llama;
using namespace llama::cuda;

int failures = 0;
int checks = 0;
std::string current;

void expect(bool holds, const std::string& what) {
  ++checks;
  if (holds) return;
  ++failures;
  std::printf("FAILED %s: %s\n", current.c_str(), what.c_str());
}

std::mt19937 generator(1);
float random_float() { return std::normal_distribution<float>(0, 1)(generator); }

class HeapDevice final : public Device {
 public:
  std::unique_ptr<Memory> allocate(size_t bytes) override {
    struct Block final : Memory {
      ~Block() override { std::free(data); }
    };
    auto block = std::make_unique<Block>();
    block->data = std::malloc(bytes);
    block->bytes = bytes;
    std::memset(block->data, 0xff, bytes);  // NaN: what nobody wrote must not be read
    return block;
  }
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
      : ld(width + gap), offset_(offset), memory_(static_cast<T*>(std::malloc(bytes(rows, width)))) {
    std::memset(static_cast<void*>(memory_), 0x11, bytes(rows, width));
  }
  Rows(const Rows&) = delete;
  ~Rows() { std::free(memory_); }
  T* data() { return memory_ + offset_; }
  T& at(int64_t row, int64_t column) { return data()[row * ld + column]; }
  const int64_t ld;

 private:
  size_t bytes(int64_t rows, int64_t width) const { return static_cast<size_t>((rows - 1) * ld + width + offset_) * sizeof(T); }
  int64_t offset_;
  T* memory_;
};

template <class T>
constexpr double tolerance_of = storage_of<T> == StorageType::f32 ? 1e-5 : storage_of<T> == StorageType::bf16 ? 1.0 / 128 : 1.0 / 1024;
template <class T>
constexpr const char* name_of = storage_of<T> == StorageType::f32 ? "f32" : storage_of<T> == StorageType::bf16 ? "bf16" : "f16";

constexpr int layers = 2;
constexpr int64_t longest = 4200;

// A sequence and what its cache must hold: [layer][position][keys, values][kv_heads * head_dim].
struct Told {
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
  Scene(int heads, int kv_heads, int head_dim, int64_t window, const std::vector<int64_t>& capacities, int64_t offset = 0)
      : shape{heads, kv_heads, head_dim, window, 1 / std::sqrt(static_cast<float>(head_dim))}, offset_(offset) {
    const PageLayout layout{layers, kv_heads, head_dim, sizeof(T)};
    pool_ = std::make_shared<PagePool>(device_, layout, size_t{1} << 30);
    for (const int64_t capacity : capacities) told.push_back({std::make_unique<PagedCache>(pool_, capacity), {}});
    for (int64_t i = 0; i < longest * head_dim / 2; ++i) {
      const double angle = static_cast<double>(i / (head_dim / 2)) / std::pow(100.0, static_cast<double>(i % (head_dim / 2)) / head_dim);
      turns_.push_back(static_cast<float>(std::cos(angle)));
      turns_.push_back(static_cast<float>(std::sin(angle)));
    }
  }

  // Runs a step in every layer and compares; returns the outputs' bits of the last layer.
  std::vector<std::vector<T>> step(const std::vector<Piece>& pieces, int64_t unplanned = 0) {
    plan(pieces, unplanned);
    std::vector<std::vector<T>> result;
    for (int layer = 0; layer < layers; ++layer) result = run(layer, pieces, rows_ - unplanned);
    return result;
  }

  // Puts `count` random positions into the cache as the layout says, without the kernels.
  void fill(int sequence, int64_t count) {
    Told& one = told[static_cast<size_t>(sequence)];
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

  // The next step's input is `seed`'s.
  void seed(unsigned value) { generator.seed(value); }

  const AttentionShape shape;
  std::vector<Told> told;

  // ---- one step in pieces, as a caller that replays records has it
  void plan(const std::vector<Piece>& pieces, int64_t unplanned = 0) {
    std::vector<AttentionSpan> spans;
    positions_.clear();
    for (const Piece& piece : pieces) {
      PagedCache& cache = *told[static_cast<size_t>(piece.sequence)].cache;
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
  AttentionBounds bounds;
  PlanView view{};

  std::vector<std::vector<T>> run(int layer, const std::vector<Piece>& pieces, int64_t planned) {
    const int64_t width = int64_t{shape.heads} * shape.head_dim, kv_width = int64_t{shape.kv_heads} * shape.head_dim;
    Rows<T> qkv(rows_, width + 2 * kv_width, 8, offset_), before(rows_, width + 2 * kv_width, 8, offset_), o(rows_, width, 8, offset_);
    for (int64_t row = 0; row < rows_; ++row) {
      for (int64_t i = 0; i < width + 2 * kv_width; ++i) before.at(row, i) = qkv.at(row, i) = from_float<T>(random_float());
    }
    rotate_and_store<T>(nullptr, shape, layer, qkv.data(), qkv.ld, rows_, positions_.data(), turns_.data(), view);
    expect_rotated(before, qkv, planned);
    const auto scratch = device_.allocate(attention_cached_scratch_bytes(shape, bounds));
    attention_cached<T>(nullptr, shape, layer, qkv.data(), qkv.ld, o.data(), o.ld, view, scratch->data);

    std::vector<std::vector<T>> outputs;
    double worst = 0, largest = 1;
    int64_t row = 0;
    for (const Piece& piece : pieces) {
      auto& rows = told[static_cast<size_t>(piece.sequence)].rows[layer];
      rows.resize(static_cast<size_t>(piece.position));  // later ones are forgotten
      for (int64_t i = 0; i < piece.count; ++i, ++row) {
        std::vector<float> values;
        for (int64_t j = 0; j < 2 * kv_width; ++j) values.push_back(to_float(qkv.at(row, width + j)));
        rows.push_back(values);
        const std::vector<double> truth = attend(rows, &qkv.at(row, 0));
        outputs.emplace_back(&o.at(row, 0), &o.at(row, 0) + width);
        for (int64_t j = 0; j < width; ++j) {
          const double value = to_float(o.at(row, j));
          largest = std::max(largest, std::abs(truth[static_cast<size_t>(j)]));
          worst = std::isfinite(value) ? std::max(worst, std::abs(value - truth[static_cast<size_t>(j)])) : 1e9;
        }
      }
    }
    expect(worst <= tolerance_of<T> * largest, "attention is off by " + std::to_string(worst) + " of " + std::to_string(largest));
    bool untouched = true;
    T pattern;
    std::memset(static_cast<void*>(&pattern), 0x11, sizeof pattern);
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t i = r < planned ? width : 0; i < (r + 1 < rows_ ? o.ld : width); ++i) {
        untouched = untouched && std::memcmp(&o.at(r, i), &pattern, sizeof pattern) == 0;
      }
    }
    expect(untouched, "nothing is written between rows, nor to rows without a span");
    bool zeros = true;
    for (int64_t i = 0; i < view.rows * shape.kv_heads; ++i) zeros = zeros && view.counters[i] == 0;
    expect(zeros, "counters are zero again");
    return outputs;
  }

 private:
  void expect_rotated(Rows<T>& before, Rows<T>& after, int64_t planned) {
    const int half = shape.head_dim / 2;
    double worst = 0;
    bool values_stay = true;
    for (int64_t row = 0; row < rows_; ++row) {
      for (int head = 0; head < shape.heads + 2 * shape.kv_heads; ++head) {
        for (int i = 0; i < half; ++i) {
          const int64_t column = int64_t{head} * shape.head_dim + i;
          const double x = to_float(before.at(row, column)), y = to_float(before.at(row, column + half));
          const double a = to_float(after.at(row, column)), b = to_float(after.at(row, column + half));
          if (row >= planned || head >= shape.heads + shape.kv_heads) {
            values_stay = values_stay && a == x && b == y;
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
        for (int i = 0; i < width; ++i) score += double{to_float(q[head * width + i])} * rows[static_cast<size_t>(j)][k + static_cast<size_t>(i)];
        scores.push_back(score * shape.scale);
      }
      const double most = *std::max_element(scores.begin(), scores.end());
      double total = 0;
      for (double& score : scores) total += score = std::exp(score - most);
      for (int i = 0; i < width; ++i) {
        double sum = 0;
        for (int64_t j = first; j < count; ++j) sum += scores[static_cast<size_t>(j - first)] * rows[static_cast<size_t>(j)][v + static_cast<size_t>(i)];
        result.push_back(sum / total);
      }
    }
    return result;
  }

  HeapDevice device_;
  std::shared_ptr<PagePool> pool_;
  std::unique_ptr<Memory> block_;
  std::vector<float> turns_;
  std::vector<int32_t> positions_;
  int64_t offset_, rows_ = 0;
};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <class T>
void describe(const std::string& what, int heads, int kv_heads, int head_dim, int64_t window) {
  current = std::string(name_of<T>) + " " + what + ", heads " + std::to_string(heads) + "/" + std::to_string(kv_heads) + " of " +
            std::to_string(head_dim) + ", window " + std::to_string(window);
}

// Prompts of several lengths together, decode steps across page borders, both mixed, and positions taken back.
template <class T>
void test_steps(int heads, int kv_heads, int head_dim, int64_t window, int64_t offset) {
  describe<T>("steps", heads, kv_heads, head_dim, window);
  Scene<T> scene(heads, kv_heads, head_dim, window, {45, 100, 70}, offset);
  scene.step({{0, 0, 30}, {1, 0, 1}, {2, 0, 2}});
  scene.step({{0, 30, 1}, {1, 1, 17}, {2, 2, 1}}, 2);
  for (int64_t position = 31; position <= 33; ++position) scene.step({{2, position - 28, 1}, {0, position, 1}}, 1);
  scene.step({{0, 20, 1}, {1, 18, 50}, {2, 0, 1}});
  scene.step({{0, 21, 24}, {1, 40, 5}});
}

// A prompt in two pieces gives the bits of one piece; the tokens after it as well.
template <class T>
void test_pieces(int heads, int kv_heads, int head_dim, int64_t window) {
  describe<T>("pieces", heads, kv_heads, head_dim, window);
  constexpr int64_t prompt = 50, cut = 19;
  const auto run = [&](Scene<T>& scene, int64_t position, int64_t count, unsigned seed) {
    scene.plan({{0, position, count}});
    scene.seed(seed);
    return scene.run(0, {{0, position, count}}, count);
  };
  Scene<T> whole(heads, kv_heads, head_dim, window, {64}), parts(heads, kv_heads, head_dim, window, {64});
  const auto all = run(whole, 0, prompt, 2);
  // The same inputs in two pieces: the second one's rows follow the first one's in the generator.
  parts.plan({{0, 0, cut}});
  parts.seed(2);
  auto pieces = parts.run(0, {{0, 0, cut}}, cut);
  parts.plan({{0, cut, prompt - cut}});
  const auto second = parts.run(0, {{0, cut, prompt - cut}}, prompt - cut);
  pieces.insert(pieces.end(), second.begin(), second.end());
  bool equal = true;
  for (size_t i = 0; i < all.size(); ++i) equal = equal && same_bits(all[i], pieces[i]);
  expect(equal, "a prompt in two pieces gives other bits");
  for (int64_t position = prompt; position < prompt + 3; ++position) {
    expect(same_bits(run(whole, position, 1, 5)[0], run(parts, position, 1, 5)[0]), "a token after two pieces gives other bits");
  }
}

// Contexts in several splits: against the truth, the same bits alone and together, and by a replayed plan.
template <class T>
void test_splits(int heads, int kv_heads, int head_dim, int64_t window, const std::vector<int64_t>& lengths) {
  describe<T>("splits", heads, kv_heads, head_dim, window);
  Scene<T> scene(heads, kv_heads, head_dim, window, std::vector<int64_t>(lengths.size(), longest));
  std::vector<Piece> pieces;
  for (size_t i = 0; i < lengths.size(); ++i) {
    scene.fill(static_cast<int>(i), lengths[i]);
    pieces.push_back({static_cast<int>(i), lengths[i], 1});
  }
  scene.plan(pieces);
  scene.seed(7);
  const auto together = scene.run(1, pieces, static_cast<int64_t>(pieces.size()));
  scene.plan({pieces[0]});
  scene.seed(7);
  expect(same_bits(scene.run(1, {pieces[0]}, 1)[0], together[0]), "a row gives other bits in a batch");

  // The next step has equal bounds and the same addresses: what was recorded for this one would do.
  scene.plan(pieces);
  const PlanView recorded = scene.view;
  for (Piece& piece : pieces) ++piece.position;
  scene.plan(pieces);
  expect(scene.view.splits == recorded.splits && scene.view.pages == recorded.pages && scene.view.counters == recorded.counters && scene.view.split_count == recorded.split_count, "a decode step moves nothing");
  scene.view = recorded;
  scene.run(1, pieces, static_cast<int64_t>(pieces.size()));
}

template <class T>
void test_type() {
  for (const auto order : {emulated::Order::forward, emulated::Order::reverse, emulated::Order::shuffled}) {
    emulated::order = order;
    test_steps<T>(4, 2, 64, 0, 0);
    test_splits<T>(2, 1, 32, 0, {300, 5, 130});
  }
  emulated::order = emulated::Order::forward;
  test_steps<T>(2, 2, 6, 0, 1);
  test_steps<T>(6, 2, 8, 20, 0);
  test_steps<T>(9, 1, 10, 33, 0);
  test_steps<T>(2, 1, 128, 0, 0);
  test_steps<T>(1, 1, 80, 7, 1);
  test_steps<T>(2, 1, 160, 0, 0);
  test_pieces<T>(4, 2, 16, 0);
  test_pieces<T>(3, 1, 64, 25);
  test_splits<T>(16, 2, 8, 0, {257});
  test_splits<T>(3, 1, 6, 100, {400, 33});
  test_splits<T>(1, 1, 8, 0, {4150});
}

}  // namespace

int main() {
  test_type<float>();
  test_type<Bf16>();
  test_type<Half>();
  std::printf("%d checks, %d failed\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
