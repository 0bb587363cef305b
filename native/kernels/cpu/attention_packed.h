// Training: attention over rows packed one after another, forward and backward, in blocks of kKeys x kKeys scores.
// Backward (g = d o): p = exp(s - lse), dv = pᵀ g, ds = p (g vᵀ - rowsum(g o)), dq = ds k, dk = dsᵀ q.
// 4 head_dim FLOP per visible score forward, 10 backward.
#pragma once
#include "attention_block.h"

namespace llama {
namespace {

// Rows [rows, width] at `from` -> [rows][padded] with zeros behind, times scale.
inline void stage_rows(const float* from, int64_t ld, int64_t rows, int width, int64_t padded, float scale, float* to) {
  const Vec factor = set1(scale);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < padded; i += kLanes) {
      const int lanes = static_cast<int>(std::clamp<int64_t>(width - i, 0, kLanes));
      store(to + row * padded + i, mul(load_lanes(from + row * ld + i, lanes), factor));
    }
  }
}

// Rows [count, width] -> panels [kKeys / kPanel][width][kPanel], rows that do not exist as zeros.
inline void stage_panels(const float* from, int64_t ld, int64_t count, int width, float* to) {
  for (int64_t first = 0; first < round_up(count, kPanel); first += kPanel) {
    transpose_into(from + first * ld, ld, count - first, width, to + first * width, kPanel, kPanel);
  }
}

class PackedHead final : public HeadKeys {
 public:
  PackedHead(const float* k, const float* v, int64_t ld, int width) : k_(k), v_(v), ld_(ld), width_(width) {}

  const float* keys(int64_t first, int64_t count, float* scratch) const override {
    stage_panels(k_ + first * ld_, ld_, count, width_, scratch);
    return scratch;
  }

  Block values(int64_t first, int64_t count, float* scratch) const override {
    if (width_ % kPanel == 0) return {v_ + first * ld_, ld_};
    const int64_t padded = round_up(width_, kPanel);
    stage_rows(v_ + first * ld_, ld_, count, width_, padded, 1.0f, scratch);
    return {scratch, padded};
  }

 private:
  const float *k_, *v_;
  int64_t ld_;
  int width_;
};

inline void packed_attention(ThreadPool& pool, const AttentionShape& shape, const int32_t* offsets, int64_t rows, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, float* o, int64_t ldo, float* lse) {
  const int group = shape.heads / shape.kv_heads, width = shape.head_dim;
  struct Work {
    int64_t row, first;
  };
  std::vector<Work> work;  // longest first: see cached_attention
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t first = 0; first < offsets[row + 1] - offsets[row]; first += query_block(group)) work.push_back({row, first});
  }
  const auto count = static_cast<int64_t>(work.size()) * shape.kv_heads;
  pool.parallel_for(count, 1, [&](int64_t item, int64_t, int thread) {
    const auto [row, first] = work[work.size() - 1 - item / shape.kv_heads];
    const int64_t head = item % shape.kv_heads, begin = offsets[row], token = begin + first;
    const int64_t tokens = std::min<int64_t>(query_block(group), offsets[row + 1] - token);
    float* scratch = static_cast<float*>(pool.scratch(thread, attention_scratch(tokens * group, width)));
    const PackedHead keys(k + begin * ldkv + head * width, v + begin * ldkv + head * width, ldkv, width);
    attend_block(shape, keys, group, tokens, first, q + token * ldq + head * group * width, ldq, o + token * ldo + head * group * width, ldo, lse + token * shape.heads + head * group, shape.heads, scratch);
  });
}

// Turns scores [queries, kKeys] into p and the products g vᵀ beside them into ds.
inline void score_gradient(const AttentionShape& shape, int64_t first_query, int64_t queries, int64_t first_key, const float* lse, int64_t ld_lse, const float* delta, int64_t ld_delta, float* scores, float* products) {
  for (int64_t i = 0; i < queries; ++i) {
    float *p = scores + i * kKeys, *ds = products + i * kKeys;
    const KeyRange seen = visible_keys(shape, first_query + i, first_key);
    const Vec shift = set1(lse[i * ld_lse]), mean = set1(delta[i * ld_delta]);
    for (int64_t j = 0; j < kKeys; j += kLanes) {
      const Vec probability = exp(sub(load(p + j), shift));
      store(p + j, probability);
      store(ds + j, mul(probability, sub(load(ds + j), mean)));
    }
    for (float* each : {p, ds}) {
      std::fill(each, each + std::min(seen.begin, seen.end), 0.0f);
      std::fill(each + seen.end, each + kKeys, 0.0f);
      if (seen.begin >= seen.end) std::fill(each, each + kKeys, 0.0f);
    }
  }
}

// One row's gradients for one key head and its group of query heads; pointers are at the row's first token and the head.
struct PackedGradient {
  const AttentionShape& shape;
  int64_t length;
  const float *q, *k, *v, *o, *lse, *g;
  float *dq, *dk, *dv;
  int64_t ldq, ldkv, ldo, ldg, lddq, lddkv;

