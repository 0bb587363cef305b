// The tokens that may still be drawn, in exact integers: scores as unsigned keys of the same order, probabilities in fixed
// point. Sums of integers are the same in any order, so that histograms can be filled with atomics and still give the same
// bits every time. Everything here is called by whole blocks of at most 1,024 threads. The larger functions stay functions:
// inlined and specialised they are more code than a multiprocessor's instruction cache holds.
#pragma once
#include <cmath>

#include "device.h"

namespace llama::cuda {

// Candidates by ascending token.
struct Candidates {
  const float* scores;
  const int32_t* tokens;  // null: 0, 1, 2 ...
  int count;
};

// Dynamic shared memory of a block. The bitmap of tokens seen lies over the counters and the list, before these are needed.
constexpr int counter_count = 4096;
constexpr int list_capacity = 2048;
struct DrawMemory {
  uint32_t counters[counter_count];
  float scores[list_capacity];
  int32_t tokens[list_capacity];
};

// ---- keys and weights

constexpr uint32_t key_of_minus_infinity = 0x007fffffu;  // of nothing a lower one

__device__ inline uint32_t key_of(float score) {
  uint32_t bits = __float_as_uint(score);
  if (bits == 0x80000000u) bits = 0;  // -0 is as good as 0
  return bits ^ ((bits & 0x80000000u) != 0 ? 0xffffffffu : 0x80000000u);
}

__device__ inline float score_of(uint32_t key) {
  return __uint_as_float(key ^ ((key & 0x80000000u) != 0 ? 0x80000000u : 0xffffffffu));
}

// exp(score - greatest) in units of 2^-44: 2^19 of them fit 64 bits, and 2^-44 is far below float32's rounding of the sum.
__device__ inline uint64_t weight_of(float score, float greatest) {
  const uint32_t bits = __float_as_uint(expf(score - greatest));
  const uint64_t mantissa = (bits & 0x7fffffu) | 0x800000u;
  const int shift = static_cast<int>(bits >> 23) - (127 + 23 - 44);
  return shift >= 0 ? mantissa << shift : shift > -24 ? mantissa >> -shift : 0;
}

// ---- over a block

__device__ inline uint64_t warp_total(uint64_t value) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(all_lanes, value, offset);
  return value;
}

// The sum of this lane's and all lower lanes' values.
__device__ inline uint64_t warp_prefix(uint64_t value) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  for (int offset = 1; offset < warp_size; offset *= 2) {
    const uint64_t lower = __shfl_up_sync(all_lanes, value, offset);
    if (lane >= offset) value += lower;
  }
  return value;
}

// The sum of all lower threads' values, and of everybody's.
struct Prefix {
  uint64_t before, total;
};

__device__ inline Prefix block_prefix(uint64_t value) {
  __shared__ uint64_t warps[warp_size];
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const uint64_t inclusive = warp_prefix(value);
  if (lane == warp_size - 1) warps[warp] = inclusive;
  __syncthreads();
  const uint64_t mine = lane < static_cast<int>(blockDim.x) / warp_size ? warps[lane] : 0, upto = warp_prefix(mine);
  const uint64_t before = __shfl_sync(all_lanes, upto - mine, warp), total = __shfl_sync(all_lanes, upto, warp_size - 1);
  __syncthreads();
  return {before + inclusive - value, total};
}

// Loads that are under way together.
constexpr int batch = 4;

// Calls visit(index, score) for every candidate, each on one thread.
template <class Visit>
__device__ inline void each_candidate(Candidates candidates, Visit visit) {
  const int stride = static_cast<int>(blockDim.x);
  for (int first = static_cast<int>(threadIdx.x); first < candidates.count; first += batch * stride) {
    float scores[batch];
    for (int i = 0; i < batch; ++i) {
      const int index = first + i * stride;
      scores[i] = index < candidates.count ? candidates.scores[index] : 0.0f;
    }
    for (int i = 0; i < batch; ++i) {
      const int index = first + i * stride;
      if (index < candidates.count) visit(index, scores[i]);
    }
  }
}

// A warp's part of [begin, end), in order and in steps of 32.
struct Part {
  int begin, end;
};

