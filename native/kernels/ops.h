// Every operation of a LLaMA's forward pass, its LoRA backward pass and the optimiser.
//
// T is what activations between the linears are made of: float on the CPU (implementations "reference", "avx2", "avx512"),
// and float, Bf16 or Half on a GPU (kernels/cuda). The residual stream, its gradient, logits, adapter gradients and optimiser
// state are float32 everywhere. Matrices are row-major with explicit leading dimensions. Pointers are to memory of the
// implementation (memory.h) unless a comment says "host". The caller is a single thread; a call returns when it is done (CPU)
// or when it has its place in the queue (GPU).
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "blocks.h"
#include "element.h"
#include "memory.h"
#include "sampling.h"

namespace llama {

class Communicator;  // ../distributed

enum class StorageType { f32, f16, bf16 };
size_t bytes_of(StorageType type);

// Row-major [rows, cols] in a mapped file (host); not necessarily aligned. matrix_sources.h reads its rows.
struct MatrixSource {
  const void* data;
  StorageType type;  // of blocks: what their weights are taken for, float32
  int64_t rows;
  int64_t cols;
  BlockFormat blocks = BlockFormat::none;
  // Set: the rows in the file are in Meta's order, where pairs (2i, 2i + 1) of each of so many heads turn together. Packed
  // matrices have (i, i + head_dim / 2) together, as rope() turns them.
  int interleaved_heads = 0;
};

// A frozen linear W [rows (out), cols (in)] in the layout its implementation likes best. Stacked sources share one matrix.
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  int64_t rows = 0, cols = 0;
  StorageType type = StorageType::f32;
  virtual size_t bytes() const = 0;
};

// The rows of an embedding.
class EmbeddingTable {
 public:
  virtual ~EmbeddingTable() = default;
  MatrixSource source{};
};

// Keys and values of one sequence, all layers, in the type of the weights (on a GPU: of activations), which has the range that
// the model was made for. Layout is the implementation's.
class KvCache {
 public:
  virtual ~KvCache() = default;
  int layers = 0, kv_heads = 0, head_dim = 0;
  int64_t capacity = 0;
  virtual size_t bytes() const = 0;
};

// What all caches of a model may take together; each takes whole pages.
struct CacheLimit {
  int64_t pages;
  int64_t page_tokens;
  int64_t page_bytes;
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

// What the heads of a row go through between their product and attention, each step for q and k of a row of qkv
// (q [heads * head_dim], k and v [kv_heads * head_dim each]), the first for v too:
//   x += bias      x = x / sqrt(mean(x²) + eps) * norm, of each head by itself      x turns by its position (rotate-half)
struct Rotary {
  const int32_t* positions;       // [tokens]
  const float* cos_sin;           // [max position][head_dim / 2][2]
  const float* bias = nullptr;    // [(heads + 2 kv_heads) * head_dim], or null: none (Qwen2 has one)
  const float* q_norm = nullptr;  // [head_dim], or both null: none (Qwen3 has them)
  const float* k_norm = nullptr;
  float eps = 0;  // of the norms
};

// The rows of a packed batch: row i is [offsets[i], offsets[i + 1]); causal inside a row, nothing across.
struct PackedRows {
  const int32_t* offsets;  // [count + 1]
  int64_t count;
  int64_t tokens;
};

// The low-rank term that one adapter adds to some columns of one product:
//   y[:, column .. column + out) += scale * (x Aᵀ) Bᵀ      A [rank, in], B [out, rank]
template <class T>
struct LoraTerm {
  const T* a;
  const T* b;
  int64_t in, out, column;
  int rank;
  float scale;
};

// An adapter's terms by place (a number that the model gives to every product that may be adapted).
constexpr int no_place = -1;
class LoraTable {
 public:
  virtual ~LoraTable() = default;
};

// Rows [row, row + count) of a pass are read with this adapter.
struct LoraSpan {
  const LoraTable* table;
  int64_t row;
  int64_t count;
};

// One row of logits to draw a token from.
struct Draw {
  const Sampling* sampling;             // host
  const std::vector<int32_t>* history;  // host; the sequence's tokens so far
};

struct AdamW {
  double learning_rate, beta1, beta2, epsilon, weight_decay;  // double: 1 - 0.999 has no 5 exact digits in float
  double gradient_scale;  // clipping factor
  int64_t step;          // 1 for the first update
};

template <class T>
class BasicOps : public Device {
 public:
  virtual const char* name() const = 0;

