#include "cuda_ops.h"

#include <algorithm>
#include <cstring>

#include "attention_cached.h"
#include "attention_packed.h"
#include "communicator.h"
#include "dropout.h"
#include "loss.h"
#include "nccl_communicator.h"
#include "norm.h"
#include "optimisation.h"
#include "rotary.h"
#include "rows.h"
#include "sampling.h"

namespace llama::cuda {
namespace {

// Left alone for the driver, cuBLASLt's kernels and what is not planned.
constexpr int64_t reserve_bytes = int64_t{256} << 20;

template <class T>
const char* element_name() {
  if constexpr (storage_of<T> == StorageType::bf16) return "bf16";
  return storage_of<T> == StorageType::f16 ? "f16" : "f32";
}

const char* quantization_name(Quantization quantization) {
  switch (quantization) {
    case Quantization::int8:
      return " on int8";
    case Quantization::int4:
      return " on int4";
    case Quantization::nf4:
      return " on nf4";
    default:
      return "";
  }
}

}  // namespace

template <class T>
CudaOps<T>::CudaOps(const Card& card, const CudaSettings& settings)
    : gpu_(card),
      settings_(settings),
      gemm_(gpu_),
      name_(std::string("cuda ") + element_name<T>() + quantization_name(settings.quantization)),
      graphs_(gpu_),
      weights_(gpu_, gemm_, settings.quantization, settings.loading_threads),
      lora_(gpu_, gemm_) {}

template <class T>
CudaOps<T>::~CudaOps() = default;

template <class T>
int64_t CudaOps<T>::available() const {
  return std::max<int64_t>(0, static_cast<int64_t>(gpu_.free_bytes()) - reserve_bytes);
}

template <class T>
int64_t CudaOps<T>::packed_bytes(const MatrixSource& source, bool of_layer) const {
  return weights_.packed_bytes(source, of_layer);
}

template <class T>
std::string CudaOps<T>::weights_remedy() const {
  if (settings_.quantization == Quantization::nf4) return "take a smaller model or a larger card";
  return "set LLAMA_QUANTIZATION=nf4 (a quarter of 16 bits) or int8 (half)";
}

template <class T>
int64_t CudaOps<T>::workspace_bytes(int64_t rows) const {
  return weights_.workspace_bytes() + rows * 1024;
}

// ---- frozen linears

template <class T>
std::unique_ptr<PackedMatrix> CudaOps<T>::pack(const std::vector<MatrixSource>& sources) {
  return weights_.pack(sources);
}

template <class T>
std::unique_ptr<PackedMatrix> CudaOps<T>::pack_head(const MatrixSource& source) {
  return weights_.pack_head(source);
}

template <class T>
void CudaOps<T>::linear(const PackedMatrix& w, const T* x, int64_t ldx, int64_t tokens, T* y, int64_t ldy) {
  weights_.multiply(w, {}, {x, ldx}, tokens, y, ldy, false);
}

template <class T>
void CudaOps<T>::linear_f32(const PackedMatrix& w, const T* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy, bool accumulate) {
  weights_.multiply(w, {}, {x, ldx}, tokens, y, ldy, accumulate);
}

template <class T>
void CudaOps<T>::linear_backward(const PackedMatrix& w, const T* g, int64_t ldg, int64_t tokens, T* dx, int64_t lddx, bool accumulate) {
  weights_.multiply_backward(w, g, ldg, tokens, dx, lddx, accumulate);
}

template <class T>
void CudaOps<T>::norm_linear(const float* x, int64_t ldx, const float* norm, float eps, const PackedMatrix& w, int place, int64_t tokens, T* normed, int64_t ldn, T* y, int64_t ldy, float* inverse_rms) {
  const Done done = weights_.norm_multiply(w, lora_.decode_terms(place), x, ldx, norm, eps, tokens, normed, ldn, inverse_rms, y, ldy);
  if (done == Done::nothing) return BasicOps<T>::norm_linear(x, ldx, norm, eps, w, place, tokens, normed, ldn, y, ldy, inverse_rms);
  if (done == Done::product && place != no_place) lora(place, normed, ldn, tokens, y, ldy);
}

template <class T>
void CudaOps<T>::add_linear(const PackedMatrix& w, int place, const T* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy) {
  const Done done = weights_.multiply(w, lora_.decode_terms(place), {x, ldx}, tokens, y, ldy, true);
  if (done == Done::product && place != no_place) lora_f32(place, x, ldx, tokens, y, ldy);
}

template <class T>
void CudaOps<T>::swiglu_linear(const T* gate, const T* up, int64_t ld, const PackedMatrix& w, int place, int64_t tokens, T* h, int64_t ldh, float* y, int64_t ldy) {
  const Done done = weights_.swiglu_multiply(w, lora_.decode_terms(place), gate, up, ld, tokens, h, ldh, y, ldy);
  if (done == Done::nothing) return BasicOps<T>::swiglu_linear(gate, up, ld, w, place, tokens, h, ldh, y, ldy);
  if (done == Done::product && place != no_place) lora_f32(place, h, ldh, tokens, y, ldy);
}

// ---- LoRA

template <class T>
void CudaOps<T>::matmul_nt(const T* x, int64_t ldx, const T* y, int64_t ldy, T* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) {
  gemm_.multiply<T, T>({x, ldx}, {y, ldy, true}, c, ldc, m, n, k, alpha, beta);
}

template <class T>
void CudaOps<T>::matmul_nt_f32(const T* x, int64_t ldx, const T* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) {
  gemm_.multiply<T, float>({x, ldx}, {y, ldy, true}, c, ldc, m, n, k, alpha, beta);
}

template <class T>
void CudaOps<T>::matmul_nn(const T* x, int64_t ldx, const T* y, int64_t ldy, T* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) {
  gemm_.multiply<T, T>({x, ldx}, {y, ldy}, c, ldc, m, n, k, alpha, beta);
}

template <class T>
void CudaOps<T>::matmul_tn(const T* x, int64_t ldx, const T* y, int64_t ldy, float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, float alpha, float beta) {
  gemm_.multiply<T, float>({x, ldx, true}, {y, ldy}, c, ldc, m, n, k, alpha, beta);
}

template <class T>
void CudaOps<T>::dropout(const T* x, int64_t ldx, T* y, int64_t ldy, int64_t rows, int64_t cols, float p, uint64_t seed, uint32_t step, uint32_t module) {
  cuda::dropout(stream(), x, ldx, y, ldy, rows, cols, p, seed, step, module);
}

template <class T>
std::unique_ptr<LoraTable> CudaOps<T>::make_lora_table(const std::vector<std::vector<LoraTerm<T>>>& terms) {
  return lora_.make_table(terms);
}

template <class T>
void CudaOps<T>::plan_lora(const std::vector<LoraSpan>& spans, int64_t tokens) {
  lora_.plan(spans, tokens);
}

template <class T>
void CudaOps<T>::lora(int place, const T* x, int64_t ldx, int64_t tokens, T* y, int64_t ldy) {
  lora_.add(place, x, ldx, tokens, y, ldy);
}

template <class T>
void CudaOps<T>::lora_f32(int place, const T* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy) {
  lora_.add(place, x, ldx, tokens, y, ldy);
}

// ---- rows

template <class T>
std::unique_ptr<EmbeddingTable> CudaOps<T>::make_embedding(const MatrixSource& source, std::shared_ptr<void>) {
  return weights_.make_embedding(source);
}

template <class T>
void CudaOps<T>::embed(const EmbeddingTable& table, const int32_t* ids, int64_t tokens, float* x, int64_t ldx) {
  cuda::embed(stream(), weights_.elements_of(table), table.source.cols, ids, tokens, x, ldx);
}

template <class T>
void CudaOps<T>::rms_norm(const float* x, int64_t ldx, const float* w, float eps, int64_t tokens, int64_t width, T* y, int64_t ldy, float* inverse_rms) {
  cuda::rms_norm(stream(), x, ldx, w, eps, tokens, width, y, ldy, inverse_rms);
}

template <class T>
void CudaOps<T>::rms_norm_backward(const T* g, int64_t ldg, const float* x, int64_t ldx, const float* w, const float* inverse_rms, int64_t tokens, int64_t width, float* dx, int64_t lddx) {
  cuda::rms_norm_backward(stream(), g, ldg, x, ldx, w, inverse_rms, tokens, width, dx, lddx);
}

template <class T>
void CudaOps<T>::rope(const AttentionShape& shape, const Rotary& rotary, const T* x, int64_t ldx, int64_t tokens, T* y, int64_t ldy) {
  cuda::rope(stream(), shape, rotary, x, ldx, tokens, y, ldy);
}

template <class T>
void CudaOps<T>::rope_backward(const AttentionShape& shape, const Rotary& rotary, const T* x, int64_t ldx, int64_t tokens, T* g, int64_t ldg) {
  cuda::rope_backward(stream(), shape, rotary, x, ldx, tokens, g, ldg);
}

template <class T>
void CudaOps<T>::swiglu(const T* gate, const T* up, int64_t ld, int64_t tokens, int64_t width, T* h, int64_t ldh) {
  cuda::swiglu(stream(), gate, up, ld, tokens, width, h, ldh);
}

template <class T>
void CudaOps<T>::swiglu_backward(const T* dh, int64_t lddh, const T* gate, const T* up, int64_t ld, int64_t tokens, int64_t width, T* d_gate, T* d_up, int64_t ldd) {
  cuda::swiglu_backward(stream(), dh, lddh, gate, up, ld, tokens, width, d_gate, d_up, ldd);
}

template <class T>
void CudaOps<T>::add(const T* x, int64_t ldx, T* y, int64_t ldy, int64_t tokens, int64_t width) {
  cuda::add(stream(), x, ldx, y, ldy, tokens, width);
}

template <class T>
void CudaOps<T>::cast(const float* x, int64_t ldx, T* y, int64_t ldy, int64_t rows, int64_t width) {
  cuda::cast(stream(), x, ldx, y, ldy, rows, width);
}

template <class T>
void CudaOps<T>::gather_rows(const float* from, const int32_t* rows, int64_t count, int64_t width, float* to) {
  cuda::gather_rows(stream(), from, rows, count, width, to);
}

template <class T>
void CudaOps<T>::scatter_rows(const float* from, const int32_t* rows, int64_t count, int64_t width, float* to) {
  cuda::scatter_rows(stream(), from, rows, count, width, to);
}

// ---- attention

template <class T>
CacheLimit CudaOps<T>::limit_caches(int layers, int kv_heads, int head_dim, StorageType, int64_t bytes) {
  const PageLayout layout{layers, kv_heads, head_dim, static_cast<int>(sizeof(T))};
  pages_ = std::make_shared<PagePool>(gpu_, layout, static_cast<size_t>(bytes > 0 ? bytes : available()));
  return {pages_->max_pages(), page_tokens, static_cast<int64_t>(pages_->page_bytes())};
}

template <class T>
std::unique_ptr<KvCache> CudaOps<T>::make_cache(int, int, int, int64_t capacity, StorageType) {
  auto cache = std::make_unique<PagedCache>(pages_, capacity);
  cache->reserve(capacity);
  return cache;
}

template <class T>
void CudaOps<T>::plan_attention(const std::vector<AttentionSpan>& spans) {
  int64_t rows = 0;
  for (const AttentionSpan& span : spans) rows = std::max(rows, span.row + span.count);
  bounds_ = bounds_of(spans, rows);
  plan_.resize(plan_bytes(bounds_));
  write_plan(plan_.data(), spans, bounds_);
  gpu_.upload(plan_memory_.reserve(gpu_, plan_.size()), plan_.data(), plan_.size());
}

template <class T>
void CudaOps<T>::attention(const AttentionShape& shape, int layer, const Rotary& rotary, T* qkv, int64_t ldqkv, int64_t tokens, T* o, int64_t ldo) {
  const PlanView plan = plan_view(plan_memory_.data(), bounds_);
  rotate_and_store(stream(), shape, layer, rotary, qkv, ldqkv, tokens, plan);
  void* scratch = attention_scratch_.reserve(gpu_, attention_cached_scratch_bytes(shape, bounds_));
  attention_cached(stream(), shape, layer, static_cast<const T*>(qkv), ldqkv, o, ldo, plan, scratch);
}

template <class T>
void CudaOps<T>::attention_packed(const AttentionShape& shape, const PackedRows& rows, const T* q, int64_t ldq, const T* k, const T* v, int64_t ldkv, T* o, int64_t ldo, float* lse) {
  cuda::attention_packed(stream(), shape, rows, q, ldq, k, v, ldkv, o, ldo, lse);
}

template <class T>
void CudaOps<T>::attention_packed_backward(const AttentionShape& shape, const PackedRows& rows, const T* q, int64_t ldq, const T* k, const T* v, int64_t ldkv, const T* o, int64_t ldo, const float* lse, const T* g, int64_t ldg, T* dq, int64_t lddq, T* dk, T* dv, int64_t lddkv) {
  void* scratch = attention_scratch_.reserve(gpu_, attention_packed_backward_scratch_bytes(shape, rows.tokens));
  cuda::attention_packed_backward(stream(), shape, rows, q, ldq, k, v, ldkv, o, ldo, lse, g, ldg, dq, lddq, dk, dv, lddkv, scratch);
}

// ---- loss and optimiser

// A product of a thousand rows fills a card; their logits stay under 256 MB up to vocabularies of 64,000.
template <class T>
int64_t CudaOps<T>::head_rows(int64_t vocab) const {
  return std::clamp<int64_t>((int64_t{64} << 20) / vocab, 128, 1024);
}

template <class T>
void CudaOps<T>::cross_entropy(float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets, float gradient_scale, T* gradient, int64_t ldg, double* loss) {
  auto* row_losses = static_cast<float*>(loss_scratch_.reserve(gpu_, static_cast<size_t>(rows) * sizeof(float)));
  cuda::cross_entropy(stream(), logits, ld, rows, vocab, targets, gradient_scale, gradient, ldg, loss, row_losses);
}

template <class T>
double CudaOps<T>::sum_squares(const float* x, int64_t n) {
  constexpr size_t result_bytes = 256;  // keeps the scratch behind it aligned
  auto* memory = static_cast<unsigned char*>(sum_scratch_.reserve(gpu_, result_bytes + sum_squares_scratch_bytes(n)));
  auto* result = reinterpret_cast<double*>(memory);
  cuda::sum_squares(stream(), x, n, result, memory + result_bytes);
  double sum;
  gpu_.download(&sum, result, sizeof sum);
  return sum;
}

template <class T>
void CudaOps<T>::adamw(float* parameter, const float* gradient, float* m, float* v, int64_t n, const AdamW& settings) {
  cuda::adamw(stream(), parameter, gradient, m, v, n, settings);
}

// NCCL where every rank can have it.
template <class T>
void CudaOps<T>::settle_device_line(Communicator& ranks) {
  const auto all = [&ranks](bool here) {
    double count = here ? 1 : 0;
    ranks.all_reduce_sum(&count, 1);
    return count == ranks.size();
  };
  if (all(NcclCommunicator::is_available())) {
    try {
      ranks.device_line = std::make_unique<NcclCommunicator>(ranks);
    } catch (const EngineError&) {
      // Two ranks on one card, for instance: the hosts' line does it then.
    }
    if (!all(ranks.device_line != nullptr)) ranks.device_line.reset();
  }
  ranks.device_line_is_settled = true;
}

template <class T>
void CudaOps<T>::sum_over_ranks(Communicator& ranks, float* x, int64_t n) {
  if (!ranks.device_line_is_settled) settle_device_line(ranks);
  auto* nccl = static_cast<NcclCommunicator*>(ranks.device_line.get());
  if (nccl == nullptr) return sum_over_ranks_on_host(*this, ranks, x, n);
  const Deadline deadline(ranks.waiting());
  try {
    nccl->all_reduce_sum(x, n, stream());
    gpu_.synchronize([&] {
      nccl->check();
      if (deadline.slice() > 0) return;
      throw EngineError("DISTRIBUTED_TIMEOUT", "a sum over the ranks has not ended within " + describe(ranks.waiting()));
    });
  } catch (...) {
    ranks.device_line.reset();  // ends the kernel that waits for the others, for which everything later would wait
    throw;
  }
}

// ---- drawing

// The settings, then histories and forbidden tokens, then room for the results: one upload, one download.
template <class T>
std::vector<int32_t> CudaOps<T>::sample(float* logits, int64_t vocab, const std::vector<Draw>& draws) {
  size_t tokens = 0;
  for (const Draw& draw : draws) tokens += draw.history->size() + draw.sampling->forbidden.size();
  const size_t settings_bytes = draws.size() * sizeof(DrawSettings), tokens_bytes = tokens * sizeof(int32_t);
  std::vector<unsigned char> host(settings_bytes + tokens_bytes);
  auto* device = static_cast<unsigned char*>(
      draw_memory_.reserve(gpu_, host.size() + draws.size() * sizeof(int32_t)));

  size_t at = settings_bytes;
  const auto place = [&](const std::vector<int32_t>& values) {
    const auto* where = reinterpret_cast<const int32_t*>(device + at);
    if (!values.empty()) std::memcpy(host.data() + at, values.data(), values.size() * sizeof(int32_t));
    at += values.size() * sizeof(int32_t);
    return where;
  };
  for (size_t i = 0; i < draws.size(); ++i) {
    const Sampling& sampling = *draws[i].sampling;
    const std::vector<int32_t> none;
    // Without a penalty the history is not read, however long it is.
    const std::vector<int32_t>& history = sampling.repetition_penalty == 1 ? none : *draws[i].history;
    DrawSettings settings{};
    settings.history = place(history);
    settings.history_count = static_cast<int64_t>(history.size());
    settings.forbidden = place(sampling.forbidden);
    settings.forbidden_count = static_cast<int64_t>(sampling.forbidden.size());
    settings.top_p = sampling.top_p;
    settings.top_k = sampling.top_k;
    settings.seed = sampling.seed;
    settings.index = sampling.index;
    settings.temperature = sampling.temperature;
    settings.repetition_penalty = sampling.repetition_penalty;
    std::memcpy(host.data() + i * sizeof(DrawSettings), &settings, sizeof settings);
  }
  gpu_.upload(device, host.data(), at);
  auto* drawn = reinterpret_cast<int32_t*>(device + host.size());
  cuda::sample(stream(), logits, vocab, static_cast<int64_t>(draws.size()), vocab,
               reinterpret_cast<const DrawSettings*>(device), drawn);
  std::vector<int32_t> result(draws.size());
  gpu_.download(result.data(), drawn, result.size() * sizeof(int32_t));
  return result;
}

// The plans' launch bounds are part of what makes two steps equal.
template <class T>
void CudaOps<T>::replay(const std::vector<int64_t>& key, const std::function<void()>& body) {
  std::vector<int64_t> whole = key;
  whole.insert(whole.end(), {bounds_.rows, bounds_.splits});
  const std::vector<int64_t> lora = lora_.shape();
  whole.insert(whole.end(), lora.begin(), lora.end());
  graphs_.replay(whole, body);
}

template class CudaOps<float>;
template class CudaOps<Bf16>;
template class CudaOps<Half>;

}  // namespace llama::cuda
