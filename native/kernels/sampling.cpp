#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "dropout.h"

namespace llama {
namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

struct Candidate {
  int32_t token;
  float score;
};

// In the heap's order the best score comes first, the lowest id on exact ties.
bool worse(const Candidate& a, const Candidate& b) {
  return a.score < b.score || (a.score == b.score && a.token > b.token);
}

void penalize_repetition(float* scores, int64_t vocab, const std::vector<int32_t>& history, float penalty) {
  if (penalty == 1) return;
  std::vector<bool> seen(static_cast<size_t>(vocab));
  for (const int32_t token : history) {
    if (seen[static_cast<size_t>(token)]) continue;
    seen[static_cast<size_t>(token)] = true;
    scores[token] = scores[token] > 0 ? scores[token] / penalty : scores[token] * penalty;
  }
}

int32_t argmax(const float* scores, int64_t vocab) {
  const int64_t best = std::max_element(scores, scores + vocab) - scores;  // the first of equals
  return scores[best] > minus_infinity ? static_cast<int32_t>(best) : -1;
}

// By ascending id; ties at the threshold all stay.
std::vector<Candidate> keep_top_k(const float* scores, int64_t vocab, int64_t k) {
  float threshold = minus_infinity;
  if (k > 0 && k < vocab) {
    std::vector<float> ordered(scores, scores + vocab);
    std::nth_element(ordered.begin(), ordered.begin() + (k - 1), ordered.end(), std::greater<float>());
    threshold = ordered[static_cast<size_t>(k - 1)];
  }
  std::vector<Candidate> kept;
  for (int64_t i = 0; i < vocab; ++i) {
    if (scores[i] >= threshold && scores[i] > minus_infinity) kept.push_back({static_cast<int32_t>(i), scores[i]});
  }
  return kept;
}

// Probabilities of candidates in their order.
std::vector<double> softmax(const std::vector<Candidate>& candidates) {
  float maximum = minus_infinity;
  for (const Candidate& candidate : candidates) maximum = std::max(maximum, candidate.score);
  std::vector<double> result;
  result.reserve(candidates.size());
  for (const Candidate& candidate : candidates) {
    result.push_back(std::exp(static_cast<double>(candidate.score) - static_cast<double>(maximum)));
  }
  const double total = std::accumulate(result.begin(), result.end(), 0.0);
  for (double& value : result) value /= total;
  return result;
}

// Best first until their probability reaches p; at least one. Only the kept ones are sorted (a heap, not a full sort).
std::vector<Candidate> keep_top_p(const std::vector<Candidate>& candidates, double p) {
  const std::vector<double> probabilities = softmax(candidates);
  std::vector<Candidate> heap = candidates;
  std::make_heap(heap.begin(), heap.end(), worse);
  std::vector<Candidate> kept;
  double before = 0;
  auto end = heap.end();
  while (end != heap.begin() && (kept.empty() || before < p)) {
    std::pop_heap(heap.begin(), end, worse);
    --end;
    kept.push_back(*end);
    const auto original = std::lower_bound(candidates.begin(), candidates.end(), end->token,
                                           [](const Candidate& a, int32_t token) { return a.token < token; });
    before += probabilities[static_cast<size_t>(original - candidates.begin())];
  }
  std::sort(kept.begin(), kept.end(), [](const Candidate& a, const Candidate& b) { return a.token < b.token; });
  return kept;
}

double draw_uniform(uint64_t seed, uint64_t index) {
  const PhiloxWords words =
      philox_4x32_10({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0, 0},
                     static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  return static_cast<double>(words[0] >> 8) * 0x1p-24;
}

}  // namespace

int32_t sample(float* logits, int64_t vocab, const std::vector<int32_t>& history, const Sampling& sampling) {
  penalize_repetition(logits, vocab, history, sampling.repetition_penalty);
  // One infinite score or not-a-number means that the layers overflowed: no token drawn from them means anything.
  if (!std::all_of(logits, logits + vocab, [](float score) { return std::isfinite(score); })) return -1;
  for (const int32_t token : sampling.forbidden) logits[token] = minus_infinity;
  if (sampling.temperature == 0) return argmax(logits, vocab);
  for (int64_t i = 0; i < vocab; ++i) logits[i] /= sampling.temperature;

  std::vector<Candidate> kept = keep_top_k(logits, vocab, sampling.top_k);
  if (kept.empty()) return -1;
  if (sampling.top_p < 1) kept = keep_top_p(kept, sampling.top_p);
  const std::vector<double> probabilities = softmax(kept);
  const double u = draw_uniform(sampling.seed, sampling.index);
  double cumulative = 0;
  for (size_t i = 0; i < kept.size(); ++i) {
    cumulative += probabilities[i];
    if (cumulative > u) return kept[i].token;
  }
  return kept.back().token;  // the sum of rounded probabilities may end below u
}

}  // namespace llama
