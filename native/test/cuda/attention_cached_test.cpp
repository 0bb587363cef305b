// Serving attention over pages against double loops: decode steps, prefills and both together.
#include "attention_scene.h"

namespace {

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <class T>
constexpr const char* name_of = "f32";
template <>
constexpr const char* name_of<Bf16> = "bf16";
template <>
constexpr const char* name_of<Half> = "f16";

// Names what follows in messages.
template <class T>
AttentionShape shape_for(const std::string& what, int heads, int kv_heads, int head_dim, int64_t window) {
  current = std::string(name_of<T>) + " " + what + ", heads " + std::to_string(heads) + "/" + std::to_string(kv_heads) +
            " of " + std::to_string(head_dim) + ", window " + std::to_string(window);
  return {heads, kv_heads, head_dim, window, 1 / std::sqrt(static_cast<float>(head_dim))};
}

// Prompts of several lengths together, decode steps across page borders, both mixed, and positions taken back.
// Capacities are no multiples of a page.
template <class T>
void test_steps(int heads, int kv_heads, int head_dim, int64_t window, int64_t offset) {
  Scene<T> scene(shape_for<T>("steps", heads, kv_heads, head_dim, window), {45, 100, 70}, offset);
  scene.step({{0, 0, 30}, {1, 0, 1}, {2, 0, 2}});
  scene.step({{0, 30, 1}, {1, 1, 17}, {2, 2, 1}}, 2);
  for (int64_t position = 31; position <= 33; ++position) scene.step({{2, position - 28, 1}, {0, position, 1}}, 1);
  scene.step({{0, 20, 1}, {1, 18, 50}, {2, 0, 1}});
  scene.step({{0, 21, 24}, {1, 40, 5}});
}

// A prompt in two pieces gives the bits of one piece; the tokens after it as well.
template <class T>
void test_pieces(int heads, int kv_heads, int head_dim, int64_t window) {
  const AttentionShape shape = shape_for<T>("pieces", heads, kv_heads, head_dim, window);
  constexpr int64_t prompt = 50, cut = 19;
  Scene<T> whole(shape, {64}), parts(shape, {64});
  const auto run = [](Scene<T>& scene, int64_t position, int64_t count) {
    scene.plan({{0, position, count}});
    return scene.run(0, {{0, position, count}});
  };
  // The same inputs for both: rows are drawn one after another.
  generator.seed(2);
  const auto all = run(whole, 0, prompt);
  generator.seed(2);
  auto pieces = run(parts, 0, cut);
  for (auto& row : run(parts, cut, prompt - cut)) pieces.push_back(std::move(row));
  bool equal = all.size() == pieces.size();
  for (size_t i = 0; equal && i < all.size(); ++i) equal = same_bits(all[i], pieces[i]);
  expect(equal, "a prompt in two pieces gives other bits");
  for (int64_t position = prompt; position < prompt + 3; ++position) {
    generator.seed(5);
    const auto after_whole = run(whole, position, 1);
    generator.seed(5);
    expect(same_bits(after_whole[0], run(parts, position, 1)[0]), "a token after two pieces gives other bits");
  }
}

// Contexts in several splits: against the truth, the same bits alone and together, and by a replayed plan.
template <class T>
void test_splits(int heads, int kv_heads, int head_dim, int64_t window, const std::vector<int64_t>& lengths) {
  const AttentionShape shape = shape_for<T>("splits", heads, kv_heads, head_dim, window);
  Scene<T> scene(shape, std::vector<int64_t>(lengths.size(), longest));
  std::vector<Piece> pieces;
  for (size_t i = 0; i < lengths.size(); ++i) {
    scene.fill(static_cast<int>(i), lengths[i]);
    pieces.push_back({static_cast<int>(i), lengths[i], 1});
  }
  scene.plan(pieces);
  generator.seed(7);
  const auto together = scene.run(1, pieces);
  scene.plan({pieces[0]});
  generator.seed(7);
  expect(same_bits(scene.run(1, {pieces[0]})[0], together[0]), "a row gives other bits in a batch");

  // The next step has equal bounds and the same addresses: what was recorded for this one would do.
  scene.plan(pieces);
  const PlanView recorded = scene.view;
  for (Piece& piece : pieces) ++piece.position;
  scene.plan(pieces);
  const PlanView& now = scene.view;
  expect(now.row_pages == recorded.row_pages && now.splits == recorded.splits && now.pages == recorded.pages &&
             now.counters == recorded.counters && now.split_count == recorded.split_count,
         "a decode step moves nothing");
  scene.run(1, pieces);
}

// A few tokens behind a long context: tiles that are split over their pages, beside a decode step's row.
template <class T>
void test_long_prefill(int heads, int kv_heads, int head_dim, int64_t window) {
  Scene<T> scene(shape_for<T>("long prefill", heads, kv_heads, head_dim, window), {longest, longest, 300});
  scene.fill(0, 590);
  scene.fill(1, 1100);
  scene.fill(2, 260);
  scene.step({{0, 590, 5}, {2, 260, 1}, {1, 1100, 20}});
}

// With Qwen2's biases, Qwen3's norms, and both: widths with packs and without, and with a page's row that is padded.
template <class T>
void test_prepared_heads(int heads, int kv_heads, int head_dim, int64_t offset) {
  for (const auto& [biased, normed] : {std::pair{true, false}, {false, true}, {true, true}}) {
    const std::string what = std::string("steps") + (biased ? ", bias" : "") + (normed ? ", norms" : "");
    Scene<T> scene(shape_for<T>(what, heads, kv_heads, head_dim, 0), {45, 40}, offset);
    scene.prepare_heads(biased, normed);
    scene.step({{0, 0, 7}, {1, 0, 1}}, 1);
    scene.step({{0, 7, 1}, {1, 1, 1}}, 2);
  }
}

template <class T>
void test_kinds() {
  test_steps<T>(2, 1, 32, 0, 0);
  test_splits<T>(2, 1, 32, 0, {300, 5, 130});
  test_long_prefill<T>(2, 1, 16, 0);
  test_prepared_heads<T>(3, 1, 6, 0);
}

// Rows that begin between two packs, grouped heads, windows: what is of other widths for another type.
template <class T>
void test_widths() {
  test_prepared_heads<T>(2, 2, 20, 1);
  test_steps<T>(2, 2, 6, 0, 1);
  test_steps<T>(6, 2, 8, 20, 0);
  test_pieces<T>(3, 1, 64, 25);
}

template <class T>
void test_every_shape() {
  checks::in_every_order(test_kinds<T>);
  test_prepared_heads<T>(2, 1, 128, 0);
  test_prepared_heads<T>(2, 2, 20, 1);
  test_steps<T>(2, 2, 6, 0, 1);
  test_steps<T>(6, 2, 8, 20, 0);
  test_steps<T>(9, 1, 10, 33, 0);
  test_steps<T>(2, 1, 64, 0, 0);
  test_steps<T>(2, 1, 128, 0, 0);
  test_steps<T>(1, 1, 80, 7, 1);
  test_steps<T>(2, 1, 160, 0, 0);
  test_steps<T>(70, 1, 4, 0, 0);
  test_long_prefill<T>(3, 1, 6, 250);
  test_pieces<T>(4, 2, 16, 0);
  test_pieces<T>(3, 1, 64, 25);
  test_splits<T>(16, 2, 8, 0, {257});
  test_splits<T>(3, 1, 6, 100, {400, 33});
  test_splits<T>(1, 1, 8, 0, {4150});
}

}  // namespace

int main() {
  checks::begin();
  test_every_shape<Bf16>();
  if (checks::is_thorough()) {
    test_every_shape<float>();
    test_every_shape<Half>();
  } else {
    test_kinds<float>();
    test_widths<float>();
    test_kinds<Half>();
  }
  return checks::report();
}