  // Bytes that a matrix of the layers (of the head, the embedding) will take.
  virtual int64_t packed_bytes(const MatrixSource& source, bool of_layer) const {
    (void)of_layer;
    return source.rows * source.cols * static_cast<int64_t>(bytes_of(source.type));
  }
  // What helps where the weights do not fit.
  virtual std::string weights_remedy() const { return ""; }
  // Bytes that products, attention and the loss take beside their arguments, at most, for so many rows at once.
  virtual int64_t workspace_bytes(int64_t rows) const {
    (void)rows;
    return 0;
  }

  // ---- frozen linears
  // Stacks the sources along rows (same cols, same type) and packs them. Odd rows and cols are allowed.
  virtual std::unique_ptr<PackedMatrix> pack(const std::vector<MatrixSource>& sources) = 0;
  // The head: kept as it is where the others are quantised.
  virtual std::unique_ptr<PackedMatrix> pack_head(const MatrixSource& source) { return pack({source}); }
  // y[t, o] = sum_k x[t, k] W[o, k]           x [tokens, cols], y [tokens, rows]; tokens = 1 is the decode path
  virtual void linear(const PackedMatrix& w, const T* x, int64_t ldx, int64_t tokens, T* y, int64_t ldy) = 0;
  // The same with a float32 result: logits, and sums onto the residual stream (accumulate: y +=).
  virtual void linear_f32(const PackedMatrix& w, const T* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy, bool accumulate) = 0;
  // dx[t, k] (+)= sum_o g[t, o] W[o, k]       the input gradient of linear
  virtual void linear_backward(const PackedMatrix& w, const T* g, int64_t ldg, int64_t tokens, T* dx, int64_t lddx, bool accumulate) = 0;

  // ---- thin products for LoRA training (r is 1..256)
  // C[m, n] = beta * C + alpha * sum_k X[m, k] Y[n, k]     (x Aᵀ ; u Bᵀ)
  virtual void matmul_nt(const T* x, int64_t ldx, const T* y, int64_t ldy, T* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) = 0;
  // The same onto the residual stream.
  virtual void matmul_nt_f32(const T* x, int64_t ldx, const T* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) = 0;
  // C[m, n] = beta * C + alpha * sum_k X[m, k] Y[k, n]     (g B ; dU A)
  virtual void matmul_nn(const T* x, int64_t ldx, const T* y, int64_t ldy, T* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) = 0;
  // C[m, n] = beta * C + alpha * sum_k X[k, m] Y[k, n]     (gᵀ u ; dUᵀ x): the adapter's gradients
  virtual void matmul_tn(const T* x, int64_t ldx, const T* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) = 0;
  // y = x * keep / (1 - p); keep(row, col) from Philox 4x32-10 with key (seed) and counter (element / 4, module, step), see
  // dropout.h. May be done in place.
  virtual void dropout(const T* x, int64_t ldx, T* y, int64_t ldy, int64_t rows, int64_t cols, float p, uint64_t seed, uint32_t step, uint32_t module) = 0;

  // ---- low-rank terms for serving, rows of several adapters together
  // terms[place]: those added to that product; x of a place is the same for all its terms.
  virtual std::unique_ptr<LoraTable> make_lora_table(const std::vector<std::vector<LoraTerm<T>>>& terms) = 0;
  // Says which rows of the coming calls are read with which adapter. Spans do not overlap.
  virtual void plan_lora(const std::vector<LoraSpan>& spans, int64_t tokens) = 0;
  // Adds the planned adapters' terms of a place to y, which is of T or, on the residual stream, float32.
  virtual void lora(int place, const T* x, int64_t ldx, int64_t tokens, T* y, int64_t ldy) = 0;
  virtual void lora_f32(int place, const T* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy) = 0;