  size_t scratch_bytes() const {
    const int64_t group = shape.heads / shape.kv_heads;
    return static_cast<size_t>(kKeys * (7 * round_up(shape.head_dim, kPanel) + 2 * kKeys) + length * group) * sizeof(float);
  }

  void run(float* scratch) const {
    const int group = shape.heads / shape.kv_heads, width = shape.head_dim;
    const int64_t padded = round_up(width, kPanel), block = kKeys * padded;
    float *key_panels = scratch, *value_panels = key_panels + block, *key_rows = value_panels + block;
    float *queries = key_rows + block, *gradients = queries + block, *sum_k = gradients + block, *sum_v = sum_k + block;
    float *scores = sum_v + block, *products = scores + kKeys * kKeys;
    float* delta = products + kKeys * kKeys;  // [length][group]: rowsum(g o)
    for (int64_t t = 0; t < length; ++t) {
      for (int member = 0; member < group; ++member) {
        Vec dot = zero();
        for_lanes(width, [&](int64_t i, int lanes) {
          const int64_t at = static_cast<int64_t>(member) * width + i;
          dot = fma(load_lanes(g + t * ldg + at, lanes), load_lanes(o + t * ldo + at, lanes), dot);
        });
        delta[t * group + member] = sum(dot);
      }
      std::fill_n(dq + t * lddq, static_cast<int64_t>(group) * width, 0.0f);
    }
    for (int64_t first = 0; first < length; first += kKeys) {
      const int64_t count = std::min<int64_t>(kKeys, length - first);
      stage_panels(k + first * ldkv, ldkv, count, width, key_panels);
      stage_panels(v + first * ldkv, ldkv, count, width, value_panels);
      stage_rows(k + first * ldkv, ldkv, count, width, padded, 1.0f, key_rows);
      std::fill_n(sum_k, 2 * block, 0.0f);
      // Whole panels of keys; columns past `count` come out as zeros or are cleared.
      const int64_t covered = round_up(count, kPanel);
      const int64_t last = shape.window > 0 ? std::min(length, first + kKeys + shape.window) : length;
      for (int member = 0; member < group; ++member) {
        const int64_t column = static_cast<int64_t>(member) * width;
        for (int64_t start = first; start < last; start += kKeys) {
          const int64_t tokens = std::min<int64_t>(kKeys, length - start);
          stage_rows(q + start * ldq + column, ldq, tokens, width, padded, shape.scale, queries);
          stage_rows(g + start * ldg + column, ldg, tokens, width, padded, 1.0f, gradients);
          multiply_panels({queries, padded, 1}, tokens, key_panels, width * kPanel, kPanel, covered, width, scores, kKeys, 1.0f, 0.0f);
          multiply_panels({gradients, padded, 1}, tokens, value_panels, width * kPanel, kPanel, covered, width, products, kKeys, 1.0f, 0.0f);
          score_gradient(shape, start, tokens, first, lse + start * shape.heads + member, shape.heads, delta + start * group + member, group, scores, products);
          multiply_panels({scores, 1, kKeys}, count, gradients, kPanel, padded, padded, tokens, sum_v, padded, 1.0f, 1.0f);
          multiply_panels({products, 1, kKeys}, count, queries, kPanel, padded, padded, tokens, sum_k, padded, 1.0f, 1.0f);
          multiply_panels({products, kKeys, 1}, tokens, key_rows, kPanel, padded, width, count, dq + start * lddq + column, lddq, shape.scale, 1.0f);
        }
      }
      for (int64_t j = 0; j < count; ++j) {
        std::memcpy(dk + (first + j) * lddkv, sum_k + j * padded, static_cast<size_t>(width) * sizeof(float));
        std::memcpy(dv + (first + j) * lddkv, sum_v + j * padded, static_cast<size_t>(width) * sizeof(float));
      }
    }
  }
};

inline void packed_attention_backward(ThreadPool& pool, const AttentionShape& shape, const int32_t* offsets, int64_t rows, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, const float* o, int64_t ldo, const float* lse, const float* g, int64_t ldg, float* dq, int64_t lddq, float* dk, float* dv, int64_t lddkv) {
  const int group = shape.heads / shape.kv_heads, width = shape.head_dim;
  pool.parallel_for(rows * shape.kv_heads, 1, [&](int64_t item, int64_t, int thread) {
    const int64_t row = item / shape.kv_heads, head = item % shape.kv_heads, begin = offsets[row];
    const int64_t query = head * group * width, key = head * width;
    const PackedGradient work{shape, offsets[row + 1] - begin,
                              q + begin * ldq + query, k + begin * ldkv + key, v + begin * ldkv + key, o + begin * ldo + query,
                              lse + begin * shape.heads + head * group, g + begin * ldg + query,
                              dq + begin * lddq + query, dk + begin * lddkv + key, dv + begin * lddkv + key,
                              ldq, ldkv, ldo, ldg, lddq, lddkv};
    work.run(static_cast<float*>(pool.scratch(thread, work.scratch_bytes())));
  });
}

}  // namespace
}  // namespace llama
