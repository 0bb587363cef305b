#include "layer.h"

#include <cstring>

namespace llama {
namespace {

class LayerPass {
 public:
  LayerPass(Model& model, int layer, const LayerRows& rows, int64_t tokens, const std::vector<AdapterRows>& adapters,
            const Dropout& dropout)
      : model_(model), layer_(layer), rows_(rows), tokens_(tokens), adapters_(adapters), dropout_(dropout) {}

  // y (+)= x Wᵀ + the adapters' terms
  void linear(LinearGroup group, const float* x, float* y, int64_t ldy, bool accumulate) const {
    const PackedMatrix& w = *model_.weights.layers[static_cast<size_t>(layer_)].linears[static_cast<int>(group)];
    model_.ops->linear(w, x, w.cols, tokens_, y, ldy, accumulate);
    for (const AdapterRows& span : adapters_) {
      const AdapterGroup& modules = span.adapter->group(layer_, group);
      const LoraScratch scratch{rows_.u[static_cast<int>(group)] + span.row * modules.rank, nullptr, rows_.dropped};
      lora_forward(*model_.ops, *span.adapter, model_.config, modules, dropout_, x + span.row * w.cols, w.cols,
                   span.count, y + span.row * ldy, ldy, scratch);
    }
  }

 private:
  Model& model_;
  int layer_;
  const LayerRows& rows_;
  int64_t tokens_;
  const std::vector<AdapterRows>& adapters_;
  const Dropout& dropout_;
};

void copy_rows(const float* from, float* to, int64_t floats) {
  if (from != to) std::memcpy(to, from, static_cast<size_t>(floats) * sizeof(float));
}

}  // namespace

void layer_forward(Model& model, int layer, const LayerRows& rows, int64_t tokens, const int32_t* positions,
                   const float* cos_sin, const std::vector<AdapterRows>& adapters, const Dropout& dropout,
                   const Attend& attend) {
  model.check_stop();
  Ops& ops = *model.ops;
  const LlamaConfig& config = model.config;
  const LayerWeights& weights = model.weights.layers[static_cast<size_t>(layer)];
  const int64_t hidden = config.hidden, wide = config.intermediate, qkv = config.qkv_width();
  const LayerPass pass(model, layer, rows, tokens, adapters, dropout);

  ops.rms_norm(rows.input, hidden, weights.input_norm.data(), config.rms_norm_eps, tokens, hidden, rows.normed, hidden,
               rows.inverse_rms1);
  pass.linear(LinearGroup::qkv, rows.normed, rows.qkv, qkv, false);
  ops.rope(rows.qkv, qkv, tokens, config.heads, config.head_dim, positions, cos_sin, false);
  ops.rope(rows.qkv + config.q_width(), qkv, tokens, config.kv_heads, config.head_dim, positions, cos_sin, false);
  attend(rows.qkv, rows.attention);
  copy_rows(rows.input, rows.middle, tokens * hidden);
  pass.linear(LinearGroup::o, rows.attention, rows.middle, hidden, true);

  ops.rms_norm(rows.middle, hidden, weights.post_attention_norm.data(), config.rms_norm_eps, tokens, hidden,
               rows.normed, hidden, rows.inverse_rms2);
  pass.linear(LinearGroup::gate_up, rows.normed, rows.gate_up, 2 * wide, false);
  ops.swiglu(rows.gate_up, rows.gate_up + wide, 2 * wide, tokens, wide, rows.activated, wide);
  copy_rows(rows.middle, rows.output, tokens * hidden);
  pass.linear(LinearGroup::down, rows.activated, rows.output, hidden, true);
}

}  // namespace llama