  // ---- elementwise and rows
  // owner keeps the source's bytes alive.
  virtual std::unique_ptr<EmbeddingTable> make_embedding(const MatrixSource& source, std::shared_ptr<void> owner) = 0;
  virtual void embed(const EmbeddingTable& table, const int32_t* ids, int64_t tokens, float* x, int64_t ldx) = 0;
  // y = x / sqrt(mean(x²) + eps) * w ; inverse_rms [tokens] is written where not null
  virtual void rms_norm(const float* x, int64_t ldx, const float* w, float eps, int64_t tokens, int64_t width, T* y, int64_t ldy, float* inverse_rms) = 0;
  // dx += r g' - x r³ mean(g' x), g' = g w
  virtual void rms_norm_backward(const T* g, int64_t ldg, const float* x, int64_t ldx, const float* w, const float* inverse_rms, int64_t tokens, int64_t width, float* dx, int64_t lddx) = 0;
  // Rows of qkv as attention reads them (see Rotary). In place where y is x; elsewhere all of q, k and v is written.
  virtual void rope(const AttentionShape& shape, const Rotary& rotary, const T* x, int64_t ldx, int64_t tokens, T* y, int64_t ldy) = 0;
  // g, in place: from the gradient of rope's q and k to that of x's. x is read only where there are norms.
  virtual void rope_backward(const AttentionShape& shape, const Rotary& rotary, const T* x, int64_t ldx, int64_t tokens, T* g, int64_t ldg) = 0;
  // h = silu(gate) * up
  virtual void swiglu(const T* gate, const T* up, int64_t ld, int64_t tokens, int64_t width, T* h, int64_t ldh) = 0;
  // d_gate, d_up from dh; may overwrite gate and up in place
  virtual void swiglu_backward(const T* dh, int64_t lddh, const T* gate, const T* up, int64_t ld, int64_t tokens, int64_t width, T* d_gate, T* d_up, int64_t ldd) = 0;
  // y += x
  virtual void add(const T* x, int64_t ldx, T* y, int64_t ldy, int64_t tokens, int64_t width) = 0;
  // y = x, rounded to T
  virtual void cast(const float* x, int64_t ldx, T* y, int64_t ldy, int64_t rows, int64_t width) = 0;
  // to[i] = from[rows[i]] ; to[rows[i]] = from[i]      contiguous rows of `width`
  virtual void gather_rows(const float* from, const int32_t* rows, int64_t count, int64_t width, float* to) = 0;
  virtual void scatter_rows(const float* from, const int32_t* rows, int64_t count, int64_t width, float* to) = 0;

  // ---- the decode path's neighbours in one call, for implementations that do them in one kernel
  // Each also adds the planned adapters' terms of `place`, unless that is no_place.
  // normed = rms_norm(x) ; y = normed Wᵀ
  virtual void norm_linear(const float* x, int64_t ldx, const float* norm, float eps, const PackedMatrix& w, int place, int64_t tokens, T* normed, int64_t ldn, T* y, int64_t ldy, float* inverse_rms) {
    rms_norm(x, ldx, norm, eps, tokens, w.cols, normed, ldn, inverse_rms);
    linear(w, normed, ldn, tokens, y, ldy);
    if (place != no_place) lora(place, normed, ldn, tokens, y, ldy);
  }
  // y += x Wᵀ
  virtual void add_linear(const PackedMatrix& w, int place, const T* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy) {
    linear_f32(w, x, ldx, tokens, y, ldy, true);
    if (place != no_place) lora_f32(place, x, ldx, tokens, y, ldy);
  }
  // h = silu(gate) * up ; y += h Wᵀ
  virtual void swiglu_linear(const T* gate, const T* up, int64_t ld, const PackedMatrix& w, int place, int64_t tokens, T* h, int64_t ldh, float* y, int64_t ldy) {
    swiglu(gate, up, ld, tokens, w.cols, h, ldh);
    add_linear(w, place, h, ldh, tokens, y, ldy);
  }

