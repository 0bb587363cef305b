#include "sampling.h"

#include <algorithm>
#include <cmath>

#include "candidates.h"
#include "philox.h"

namespace llama::cuda {
namespace {

constexpr uint64_t bad = ~uint64_t{0};  // above every key

// Penalises every distinct token of the history once, then forbids. Who first sets a token's bit has the token for itself.
// Returns how many tokens this thread has forbidden, not counting those whose score was -infinity before.
__device__ int apply_lists(float* scores, int64_t vocab, const DrawSettings& settings, uint32_t* bitmap) {
  const int64_t stride = blockDim.x;
  const float penalty = settings.repetition_penalty;
  if (penalty != 1) {
    for (int64_t i = threadIdx.x; i < (vocab + 31) / 32; i += stride) bitmap[i] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < settings.history_count; i += stride) {
      const int32_t token = settings.history[i];
      const uint32_t bit = 1u << (token % 32);
      if ((atomicOr(&bitmap[token / 32], bit) & bit) != 0) continue;
      scores[token] = scores[token] > 0 ? scores[token] / penalty : scores[token] * penalty;
    }
    __syncthreads();
  }
  int forbidden = 0;
  for (int64_t i = threadIdx.x; i < settings.forbidden_count; i += stride) {
    const float before = atomicExch(&scores[settings.forbidden[i]], -INFINITY);
    if (before != -INFINITY) forbidden += before < INFINITY ? 1 : -1;  // of one that is not finite too few are counted
  }
  __syncthreads();
  return forbidden;
}

__device__ uint64_t warp_best(uint64_t rank) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) rank = max(rank, __shfl_xor_sync(all_lanes, rank, offset));
  return rank;
}

__device__ int warp_count(int count) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) count += __shfl_xor_sync(all_lanes, count, offset);
  return count;
}

// Divides by the temperature and finds the best: its key above, the complement of its token below, so that the lowest token
// wins a tie; `bad` where a score is infinite or not a number, which one of -infinity is unless it was forbidden: `forbidden`
// says of how many this thread knows.
__device__ uint64_t scale_and_find_best(float* scores, int64_t vocab, float temperature, int forbidden) {
  __shared__ uint64_t warps[warp_size];
  __shared__ int unexplained[warp_size];
  const bool scaled = temperature != 0 && temperature != 1;
  uint64_t best = 0;
  each_candidate({scores, nullptr, static_cast<int>(vocab)}, [&](int token, float score) {
    const bool fine = score < INFINITY;
    if (score == -INFINITY) --forbidden;
    if (scaled) scores[token] = score /= temperature;
    const uint64_t rank = (static_cast<uint64_t>(key_of(score)) << 32) | ~static_cast<uint32_t>(token);
    best = max(best, fine ? rank : bad);
  });
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  best = warp_best(best);
  forbidden = warp_count(forbidden);
  if (lane == 0) warps[warp] = best, unexplained[warp] = forbidden;
  __syncthreads();
  const bool any = lane < static_cast<int>(blockDim.x) / warp_size;
  best = warp_best(any ? warps[lane] : 0);
  return warp_count(any ? unexplained[lane] : 0) == 0 ? best : bad;
}

// ---- the list: the best of a large row, few enough for shared memory

// Which 64th of a unit a score is below the greatest; never less for a lower score. Rounds by the float's own rounding.
__device__ uint32_t depth_of(float score, float greatest) {
  const float depth = fminf((greatest - score) * 64.0f, static_cast<float>(counter_count - 1));
  return __float_as_uint(depth + 0x1p23f) - 0x4b000000u;
}

