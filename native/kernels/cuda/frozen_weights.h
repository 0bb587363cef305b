// The frozen matrices on a card: how they get there, how they are kept, and which product serves how many rows.
#pragma once
#include <memory>
#include <vector>

#include "../ops.h"
#include "../quantization.h"
#include "decode_linear.h"
#include "gemm.h"
#include "gpu.h"
#include "scratch.h"

namespace llama::cuda {

template <class T>
struct Rows {
  const T* data;
  int64_t ld;
};

// How much of a product and the low-rank terms beside it has been done.
enum class Done { nothing, product, all };

template <class T>
class FrozenWeights {
 public:
  FrozenWeights(Gpu& gpu, Gemm& gemm, Quantization quantization, int loading_threads)
      : gpu_(gpu),
        gemm_(gemm),
        limits_(limits_of(gpu.card().major, gpu.card().minor, gpu.card().multiprocessors)),
        quantization_(quantization),
        loading_threads_(loading_threads) {}

  // Stacked and, where the settings say so, quantised. Throws EngineError OUT_OF_MEMORY, and CHECKPOINT_UNSUPPORTED where a
  // weight does not fit into T.
  std::unique_ptr<PackedMatrix> pack(const std::vector<MatrixSource>& sources);
  // As it is. A head that is tied to the embedding shares its memory.
  std::unique_ptr<PackedMatrix> pack_head(const MatrixSource& source);
  std::unique_ptr<EmbeddingTable> make_embedding(const MatrixSource& source);
  const T* elements_of(const EmbeddingTable& table) const;

  int64_t packed_bytes(const MatrixSource& source, bool of_layer) const;
  // What a product of many rows takes beside its arguments: a dequantised matrix.
  int64_t workspace_bytes() const;

  // y (+)= x Wᵀ, Y: T or float (T only where not accumulated); not Done::nothing
  template <class Y>
  Done multiply(const PackedMatrix& w, const DecodeTerms<T>& terms, const Rows<T>& x, int64_t tokens, Y* y, int64_t ldy,
                bool accumulate);
  // dx (+)= g W
  void multiply_backward(const PackedMatrix& w, const T* g, int64_t ldg, int64_t tokens, T* dx, int64_t lddx,
                         bool accumulate);
  // The decode path's neighbours in one kernel; nothing is done where there are too many rows for it.
  Done norm_multiply(const PackedMatrix& w, const DecodeTerms<T>& terms, const float* x, int64_t ldx, const float* norm,
                     float eps, int64_t tokens, T* normed, int64_t ldn, float* inverse_rms, T* y, int64_t ldy);
  Done swiglu_multiply(const PackedMatrix& w, const DecodeTerms<T>& terms, const T* gate, const T* up, int64_t ld,
                       int64_t tokens, T* h, int64_t ldh, float* y, int64_t ldy);

 private:
  WeightView view_of(const PackedMatrix& w) const;
  Done decode(const PackedMatrix& w, const DecodeTerms<T>& terms, const DecodeInput<T>& input, int64_t tokens,
              const ProductOutput<T>& output);
  // W as T, dequantised into the workspace where it has to be.
  const T* elements_of(const PackedMatrix& w);
  void upload(T* to, const MatrixSource& source);

  Gpu& gpu_;
  Gemm& gemm_;
  DeviceLimits limits_;
  Quantization quantization_;
  int loading_threads_;
  std::unique_ptr<PinnedRing> ring_;  // while weights are loaded
  Scratch workspace_, products_;
  int64_t largest_quantized_ = 0;  // elements
  std::shared_ptr<Memory> embedding_;
  const void* embedding_source_ = nullptr;
};

}  // namespace llama::cuda