  // ---- attention with a cache (serving)
  // Limits the caches of this shape to so many bytes, before the first of them is made; 0: to a share of what is left now.
  virtual CacheLimit limit_caches(int layers, int kv_heads, int head_dim, StorageType type, int64_t bytes) = 0;
  // All of its memory is taken here, so that no step can fail for it.
  virtual std::unique_ptr<KvCache> make_cache(int layers, int kv_heads, int head_dim, int64_t capacity, StorageType type) = 0;
  // Says which rows of the coming calls belong to which cache.
  virtual void plan_attention(const std::vector<AttentionSpan>& spans) = 0;
  // Does what rope does to qkv in place, writes k and v of every planned span into its cache, then
  // o[row] = softmax(scale q kᵀ) v over the span's positions 0 .. own.
  virtual void attention(const AttentionShape& shape, int layer, const Rotary& rotary, T* qkv, int64_t ldqkv, int64_t tokens, T* o, int64_t ldo) = 0;

  // ---- attention over packed rows (training)
  // lse [tokens, heads] is written: log-sum-exp of the scaled scores.
  virtual void attention_packed(const AttentionShape& shape, const PackedRows& rows, const T* q, int64_t ldq, const T* k, const T* v, int64_t ldkv, T* o, int64_t ldo, float* lse) = 0;
  // dq, dk, dv are overwritten.
  virtual void attention_packed_backward(const AttentionShape& shape, const PackedRows& rows, const T* q, int64_t ldq, const T* k, const T* v, int64_t ldkv, const T* o, int64_t ldo, const float* lse, const T* g, int64_t ldg, T* dq, int64_t lddq, T* dk, T* dv, int64_t lddkv) = 0;

  // ---- loss and optimiser
  // Rows of logits worth a product of their own: enough for its speed, few enough for the caches.
  virtual int64_t head_rows(int64_t vocab) const = 0;
  // logits [rows, vocab] -> gradient = d(loss)/d(logits) * gradient_scale where not null (may be the logits' memory where T
  // is float; the logits are undefined afterwards); *loss (one double) += the sum of losses. targets >= 0.
  virtual void cross_entropy(float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets, float gradient_scale, T* gradient, int64_t ldg, double* loss) = 0;
  virtual double sum_squares(const float* x, int64_t n) = 0;
  virtual void adamw(float* parameter, const float* gradient, float* m, float* v, int64_t n, const AdamW& settings) = 0;

  // x = the sum of all ranks' x, the same bits on all of them.
  virtual void sum_over_ranks(Communicator& ranks, float* x, int64_t n);

  // ---- drawing tokens
  // logits [draws.size(), vocab] are overwritten; -1 where no token can be drawn (see sampling.h).
  virtual std::vector<int32_t> sample(float* logits, int64_t vocab, const std::vector<Draw>& draws) = 0;

  // ---- replaying
  // Runs body, which queues operations only: the same ones on the same memory for the same key. A GPU records them the first
  // time and replays the record afterwards. Records are dropped when memory they may name is given back.
  virtual void replay(const std::vector<int64_t>& key, const std::function<void()>& body) {
    (void)key;
    body();
  }
};

// Through the host's memory.
void sum_over_ranks_on_host(Device& device, Communicator& ranks, float* x, int64_t n);

template <class T>
void BasicOps<T>::sum_over_ranks(Communicator& ranks, float* x, int64_t n) {
  sum_over_ranks_on_host(*this, ranks, x, n);
}

using Ops = BasicOps<float>;

// "reference", "avx2", "avx512", or "auto": the best this processor has. Throws std::invalid_argument for a name it cannot run.
std::unique_ptr<Ops> make_ops(const std::string& name, int threads);
// Names usable on this processor, best first.
std::vector<std::string> available_ops();

}  // namespace llama
