// The operations on a GPU: what is large goes to cuBLASLt, what is bound by memory to the kernels beside this file.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "../ops.h"
#include "attention_plan.h"
#include "frozen_weights.h"
#include "gemm.h"
#include "gpu.h"
#include "graph.h"
#include "lora_pass.h"
#include "page_pool.h"
#include "scratch.h"

namespace llama::cuda {

struct CudaSettings {
  Quantization quantization = Quantization::none;
  int loading_threads = 4;
};

template <class T>
class CudaOps final : public BasicOps<T> {
 public:
  CudaOps(const Card& card, const CudaSettings& settings);
  ~CudaOps() override;
  const char* name() const override { return name_.c_str(); }

  std::unique_ptr<Memory> allocate(size_t bytes) override { return gpu_.allocate(bytes); }
  int64_t available() const override;
  void upload(void* to, const void* from, size_t bytes) override { gpu_.upload(to, from, bytes); }
  void download(void* to, const void* from, size_t bytes) override { gpu_.download(to, from, bytes); }
  void copy(void* to, const void* from, size_t bytes) override { gpu_.copy(to, from, bytes); }
  void clear(void* to, size_t bytes) override { gpu_.clear(to, bytes); }
  int64_t packed_bytes(const MatrixSource& source, bool of_layer) const override;
  std::string weights_remedy() const override;
  int64_t workspace_bytes(int64_t rows) const override;

  std::unique_ptr<PackedMatrix> pack(const std::vector<MatrixSource>& sources) override;
  std::unique_ptr<PackedMatrix> pack_head(const MatrixSource& source) override;
  void linear(const PackedMatrix& w, const T* x, int64_t ldx, int64_t tokens, T* y, int64_t ldy) override;
  void linear_f32(const PackedMatrix& w, const T* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy, bool accumulate) override;
  void linear_backward(const PackedMatrix& w, const T* g, int64_t ldg, int64_t tokens, T* dx, int64_t lddx, bool accumulate) override;
  void norm_linear(const float* x, int64_t ldx, const float* norm, float eps, const PackedMatrix& w, int place, int64_t tokens, T* normed, int64_t ldn, T* y, int64_t ldy, float* inverse_rms) override;
  void add_linear(const PackedMatrix& w, int place, const T* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy) override;
  void swiglu_linear(const T* gate, const T* up, int64_t ld, const PackedMatrix& w, int place, int64_t tokens, T* h, int64_t ldh, float* y, int64_t ldy) override;

  void matmul_nt(const T* x, int64_t ldx, const T* y, int64_t ldy, T* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) override;
  void matmul_nt_f32(const T* x, int64_t ldx, const T* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) override;
  void matmul_nn(const T* x, int64_t ldx, const T* y, int64_t ldy, T* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) override;
  void matmul_tn(const T* x, int64_t ldx, const T* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) override;
  void dropout(const T* x, int64_t ldx, T* y, int64_t ldy, int64_t rows, int64_t cols, float p, uint64_t seed, uint32_t step, uint32_t module) override;

  std::unique_ptr<LoraTable> make_lora_table(const std::vector<std::vector<LoraTerm<T>>>& terms) override;
  void plan_lora(const std::vector<LoraSpan>& spans, int64_t tokens) override;
  void lora(int place, const T* x, int64_t ldx, int64_t tokens, T* y, int64_t ldy) override;
  void lora_f32(int place, const T* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy) override;

  std::unique_ptr<EmbeddingTable> make_embedding(const MatrixSource& source, std::shared_ptr<void> owner) override;
  void embed(const EmbeddingTable& table, const int32_t* ids, int64_t tokens, float* x, int64_t ldx) override;
  void rms_norm(const float* x, int64_t ldx, const float* w, float eps, int64_t tokens, int64_t width, T* y, int64_t ldy, float* inverse_rms) override;
  void rms_norm_backward(const T* g, int64_t ldg, const float* x, int64_t ldx, const float* w, const float* inverse_rms, int64_t tokens, int64_t width, float* dx, int64_t lddx) override;
  void rope(const AttentionShape& shape, const Rotary& rotary, const T* x, int64_t ldx, int64_t tokens, T* y, int64_t ldy) override;
  void rope_backward(const AttentionShape& shape, const Rotary& rotary, const T* x, int64_t ldx, int64_t tokens, T* g, int64_t ldg) override;
  void swiglu(const T* gate, const T* up, int64_t ld, int64_t tokens, int64_t width, T* h, int64_t ldh) override;
  void swiglu_backward(const T* dh, int64_t lddh, const T* gate, const T* up, int64_t ld, int64_t tokens, int64_t width, T* d_gate, T* d_up, int64_t ldd) override;
  void add(const T* x, int64_t ldx, T* y, int64_t ldy, int64_t tokens, int64_t width) override;
  void cast(const float* x, int64_t ldx, T* y, int64_t ldy, int64_t rows, int64_t width) override;
  void gather_rows(const float* from, const int32_t* rows, int64_t count, int64_t width, float* to) override;
  void scatter_rows(const float* from, const int32_t* rows, int64_t count, int64_t width, float* to) override;

  // The cache's type is T's, whatever is asked for.
  CacheLimit limit_caches(int layers, int kv_heads, int head_dim, StorageType type, int64_t bytes) override;
  std::unique_ptr<KvCache> make_cache(int layers, int kv_heads, int head_dim, int64_t capacity, StorageType type) override;
  void plan_attention(const std::vector<AttentionSpan>& spans) override;
  void attention(const AttentionShape& shape, int layer, const Rotary& rotary, T* qkv, int64_t ldqkv, int64_t tokens, T* o, int64_t ldo) override;
  void attention_packed(const AttentionShape& shape, const PackedRows& rows, const T* q, int64_t ldq, const T* k, const T* v, int64_t ldkv, T* o, int64_t ldo, float* lse) override;
  void attention_packed_backward(const AttentionShape& shape, const PackedRows& rows, const T* q, int64_t ldq, const T* k, const T* v, int64_t ldkv, const T* o, int64_t ldo, const float* lse, const T* g, int64_t ldg, T* dq, int64_t lddq, T* dk, T* dv, int64_t lddkv) override;

  int64_t head_rows(int64_t vocab) const override;
  void cross_entropy(float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets, float gradient_scale, T* gradient, int64_t ldg, double* loss) override;
  double sum_squares(const float* x, int64_t n) override;
  void adamw(float* parameter, const float* gradient, float* m, float* v, int64_t n, const AdamW& settings) override;
  // By NCCL where every rank has it, else through the hosts.
  void sum_over_ranks(Communicator& ranks, float* x, int64_t n) override;
  std::vector<int32_t> sample(float* logits, int64_t vocab, const std::vector<Draw>& draws) override;
  void replay(const std::vector<int64_t>& key, const std::function<void()>& body) override;

 private:
  void settle_device_line(Communicator& ranks);
  cudaStream_t stream() const { return gpu_.stream(); }

  Gpu gpu_;
  CudaSettings settings_;
  Gemm gemm_;
  std::string name_;
  GraphCache graphs_;
  FrozenWeights<T> weights_;
  LoraPass<T> lora_;

  std::shared_ptr<PagePool> pages_;
  std::vector<unsigned char> plan_;  // host
  AttentionBounds bounds_;
  Scratch plan_memory_, attention_scratch_, loss_scratch_, sum_scratch_, draw_memory_;
};

}  // namespace llama::cuda
