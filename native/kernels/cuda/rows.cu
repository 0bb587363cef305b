// Every kernel here reads and writes each element once, does a few operations in between and is bound by memory. A thread
// has one pack of 16 bytes, so that a full multiprocessor (1,024 to 2,048 threads) has 16 KiB or more of every operand
// under way.
#include "rows.h"

#include "packs.h"

namespace llama::cuda {
namespace {

// table [vocab, width], ids [tokens] -> x [tokens, width]: width * (sizeof(E) + 4) bytes a token.
template <class E, int N>
__global__ void embed_kernel(const E* table, int64_t width, const int32_t* ids, int64_t tokens, float* x, int64_t ldx) {
  const auto [token, pack] = row_place();
  if (token >= tokens || pack >= width / N) return;
  float values[N];
  load_floats(table + ids[token] * width + pack * N, values);
  store_floats(x + token * ldx + pack * N, values);
}

// The quick exponential is off by 2^-17 of the result at most, the rounding to 16 bits by 2^-12 and more.
template <class T>
__device__ inline float sigmoid(float x) {
  if constexpr (sizeof(T) == 4) return 1.0f / (1.0f + expf(-x));
  return __fdividef(1.0f, 1.0f + __expf(-x));
}

// gate, up -> h, all [tokens, width]: 3 * sizeof(T) bytes an element.
template <class T, int N>
__global__ void swiglu_kernel(const T* gate, const T* up, int64_t ld, int64_t tokens, int64_t width, T* h, int64_t ldh) {
  const auto [token, pack] = row_place();
  if (token >= tokens || pack >= width / N) return;
  const int64_t from = token * ld + pack * N;
  float a[N], b[N];
  load_floats(gate + from, a);
  load_floats(up + from, b);
  for (int i = 0; i < N; ++i) a[i] = a[i] * sigmoid<T>(a[i]) * b[i];
  store_floats(h + token * ldh + pack * N, a);
}

// dh, gate, up -> d_gate, d_up, all [tokens, width]: 5 * sizeof(T) bytes an element. Not __restrict__: may be in place.
template <class T, int N>
__global__ void swiglu_backward_kernel(const T* dh, int64_t lddh, const T* gate, const T* up, int64_t ld, int64_t tokens, int64_t width, T* d_gate, T* d_up, int64_t ldd) {
  const auto [token, pack] = row_place();
  if (token >= tokens || pack >= width / N) return;
  const int64_t from = token * ld + pack * N, to = token * ldd + pack * N;
  float g[N], a[N], b[N];
  load_floats(dh + token * lddh + pack * N, g);
  load_floats(gate + from, a);
  load_floats(up + from, b);
  for (int i = 0; i < N; ++i) {
    const float s = sigmoid<T>(a[i]), slope = s * (1.0f + a[i] * (1.0f - s));
    b[i] = g[i] * b[i] * slope;
    a[i] = g[i] * a[i] * s;
  }
  store_floats(d_gate + to, b);
  store_floats(d_up + to, a);
}

// x, y [tokens, width]: 3 * sizeof(T) bytes an element.
template <class T, int N>
__global__ void add_kernel(const T* x, int64_t ldx, T* y, int64_t ldy, int64_t tokens, int64_t width) {
  const auto [token, pack] = row_place();
  if (token >= tokens || pack >= width / N) return;
  float more[N], sum[N];
  load_floats(x + token * ldx + pack * N, more);
  load_floats(y + token * ldy + pack * N, sum);
  for (int i = 0; i < N; ++i) sum[i] += more[i];
  store_floats(y + token * ldy + pack * N, sum);
}

// x, y [rows, width]: 4 + sizeof(T) bytes an element.
template <class T, int N>
__global__ void cast_kernel(const float* x, int64_t ldx, T* y, int64_t ldy, int64_t rows, int64_t width) {
  const auto [row, pack] = row_place();
  if (row >= rows || pack >= width / N) return;
  float values[N];
  load_floats(x + row * ldx + pack * N, values);
  store_floats(y + row * ldy + pack * N, values);
}

// Contiguous rows of `width`, one side's chosen by number: 8 bytes an element.
template <bool gather, int N>
__global__ void move_rows_kernel(const float* from, const int32_t* rows, int64_t count, int64_t width, float* to) {
  const auto [i, pack] = row_place();
  if (i >= count || pack >= width / N) return;
  const int64_t named = rows[i];
  const auto values = load_pack<float, N>(from + (gather ? named : i) * width + pack * N);
  store_pack(to + (gather ? i : named) * width + pack * N, values);
}

template <bool gather>
void move_rows(cudaStream_t stream, const float* from, const int32_t* rows, int64_t count, int64_t width, float* to) {
  by_packs<4>(packable(from, width, width, 4) && packable(to, width, width, 4), [&](auto n) {
    const auto [grid, block] = row_grid(count, width / n);
    launch(move_rows_kernel<gather, n>, grid, block, 0, stream, from, rows, count, width, to);
  });
}

}  // namespace

template <class E>
void embed(cudaStream_t stream, const E* table, int64_t width, const int32_t* ids, int64_t tokens, float* x, int64_t ldx) {
  by_packs<4>(packable(table, width, width, 4) && packable(x, ldx, width, 4), [&](auto n) {
    const auto [grid, block] = row_grid(tokens, width / n);
    launch(embed_kernel<E, n>, grid, block, 0, stream, table, width, ids, tokens, x, ldx);
  });
}

template <class T>
void swiglu(cudaStream_t stream, const T* gate, const T* up, int64_t ld, int64_t tokens, int64_t width, T* h, int64_t ldh) {
  constexpr int most = pack_width<T>;
  const bool packed = packable(gate, ld, width, most) && packable(up, ld, width, most) && packable(h, ldh, width, most);
  by_packs<most>(packed, [&](auto n) {
    const auto [grid, block] = row_grid(tokens, width / n);
    launch(swiglu_kernel<T, n>, grid, block, 0, stream, gate, up, ld, tokens, width, h, ldh);
  });
}

template <class T>
void swiglu_backward(cudaStream_t stream, const T* dh, int64_t lddh, const T* gate, const T* up, int64_t ld, int64_t tokens, int64_t width, T* d_gate, T* d_up, int64_t ldd) {
  constexpr int most = pack_width<T>;
  const bool packed = packable(dh, lddh, width, most) && packable(gate, ld, width, most) && packable(up, ld, width, most) &&
                      packable(d_gate, ldd, width, most) && packable(d_up, ldd, width, most);
  by_packs<most>(packed, [&](auto n) {
    const auto [grid, block] = row_grid(tokens, width / n);
    launch(swiglu_backward_kernel<T, n>, grid, block, 0, stream, dh, lddh, gate, up, ld, tokens, width, d_gate, d_up, ldd);
  });
}

template <class T>
void add(cudaStream_t stream, const T* x, int64_t ldx, T* y, int64_t ldy, int64_t tokens, int64_t width) {
  constexpr int most = pack_width<T>;
  by_packs<most>(packable(x, ldx, width, most) && packable(y, ldy, width, most), [&](auto n) {
    const auto [grid, block] = row_grid(tokens, width / n);
    launch(add_kernel<T, n>, grid, block, 0, stream, x, ldx, y, ldy, tokens, width);
  });
}

template <class T>
void cast(cudaStream_t stream, const float* x, int64_t ldx, T* y, int64_t ldy, int64_t rows, int64_t width) {
  by_packs<4>(packable(x, ldx, width, 4) && packable(y, ldy, width, 4), [&](auto n) {
    const auto [grid, block] = row_grid(rows, width / n);
    launch(cast_kernel<T, n>, grid, block, 0, stream, x, ldx, y, ldy, rows, width);
  });
}

void gather_rows(cudaStream_t stream, const float* from, const int32_t* rows, int64_t count, int64_t width, float* to) {
  move_rows<true>(stream, from, rows, count, width, to);
}

void scatter_rows(cudaStream_t stream, const float* from, const int32_t* rows, int64_t count, int64_t width, float* to) {
  move_rows<false>(stream, from, rows, count, width, to);
}

#define LLAMA_INSTANTIATE(T)                                                                                              \
  template void embed(cudaStream_t, const T*, int64_t, const int32_t*, int64_t, float*, int64_t);                        \
  template void swiglu(cudaStream_t, const T*, const T*, int64_t, int64_t, int64_t, T*, int64_t);                        \
  template void swiglu_backward(cudaStream_t, const T*, int64_t, const T*, const T*, int64_t, int64_t, int64_t, T*, T*, \
                                int64_t);                                                                                \
  template void add(cudaStream_t, const T*, int64_t, T*, int64_t, int64_t, int64_t);                                     \
  template void cast(cudaStream_t, const float*, int64_t, T*, int64_t, int64_t, int64_t);
LLAMA_INSTANTIATE(float)
LLAMA_INSTANTIATE(Bf16)
LLAMA_INSTANTIATE(Half)
#undef LLAMA_INSTANTIATE

}  // namespace llama::cuda
