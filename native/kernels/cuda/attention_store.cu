#include "attention_cached.h"
#include "head_pairs.h"

namespace llama::cuda {
namespace {

constexpr int store_threads = 256;

template <class T>
struct Store {
  T* qkv;
  int64_t ldqkv;
  Rotary rotary;
  void* const* row_pages;
  int heads, kv_heads, head_dim, row;
  int64_t keys;  // where the layer's begin in a page; its values come behind them

  __device__ const float* bias(int head) const {
    return rotary.bias == nullptr ? nullptr : rotary.bias + static_cast<int64_t>(head) * head_dim;
  }
};

// N pairs of a head of qkv, ready for attention, to where they were and, of a key or a value, to the page.
// r: the factor of the head's norm, or null where there are no norms; bias: of the head, or null.
template <int N, class T>
__device__ inline void store_head_pairs(const Store<T>& a, T* page, int head, int first, const float* bias, const float* r) {
  const int half = a.head_dim / 2, position = a.rotary.positions[blockIdx.x];
  const bool turned = head < a.heads + a.kv_heads;
  T* at = a.qkv + static_cast<int64_t>(blockIdx.x) * a.ldqkv + static_cast<int64_t>(head) * a.head_dim;
  Pairs<N> pairs = load_pairs<N>(static_cast<const T*>(at), bias, half, first);
  if (turned) {
    float turns[2 * N];
    load_turns<N>(a.rotary, position, half, first, turns);
    if (r != nullptr) multiply_pairs<N>(pairs, *r, head < a.heads ? a.rotary.q_norm : a.rotary.k_norm, half, first);
    turn_pairs<N>(pairs, turns, 1);
    require_finite<T>(pairs);
  }
  if (turned || bias != nullptr) store_pairs(at, pairs, half, first);
  if (head < a.heads) return;
  // Keys of all heads, then values of all heads: [2 kv_heads][page_tokens][row].
  T* to = page + a.keys + (static_cast<int64_t>(head - a.heads) * page_tokens + position % page_tokens) * a.row;
  store_pairs(to, pairs, half, first);
  if constexpr (N < pack_width<T>) {
    if (first == 0) {
      for (int i = a.head_dim; i < a.row; ++i) to[i] = from_float<T>(0.0f);
    }
  }
}

// qkv [tokens, (heads + 2 kv_heads) head_dim] -> the same, rotated, and rows of pages. A thread has N elements of each
// half of a head, so that every element is read once and written once, keys and values twice: bound by memory, with a
// few KB a token far below what the products around it move. cos_sin comes from the caches but for its first reader.
template <class T, int N, bool biased>
__global__ void store_kernel(Store<T> a) {
  const int packs = a.head_dim / 2 / N;
  const int index = static_cast<int>(blockIdx.y * store_threads + threadIdx.x);
  const int head = index / packs, first = index % packs * N;
  if (head >= a.heads + 2 * a.kv_heads) return;
  auto* page = static_cast<T*>(a.row_pages[blockIdx.x]);
  if (page == nullptr) return;
  store_head_pairs<N>(a, page, head, first, biased ? a.bias(head) : nullptr, nullptr);
}

// The same with a norm of each head of q and k: a warp has a head, and reads it a second time from the first cache.
template <class T, int N>
__global__ void norm_store_kernel(Store<T> a) {
  const int half = a.head_dim / 2, lane = static_cast<int>(threadIdx.x % warp_size);
  const int head = static_cast<int>((blockIdx.y * store_threads + threadIdx.x) / warp_size);
  if (head >= a.heads + 2 * a.kv_heads) return;
  auto* page = static_cast<T*>(a.row_pages[blockIdx.x]);
  if (page == nullptr) return;
  const T* at = a.qkv + static_cast<int64_t>(blockIdx.x) * a.ldqkv + static_cast<int64_t>(head) * a.head_dim;
  const float* bias = a.bias(head);
  const float r = head < a.heads + a.kv_heads ? head_factor<N>(at, bias, a.rotary.eps, half, lane) : 0;
  for (int first = lane * N; first < half; first += warp_size * N) store_head_pairs<N>(a, page, head, first, bias, &r);
}

}  // namespace

template <class T>
void rotate_and_store(cudaStream_t stream, const AttentionShape& shape, int layer, const Rotary& rotary, T* qkv,
                      int64_t ldqkv, int64_t tokens, const PlanView& plan) {
  Store<T> a{};
  a.qkv = qkv;
  a.ldqkv = ldqkv;
  a.rotary = rotary;
  a.row_pages = plan.row_pages;
  a.heads = shape.heads;
  a.kv_heads = shape.kv_heads;
  a.head_dim = shape.head_dim;
  a.row = page_row(shape.head_dim, sizeof(T));
  a.keys = 2 * layer * page_part(shape.kv_heads, a.row);
  const int half = shape.head_dim / 2, heads = shape.heads + 2 * shape.kv_heads;
  const auto packs_of = [&](int n) { return packable(qkv, ldqkv, half, n) && packable(rotary, half, n); };
  if (rotary.q_norm != nullptr) {
    by_packs<2>(packs_of(2), [&](auto n) {
      const Grid blocks{tokens, blocks_for(int64_t{heads} * warp_size, store_threads)};
      launch(norm_store_kernel<T, n>, blocks, dim3(store_threads), 0, stream, a);
    });
    return;
  }
  constexpr int width = pack_width<T>;
  by_packs<width>(packs_of(width), [&](auto n) {
    const Grid blocks{tokens, blocks_for(int64_t{heads} * (half / n), store_threads)};
    const auto kernel = rotary.bias == nullptr ? store_kernel<T, n, false> : store_kernel<T, n, true>;
    launch(kernel, blocks, dim3(store_threads), 0, stream, a);
  });
}

#define LLAMA_INSTANTIATE(T)                                                                                         \
  template void rotate_and_store(cudaStream_t, const AttentionShape&, int, const Rotary&, T*, int64_t, int64_t,     \
                                 const PlanView&);
LLAMA_INSTANTIATE(float)
LLAMA_INSTANTIATE(Bf16)
LLAMA_INSTANTIATE(Half)
#undef LLAMA_INSTANTIATE

}  // namespace llama::cuda
