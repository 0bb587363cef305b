// What is needed of each query before its gradients: a pass over o and g of its own.
#include "attention_packed_rows.h"

namespace llama::cuda {

namespace {

constexpr int term_lanes = 8, term_threads = 128;  // lanes that share a query of one head

// o, g [tokens, heads * width], lse [tokens, heads] -> terms [heads, tokens]. Neighbouring groups of lanes read neighbouring
// heads. Bound by memory: 2 tokens heads width elements.
template <class T, bool packed>
__global__ void __launch_bounds__(term_threads)
    query_terms(PackedAttention attention, const T* o, int64_t ldo, const T* g, int64_t ldg, const float* lse,
                QueryTerms* terms) {
  const int64_t index = (static_cast<int64_t>(blockIdx.x) * term_threads + threadIdx.x) / term_lanes;
  const int64_t token = index / attention.heads, head = index % attention.heads;
  const int lane = static_cast<int>(threadIdx.x) % term_lanes;
  float sum = 0;
  if (token < attention.tokens) {
    constexpr int N = packed ? pack_width<T> : 1;
    const T *from = o + token * ldo + head * attention.width, *gradient = g + token * ldg + head * attention.width;
    for (int i = lane * N; i < attention.width; i += term_lanes * N) {
      const auto a = load_pack<T, N>(from + i), b = load_pack<T, N>(gradient + i);
      for (int j = 0; j < N; ++j) sum += to_float(a.at[j]) * to_float(b.at[j]);
    }
  }
  for (int offset = term_lanes / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(all_lanes, sum, offset);
  if (token < attention.tokens && lane == 0) {
    terms[head * attention.tokens + token] = {lse[token * attention.heads + head] * log2_e, sum};
  }
}

}  // namespace

template <class T>
void attention_query_terms(cudaStream_t stream, const PackedAttention& attention, const T* o, int64_t ldo, const T* g,
                           int64_t ldg, const float* lse, QueryTerms* terms) {
  constexpr int N = pack_width<T>;
  const bool packed = packable(o, ldo, attention.width, N) && packable(g, ldg, attention.width, N);
  const Grid grid{blocks_for(attention.tokens * attention.heads, term_threads / term_lanes)};
  const auto kernel = packed ? query_terms<T, true> : query_terms<T, false>;
  launch(kernel, grid, dim3(term_threads), 0, stream, attention, o, ldo, g, ldg, lse, terms);
}

#define LLAMA_INSTANTIATE(T)                                                                                          \
  template void attention_query_terms(cudaStream_t, const PackedAttention&, const T*, int64_t, const T*, int64_t,     \
                                      const float*, QueryTerms*);
LLAMA_INSTANTIATE(float)
LLAMA_INSTANTIATE(Bf16)
LLAMA_INSTANTIATE(Half)

}  // namespace llama::cuda
