#include "head.h"

#include <algorithm>
#include <type_traits>

namespace llama {
namespace {

// Leaves the gathered rows in buffers.rows, their norm in buffers.normed and their inverse rms in buffers.inverse_rms.
template <class T>
void chunk_logits(Model<T>& model, const float* h, const int32_t* rows, int64_t count, float* logits,
                  HeadBuffers<T>& buffers) {
  BasicOps<T>& ops = *model.ops;
  const int64_t hidden = model.config.hidden, vocab = model.config.vocab;
  float* x = buffers.rows.reserve(ops, count, hidden);
  T* normed = buffers.normed.reserve(ops, count, hidden);
  ops.gather_rows(h, rows, count, hidden, x);
  ops.rms_norm(x, hidden, model.weights.final_norm.data(), model.config.rms_norm_eps, count, hidden, normed, hidden,
               buffers.inverse_rms.reserve(ops, count));
  ops.linear_f32(*model.weights.head, normed, hidden, count, logits, vocab, false);
}

// The logits' gradient: in their place where T is float.
template <class T>
T* gradient_of(float* logits, BasicOps<T>& ops, int64_t rows, int64_t vocab, HeadBuffers<T>& buffers) {
  if constexpr (std::is_same_v<T, float>) {
    return logits;
  } else {
    return buffers.dlogits.reserve(ops, rows, vocab);
  }
}

}  // namespace

template <class T>
float* head_logits(Model<T>& model, const float* h, const std::vector<int32_t>& rows, HeadBuffers<T>& buffers) {
  const auto total = static_cast<int64_t>(rows.size());
  const int64_t vocab = model.config.vocab, chunk = model.ops->head_rows(vocab);
  float* logits = buffers.logits.reserve(*model.ops, total, vocab);
  const int32_t* indices = buffers.indices.hold(*model.ops, rows);
  for (int64_t begin = 0; begin < total; begin += chunk) {
    model.check_stop();
    chunk_logits(model, h, indices + begin, std::min(chunk, total - begin), logits + begin * vocab, buffers);
  }
  return logits;
}

template <class T>
double head_loss(Model<T>& model, const float* h, const std::vector<int32_t>& targets, float gradient_scale, float* dh,
                 HeadBuffers<T>& buffers) {
  BasicOps<T>& ops = *model.ops;
  const int64_t hidden = model.config.hidden, vocab = model.config.vocab;
  if (dh) ops.clear(dh, targets.size() * static_cast<size_t>(hidden) * sizeof(float));
  std::vector<int32_t> labelled, labels;
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] < 0) continue;
    labelled.push_back(static_cast<int32_t>(i));
    labels.push_back(targets[i]);
  }
  const auto total = static_cast<int64_t>(labelled.size());
  const int64_t chunk = std::min(ops.head_rows(vocab), total);
  const int32_t* rows = buffers.indices.hold(ops, labelled);
  const int32_t* wanted = buffers.targets.hold(ops, labels);
  float* logits = buffers.logits.reserve(ops, chunk, vocab);
  double* loss = buffers.loss.hold(ops, {0.0});
  for (int64_t begin = 0; begin < total; begin += chunk) {
    model.check_stop();
    const int64_t count = std::min(chunk, total - begin);
    chunk_logits(model, h, rows + begin, count, logits, buffers);
    T* dlogits = dh ? gradient_of(logits, ops, chunk, vocab, buffers) : nullptr;
    ops.cross_entropy(logits, vocab, count, vocab, wanted + begin, gradient_scale, dlogits, vocab, loss);
    if (!dh) continue;

    T* dnormed = buffers.normed.data();
    ops.linear_backward(*model.weights.head, dlogits, vocab, count, dnormed, hidden, false);
    float* dx = buffers.gradient.reserve(ops, chunk, hidden);
    ops.clear(dx, static_cast<size_t>(count * hidden) * sizeof(float));
    ops.rms_norm_backward(dnormed, hidden, buffers.rows.data(), hidden, model.weights.final_norm.data(),
                          buffers.inverse_rms.data(), count, hidden, dx, hidden);
    ops.scatter_rows(dx, rows + begin, count, hidden, dh);
  }
  double sum = 0;
  ops.download(&sum, loss, sizeof sum);
  return sum;
}

template <class T>
int64_t head_loss_bytes(const BasicOps<T>& ops, const LlamaConfig& config) {
  const int64_t per_logit = sizeof(float) + (std::is_same_v<T, float> ? 0 : sizeof(T));
  return ops.head_rows(config.vocab) *
         (config.vocab * per_logit + config.hidden * static_cast<int64_t>(2 * sizeof(float) + sizeof(T)));
}

#define LLAMA_INSTANTIATE(T)                                                                                     \
  template float* head_logits<T>(Model<T>&, const float*, const std::vector<int32_t>&, HeadBuffers<T>&);         \
  template double head_loss<T>(Model<T>&, const float*, const std::vector<int32_t>&, float, float*, HeadBuffers<T>&); \
  template int64_t head_loss_bytes<T>(const BasicOps<T>&, const LlamaConfig&);
LLAMA_FOR_EACH_ACTIVATION(LLAMA_INSTANTIATE)
#undef LLAMA_INSTANTIATE

}  // namespace llama
