// Every kernel here is bound by memory. Without norms a thread has a pack of each half of a head; with them a warp has a head,
// whose second reading comes from the first cache (not measured).
#include "rotary.h"

#include <algorithm>

#include "head_pairs.h"

namespace llama::cuda {
namespace {

// x, y [tokens, all heads, 2, half]; heads from `turned` on are v's.
template <class T>
struct HeadRows {
  const T* x;
  int64_t ldx;
  T* y;
  int64_t ldy;
  int heads, turned, count;
  bool plain;  // in place and without a bias: v stays as it is
  int half;
  Rotary rotary;

  __device__ const float* bias(int head) const { return rotary.bias == nullptr ? nullptr : rotary.bias + int64_t{head} * 2 * half; }
  __device__ const float* norm(int head) const { return head < heads ? rotary.q_norm : rotary.k_norm; }
};

// 2 * sizeof(T) bytes an element. A thread keeps the cosines and sines of N pairs for all heads that it turns. `plain`: in
// place and without a bias, for which it needs a sixth fewer registers.
template <class T, int N, bool plain>
__global__ void rope_kernel(HeadRows<T> a, float sign) {
  const int64_t token = blockIdx.x;
  const int first = static_cast<int>(threadIdx.x) * N;
  float turns[2 * N];
  load_turns<N>(a.rotary, a.rotary.positions[token], a.half, first, turns);
  for (int head = static_cast<int>(threadIdx.y); head < a.count; head += static_cast<int>(blockDim.y)) {
    const int64_t column = int64_t{head} * 2 * a.half;
    T* to = a.y + token * a.ldy + column;
    const T* from = plain ? to : a.x + token * a.ldx + column;
    Pairs<N> pairs = load_pairs<N>(from, plain ? nullptr : a.bias(head), a.half, first);
    if (plain || head < a.turned) {
      turn_pairs<N>(pairs, turns, sign);
      require_finite<T>(pairs);
    }
    store_pairs(to, pairs, a.half, first);
  }
}

// The same with norms, a warp to each head: 2 * sizeof(T) bytes an element.
template <class T, int N>
__global__ void norm_rope_kernel(HeadRows<T> a) {
  const int64_t token = blockIdx.x;
  const int lane = static_cast<int>(threadIdx.x), position = a.rotary.positions[token];
  for (int head = static_cast<int>(threadIdx.y); head < a.count; head += static_cast<int>(blockDim.y)) {
    const int64_t column = int64_t{head} * 2 * a.half;
    const T* from = a.x + token * a.ldx + column;
    const bool turned = head < a.turned;
    const float r = turned ? head_factor<N>(from, a.bias(head), a.rotary.eps, a.half, lane) : 0;
    for (int first = lane * N; first < a.half; first += warp_size * N) {
      Pairs<N> pairs = load_pairs<N>(from, a.bias(head), a.half, first);
      if (turned) {
        float turns[2 * N];
        load_turns<N>(a.rotary, position, a.half, first, turns);
        multiply_pairs<N>(pairs, r, a.norm(head), a.half, first);
        turn_pairs<N>(pairs, turns, 1);
        require_finite<T>(pairs);
      }
      store_pairs(a.y + token * a.ldy + column, pairs, a.half, first);
    }
  }
}

// y, the gradient, in place: g' = (y turned back) norm, y = r g' - h r³ mean(g' h) with h = x + bias. A warp to each head:
// 3 * sizeof(T) bytes an element.
template <class T, int N>
__global__ void norm_rope_backward_kernel(HeadRows<T> a) {
  const int64_t token = blockIdx.x;
  const int lane = static_cast<int>(threadIdx.x), position = a.rotary.positions[token];
  for (int head = static_cast<int>(threadIdx.y); head < a.turned; head += static_cast<int>(blockDim.y)) {
    const int64_t column = int64_t{head} * 2 * a.half;
    const T* from = a.x + token * a.ldx + column;
    T* to = a.y + token * a.ldy + column;
    const auto turned_back = [&](int first) {
      float turns[2 * N];
      load_turns<N>(a.rotary, position, a.half, first, turns);
      Pairs<N> g = load_pairs<N>(static_cast<const T*>(to), nullptr, a.half, first);
      turn_pairs<N>(g, turns, -1);
      multiply_pairs<N>(g, 1, a.norm(head), a.half, first);
      return g;
    };
    float squares = 0, dot = 0;
    for (int first = lane * N; first < a.half; first += warp_size * N) {
      const Pairs<N> h = load_pairs<N>(from, a.bias(head), a.half, first), g = turned_back(first);
      for (int i = 0; i < N; ++i) {
        squares += h.low[i] * h.low[i] + h.high[i] * h.high[i];
        dot += h.low[i] * g.low[i] + h.high[i] * g.high[i];
      }
    }
    const float width = static_cast<float>(2 * a.half);
    const float r = norm_factor(1.0f / sqrtf(warp_sum(squares) / width + a.rotary.eps));
    const float shrink = r * r * r * (warp_sum(dot) / width);
    for (int first = lane * N; first < a.half; first += warp_size * N) {
      const Pairs<N> h = load_pairs<N>(from, a.bias(head), a.half, first);
      Pairs<N> g = turned_back(first);
      for (int i = 0; i < N; ++i) {
        g.low[i] = r * g.low[i] - h.low[i] * shrink;
        g.high[i] = r * g.high[i] - h.high[i] * shrink;
      }
      store_pairs(to, g, a.half, first);
    }
  }
}

template <class T>
HeadRows<T> rows_of(const AttentionShape& shape, const Rotary& rotary, const T* x, int64_t ldx, T* y, int64_t ldy) {
  const int turned = shape.heads + shape.kv_heads;
  const bool plain = rotary.bias == nullptr && x == y;
  return {x, ldx, y, ldy, shape.heads, turned, plain ? turned : turned + shape.kv_heads, plain, shape.head_dim / 2, rotary};
}

template <class T>
bool fits_packs(const HeadRows<T>& a, int n) {
  return packable(a.x, a.ldx, a.half, n) && packable(a.y, a.ldy, a.half, n) && packable(a.rotary, a.half, n);
}

template <class T>
void turn(cudaStream_t stream, const HeadRows<T>& a, int64_t tokens, float sign) {
  constexpr int width = pack_width<T>;
  by_packs<width>(fits_packs(a, width), [&](auto n) {
    const int across = a.half / n, most = std::max(1, 256 / across);
    const int rounds = (a.count + most - 1) / most, down = (a.count + rounds - 1) / rounds;  // as many heads in every round
    const dim3 block(static_cast<unsigned>(across), static_cast<unsigned>(down));
    launch(a.plain ? rope_kernel<T, n, true> : rope_kernel<T, n, false>, Grid{tokens}, block, 0, stream, a, sign);
  });
}

dim3 warps_for(int heads) { return dim3(warp_size, static_cast<unsigned>(std::min(heads, 8))); }

}  // namespace

template <class T>
void rope(cudaStream_t stream, const AttentionShape& shape, const Rotary& rotary, const T* x, int64_t ldx, int64_t tokens, T* y, int64_t ldy) {
  const HeadRows<T> a = rows_of(shape, rotary, x, ldx, y, ldy);
  if (a.count == 0 || a.half == 0) return;
  if (rotary.q_norm == nullptr) return turn(stream, a, tokens, 1);
  by_packs<2>(fits_packs(a, 2), [&](auto n) {
    launch(norm_rope_kernel<T, n>, Grid{tokens}, warps_for(a.count), 0, stream, a);
  });
}

template <class T>
void rope_backward(cudaStream_t stream, const AttentionShape& shape, const Rotary& rotary, const T* x, int64_t ldx, int64_t tokens, T* g, int64_t ldg) {
  if (shape.head_dim < 2 || shape.heads + shape.kv_heads == 0) return;
  if (rotary.q_norm == nullptr) {
    const Rotary plain{rotary.positions, rotary.cos_sin};
    return turn(stream, rows_of<T>(shape, plain, g, ldg, g, ldg), tokens, -1);
  }
  const HeadRows<T> a = rows_of(shape, rotary, x, ldx, g, ldg);
  by_packs<2>(fits_packs(a, 2), [&](auto n) {
    launch(norm_rope_backward_kernel<T, n>, Grid{tokens}, warps_for(a.turned), 0, stream, a);
  });
}

#define LLAMA_INSTANTIATE(T)                                                                                              \
  template void rope(cudaStream_t, const AttentionShape&, const Rotary&, const T*, int64_t, int64_t, T*, int64_t);       \
  template void rope_backward(cudaStream_t, const AttentionShape&, const Rotary&, const T*, int64_t, int64_t, T*, int64_t);
LLAMA_INSTANTIATE(float)
LLAMA_INSTANTIATE(Bf16)
LLAMA_INSTANTIATE(Half)
#undef LLAMA_INSTANTIATE

}  // namespace llama::cuda