__device__ inline Part part_of(int begin, int end, int warp) {
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  const int each = ((end - begin + warps - 1) / warps + warp_size - 1) / warp_size * warp_size;
  return {min(begin + warp * each, end), min(begin + (warp + 1) * each, end)};
}

// Calls visit(index, score) on all lanes of a warp together, 32 candidates in order each time; minus infinity past the end.
template <class Visit>
__device__ inline void each_of_part(Candidates candidates, Part part, Visit visit) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  for (int first = part.begin; first < part.end; first += batch * warp_size) {
    float scores[batch];
    for (int i = 0; i < batch; ++i) {
      const int index = first + i * warp_size + lane;
      scores[i] = index < part.end ? candidates.scores[index] : -INFINITY;
    }
    for (int i = 0; i < batch; ++i) {
      if (first + i * warp_size < part.end) visit(first + i * warp_size + lane, scores[i]);
    }
  }
}

// The weights of all candidates whose key is at least `least`.
__device__ __attribute__((noinline)) inline uint64_t total_weight(Candidates candidates, uint32_t least, float greatest) {
  uint64_t sum = 0;
  each_candidate(candidates, [&](int, float score) {
    if (key_of(score) >= least) sum += weight_of(score, greatest);
  });
  return block_prefix(sum).total;
}

// ---- selection

// 64-bit sums in pairs of 32-bit counters, the lower halves first: shared memory has no 64-bit addition.
__device__ inline void add_to(uint32_t* counters, uint32_t digit, uint64_t amount) {
  const auto low = static_cast<uint32_t>(amount);
  const uint32_t before = atomicAdd(&counters[digit], low);
  const uint32_t high = static_cast<uint32_t>(amount >> 32) + (before + low < before ? 1u : 0u);
  if (high != 0) atomicAdd(&counters[counter_count / 2 + digit], high);
}

__device__ inline uint64_t amount_at(const uint32_t* counters, uint32_t digit) {
  return (static_cast<uint64_t>(counters[counter_count / 2 + digit]) << 32) + counters[digit];
}

struct Cut {
  uint32_t key;
  uint64_t before;  // amount of everything with a greater key
};

// Where the amount of the candidates (their number, or their weight), taken best first, reaches `target`, which is 1 to the
// amount of them all. Radix selection: the key's 32 bits are found 11, 11 and 10 at a time.
__device__ __attribute__((noinline)) inline Cut find_cut(Candidates candidates, bool by_weight, float greatest, uint64_t target) {
  LLAMA_SHARED(DrawMemory, memory);
  __shared__ Cut found;
  uint32_t* counters = memory->counters;
  constexpr int digits = counter_count / 2;
  const int each = (digits + static_cast<int>(blockDim.x) - 1) / static_cast<int>(blockDim.x);
  Cut cut{0, 0};
  uint32_t decided = 0;
  for (int level = 0; level < 3; ++level) {
    const int shift = level == 0 ? 21 : level == 1 ? 10 : 0;
    const uint32_t mask = level == 2 ? 0x3ffu : 0x7ffu;
    for (int i = static_cast<int>(threadIdx.x); i < counter_count; i += static_cast<int>(blockDim.x)) counters[i] = 0;
    __syncthreads();
    each_candidate(candidates, [&](int, float score) {
      const uint32_t key = key_of(score);
      if ((key & decided) == cut.key) add_to(counters, (key >> shift) & mask, by_weight ? weight_of(score, greatest) : 1);
    });
    __syncthreads();
    // Thread 0 has the greatest digits, and so on.
    const int first = digits - 1 - static_cast<int>(threadIdx.x) * each, last = max(first - each, -1);
    uint64_t amount = 0;
    for (int digit = first; digit > last; --digit) amount += amount_at(counters, static_cast<uint32_t>(digit));
    uint64_t before = cut.before + block_prefix(amount).before;
    if (before < target && target <= before + amount) {
      auto digit = static_cast<uint32_t>(first);
      for (; before + amount_at(counters, digit) < target; --digit) before += amount_at(counters, digit);
      found = {cut.key | (digit << shift), before};
    }
    __syncthreads();
    cut = found;
    decided |= mask << shift;
  }
  return cut;
}

}  // namespace llama::cuda
