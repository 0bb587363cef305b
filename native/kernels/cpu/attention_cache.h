// Serving: attention over a sequence's cached keys and values, for decode steps and prefills alike.
#pragma once
#include "attention_block.h"

namespace llama {
namespace {

// Per layer and head: keys [capacity / kPanel][head_dim][kPanel] (lane = position, so that scores need no sum across lanes),
// then values [capacity][padded head_dim].
class PanelCache final : public KvCache {
 public:
  StorageType type = StorageType::f32;
  int64_t padded = 0;     // head_dim in whole panels
  int64_t positions = 0;  // capacity in whole blocks of keys
  AlignedBuffer values;
  size_t bytes() const override { return values.bytes(); }

  // Index of a head's first element.
  int64_t head_at(int layer, int head) const { return (static_cast<int64_t>(layer) * kv_heads + head) * positions * (head_dim + padded); }
  int64_t key_at(int64_t position) const { return (position / kPanel * head_dim) * kPanel + position % kPanel; }
  int64_t value_at(int64_t position) const { return positions * head_dim + position * padded; }
};

inline std::unique_ptr<KvCache> make_panel_cache(int layers, int kv_heads, int head_dim, int64_t capacity, StorageType type) {
  auto cache = std::make_unique<PanelCache>();
  cache->layers = layers;
  cache->kv_heads = kv_heads;
  cache->head_dim = head_dim;
  cache->capacity = capacity;
  cache->type = type;
  cache->padded = round_up(head_dim, kPanel);
  cache->positions = round_up(capacity, kKeys);
  const int64_t elements = static_cast<int64_t>(layers) * kv_heads * cache->positions * (head_dim + cache->padded);
  cache->values = AlignedBuffer(static_cast<size_t>(elements) * bytes_of(type));
  return cache;
}

inline Vec load_half(StorageType type, const uint16_t* p) { return type == StorageType::f16 ? load_f16(p) : load_bf16(p); }
inline void store_half(StorageType type, uint16_t* p, Vec v) { type == StorageType::f16 ? store_f16(p, v) : store_bf16(p, v); }

// Writes one position of one head: `from` is head_dim floats.
inline void cache_row(PanelCache& cache, int layer, int head, int64_t position, const float* k, const float* v) {
  const int64_t base = cache.head_at(layer, head), key = base + cache.key_at(position), value = base + cache.value_at(position);
  const int width = cache.head_dim;
  if (cache.type == StorageType::f32) {
    float* to = static_cast<float*>(cache.values.data());
    for (int i = 0; i < width; ++i) to[key + static_cast<int64_t>(i) * kPanel] = k[i];
    std::memcpy(to + value, v, static_cast<size_t>(width) * sizeof(float));
    std::fill(to + value + width, to + value + cache.padded, 0.0f);
    return;
  }
  uint16_t* to = static_cast<uint16_t*>(cache.values.data());
  for_lanes(cache.padded, [&](int64_t i, int) {
    const int lanes = static_cast<int>(std::clamp<int64_t>(width - i, 0, kLanes));
    uint16_t halves[kLanes];
    store_half(cache.type, halves, load_lanes(k + i, lanes));
    store_half(cache.type, halves, finite(load_half(cache.type, halves)));  // a key past the type's range: see non_finite.h
    for (int j = 0; j < lanes; ++j) to[key + (i + j) * kPanel] = halves[j];
    store_half(cache.type, to + value + i, load_lanes(v + i, lanes));
  });
}

class CachedHead final : public HeadKeys {
 public:
  CachedHead(const PanelCache& cache, int layer, int head) : cache_(cache), base_(cache.head_at(layer, head)) {}

  const float* keys(int64_t first, int64_t count, float* scratch) const override {
    const int64_t at = base_ + cache_.key_at(first);
    if (cache_.type == StorageType::f32) return static_cast<const float*>(cache_.values.data()) + at;
    return widen(at, round_up(count, kPanel) * cache_.head_dim, scratch);
  }

  Block values(int64_t first, int64_t count, float* scratch) const override {
    const int64_t at = base_ + cache_.value_at(first);
    if (cache_.type == StorageType::f32) return {static_cast<const float*>(cache_.values.data()) + at, cache_.padded};
    return {widen(at, count * cache_.padded, scratch), cache_.padded};
  }

 private:
  const float* widen(int64_t at, int64_t count, float* scratch) const {
    const uint16_t* from = static_cast<const uint16_t*>(cache_.values.data()) + at;
    if (cache_.type == StorageType::f16) {
      for (int64_t i = 0; i < count; i += kLanes) store(scratch + i, load_f16(from + i));
    } else {
      for (int64_t i = 0; i < count; i += kLanes) store(scratch + i, load_bf16(from + i));
    }
    return scratch;
  }

  const PanelCache& cache_;
  int64_t base_;
};

// One piece of work: some queries of one span against one key head.
struct CachedWork {
  const AttentionSpan* span;
  int head;
  int64_t first, tokens;
};

inline void cached_attention(ThreadPool& pool, const AttentionShape& shape, int layer, const std::vector<AttentionSpan>& spans, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, float* o, int64_t ldo) {
  const int group = shape.heads / shape.kv_heads, width = shape.head_dim;
  std::vector<CachedWork> work;
  for (const AttentionSpan& span : spans) {
    for (int64_t first = 0; first < span.count; first += query_block(group)) {
      for (int head = 0; head < shape.kv_heads; ++head) work.push_back({&span, head, first, std::min(query_block(group), span.count - first)});
    }
  }
  pool.parallel_for(static_cast<int64_t>(work.size()), 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item) {
      const auto [span, head, first, tokens] = work[item];
      for (int64_t t = first; t < first + tokens; ++t) {
        const int64_t at = (span->row + t) * ldkv + static_cast<int64_t>(head) * width;
        cache_row(static_cast<PanelCache&>(*span->cache), layer, head, span->position + t, k + at, v + at);
      }
    }
  });
  // Last queries first: they have the most keys, and a long piece at the end would leave the other threads waiting.
  const auto count = static_cast<int64_t>(work.size());
  pool.parallel_for(count, 1, [&](int64_t item, int64_t, int thread) {
    const auto [span, head, first, tokens] = work[count - 1 - item];
    float* scratch = static_cast<float*>(pool.scratch(thread, attention_scratch(tokens * group, width)));
    const int64_t row = span->row + first, column = static_cast<int64_t>(head) * group * width;
    const CachedHead keys(static_cast<const PanelCache&>(*span->cache), layer, head);
    attend_block(shape, keys, group, tokens, span->position + first, q + row * ldq + column, ldq, o + row * ldo + column, ldo, nullptr, 0, scratch);
  });
}

}  // namespace
}  // namespace llama
