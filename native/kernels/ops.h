// Every operation of a LLaMA's forward pass, its LoRA backward pass and the optimiser, on the CPU.
// Three implementations: "reference" (plain C++, the meaning of every operation), "avx2", "avx512".
// Activations are float32, row-major, with explicit leading dimensions. Each call runs its loops on the pool itself and
// returns when done; the caller is a single thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "thread_pool.h"

namespace llama {

enum class StorageType { f32, f16, bf16 };
size_t bytes_of(StorageType type);

// Row-major [rows, cols] in a mapped file; not necessarily aligned.
struct MatrixSource {
  const void* data;
  StorageType type;
  int64_t rows;
  int64_t cols;
};

// A frozen linear W [rows (out), cols (in)] in the layout its implementation likes best. Stacked sources share one matrix.
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  int64_t rows = 0, cols = 0;
  StorageType type = StorageType::f32;
  virtual size_t bytes() const = 0;
};

// Keys and values of one sequence, all layers. f32 for f32 models, f16 for 16-bit models. Layout is the implementation's.
class KvCache {
 public:
  virtual ~KvCache() = default;
  int layers = 0, kv_heads = 0, head_dim = 0;
  int64_t capacity = 0;
  virtual size_t bytes() const = 0;
};

// One sequence's rows in a step: query rows [row, row + count) are its positions [position, position + count).
struct AttentionSpan {
  KvCache* cache;
  int64_t row;
  int64_t count;
  int64_t position;
};

struct AttentionShape {
  int heads, kv_heads, head_dim;
  int64_t window;  // 0: unlimited; else i attends to j with i - j < window
  float scale;     // 1 / sqrt(head_dim)
};

struct AdamW {
  double learning_rate, beta1, beta2, epsilon, weight_decay;  // double: 1 - 0.999 has no 5 exact digits in float
  double gradient_scale;  // clipping factor
  int64_t step;          // 1 for the first update
};

class Ops {
 public:
  virtual ~Ops() = default;
  virtual const char* name() const = 0;
  virtual ThreadPool& pool() = 0;

  // ---- frozen linears
  // Stacks the sources along rows (same cols, same type) and packs them. Odd rows and cols are allowed.
  virtual std::unique_ptr<PackedMatrix> pack(const std::vector<MatrixSource>& sources) = 0;
  // y[t, o] (+)= sum_k x[t, k] W[o, k]        x [tokens, cols], y [tokens, rows]; tokens = 1 is the decode path
  virtual void linear(const PackedMatrix& w, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy, bool accumulate) = 0;
  // dx[t, k] (+)= sum_o g[t, o] W[o, k]       the input gradient of linear
  virtual void linear_backward(const PackedMatrix& w, const float* g, int64_t ldg, int64_t tokens, float* dx, int64_t lddx, bool accumulate) = 0;

  // ---- thin float32 products for LoRA (r is 1..256)
  // C[m, n] = beta * C + alpha * sum_k X[m, k] Y[n, k]     (x Aᵀ ; u Bᵀ)
  virtual void matmul_nt(const float* x, int64_t ldx, const float* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) = 0;
  // C[m, n] = beta * C + alpha * sum_k X[m, k] Y[k, n]     (g B ; dU A)
  virtual void matmul_nn(const float* x, int64_t ldx, const float* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) = 0;
  // C[m, n] = beta * C + alpha * sum_k X[k, m] Y[k, n]     (gᵀ u ; dUᵀ x)
  virtual void matmul_tn(const float* x, int64_t ldx, const float* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) = 0;
  // y = x * keep / (1 - p); keep(row, col) from Philox 4x32-10 with key (seed) and counter (element / 4, module, step), see dropout.h
  virtual void dropout(const float* x, int64_t ldx, float* y, int64_t ldy, int64_t rows, int64_t cols, float p, uint64_t seed, uint32_t step, uint32_t module) = 0;

  // ---- elementwise and rows
  virtual void embed(const MatrixSource& table, const int32_t* ids, int64_t tokens, float* x, int64_t ldx) = 0;
  // y = x / sqrt(mean(x²) + eps) * w ; inverse_rms [tokens] is written where not null
  virtual void rms_norm(const float* x, int64_t ldx, const float* w, float eps, int64_t tokens, int64_t width, float* y, int64_t ldy, float* inverse_rms) = 0;
  // dx += r g' - x r³ mean(g' x), g' = g w
  virtual void rms_norm_backward(const float* g, int64_t ldg, const float* x, int64_t ldx, const float* w, const float* inverse_rms, int64_t tokens, int64_t width, float* dx, int64_t lddx) = 0;
  // In place, rotate-half, `heads` heads of head_dim side by side in each row. cos_sin: [max position][head_dim/2][2] float32.
  // inverse = true turns back (the gradient).
  virtual void rope(float* x, int64_t ldx, int64_t tokens, int heads, int head_dim, const int32_t* positions, const float* cos_sin, bool inverse) = 0;
  // h = silu(gate) * up
  virtual void swiglu(const float* gate, const float* up, int64_t ld, int64_t tokens, int64_t width, float* h, int64_t ldh) = 0;
  // d_gate, d_up from dh; may overwrite gate and up in place
  virtual void swiglu_backward(const float* dh, int64_t lddh, const float* gate, const float* up, int64_t ld, int64_t tokens, int64_t width, float* d_gate, float* d_up, int64_t ldd) = 0;
  // y += x
  virtual void add(const float* x, int64_t ldx, float* y, int64_t ldy, int64_t tokens, int64_t width) = 0;

  // ---- attention with a cache (serving)
  virtual std::unique_ptr<KvCache> make_cache(int layers, int kv_heads, int head_dim, int64_t capacity, StorageType type) = 0;
  // Writes k and v ([rows, kv_heads * head_dim], already rotated) of every span into its cache, then
  // o[row] = softmax(scale q kᵀ) v over the span's positions 0 .. own. q, o: [rows, heads * head_dim].
  virtual void attention(const AttentionShape& shape, int layer, const std::vector<AttentionSpan>& spans, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, float* o, int64_t ldo) = 0;

  // ---- attention over packed rows (training). offsets: [rows + 1]; causal inside a row, nothing across.
  // lse [tokens, heads] is written: log-sum-exp of the scaled scores.
  virtual void attention_packed(const AttentionShape& shape, const int32_t* offsets, int64_t rows, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, float* o, int64_t ldo, float* lse) = 0;
  // dq, dk, dv are overwritten.
  virtual void attention_packed_backward(const AttentionShape& shape, const int32_t* offsets, int64_t rows, const float* q, int64_t ldq, const float* k, const float* v, int64_t ldkv, const float* o, int64_t ldo, const float* lse, const float* g, int64_t ldg, float* dq, int64_t lddq, float* dk, float* dv, int64_t lddkv) = 0;

  // ---- loss and optimiser
  // logits [rows, vocab] -> in place d(loss)/d(logits) * gradient_scale; returns the sum of losses (double). targets >= 0.
  virtual double cross_entropy(float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets, float gradient_scale) = 0;
  virtual double sum_squares(const float* x, int64_t n) = 0;
  virtual void adamw(float* parameter, const float* gradient, float* m, float* v, int64_t n, const AdamW& settings) = 0;
};

// "reference", "avx2", "avx512", or "auto": the best this processor has. Throws std::invalid_argument for a name it cannot run.
// LLAMA_ISA=name chooses in "auto".
std::unique_ptr<Ops> make_ops(const std::string& name, int threads);
// Names usable on this processor, best first.
std::vector<std::string> available_ops();

}  // namespace llama
