#include <cmath>
#include <limits>
#include <vector>

#include "../aligned_buffer.h"
#include "../non_finite.h"
#include "../storage.h"
#include "reference_ops.h"

namespace llama {

namespace {

// Keys, then values: each [layers, capacity, kv_heads * head_dim].
class PlainCache final : public KvCache {
 public:
  StorageType type = StorageType::f32;
  AlignedBuffer values;
  size_t bytes() const override { return values.bytes(); }

  int64_t index(bool value, int layer, int64_t position, int64_t column) const {
    return (((value ? layers : 0) + layer) * capacity + position) * kv_heads * head_dim + column;
  }
  float load(int64_t at) const { return load_element(values.data(), type, at); }
  void store(int64_t at, float x) {
    if (type == StorageType::f32) {
      static_cast<float*>(values.data())[at] = x;
    } else if (type == StorageType::f16) {
      static_cast<uint16_t*>(values.data())[at] = f16_from_f32(finite_or_nan(f32_from_f16(f16_from_f32(x))));
    } else {
      static_cast<uint16_t*>(values.data())[at] = bf16_from_f32(finite_or_nan(f32_from_bf16(bf16_from_f32(x))));
    }
  }
};

// softmax(scale q kᵀ) v of one query over keys [first, last]; key(j, i) and value(j, i) read element i of position j.
// Returns the log-sum-exp of the scaled scores.
template <class Key, class Value>
double attend_query(const AttentionShape& shape, const float* q, int64_t first, int64_t last, Key key, Value value, float* o) {
  std::vector<double> scores(last - first + 1);
  double most = -std::numeric_limits<double>::infinity();
  for (int64_t j = first; j <= last; ++j) {
    double dot = 0;
    for (int i = 0; i < shape.head_dim; ++i) dot += static_cast<double>(q[i]) * key(j, i);
    scores[j - first] = static_cast<float>(dot * shape.scale);  // as wide as elsewhere: past it is infinite
    most = std::max(most, scores[j - first]);
  }
  double total = 0;
  for (double& score : scores) total += score = std::exp(score - most);
  for (int i = 0; i < shape.head_dim; ++i) {
    double sum = 0;
    for (int64_t j = first; j <= last; ++j) sum += scores[j - first] * value(j, i);
    o[i] = static_cast<float>(sum / total);
  }
  return most + std::log(total);
}

int64_t first_key(const AttentionShape& shape, int64_t query) {
  return shape.window > 0 ? std::max<int64_t>(0, query - shape.window + 1) : 0;
}

}  // namespace

std::unique_ptr<KvCache> ReferenceOps::make_cache(int layers, int kv_heads, int head_dim, int64_t capacity, StorageType type) {
  auto cache = std::make_unique<PlainCache>();
  cache->layers = layers;
  cache->kv_heads = kv_heads;
  cache->head_dim = head_dim;
  cache->capacity = capacity;
  cache->type = type;
  cache->values = AlignedBuffer(static_cast<size_t>(2) * layers * capacity * kv_heads * head_dim * bytes_of(type));
  return cache;
}

void ReferenceOps::attend(const AttentionShape& shape, int layer, const std::vector<AttentionSpan>& spans, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, float* o, int64_t ldo) {
  const int group = shape.heads / shape.kv_heads;
  for (const AttentionSpan& span : spans) {
    auto& cache = static_cast<PlainCache&>(*span.cache);
    for (int64_t t = 0; t < span.count; ++t) {
      for (int64_t i = 0; i < static_cast<int64_t>(shape.kv_heads) * shape.head_dim; ++i) {
        cache.store(cache.index(false, layer, span.position + t, i), k[(span.row + t) * ldkv + i]);
        cache.store(cache.index(true, layer, span.position + t, i), v[(span.row + t) * ldkv + i]);
      }
    }
    pool_.parallel_for(shape.heads, 1, [&](int64_t head, int64_t, int) {
      const int64_t column = head / group * shape.head_dim;
      const auto key = [&](int64_t j, int i) { return cache.load(cache.index(false, layer, j, column + i)); };
      const auto value = [&](int64_t j, int i) { return cache.load(cache.index(true, layer, j, column + i)); };
      for (int64_t t = 0; t < span.count; ++t) {
        const int64_t own = span.position + t, row = span.row + t, at = head * shape.head_dim;
        attend_query(shape, q + row * ldq + at, first_key(shape, own), own, key, value, o + row * ldo + at);
      }
    });
  }
}

void ReferenceOps::attention_packed(const AttentionShape& shape, const PackedRows& rows, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, float* o, int64_t ldo, float* lse) {
  const int group = shape.heads / shape.kv_heads;
  pool_.parallel_for(rows.count * shape.heads, 1, [&](int64_t item, int64_t, int) {
    const int64_t head = item % shape.heads, begin = rows.offsets[item / shape.heads], end = rows.offsets[item / shape.heads + 1];
    const int64_t column = head / group * shape.head_dim;
    const auto key = [&](int64_t j, int i) { return k[(begin + j) * ldkv + column + i]; };
    const auto value = [&](int64_t j, int i) { return v[(begin + j) * ldkv + column + i]; };
    for (int64_t t = 0; t < end - begin; ++t) {
      const int64_t at = head * shape.head_dim;
      const double sum = attend_query(shape, q + (begin + t) * ldq + at, first_key(shape, t), t, key, value, o + (begin + t) * ldo + at);
      lse[(begin + t) * shape.heads + head] = static_cast<float>(sum);
    }
  });
}

// With g = d o: p = exp(s - lse), dv = pᵀ g, ds = p (g vᵀ - rowsum(g o)) scale, dq = ds k, dk = dsᵀ q.
void ReferenceOps::attention_packed_backward(const AttentionShape& shape, const PackedRows& rows, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, const float* o, int64_t ldo, const float* lse, const float* g, int64_t ldg, float* dq, int64_t lddq, float* dk, float* dv, int64_t lddkv) {
  const int group = shape.heads / shape.kv_heads, width = shape.head_dim;
  // One key head at a time: its dk and dv sum over the query heads of its group.
  pool_.parallel_for(rows.count * shape.kv_heads, 1, [&](int64_t item, int64_t, int) {
    const int64_t kv_head = item % shape.kv_heads, begin = rows.offsets[item / shape.kv_heads];
    const int64_t length = rows.offsets[item / shape.kv_heads + 1] - begin;
    std::vector<double> sum_q(length * group * width), sum_k(length * width), sum_v(length * width);
    for (int64_t t = 0; t < length; ++t) {
      for (int64_t member = 0; member < group; ++member) {
        const int64_t head = kv_head * group + member, row = begin + t;
        const float *query = q + row * ldq + head * width, *gradient = g + row * ldg + head * width, *out = o + row * ldo + head * width;
        double delta = 0;
        for (int i = 0; i < width; ++i) delta += static_cast<double>(gradient[i]) * out[i];
        for (int64_t j = first_key(shape, t); j <= t; ++j) {
          const float *key = k + (begin + j) * ldkv + kv_head * width, *value = v + (begin + j) * ldkv + kv_head * width;
          double score = 0, dp = 0;
          for (int i = 0; i < width; ++i) {
            score += static_cast<double>(query[i]) * key[i];
            dp += static_cast<double>(gradient[i]) * value[i];
          }
          const double p = std::exp(score * shape.scale - lse[row * shape.heads + head]), ds = p * (dp - delta) * shape.scale;
          for (int i = 0; i < width; ++i) {
            sum_v[j * width + i] += p * gradient[i];
            sum_q[(t * group + member) * width + i] += ds * key[i];
            sum_k[j * width + i] += ds * query[i];
          }
        }
      }
    }
    for (int64_t t = 0; t < length; ++t) {
      for (int64_t i = 0; i < group * width; ++i) dq[(begin + t) * lddq + kv_head * group * width + i] = static_cast<float>(sum_q[t * group * width + i]);
      for (int i = 0; i < width; ++i) {
        dk[(begin + t) * lddkv + kv_head * width + i] = static_cast<float>(sum_k[t * width + i]);
        dv[(begin + t) * lddkv + kv_head * width + i] = static_cast<float>(sum_v[t * width + i]);
      }
    }
  });
}

}  // namespace llama
