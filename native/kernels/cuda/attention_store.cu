#include "attention_cached.h"

namespace llama::cuda {
namespace {

constexpr int store_threads = 256;

template <class T>
struct Store {
  T* qkv;
  int64_t ldqkv;
  const int32_t* positions;
  const float* cos_sin;
  void* const* row_pages;
  int heads, kv_heads, head_dim, row;
  int64_t keys;  // where the layer's begin in a page; its values come behind them
};

// qkv [tokens, (heads + 2 kv_heads) head_dim] -> the same, rotated, and rows of pages. A thread has N elements of each
// half of a head, so that every element is read once and written once, keys and values twice: bound by memory, with a
// few KB a token far below what the products around it move. cos_sin comes from the caches but for its first reader.
template <class T, int N>
__global__ void store_kernel(Store<T> a) {
  const int half = a.head_dim / 2, packs = half / N;
  const int index = static_cast<int>(blockIdx.y * store_threads + threadIdx.x);
  const int head = index / packs, first = index % packs * N;
  const int rotated = a.heads + a.kv_heads;
  if (head >= rotated + a.kv_heads) return;
  auto* page = static_cast<T*>(a.row_pages[blockIdx.x]);
  if (page == nullptr) return;
  const int position = a.positions[blockIdx.x];
  T* at = a.qkv + static_cast<int64_t>(blockIdx.x) * a.ldqkv + static_cast<int64_t>(head) * a.head_dim + first;
  Pack<T, N> low = load_pack<T, N>(at), high = load_pack<T, N>(at + half);
  if (head < rotated) {
    const float* turn = a.cos_sin + (static_cast<int64_t>(position) * half + first) * 2;
    float angles[2 * N];
    if constexpr (N == 1) {
      angles[0] = turn[0];
      angles[1] = turn[1];
    } else {
      for (int i = 0; i < 2 * N; i += 4) {
        const Pack<float, 4> four = load_pack<float, 4>(turn + i);
        for (int j = 0; j < 4; ++j) angles[i + j] = four.at[j];
      }
    }
    for (int i = 0; i < N; ++i) {
      const float x = to_float(low.at[i]), y = to_float(high.at[i]), cosine = angles[2 * i], sine = angles[2 * i + 1];
      low.at[i] = from_float<T>(finite_in<T>(x * cosine - y * sine));
      high.at[i] = from_float<T>(finite_in<T>(y * cosine + x * sine));
    }
    store_pack<T, N>(at, low);
    store_pack<T, N>(at + half, high);
  }
  if (head < a.heads) return;
  // Keys of all heads, then values of all heads: [2 kv_heads][page_tokens][row].
  T* to = page + a.keys + (static_cast<int64_t>(head - a.heads) * page_tokens + position % page_tokens) * a.row + first;
  store_pack<T, N>(to, low);
  store_pack<T, N>(to + half, high);
  if constexpr (N == 1) {
    if (first == 0) {
      for (int i = a.head_dim; i < a.row; ++i) to[i] = from_float<T>(0.0f);
    }
  }
}

}  // namespace

template <class T>
void rotate_and_store(cudaStream_t stream, const AttentionShape& shape, int layer, T* qkv, int64_t ldqkv,
                      int64_t tokens, const int32_t* positions, const float* cos_sin, const PlanView& plan) {
  Store<T> a{};
  a.qkv = qkv;
  a.ldqkv = ldqkv;
  a.positions = positions;
  a.cos_sin = cos_sin;
  a.row_pages = plan.row_pages;
  a.heads = shape.heads;
  a.kv_heads = shape.kv_heads;
  a.head_dim = shape.head_dim;
  a.row = page_row(shape.head_dim, sizeof(T));
  a.keys = 2 * layer * page_part(shape.kv_heads, a.row);
  constexpr int n = pack_width<T>;
  const bool packed = packable(qkv, ldqkv, shape.head_dim / 2, n) && packable(cos_sin, 4, 4, 4);
  const int64_t threads = int64_t{shape.heads + 2 * shape.kv_heads} * (shape.head_dim / 2 / (packed ? n : 1));
  const Grid blocks{tokens, blocks_for(threads, store_threads)};
  launch(packed ? store_kernel<T, n> : store_kernel<T, 1>, blocks, dim3(store_threads), 0, stream, a);
}

template void rotate_and_store(cudaStream_t, const AttentionShape&, int, float*, int64_t, int64_t, const int32_t*,
                               const float*, const PlanView&);
template void rotate_and_store(cudaStream_t, const AttentionShape&, int, Bf16*, int64_t, int64_t, const int32_t*,
                               const float*, const PlanView&);
template void rotate_and_store(cudaStream_t, const AttentionShape&, int, Half*, int64_t, int64_t, const int32_t*,
                               const float*, const PlanView&);

}  // namespace llama::cuda
