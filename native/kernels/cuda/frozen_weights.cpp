#include "frozen_weights.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "../engine_error.h"
#include "../matrix_sources.h"
#include "batch_linear.h"
#include "quantize.h"
#include "tensor_core.h"

namespace llama::cuda {
namespace {

template <class T>
class CardMatrix final : public PackedMatrix {
 public:
  std::shared_ptr<Memory> memory;
  const T* elements = nullptr;  // null where quantised
  QuantizedView quantized;
  size_t bytes() const override { return memory->bytes; }
};

template <class T>
class CardTable final : public EmbeddingTable {
 public:
  std::shared_ptr<Memory> memory;
};

constexpr size_t chunk_bytes = size_t{16} << 20;
constexpr size_t chunks = 8;

// NF4's scales are quantised too, as in QLoRA: 4.13 bits a weight instead of 4.5.
bool is_doubly_quantized(Quantization kind) { return kind == Quantization::nf4; }

}  // namespace

template <class T>
void FrozenWeights<T>::upload(T* to, const MatrixSource& source) {
  if (!ring_) ring_ = std::make_unique<PinnedRing>(gpu_.stream(), chunks, chunk_bytes);
  const int64_t count = source.rows * source.cols;
  const bool in_order = source.blocks == BlockFormat::none && source.interleaved_heads == 0;
  if (in_order && source.type == storage_of<T>) {
    ring_->upload_large(to, source.data, static_cast<size_t>(count) * sizeof(T), loading_threads_);
    return;
  }
  std::atomic<bool> overflow = false;
  ring_->upload_filled(to, static_cast<size_t>(count) * sizeof(T), loading_threads_,
                       [&](void* chunk, size_t offset, size_t bytes) {
                         auto* values = static_cast<T*>(chunk);
                         const auto first = static_cast<int64_t>(offset / sizeof(T));
                         const auto last = first + static_cast<int64_t>(bytes / sizeof(T));
                         bool finite = true;
                         // A row that lies across two chunks is read for both.
                         std::vector<float> row(static_cast<size_t>(source.cols));
                         for (int64_t at = first; at < last;) {
                           const int64_t begin = at % source.cols, end = std::min(source.cols, begin + last - at);
                           load_row(source, at / source.cols, row.data());
                           for (int64_t i = begin; i < end; ++i, ++at) {
                             values[at - first] = from_float<T>(row[static_cast<size_t>(i)]);
                             finite = finite && std::isfinite(to_float(values[at - first]));
                           }
                         }
                         if (!finite) overflow = true;
                       });
  if (overflow) {
    throw EngineError("CHECKPOINT_UNSUPPORTED",
                      "a weight is too large for 16-bit floats of this card's kind; set LLAMA_DTYPE=float32");
  }
}

template <class T>
std::unique_ptr<PackedMatrix> FrozenWeights<T>::pack(const std::vector<MatrixSource>& sources) {
  auto matrix = std::make_unique<CardMatrix<T>>();
  matrix->rows = stacked_rows(sources);
  matrix->cols = sources[0].cols;
  matrix->type = sources[0].type;
  const int64_t count = matrix->rows * matrix->cols;
  const bool plain = quantization_ == Quantization::none;
  T* elements;
  if (plain) {
    matrix->memory = gpu_.allocate(static_cast<size_t>(count) * sizeof(T));
    elements = static_cast<T*>(matrix->memory->data);
    matrix->elements = elements;
  } else {
    elements = static_cast<T*>(workspace_.reserve(gpu_, static_cast<size_t>(count) * sizeof(T)));
    largest_quantized_ = std::max(largest_quantized_, count);
  }
  int64_t at = 0;
  for (const MatrixSource& source : sources) {
    upload(elements + at, source);
    at += source.rows * source.cols;
  }
  if (!plain) {
    const bool doubly = is_doubly_quantized(quantization_);
    matrix->memory = gpu_.allocate(quantized_layout(quantization_, doubly, matrix->rows, matrix->cols).bytes);
    matrix->quantized = quantized_in(matrix->memory->data, quantization_, doubly, matrix->rows, matrix->cols);
    cuda::quantize(gpu_.stream(), static_cast<const T*>(elements), matrix->quantized,
                   products_.reserve(gpu_, quantize_scratch_bytes(matrix->quantized)));
  }
  return matrix;
}

template <class T>
std::unique_ptr<PackedMatrix> FrozenWeights<T>::pack_head(const MatrixSource& source) {
  auto matrix = std::make_unique<CardMatrix<T>>();
  matrix->rows = source.rows;
  matrix->cols = source.cols;
  matrix->type = source.type;
  if (embedding_ && embedding_source_ == source.data) {
    matrix->memory = embedding_;
  } else {
    matrix->memory = gpu_.allocate(static_cast<size_t>(source.rows * source.cols) * sizeof(T));
    upload(static_cast<T*>(matrix->memory->data), source);
  }
  matrix->elements = static_cast<const T*>(matrix->memory->data);
  ring_.reset();  // the head is the last one; pinned memory is the whole machine's
  return matrix;
}

template <class T>
std::unique_ptr<EmbeddingTable> FrozenWeights<T>::make_embedding(const MatrixSource& source) {
  auto table = std::make_unique<CardTable<T>>();
  table->source = source;
  table->memory = gpu_.allocate(static_cast<size_t>(source.rows * source.cols) * sizeof(T));
  upload(static_cast<T*>(table->memory->data), source);
  embedding_ = table->memory;
  embedding_source_ = source.data;
  return table;
}

template <class T>
const T* FrozenWeights<T>::elements_of(const EmbeddingTable& table) const {
  return static_cast<const T*>(static_cast<const CardTable<T>&>(table).memory->data);
}

template <class T>
int64_t FrozenWeights<T>::packed_bytes(const MatrixSource& source, bool of_layer) const {
  if (!of_layer || quantization_ == Quantization::none) return source.rows * source.cols * static_cast<int64_t>(sizeof(T));
  const bool doubly = is_doubly_quantized(quantization_);
  return static_cast<int64_t>(quantized_layout(quantization_, doubly, source.rows, source.cols).bytes);
}

template <class T>
int64_t FrozenWeights<T>::workspace_bytes() const {
  return largest_quantized_ * static_cast<int64_t>(sizeof(T));
}

template <class T>
const T* FrozenWeights<T>::elements_of(const PackedMatrix& w) {
  const auto& matrix = static_cast<const CardMatrix<T>&>(w);
  if (matrix.elements != nullptr) return matrix.elements;
  auto* elements = static_cast<T*>(workspace_.reserve(gpu_, static_cast<size_t>(w.rows * w.cols) * sizeof(T)));
  dequantize(gpu_.stream(), matrix.quantized, elements);
  return elements;
}

template <class T>
WeightView FrozenWeights<T>::view_of(const PackedMatrix& w) const {
  const auto& matrix = static_cast<const CardMatrix<T>&>(w);
  if (matrix.elements == nullptr) return WeightView::of(matrix.quantized);
  return WeightView::plain(storage_of<T>, matrix.elements, w.rows, w.cols);
}

namespace {

template <class T, class Y>
ProductOutput<T> output_to(Y* y, int64_t ldy, bool accumulate) {
  if constexpr (std::is_same_v<Y, float>) return ProductOutput<T>::f32(y, ldy, accumulate);
  else return ProductOutput<T>::of(y, ldy);
}

}  // namespace

template <class T>
Done FrozenWeights<T>::decode(const PackedMatrix& w, const DecodeTerms<T>& terms, const DecodeInput<T>& input,
                              int64_t tokens, const ProductOutput<T>& output) {
  return decode_linear(gpu_.stream(), view_of(w), input, terms, static_cast<int>(tokens), output, limits_) ? Done::all
                                                                                                      : Done::product;
}

template <class T>
template <class Y>
Done FrozenWeights<T>::multiply(const PackedMatrix& w, const DecodeTerms<T>& terms, const Rows<T>& x, int64_t tokens,
                                Y* y, int64_t ldy, bool accumulate) {
  const ProductOutput<T> output = output_to<T>(y, ldy, accumulate);
  if (tokens <= most_decode_tokens) return decode(w, terms, DecodeInput<T>::plain(x.data, x.ld), tokens, output);
  if constexpr (is_16_bit<T>) {
    const WeightView view = view_of(w);
    if (view.values == nullptr && tokens <= most_batch_tokens) {
      const auto count = static_cast<int>(tokens);
      void* scratch = products_.reserve(gpu_, batch_linear_scratch_bytes(view.quantized, count, limits_));
      if (batch_linear(gpu_.stream(), view.quantized, x.data, x.ld, count, output, limits_, scratch)) return Done::product;
    }
  }
  gemm_.template multiply<T, Y>({x.data, x.ld}, {elements_of(w), w.cols, true}, y, ldy, tokens, w.rows, w.cols, 1,
                                accumulate ? 1.0f : 0.0f);
  return Done::product;
}

template <class T>
Done FrozenWeights<T>::norm_multiply(const PackedMatrix& w, const DecodeTerms<T>& terms, const float* x, int64_t ldx,
                                     const float* norm, float eps, int64_t tokens, T* normed, int64_t ldn,
                                     float* inverse_rms, T* y, int64_t ldy) {
  if (tokens > most_decode_tokens) return Done::nothing;
  return decode(w, terms, DecodeInput<T>::rms_norm(x, ldx, norm, eps, normed, ldn, inverse_rms), tokens,
                ProductOutput<T>::of(y, ldy));
}

template <class T>
Done FrozenWeights<T>::swiglu_multiply(const PackedMatrix& w, const DecodeTerms<T>& terms, const T* gate, const T* up,
                                       int64_t ld, int64_t tokens, T* h, int64_t ldh, float* y, int64_t ldy) {
  if (tokens > most_decode_tokens) return Done::nothing;
  return decode(w, terms, DecodeInput<T>::swiglu(gate, up, ld, h, ldh), tokens, ProductOutput<T>::f32(y, ldy, true));
}

template <class T>
void FrozenWeights<T>::multiply_backward(const PackedMatrix& w, const T* g, int64_t ldg, int64_t tokens, T* dx,
                                         int64_t lddx, bool accumulate) {
  gemm_.template multiply<T, T>({g, ldg}, {elements_of(w), w.cols}, dx, lddx, tokens, w.cols, w.rows, 1,
                                accumulate ? 1.0f : 0.0f);
}

#define LLAMA_INSTANTIATE_MULTIPLY(T, Y) \
  template Done FrozenWeights<T>::multiply<Y>(const PackedMatrix&, const DecodeTerms<T>&, const Rows<T>&, int64_t, Y*, int64_t, bool);
template class FrozenWeights<float>;
template class FrozenWeights<Bf16>;
template class FrozenWeights<Half>;
LLAMA_INSTANTIATE_MULTIPLY(float, float)
LLAMA_INSTANTIATE_MULTIPLY(Bf16, Bf16)
LLAMA_INSTANTIATE_MULTIPLY(Bf16, float)
LLAMA_INSTANTIATE_MULTIPLY(Half, Half)
LLAMA_INSTANTIATE_MULTIPLY(Half, float)
#undef LLAMA_INSTANTIATE_MULTIPLY

}  // namespace llama::cuda
