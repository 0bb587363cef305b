// Ops at the vector width of the including file. Everything is in an anonymous namespace: each instruction set has its own
// copy, and none can be called by mistake from code for another processor.
#pragma once
#include "../host_ops.h"
#include "attention_cache.h"
#include "attention_packed.h"
#include "dropout_rows.h"
#include "frozen_linear.h"
#include "optimisation.h"
#include "rotary_rows.h"
#include "rows.h"
#include "thin_product.h"

namespace llama {
namespace {

class SimdOps final : public HostOps {
 public:
  explicit SimdOps(int threads) : pool_(threads) {}
  const char* name() const override { return kName; }
  ThreadPool& pool() override { return pool_; }

  std::unique_ptr<PackedMatrix> pack(const std::vector<MatrixSource>& sources) override { return pack_panels(pool_, sources); }
  void linear_f32(const PackedMatrix& w, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy, bool accumulate) override {
    frozen_linear(pool_, buffers_, static_cast<const PanelMatrix&>(w), x, ldx, tokens, y, ldy, accumulate);
  }
  void linear_backward(const PackedMatrix& w, const float* g, int64_t ldg, int64_t tokens, float* dx, int64_t lddx, bool accumulate) override {
    frozen_linear_backward(pool_, buffers_, static_cast<const PanelMatrix&>(w), g, ldg, tokens, dx, lddx, accumulate);
  }

  void matmul_nt(const float* x, int64_t ldx, const float* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) override {
    thin_nt(pool_, buffers_.packed, x, ldx, y, ldy, {c, ldc, 0, alpha, beta}, m, n, k);
  }
  void matmul_nn(const float* x, int64_t ldx, const float* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) override {
    thin_nn(pool_, buffers_.packed, x, ldx, y, ldy, {c, ldc, 0, alpha, beta}, m, n, k);
  }
  void matmul_tn(const float* x, int64_t ldx, const float* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) override {
    thin_tn(pool_, x, ldx, y, ldy, {c, ldc, 0, alpha, beta}, m, n, k);
  }
  void dropout(const float* x, int64_t ldx, float* y, int64_t ldy, int64_t rows, int64_t cols, float p, uint64_t seed, uint32_t step, uint32_t module) override {
    dropout_rows(pool_, x, ldx, y, ldy, rows, cols, p, seed, step, module);
  }

  void embed(const EmbeddingTable& table, const int32_t* ids, int64_t tokens, float* x, int64_t ldx) override { embed_rows(pool_, table.source, ids, tokens, x, ldx); }
  void rms_norm(const float* x, int64_t ldx, const float* w, float eps, int64_t tokens, int64_t width, float* y, int64_t ldy, float* inverse_rms) override {
    rms_norm_rows(pool_, x, ldx, w, eps, tokens, width, y, ldy, inverse_rms);
  }
  void rms_norm_backward(const float* g, int64_t ldg, const float* x, int64_t ldx, const float* w, const float* inverse_rms, int64_t tokens, int64_t width, float* dx, int64_t lddx) override {
    rms_norm_backward_rows(pool_, g, ldg, x, ldx, w, inverse_rms, tokens, width, dx, lddx);
  }
  void rope(const AttentionShape& shape, const Rotary& rotary, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy) override {
    rope_rows(pool_, shape, rotary, x, ldx, tokens, y, ldy);
  }
  void rope_backward(const AttentionShape& shape, const Rotary& rotary, const float* x, int64_t ldx, int64_t tokens, float* g, int64_t ldg) override {
    rope_backward_rows(pool_, shape, rotary, x, ldx, tokens, g, ldg);
  }
  void swiglu(const float* gate, const float* up, int64_t ld, int64_t tokens, int64_t width, float* h, int64_t ldh) override {
    swiglu_rows(pool_, gate, up, ld, tokens, width, h, ldh);
  }
  void swiglu_backward(const float* dh, int64_t lddh, const float* gate, const float* up, int64_t ld, int64_t tokens, int64_t width, float* d_gate, float* d_up, int64_t ldd) override {
    swiglu_backward_rows(pool_, dh, lddh, gate, up, ld, tokens, width, d_gate, d_up, ldd);
  }
  void add(const float* x, int64_t ldx, float* y, int64_t ldy, int64_t tokens, int64_t width) override { add_rows(pool_, x, ldx, y, ldy, tokens, width); }

  int64_t cache_page_tokens() const override { return kKeys; }
  std::unique_ptr<KvCache> make_cache(int layers, int kv_heads, int head_dim, int64_t capacity, StorageType type) override {
    return make_panel_cache(layers, kv_heads, head_dim, capacity, type);
  }
  void attend(const AttentionShape& shape, int layer, const std::vector<AttentionSpan>& spans, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, float* o, int64_t ldo) override {
    cached_attention(pool_, shape, layer, spans, q, ldq, k, v, ldkv, o, ldo);
  }
  void attention_packed(const AttentionShape& shape, const PackedRows& rows, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, float* o, int64_t ldo, float* lse) override {
    packed_attention(pool_, shape, rows.offsets, rows.count, q, ldq, k, v, ldkv, o, ldo, lse);
  }
  void attention_packed_backward(const AttentionShape& shape, const PackedRows& rows, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, const float* o, int64_t ldo, const float* lse, const float* g, int64_t ldg, float* dq, int64_t lddq, float* dk, float* dv, int64_t lddkv) override {
    packed_attention_backward(pool_, shape, rows.offsets, rows.count, q, ldq, k, v, ldkv, o, ldo, lse, g, ldg, dq, lddq, dk, dv, lddkv);
  }

  double cross_entropy_in_place(float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets, float gradient_scale) override {
    return cross_entropy_rows(pool_, partial_sums_, logits, ld, rows, vocab, targets, gradient_scale);
  }
  double sum_squares(const float* x, int64_t n) override { return sum_squares_of(pool_, partial_sums_, x, n); }
  void adamw(float* parameter, const float* gradient, float* m, float* v, int64_t n, const AdamW& settings) override {
    adamw_update(pool_, parameter, gradient, m, v, n, settings);
  }

 private:
  ThreadPool pool_;
  ProductBuffers buffers_;
  AlignedBuffer partial_sums_;
};

}  // namespace
}  // namespace llama
