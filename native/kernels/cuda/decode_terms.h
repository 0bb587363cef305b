// The low-rank terms of the rows' adapters within a product of few tokens: y += scale (x Aᵀ) Bᵀ without a launch of its own.
// The blocks share the sums of u = x Aᵀ among them while their first weights are under way, meet, and add to each tile of y what
// its rows of B make of u.
#pragma once
#include "decode_input.h"
#include "lora.h"
#include "meeting.h"
#include "stream.h"

namespace llama::cuda {

constexpr int most_decode_terms = 4;  // of a place

template <class T>
struct DecodeTerms {
  const LoraRow<T>* rows = nullptr;  // [tokens]; null: no terms
  int place = 0;
  int ranks = 0;            // of a row of u
  float* u = nullptr;       // [tokens, ranks], see lora.h
  Meeting* meeting = nullptr;
};

// The rows' terms at the place, in shared memory.
template <class T>
struct SharedTerms {
  struct Term {
    const T* a;
    const T* b;
    int column, out, rank;  // rank 0: not there
    float scale;
  };
  Term of[most_decode_tokens][most_decode_terms];
};

// The term of thread i, of tokens * most_decode_terms.
template <class T>
__device__ inline typename SharedTerms<T>::Term load_term(const DecodeTerms<T>& terms, int i) {
  typename SharedTerms<T>::Term result{};
  const LoraRow<T> row = terms.rows[i / most_decode_terms];
  const int index = i % most_decode_terms;
  if (row.terms == nullptr || index >= row.stride) return result;
  const LoraTerm<T> term = row.terms[terms.place * row.stride + index];
  result = {term.a, term.b, static_cast<int>(term.column), static_cast<int>(term.out), term.rank, term.scale};
  return result;
}

// Rank `rank` of a row of u: the row of A that makes it, or null.
template <class T>
__device__ inline const T* row_of_a(const SharedTerms<T>& shared, int token, int rank, int cols) {
#pragma unroll
  for (int i = 0; i < most_decode_terms; ++i) {
    const auto& term = shared.of[token][i];
    if (rank < term.rank) return term.a + static_cast<int64_t>(rank) * cols;
    rank -= static_cast<int>(padded_rank(term.rank));
    if (rank < 0) return nullptr;
  }
  return nullptr;
}

// Asks for the block's first row of A.
template <class T>
__device__ inline void prefetch_share(const DecodeTerms<T>& terms, const SharedTerms<T>& shared, int cols, int tokens) {
  const int item = static_cast<int>(blockIdx.x);
  if (item >= tokens * terms.ranks) return;
  const T* a = row_of_a(shared, item / terms.ranks, item % terms.ranks, cols);
  if (a == nullptr) return;
  for (int k = static_cast<int>(threadIdx.x) * group_width; k < cols; k += static_cast<int>(blockDim.x) * group_width) prefetch(a + k);
}

// Every `step`-th sum of u from `first` on, by the whole block. A sum is formed in the same order whoever forms it.
// `scratch`: shared memory, [4][warps], free again afterwards.
template <class T>
__device__ inline void shrink(const DecodeTerms<T>& terms, const SharedTerms<T>& shared, const DecodeInput<T>& input, int cols, int tokens, const float* inverse, float* scratch, int first, int step) {
  constexpr int at_once = 4;
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int warps = static_cast<int>(blockDim.x) / warp_size, count = tokens * terms.ranks;
  for (; first < count; first += at_once * step) {
#pragma unroll 1
    for (int j = 0; j < at_once; ++j) {
      const int item = first + j * step;
      if (item >= count) break;
      const int token = item / terms.ranks;
      const T* a = row_of_a(shared, token, item % terms.ranks, cols);
      if (a == nullptr) continue;
      const bool packed = cols % group_width == 0 && reinterpret_cast<uintptr_t>(a) % 16 == 0;
      float sum = 0.0f;
      for (int k = static_cast<int>(threadIdx.x) * group_width; k < cols; k += static_cast<int>(blockDim.x) * group_width) {
        float weights[group_width], values[group_width];
        load_group(a + k, cols - k, packed, weights);
        input_group(input, cols, token, k, inverse[token], values);
#pragma unroll
        for (int i = 0; i < group_width; ++i) sum = fmaf(values[i], weights[i], sum);
      }
      sum = warp_sum(sum);
      if (lane == 0) scratch[j * warps + warp] = sum;
    }
    __syncthreads();
    const int item = first + static_cast<int>(threadIdx.x) * step;
    if (threadIdx.x < at_once && item < count && row_of_a(shared, item / terms.ranks, item % terms.ranks, cols) != nullptr) {
      float sum = 0.0f;
      for (int i = 0; i < warps; ++i) sum += scratch[static_cast<int>(threadIdx.x) * warps + i];
      terms.u[item] = sum;
    }
    __syncthreads();
  }
}

// All of u, for a block whose meeting was not complete. Others may write the same numbers meanwhile. Inlined though it is hardly
// ever reached: around a call registers would be saved.
template <class T>
__device__ inline void shrink_alone(const DecodeTerms<T>& terms, const SharedTerms<T>& shared, const DecodeInput<T>& input, int cols, int tokens, const float* inverse, float* scratch) {
  shrink(terms, shared, input, cols, tokens, inverse, scratch, 0, 1);
}

// Asks for the rows of B that add to y[token, out].
template <class T>
__device__ inline void prefetch_terms(const SharedTerms<T>& shared, int token, int out) {
#pragma unroll
  for (int i = 0; i < most_decode_terms; ++i) {
    const auto& term = shared.of[token][i];
    const int row = out - term.column;
    if (term.rank == 0 || row < 0 || row >= term.out) continue;
    const T* b = term.b + static_cast<int64_t>(row) * term.rank;
    for (int r = 0; r < term.rank; r += 2 * group_width) prefetch(b + r);
  }
}

// What the terms add to y[token, out], after the meeting.
template <class T>
__device__ inline float low_rank_sum(const DecodeTerms<T>& terms, const SharedTerms<T>& shared, int token, int out) {
  float result = 0.0f;
  const float* u = terms.u + token * terms.ranks;
#pragma unroll
  for (int i = 0; i < most_decode_terms; ++i) {
    const auto& term = shared.of[token][i];
    const int row = out - term.column;
    if (term.rank > 0 && row >= 0 && row < term.out) {
      const T* b = term.b + static_cast<int64_t>(row) * term.rank;
      const bool packed = term.rank % group_width == 0 && reinterpret_cast<uintptr_t>(term.b) % 16 == 0;
      float sum = 0.0f;
      for (int r = 0; r < term.rank; r += group_width) {
        float weights[group_width], values[group_width];
        load_group(b + r, term.rank - r, packed, weights);
        load_group(u + r, term.rank - r, packed, values);
#pragma unroll
        for (int j = 0; j < group_width; ++j) sum = fmaf(values[j], weights[j], sum);
      }
      result = fmaf(term.scale, sum, result);
    }
    u += padded_rank(term.rank);
  }
  return result;
}

}  // namespace llama::cuda
