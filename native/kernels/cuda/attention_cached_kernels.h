// What the kernels behind attention_cached share: their arguments, and how a page is read.
#pragma once
#include "attention_plan.h"
#include "device.h"

namespace llama::cuda {

constexpr int largest_tile = 64;  // rows that a prefill kernel's block works on

template <class T>
struct CachedAttention {
  const T* q;
  int64_t ldq;
  T* o;
  int64_t ldo;
  PlanView plan;
  int heads, kv_heads, group, head_dim;
  int row;               // elements between two positions of a head in a page
  int64_t keys, values;  // where this layer's begin in a page
  int64_t window;        // at least 1; larger than any position where there is no limit
  float scale;           // of scores in powers of two
  bool packed_q, packed_o;
  void* scratch;
};

// The first element of a kv_head's keys (`at` is a.keys) or values (a.values) in a page.
template <class T>
__device__ inline const T* head_of_page(const CachedAttention<T>& a, const void* page, int64_t at, int kv_head) {
  return static_cast<const T*>(page) + at + static_cast<int64_t>(kv_head) * page_tokens * a.row;
}

using Words = Pack<uint32_t, 4>;

// 16 bytes of a page, zeros where not `valid`. Global memory by name, which a pointer out of a table does not say of
// itself, and not kept in the first-level cache, since nobody reads them again.
template <class T>
__device__ inline Words load_from_page(const T* from, bool valid) {
  Words words{};
#if defined(__CUDA_ARCH__)
  asm volatile(
      "{\n"
      ".reg .pred valid;\n"
      "setp.ne.b32 valid, %5, 0;\n"
      "@valid ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];\n"
      "}"
      : "+r"(words.at[0]), "+r"(words.at[1]), "+r"(words.at[2]), "+r"(words.at[3])
      : "l"(from), "r"(static_cast<int>(valid)));
#else
  if (valid) words = load_pack<uint32_t, 4>(reinterpret_cast<const uint32_t*>(from));
#endif
  return words;
}

// The first position that the query at `position` attends to.
template <class T>
__device__ inline int first_visible(const CachedAttention<T>& a, int position) {
  return a.window > position ? 0 : position + 1 - static_cast<int>(a.window);
}

// Queries that are alone in their span.
template <class T>
void attention_decode(cudaStream_t stream, const CachedAttention<T>& a);
template <>
void attention_decode(cudaStream_t stream, const CachedAttention<float>& a);

// Queries of longer spans.
template <class T>
void attention_prefill(cudaStream_t stream, const CachedAttention<T>& a);
template <>
void attention_prefill(cudaStream_t stream, const CachedAttention<float>& a);

}  // namespace llama::cuda