// Lists the candidates of least depth, as many whole depths as fit; none when the first does not. Returns the list, and in
// `weight` the weight of all candidates if that is asked for.
__device__ __attribute__((noinline)) Candidates list_best(Candidates all, bool weigh, float greatest, uint64_t& weight) {
  LLAMA_SHARED(DrawMemory, memory);
  __shared__ int limit;
  uint32_t* counters = memory->counters;
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  for (int i = static_cast<int>(threadIdx.x); i < counter_count; i += static_cast<int>(blockDim.x)) counters[i] = 0;
  __syncthreads();
  uint64_t sum = 0;
  each_candidate(all, [&](int, float score) {
    atomicAdd(&counters[depth_of(score, greatest)], 1u);
    if (weigh) sum += weight_of(score, greatest);
  });
  if (weigh) weight = block_prefix(sum).total;
  __syncthreads();
  const int each = (counter_count + static_cast<int>(blockDim.x) - 1) / static_cast<int>(blockDim.x);
  const int first = static_cast<int>(threadIdx.x) * each, last = min(first + each, counter_count);
  uint64_t count = 0;
  for (int depth = first; depth < last; ++depth) count += counters[depth];
  uint64_t before = block_prefix(count).before;
  if (before <= list_capacity && before + count > list_capacity) {  // one thread's: there are more candidates than fit
    int depth = first;
    for (; before + counters[depth] <= list_capacity; ++depth) before += counters[depth];
    limit = depth;
  }
  __syncthreads();

  const auto part = part_of(0, all.count, warp);
  const auto deep = static_cast<uint32_t>(limit);
  uint64_t mine = 0;
  each_of_part(all, part, [&](int, float score) { mine += depth_of(score, greatest) < deep ? 1 : 0; });
  const Prefix place = block_prefix(mine);
  int next = static_cast<int>(__shfl_sync(all_lanes, place.before, 0));
  each_of_part(all, part, [&](int token, float score) {
    const bool listed = depth_of(score, greatest) < deep;
    const unsigned votes = __ballot_sync(all_lanes, listed);
    if (listed) {
      const int at = next + __popc(votes & ((1u << lane) - 1));
      memory->scores[at] = score;
      memory->tokens[at] = token;
    }
    next += __popc(votes);
  });
  __syncthreads();
  return {memory->scores, memory->tokens, static_cast<int>(place.total)};
}

// ---- the draw

// What may be drawn: keys above `key`, and of those equal to it the first `ties` tokens.
struct Kept {
  uint32_t key;
  uint64_t ties;
};
constexpr uint64_t all_ties = ~uint64_t{0};

__device__ uint64_t uniform_of(uint64_t total, uint64_t seed, uint64_t index) {
  const PhiloxBlock words = philox_block({{static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0, 0}}, seed);
  const uint64_t u = words.at[0] >> 8;  // in units of 2^-24
  return u * (total >> 24) + ((u * (total & 0xffffffu)) >> 24);
}

// The first token, by ascending token, at which the weight of the kept ones exceeds u times their total. Each round the
// range that holds it shrinks to one warp's part, until 32 candidates are left.
__device__ __attribute__((noinline)) int32_t draw(Candidates candidates, Kept kept, float greatest, const DrawSettings& settings) {
  __shared__ uint64_t weights[warp_size], ties[warp_size];
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const uint64_t tie_weight = weight_of(score_of(kept.key), greatest);
  int begin = 0, end = candidates.count;
  uint64_t target = 0, before = 0, ties_left = kept.ties;
  for (bool first = true; first || end - begin > warp_size; first = false) {
    uint64_t sum = 0, tied = 0;
    each_of_part(candidates, part_of(begin, end, warp), [&](int, float score) {
      const uint32_t key = key_of(score);
      if (key > kept.key) sum += weight_of(score, greatest);
      if (key == kept.key) ++tied;
    });
    sum = warp_total(sum);
    tied = warp_total(tied);
    if (lane == 0) weights[warp] = sum, ties[warp] = tied;
    __syncthreads();
    // Every warp finds the part that holds the token; its lanes have a part each.
    const bool any = lane < static_cast<int>(blockDim.x) / warp_size;
    tied = any ? ties[lane] : 0;
    const uint64_t ties_before = min(warp_prefix(tied) - tied, ties_left);
    const uint64_t weight = any ? weights[lane] + min(tied, ties_left - ties_before) * tie_weight : 0;
    const uint64_t upto = warp_prefix(weight);
    if (first) target = uniform_of(__shfl_sync(all_lanes, upto, warp_size - 1), settings.seed, settings.index);
    const int holder = __ffs(static_cast<int>(__ballot_sync(all_lanes, before + upto > target))) - 1;
    before += __shfl_sync(all_lanes, upto - weight, holder);
    ties_left -= __shfl_sync(all_lanes, ties_before, holder);
    const Part part = part_of(begin, end, holder);
    begin = part.begin;
    end = part.end;
    __syncthreads();
  }
  const int i = begin + lane;
  const float score = i < end ? candidates.scores[i] : -INFINITY;
  const uint32_t key = i < end ? key_of(score) : 0;
  const unsigned tied = __ballot_sync(all_lanes, key == kept.key);
  const bool within = key > kept.key || (key == kept.key && static_cast<uint64_t>(__popc(tied & ((1u << lane) - 1))) < ties_left);
  const uint64_t upto = before + warp_prefix(within ? weight_of(score, greatest) : 0);
  const int chosen = begin + __ffs(static_cast<int>(__ballot_sync(all_lanes, upto > target))) - 1;
  return candidates.tokens == nullptr ? chosen : candidates.tokens[chosen];
}

