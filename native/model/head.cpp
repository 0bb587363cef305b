#include "head.h"

#include <algorithm>
#include <cstring>

namespace llama {
namespace {

// Enough rows for an efficient product, few enough that a chunk's logits stay near the caches (16 MB at 32,000 words).
int64_t chunk_rows(int64_t vocab) { return std::clamp<int64_t>((int64_t{4} << 20) / vocab, 16, 256); }

void gather(const float* from, const int64_t* rows, int64_t count, int64_t width, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to + i * width, from + rows[i] * width, static_cast<size_t>(width) * sizeof(float));
  }
}

// Leaves the gathered rows in buffers.rows and their inverse rms in buffers.inverse_rms.
void chunk_logits(Model& model, const float* h, const int64_t* rows, int64_t count, float* logits,
                  HeadBuffers& buffers) {
  const int64_t hidden = model.config.hidden, vocab = model.config.vocab;
  float* x = buffers.rows.reserve(count, hidden);
  float* normed = buffers.normed.reserve(count, hidden);
  gather(h, rows, count, hidden, x);
  model.ops->rms_norm(x, hidden, model.weights.final_norm.data(), model.config.rms_norm_eps, count, hidden, normed,
                      hidden, buffers.inverse_rms.reserve(count, 1));
  model.ops->linear(*model.weights.head, normed, hidden, count, logits, vocab, false);
}

}  // namespace

void head_logits(Model& model, const float* h, const std::vector<int64_t>& rows, float* logits, HeadBuffers& buffers) {
  const auto total = static_cast<int64_t>(rows.size());
  const int64_t chunk = chunk_rows(model.config.vocab);
  for (int64_t begin = 0; begin < total; begin += chunk) {
    model.check_stop();
    chunk_logits(model, h, rows.data() + begin, std::min(chunk, total - begin), logits + begin * model.config.vocab,
                 buffers);
  }
}

double head_loss(Model& model, const float* h, const int32_t* targets, int64_t tokens, float gradient_scale, float* dh,
                 HeadBuffers& buffers) {
  const int64_t hidden = model.config.hidden, vocab = model.config.vocab;
  if (dh) std::memset(dh, 0, static_cast<size_t>(tokens * hidden) * sizeof(float));
  std::vector<int64_t> labelled;
  for (int64_t i = 0; i < tokens; ++i) {
    if (targets[i] >= 0) labelled.push_back(i);
  }
  const auto total = static_cast<int64_t>(labelled.size());
  const int64_t chunk = chunk_rows(vocab);
  double loss = 0;
  for (int64_t begin = 0; begin < total; begin += chunk) {
    model.check_stop();
    const int64_t count = std::min(chunk, total - begin);
    const int64_t* rows = labelled.data() + begin;
    float* logits = buffers.logits.reserve(chunk, vocab);
    chunk_logits(model, h, rows, count, logits, buffers);
    buffers.targets.clear();
    for (int64_t i = 0; i < count; ++i) buffers.targets.push_back(targets[rows[i]]);
    loss += model.ops->cross_entropy(logits, vocab, count, vocab, buffers.targets.data(), gradient_scale);
    if (!dh) continue;

    float* dnormed = buffers.normed.data();
    model.ops->linear_backward(*model.weights.head, logits, vocab, count, dnormed, hidden, false);
    float* dx = buffers.gradient.reserve(chunk, hidden);
    std::memset(dx, 0, static_cast<size_t>(count * hidden) * sizeof(float));
    model.ops->rms_norm_backward(dnormed, hidden, buffers.rows.data(), hidden, model.weights.final_norm.data(),
                                 buffers.inverse_rms.data(), count, hidden, dx, hidden);
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(dh + rows[i] * hidden, dx + i * hidden, static_cast<size_t>(hidden) * sizeof(float));
    }
  }
  return loss;
}

int64_t head_loss_bytes(const LlamaConfig& config) {
  return chunk_rows(config.vocab) * (config.vocab + 3 * config.hidden + 1) * int64_t{sizeof(float)};
}

}  // namespace llama
