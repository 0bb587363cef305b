#include "attention_cached.h"

#include <algorithm>
#include <cstdint>

#include "attention_merge.h"

namespace llama::cuda {

size_t attention_cached_scratch_bytes(const AttentionShape& shape, const AttentionBounds& bounds) {
  // Decode and prefill kernels take turns.
  const int64_t decode = bounds.splits * shape.heads;
  const int64_t prefill = bounds.prefill_spans > 0 ? prefill_blocks * largest_tile : 0;
  return Parts::bytes(std::max(decode, prefill), shape.head_dim);
}

template <class T>
void attention_cached(cudaStream_t stream, const AttentionShape& shape, int layer, const T* q, int64_t ldq, T* o,
                      int64_t ldo, const PlanView& plan, void* scratch) {
  CachedAttention<T> a{};
  a.q = q;
  a.ldq = ldq;
  a.o = o;
  a.ldo = ldo;
  a.plan = plan;
  a.heads = shape.heads;
  a.kv_heads = shape.kv_heads;
  a.group = shape.heads / shape.kv_heads;
  a.head_dim = shape.head_dim;
  a.row = page_row(shape.head_dim, sizeof(T));
  const int64_t part = page_part(shape.kv_heads, a.row);
  a.keys = 2 * layer * part;
  a.values = a.keys + part;
  a.window = shape.window > 0 ? shape.window : INT64_MAX;
  a.scale = shape.scale * 1.44269504f;  // log2 e
  a.packed_q = packable(q, ldq, shape.head_dim, pack_width<T>);
  a.packed_o = packable(o, ldo, shape.head_dim, 2);
  a.scratch = scratch;
  if (plan.split_count > 0) attention_decode(stream, a);
  if (plan.prefill_span_count > 0) attention_prefill(stream, a);
}

template void attention_cached(cudaStream_t, const AttentionShape&, int, const float*, int64_t, float*, int64_t,
                               const PlanView&, void*);
template void attention_cached(cudaStream_t, const AttentionShape&, int, const Bf16*, int64_t, Bf16*, int64_t,
                               const PlanView&, void*);
template void attention_cached(cudaStream_t, const AttentionShape&, int, const Half*, int64_t, Half*, int64_t,
                               const PlanView&, void*);

}  // namespace llama::cuda
