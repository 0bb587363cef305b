// The meaning of every operation: plain loops, sums in double, no layout tricks. What the fast ones are tested against.
#pragma once
#include "../host_ops.h"

namespace llama {

class ReferenceOps final : public HostOps {
 public:
  explicit ReferenceOps(int threads) : pool_(threads) {}
  const char* name() const override { return "reference"; }
  ThreadPool& pool() override { return pool_; }

  // linear.cpp
  std::unique_ptr<PackedMatrix> pack(const std::vector<MatrixSource>& sources) override;
  void linear_f32(const PackedMatrix& w, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy, bool accumulate) override;
  void linear_backward(const PackedMatrix& w, const float* g, int64_t ldg, int64_t tokens, float* dx, int64_t lddx, bool accumulate) override;
  void matmul_nt(const float* x, int64_t ldx, const float* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) override;
  void matmul_nn(const float* x, int64_t ldx, const float* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) override;
  void matmul_tn(const float* x, int64_t ldx, const float* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) override;

  // rows.cpp
  void dropout(const float* x, int64_t ldx, float* y, int64_t ldy, int64_t rows, int64_t cols, float p, uint64_t seed, uint32_t step, uint32_t module) override;
  void embed(const EmbeddingTable& table, const int32_t* ids, int64_t tokens, float* x, int64_t ldx) override;
  void rms_norm(const float* x, int64_t ldx, const float* w, float eps, int64_t tokens, int64_t width, float* y, int64_t ldy, float* inverse_rms) override;
  void rms_norm_backward(const float* g, int64_t ldg, const float* x, int64_t ldx, const float* w, const float* inverse_rms, int64_t tokens, int64_t width, float* dx, int64_t lddx) override;
  void rope(const AttentionShape& shape, const Rotary& rotary, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy) override;
  void rope_backward(const AttentionShape& shape, const Rotary& rotary, const float* x, int64_t ldx, int64_t tokens, float* g, int64_t ldg) override;
  void swiglu(const float* gate, const float* up, int64_t ld, int64_t tokens, int64_t width, float* h, int64_t ldh) override;
  void swiglu_backward(const float* dh, int64_t lddh, const float* gate, const float* up, int64_t ld, int64_t tokens, int64_t width, float* d_gate, float* d_up, int64_t ldd) override;
  void add(const float* x, int64_t ldx, float* y, int64_t ldy, int64_t tokens, int64_t width) override;

  // attention.cpp
  std::unique_ptr<KvCache> make_cache(int layers, int kv_heads, int head_dim, int64_t capacity, StorageType type) override;
  void attend(const AttentionShape& shape, int layer, const std::vector<AttentionSpan>& spans, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, float* o, int64_t ldo) override;
  void attention_packed(const AttentionShape& shape, const PackedRows& rows, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, float* o, int64_t ldo, float* lse) override;
  void attention_packed_backward(const AttentionShape& shape, const PackedRows& rows, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, const float* o, int64_t ldo, const float* lse, const float* g, int64_t ldg, float* dq, int64_t lddq, float* dk, float* dv, int64_t lddkv) override;

  // optimisation.cpp
  double cross_entropy_in_place(float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets, float gradient_scale) override;
  double sum_squares(const float* x, int64_t n) override;
  void adamw(float* parameter, const float* gradient, float* m, float* v, int64_t n, const AdamW& settings) override;

 private:
  ThreadPool pool_;
};

}  // namespace llama
