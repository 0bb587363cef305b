// What the implementations on the CPU have in common: memory is the host's, and T is float, so that both kinds of results
// of a product are one.
#pragma once
#include <vector>

#include "aligned_buffer.h"
#include "ops.h"
#include "thread_pool.h"

namespace llama {

class HostOps : public Ops {
 public:
  // Each call of an operation runs its loops here itself.
  virtual ThreadPool& pool() = 0;

  std::unique_ptr<Memory> allocate(size_t bytes) override;
  bool allocates_beside_operations() const override { return true; }
  int64_t available() const override;
  void upload(void* to, const void* from, size_t bytes) override;
  void download(void* to, const void* from, size_t bytes) override;
  void copy(void* to, const void* from, size_t bytes) override;
  void clear(void* to, size_t bytes) override;

  void linear(const PackedMatrix& w, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy) override {
    linear_f32(w, x, ldx, tokens, y, ldy, false);
  }
  void matmul_nt_f32(const float* x, int64_t ldx, const float* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) override {
    matmul_nt(x, ldx, y, ldy, c, ldc, m, n, k, alpha, beta);
  }

  std::unique_ptr<LoraTable> make_lora_table(const std::vector<std::vector<LoraTerm<float>>>& terms) override;
  void plan_lora(const std::vector<LoraSpan>& spans, int64_t tokens) override;
  void lora(int place, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy) override;
  void lora_f32(int place, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy) override {
    lora(place, x, ldx, tokens, y, ldy);
  }

  std::unique_ptr<EmbeddingTable> make_embedding(const MatrixSource& source, std::shared_ptr<void> owner) override;
  void cast(const float* x, int64_t ldx, float* y, int64_t ldy, int64_t rows, int64_t width) override;
  void gather_rows(const float* from, const int32_t* rows, int64_t count, int64_t width, float* to) override;
  void scatter_rows(const float* from, const int32_t* rows, int64_t count, int64_t width, float* to) override;

  CacheLimit limit_caches(int layers, int kv_heads, int head_dim, StorageType type, int64_t bytes) override;
  void plan_attention(const std::vector<AttentionSpan>& spans) override { spans_ = spans; }
  void attention(const AttentionShape& shape, int layer, const Rotary& rotary, float* qkv, int64_t ldqkv, int64_t tokens, float* o, int64_t ldo) override;

  int64_t head_rows(int64_t vocab) const override;
  void cross_entropy(float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets, float gradient_scale, float* gradient, int64_t ldg, double* loss) override;
  std::vector<int32_t> sample(float* logits, int64_t vocab, const std::vector<Draw>& draws) override;

 protected:
  // Tokens by which caches grow.
  virtual int64_t cache_page_tokens() const { return 1; }
  // Writes k and v ([rows, kv_heads * head_dim], already rotated) of every span into its cache, then attends.
  virtual void attend(const AttentionShape& shape, int layer, const std::vector<AttentionSpan>& spans, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, float* o, int64_t ldo) = 0;
  // logits become their gradient; returns the sum of losses.
  virtual double cross_entropy_in_place(float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets, float gradient_scale) = 0;

 private:
  std::vector<AttentionSpan> spans_;
  std::vector<LoraSpan> lora_spans_;
  AlignedBuffer u_;
};

}  // namespace llama
