// Drawing tokens with the CUDA kernel, against the host's sample().
//
// Every token must be the host's, but for one case: the kernel's probabilities are float32, so where a cumulative
// probability is within 1e-6 of top-p's p or of the random number, the token on the other side of it is right as well. The
// tokens that may be drawn in this sense are computed here in float64; in nearly every case it is one.
#include <algorithm>
#include <numeric>
#include <set>

#include "../../kernels/cuda/sampling.h"
#include "../../kernels/dropout.h"
#include "../../kernels/sampling.h"
#include "checks.h"

namespace {

using namespace llama;
using namespace llama::checks;

constexpr double margin = 1e-6;

struct Row {
  std::vector<float> logits;
  std::vector<int32_t> history;
  Sampling sampling;
};

double uniform_of(const Sampling& sampling) {
  const auto words = philox_4x32_10({static_cast<uint32_t>(sampling.index), static_cast<uint32_t>(sampling.index >> 32), 0, 0}, static_cast<uint32_t>(sampling.seed), static_cast<uint32_t>(sampling.seed >> 32));
  return (words[0] >> 8) * 0x1p-24;
}

// The tokens that can be drawn when every cumulative probability may be off by the margin. For temperatures above 0 and
// scores that are all finite.
std::set<int32_t> possible_tokens(const Row& row) {
  const Sampling& sampling = row.sampling;
  std::vector<float> scores = row.logits;
  if (sampling.repetition_penalty != 1) {
    for (const int32_t token : std::set<int32_t>(row.history.begin(), row.history.end())) {
      scores[token] = scores[token] > 0 ? scores[token] / sampling.repetition_penalty : scores[token] * sampling.repetition_penalty;
    }
  }
  for (const int32_t token : sampling.forbidden) scores[token] = -INFINITY;
  for (float& score : scores) score /= sampling.temperature;
  std::vector<int32_t> best(scores.size());
  std::iota(best.begin(), best.end(), 0);
  std::stable_sort(best.begin(), best.end(), [&](int32_t a, int32_t b) { return scores[a] > scores[b]; });
  size_t count = best.size();
  if (sampling.top_k > 0 && sampling.top_k < static_cast<int64_t>(count)) {
    const float threshold = scores[best[sampling.top_k - 1]];
    count = static_cast<size_t>(sampling.top_k);
    while (count < best.size() && scores[best[count]] == threshold) ++count;
  }
  while (count > 1 && scores[best[count - 1]] == -INFINITY) --count;
  best.resize(count);
  std::vector<double> upto(count);
  double total = 0;
  for (size_t i = 0; i < count; ++i) total += std::exp(static_cast<double>(scores[best[i]]) - scores[best[0]]), upto[i] = total;

  // How many top-p may keep.
  size_t fewest = count, most = count;
  if (sampling.top_p < 1) {
    fewest = most = 1;
    while (fewest < count && upto[fewest - 1] / total < sampling.top_p - margin) ++fewest;
    while (most < count && upto[most - 1] / total < sampling.top_p + margin) ++most;
  }
  const double u = uniform_of(sampling);
  std::set<int32_t> tokens;
  for (size_t kept = fewest; kept <= most; ++kept) {
    std::vector<int32_t> ids(best.begin(), best.begin() + static_cast<int64_t>(kept));
    std::sort(ids.begin(), ids.end());
    double before = 0;
    for (const int32_t id : ids) {
      const double after = before + std::exp(static_cast<double>(scores[id]) - scores[best[0]]) / upto[kept - 1];
      if (u >= before - margin && u < after + margin) tokens.insert(id);
      before = after;
    }
  }
  return tokens;
}

int64_t ambiguous = 0;

// Draws all rows (of one vocabulary) in one launch and compares.
void test_rows(const std::vector<Row>& rows, const std::string& what) {
  const auto vocab = static_cast<int64_t>(rows[0].logits.size()), count = static_cast<int64_t>(rows.size());
  Matrix<float> logits(count, vocab, 3);
  std::vector<cuda::DrawSettings> settings;
  for (int64_t i = 0; i < count; ++i) {
    const Row& row = rows[i];
    std::copy(row.logits.begin(), row.logits.end(), logits.data + i * logits.ld);
    const Sampling& s = row.sampling;
    settings.push_back({row.history.data(), static_cast<int64_t>(row.history.size()), s.forbidden.data(), static_cast<int64_t>(s.forbidden.size()), s.top_p, s.top_k, s.seed, s.index, s.temperature, s.repetition_penalty});
  }
  std::vector<int32_t> tokens(rows.size(), -2);
  cuda::sample(nullptr, logits.data, logits.ld, count, vocab, settings.data(), tokens.data());
  for (int64_t i = 0; i < count; ++i) {
    auto scores = rows[i].logits;
    const int32_t host = sample(scores.data(), vocab, rows[i].history, rows[i].sampling);
    const Sampling& s = rows[i].sampling;
    const std::string which = what + " row " + std::to_string(i) + " (temperature " + std::to_string(s.temperature) + ", k " + std::to_string(s.top_k) + ", p " + std::to_string(s.top_p) + "): " + std::to_string(tokens[i]) + ", the host's " + std::to_string(host);
    if (host == -1 || s.temperature == 0) {
      expect(tokens[i] == host, which);
      continue;
    }
    const auto possible = possible_tokens(rows[i]);
    expect(possible.count(host) == 1, which + ": the host's is not possible");
    if (possible.size() > 1) ++ambiguous;
    expect(possible.count(tokens[i]) == 1, which + ": not possible");
  }
}

enum class Kind { normal, flat, tied, equal, steep, holes };

Row random_row(int64_t vocab, Kind kind) {
  Row row;
  const float scale = kind == Kind::flat ? 0.01f : kind == Kind::steep ? 12.0f : 2.5f;
  std::normal_distribution<float> normal(kind == Kind::flat ? 20.0f : 0.0f, scale);
  const int64_t allowed = random_int(0, vocab - 1);
  for (int64_t i = 0; i < vocab; ++i) {
    float logit = kind == Kind::equal ? -3.25f : normal(generator);
    if (kind == Kind::tied) logit = std::round(logit * 2) / 2;  // both zeros, too
    if (kind == Kind::holes && i != allowed && random_int(0, 2) > 0) row.sampling.forbidden.push_back(static_cast<int32_t>(i));
    row.logits.push_back(logit);
  }
  for (int64_t i = random_int(0, 40); i > 0; --i) row.history.push_back(static_cast<int32_t>(random_int(0, vocab - 1)));
  if (!row.history.empty()) row.history.insert(row.history.end(), 3, row.history.back());
  const float temperatures[] = {0, 0.3f, 0.7f, 1, 1, 1.9f};
  const double ps[] = {0, 1e-9, 0.1, 0.5, 0.9, 0.95, 0.999, 1, 1, 1};
  const int64_t ks[] = {0, 0, 0, 1, 2, 7, 50, vocab / 2, vocab - 1, vocab, vocab + 5};
  Sampling& s = row.sampling;
  s.temperature = temperatures[random_int(0, 5)];
  s.top_p = ps[random_int(0, 9)];
  s.top_k = ks[random_int(0, 10)];
  s.repetition_penalty = random_int(0, 1) == 0 ? 1 : 1.3f;
  s.seed = (uint64_t{generator()} << 32) | generator();
  s.index = (uint64_t{generator()} << 32) | generator();
  if (kind != Kind::holes && random_int(0, 2) == 0) s.forbidden = {static_cast<int32_t>(vocab - 1), 0, static_cast<int32_t>(vocab - 1)};
  return row;
}

void test_random(int64_t vocab, int count) {
  for (const Kind kind : {Kind::normal, Kind::flat, Kind::tied, Kind::equal, Kind::steep, Kind::holes}) {
    std::vector<Row> rows;
    for (int i = 0; i < count; ++i) rows.push_back(random_row(vocab, kind));
    test_rows(rows, "vocab " + std::to_string(vocab) + " kind " + std::to_string(static_cast<int>(kind)));
  }
}

// Large rows through every road: the list holds what top-k or top-p keeps, or it does not, or there is no list at all.
void test_large(int64_t vocab, const std::vector<std::pair<Kind, std::pair<int64_t, double>>>& cases) {
  std::vector<Row> rows;
  for (const auto& [kind, filters] : cases) {
    rows.push_back(random_row(vocab, kind));
    rows.back().sampling.temperature = 1;
    rows.back().sampling.top_k = filters.first;
    rows.back().sampling.top_p = filters.second;
  }
  test_rows(rows, "vocab " + std::to_string(vocab));
}

// Many random numbers for one distribution whose kept tokens are known: 0, 1 and 2, a tie among them.
void test_many_draws() {
  std::vector<Row> rows;
  for (uint64_t index = 0; index < 60; ++index) {
    Row row{{2, 1.5f, 1.5f, 0.5f, 0, -1, -3, -4}, {0, 6, 0}, {}};
    row.sampling = {0.7f, 0.8, 5, 1.3f, 42, index, {}};
    rows.push_back(row);
    const auto possible = possible_tokens(row);
    expect(*possible.begin() >= 0 && *possible.rbegin() <= 2, "many draws: the tokens kept");
  }
  test_rows(rows, "many draws");
}

void test_no_token() {
  const auto with = [](int64_t vocab, auto change) {
    std::vector<Row> rows;
    for (const float temperature : {0.0f, 1.0f}) {
      Row row;
      row.logits.assign(static_cast<size_t>(vocab), 0.5f);
      row.sampling.temperature = temperature;
      change(row);
      rows.push_back(row);
    }
    return rows;
  };
  for (const int64_t vocab : {1, 300}) {
    const auto last = static_cast<size_t>(vocab - 1);
    test_rows(with(vocab, [&](Row& row) { row.logits[last] = NAN; }), "not a number");
    test_rows(with(vocab, [&](Row& row) { row.logits[last] = INFINITY; }), "infinite");
    test_rows(with(vocab, [&](Row& row) { row.logits[last] = -INFINITY; }), "minus infinite");
    test_rows(with(vocab, [&](Row& row) { row.logits.assign(row.logits.size(), -INFINITY); }), "all minus infinite");
    test_rows(with(vocab, [&](Row& row) {
                row.sampling.forbidden.resize(row.logits.size());
                std::iota(row.sampling.forbidden.begin(), row.sampling.forbidden.end(), 0);
              }),
              "everything forbidden");
  }
  for (const float overflow : {NAN, INFINITY, -INFINITY}) {
    test_rows(with(300, [&](Row& row) { row.logits[7] = overflow, row.sampling.forbidden = {7}; }), "not finite, and forbidden");
    test_rows(with(300, [&](Row& row) { row.logits[7] = overflow, row.sampling.forbidden = {8, 9, 8}; }), "not finite, and others forbidden");
  }
}

// The tokens of rows that differ in the draw's index only; `wanted` says which random numbers.
template <class Wanted>
std::vector<Row> rows_at(const std::vector<float>& logits, const Sampling& sampling, int count, Wanted wanted) {
  std::vector<Row> rows;
  Row row{logits, {}, sampling};
  for (; static_cast<int>(rows.size()) < count; ++row.sampling.index) {
    if (wanted(uniform_of(row.sampling))) rows.push_back(row);
  }
  return rows;
}

// Sums of equal probabilities that both sides have exactly: the host's token and no other.
void test_exact_sums() {
  const auto same = [](const std::vector<Row>& rows, const std::string& what) {
    for (const Row& row : rows) {
      auto device = row.logits, host = row.logits;
      const Sampling& s = row.sampling;
      const std::vector<cuda::DrawSettings> settings = {{nullptr, 0, nullptr, 0, s.top_p, s.top_k, s.seed, s.index, s.temperature, s.repetition_penalty}};
      const auto vocab = static_cast<int64_t>(device.size());
      std::vector<int32_t> token = {-2};
      cuda::sample(nullptr, device.data(), vocab, 1, vocab, settings.data(), token.data());
      expect(token[0] == sample(host.data(), vocab, {}, s), what + ": the host's token");
    }
  };
  const auto any = [](double) { return true; };
  const auto on_an_edge = [](double u) { return u * 512 == std::floor(u * 512); };  // of 32 tokens, what a warp looks at
  same(rows_at({3, 3, 3, 3}, {1, 0.5, 0, 1, 5, 0, {}}, 20, any), "half of four");
  same(rows_at(std::vector<float>(16384, 1), {1, 1, 0, 1, 5, 0, {}}, 3, on_an_edge), "a random number on an edge");
  const auto inside = [&](double u) { return u * 16384 == std::floor(u * 16384) && !on_an_edge(u); };
  same(rows_at(std::vector<float>(16384, 1), {1, 1, 0, 1, 5, 0, {}}, 3, inside), "a random number between two tokens");
  same(rows_at({-1, 0.0f, -0.0f, -2}, {1, 0.1, 0, 1, 5, 0, {}}, 1, any), "zeros of both signs in top-p");
  same(rows_at({-1, -0.0f, 0.0f, -2}, {1, 1, 1, 1, 5, 0, {}}, 20, any), "zeros of both signs in top-k");
  same(rows_at({-1, -0.0f, 0.0f, -2}, {0, 1, 0, 1, 5, 0, {}}, 1, any), "zeros of both signs at temperature 0");
}

// Some of a tie are kept, and better tokens lie behind those that are not.
void test_broken_tie() {
  std::vector<float> logits(1000);
  for (size_t i = 3; i < logits.size(); i += 7) logits[i] = 1;
  test_rows(rows_at(logits, {1, 0.4, 0, 1, 5, 0, {}}, 40, [](double) { return true; }), "broken tie");
}

// A likely token and many that are very unlikely, but not together.
void test_tail() {
  std::vector<float> logits(20011);
  logits[0] = 17;
  test_rows(rows_at(logits, {1, 1, 0, 1, 5, 0, {}}, 3, [](double u) { return u > 1 - 7e-4 && u < 1 - 1e-4; }), "tail");
}

// So cold that scores overflow: the best token, as at temperature 0.
void test_overflowing_scores() {
  std::vector<float> logits = {1, 5, 3, 5};
  const std::vector<cuda::DrawSettings> settings = {{nullptr, 0, nullptr, 0, 1, 0, 1, 1, 1e-38f, 1}};
  std::vector<int32_t> token = {-2};
  cuda::sample(nullptr, logits.data(), 4, 1, 4, settings.data(), token.data());
  expect(token[0] == 1, "scores that overflow");
}

}  // namespace

int main() {
  begin();
  in_every_order([] {
    for (const int64_t vocab : {1, 2, 33}) test_random(vocab, 12);
    test_random(1000, 16);
    test_no_token();
  });
  current = "large";
  test_random(2049, 20);
  test_many_draws();
  test_exact_sums();
  test_broken_tie();
  test_tail();
  test_overflowing_scores();
  test_large(5003, {{Kind::normal, {40, 0.9}}, {Kind::normal, {3000, 0.9}}, {Kind::normal, {3000, 1}}, {Kind::normal, {0, 0.8}}, {Kind::normal, {0, 0.99999}}, {Kind::flat, {0, 0.9}}, {Kind::flat, {2500, 0.5}}, {Kind::equal, {0, 0.6}}, {Kind::equal, {10, 0.6}}, {Kind::tied, {100, 0.7}}, {Kind::tied, {4000, 0.9999}}, {Kind::holes, {2000, 0.9}}});
  test_large(20011, {{Kind::normal, {0, 0.9}}, {Kind::flat, {0, 0.9}}, {Kind::normal, {50, 1}}, {Kind::normal, {0, 1}}});
  std::printf("%lld rows had a choice of tokens\n", static_cast<long long>(ambiguous));
  return report();
}
