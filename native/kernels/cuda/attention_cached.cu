#include "attention_cached.h"

#include <cstdint>

#include "attention_cached_kernels.h"

namespace llama::cuda {

size_t attention_cached_scratch_bytes(const AttentionShape& shape, const AttentionBounds& bounds) {
  const int64_t floats = statistics_floats(bounds.splits, shape.heads) +
                         bounds.splits * shape.heads * partial_width_of(shape.head_dim);
  return static_cast<size_t>(floats) * sizeof(float);
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
  const int64_t part = static_cast<int64_t>(shape.kv_heads) * page_tokens * a.row;
  a.keys = 2 * layer * part;
  a.values = a.keys + part;
  a.window = shape.window > 0 ? shape.window : INT64_MAX;
  a.scale = shape.scale * 1.44269504f;  // log2 e
  a.packed_q = packable(q, ldq, shape.head_dim, pack_width<T>);
  a.packed_o = packable(o, ldo, shape.head_dim, 2);
  a.statistics = static_cast<float*>(scratch);
  a.partial = a.statistics + statistics_floats(plan.split_count, shape.heads);
  a.partial_width = partial_width_of(shape.head_dim);
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