__device__ int32_t draw_filtered(Candidates all, float greatest, const DrawSettings& settings) {
  const bool top_k = settings.top_k > 0 && settings.top_k < all.count, top_p = settings.top_p < 1;
  const bool large = all.count > list_capacity;
  Candidates from = all, list{nullptr, nullptr, 0};
  Kept kept{key_of_minus_infinity, all_ties};
  uint64_t weight = 0;
  if (top_k) {
    if (large) list = list_best(all, false, greatest, weight);
    if (list.count >= settings.top_k) from = list;
    kept.key = find_cut(from, false, greatest, static_cast<uint64_t>(settings.top_k)).key;
    if (top_p) weight = total_weight(from, kept.key, greatest);
  } else if (top_p && large) {
    list = list_best(all, true, greatest, weight);
  } else if (top_p) {
    weight = total_weight(all, 0, greatest);
  }
  if (top_p) {
    const double wanted = ceil(settings.top_p * static_cast<double>(weight));
    const uint64_t target = wanted < 1 ? 1 : min(static_cast<uint64_t>(wanted), weight);
    if (!top_k && large && total_weight(list, 0, greatest) >= target) from = list;
    const Cut cut = find_cut(from, true, greatest, target);
    const uint64_t each = weight_of(score_of(cut.key), greatest);
    kept = {cut.key, (target - cut.before + each - 1) / each};
  }
  return draw(from, kept, greatest, settings);
}

// logits [rows, vocab], a block per row. Greedy reads the row once, 4 bytes a token; a draw writes it once and reads it twice,
// four times with top-k or top-p, from the L2 cache after the first. What these keep is then looked for in a list in shared
// memory if that holds it, else in the row: 3 or 4 more reads for each of the two. Bound by what one multiprocessor can read
// of the L2 cache and by the exponentials of its row.
__global__ void __launch_bounds__(1024) sample_kernel(float* logits, int64_t ld, int64_t vocab, const DrawSettings* all_settings, int32_t* tokens) {
  LLAMA_SHARED(uint32_t, bitmap);
  const DrawSettings& settings = all_settings[blockIdx.x];
  float* scores = logits + blockIdx.x * ld;
  const int forbidden = apply_lists(scores, vocab, settings, bitmap);
  const uint64_t best = scale_and_find_best(scores, vocab, settings.temperature, forbidden);
  const auto key = static_cast<uint32_t>(best >> 32);
  int32_t token = static_cast<int32_t>(~static_cast<uint32_t>(best));
  if (best == bad || key <= key_of_minus_infinity) {
    token = -1;
  } else if (settings.temperature != 0 && score_of(key) < INFINITY) {  // else so cold that only the best is left
    token = draw_filtered({scores, nullptr, static_cast<int>(vocab)}, score_of(key), settings);
  }
  if (threadIdx.x == 0) tokens[blockIdx.x] = token;
}

}  // namespace

void sample(cudaStream_t stream, float* logits, int64_t ld, int64_t rows, int64_t vocab, const DrawSettings* settings, int32_t* tokens) {
  const int64_t threads = std::clamp<int64_t>((vocab / 16 + warp_size - 1) / warp_size * warp_size, 128, 1024);
  const size_t bitmap = static_cast<size_t>((vocab + 31) / 32) * sizeof(uint32_t);
  launch(sample_kernel, Grid{rows}, dim3(static_cast<unsigned>(threads)), std::max(bitmap, sizeof(DrawMemory)), stream, logits, ld, vocab, settings, tokens);
}

}  // namespace llama::cuda
