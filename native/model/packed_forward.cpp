#include "packed_forward.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "available_memory.h"
#include "layer.h"

namespace llama {

template <class T>
const float* packed_forward(Model<T>& model, const PackedBatch& batch, const Adapter<T>* adapter,
                            PackedBuffers<T>& buffers) {
  BasicOps<T>& ops = *model.ops;
  const LlamaConfig& config = model.config;
  const int64_t tokens = batch.token_count(), qkv_width = config.qkv_width(), q_width = config.q_width();
  float* h = buffers.h.reserve(ops, tokens, config.hidden);
  float* lse = buffers.lse.reserve(ops, tokens, config.heads);
  LayerRows<T> rows{};
  rows.input = rows.middle = rows.output = h;
  rows.qkv = buffers.qkv.reserve(ops, tokens, qkv_width);
  rows.attention = buffers.attention.reserve(ops, tokens, q_width);
  rows.gate_up = buffers.gate_up.reserve(ops, tokens, 2 * config.intermediate);
  rows.normed = buffers.normed.reserve(ops, tokens, config.hidden);
  rows.activated = buffers.activated.reserve(ops, tokens, config.intermediate);

  const int32_t* positions = buffers.positions.hold(ops, batch.positions());
  const PackedRows packed{buffers.offsets.hold(ops, batch.offsets), batch.row_count(), tokens};
  const float* cos_sin = model.rope.up_to(ops, batch.longest_row());
  Adaptation<T> adaptation;
  adaptation.planned = adapter != nullptr;
  if (adapter) ops.plan_lora({{&adapter->table(), 0, tokens}}, tokens);
  ops.embed(*model.weights.embedding, buffers.tokens.hold(ops, batch.tokens), tokens, h, config.hidden);
  for (int layer = 0; layer < config.layers; ++layer) {
    layer_forward<T>(model, layer, rows, tokens, adaptation, [&](T* qkv, T* attention) {
      ops.rope(model.attention_shape(), model.rotary(layer, positions, cos_sin), qkv, qkv_width, tokens, qkv, qkv_width);
      ops.attention_packed(model.attention_shape(), packed, qkv, qkv_width, qkv + q_width,
                           qkv + q_width + config.kv_width(), qkv_width, attention, q_width, lse);
    });
  }
  return h;
}

template <class T>
std::vector<float> packed_logits(Model<T>& model, const PackedBatch& batch, const Adapter<T>* adapter) {
  batch.check(model.config, false);
  BasicOps<T>& ops = *model.ops;
  const int64_t tokens = batch.token_count(), vocab = model.config.vocab, chunk = ops.head_rows(vocab);
  require_memory(tokens * vocab * static_cast<int64_t>(sizeof(float)), available_memory(),
                 "logits of " + std::to_string(tokens) + " positions");
  PackedBuffers<T> buffers;
  const float* h = packed_forward(model, batch, adapter, buffers);
  std::vector<float> logits(static_cast<size_t>(tokens * vocab));
  for (int64_t begin = 0; begin < tokens; begin += chunk) {
    std::vector<int32_t> rows(static_cast<size_t>(std::min(chunk, tokens - begin)));
    std::iota(rows.begin(), rows.end(), static_cast<int32_t>(begin));
    ops.download(logits.data() + begin * vocab, head_logits(model, h, rows, buffers.head),
                 rows.size() * static_cast<size_t>(vocab) * sizeof(float));
  }
  return logits;
}

#define LLAMA_INSTANTIATE(T)                                                                                        \
  template const float* packed_forward<T>(Model<T>&, const PackedBatch&, const Adapter<T>*, PackedBuffers<T>&);     \
  template std::vector<float> packed_logits<T>(Model<T>&, const PackedBatch&, const Adapter<T>*);
LLAMA_FOR_EACH_ACTIVATION(LLAMA_INSTANTIATE)
#undef LLAMA_INSTANTIATE

}  // namespace llama
