#include "layer_backward.h"

namespace llama {
namespace {

template <class T>
class LayerBackward {
 public:
  LayerBackward(const BackwardPass<T>& pass, int layer)
      : pass_(pass),
        ops_(*pass.model.ops),
        config_(pass.model.config),
        weights_(pass.model.weights.layers[static_cast<size_t>(layer)]),
        layer_(layer),
        rows_(pass.activations.layer(layer)),
        scratch_(pass.activations.backward()) {}

  void run() {
    mlp();
    if (!stops_at(LinearGroup::gate_up) && !stops_at(LinearGroup::down)) attention();
  }

 private:
  bool stops_at(LinearGroup group) const {
    const LowestModule& lowest = pass_.activations.lowest();
    return lowest.layer == layer_ && lowest.group == group;
  }
  bool adapted(LinearGroup group) const { return !pass_.adapter.layout().group(layer_, group).modules.empty(); }

  // dx = g W + the adapter's part, and the adapter's gradients. x is read only where the group is adapted.
  void linear(LinearGroup group, const T* g, int64_t ldg, const T* x, T* dx) {
    const PackedMatrix& w = *weights_.linears[static_cast<int>(group)];
    T* wanted = stops_at(group) ? nullptr : dx;
    if (wanted) ops_.linear_backward(w, g, ldg, pass_.rows.tokens, wanted, w.cols, false);
    const LoraScratch<T> scratch{rows_.u[static_cast<int>(group)], scratch_.du, rows_.dropped};
    lora_backward(pass_.adapter, pass_.adapter.layout().group(layer_, group), pass_.dropout, g, ldg, x, w.cols,
                  pass_.rows.tokens, pass_.gradients, wanted, w.cols, scratch);
  }

  // The norm's output is not kept: one pass over the rows gives it again.
  void recompute_norm(const float* x, const Buffer<float>& weight, float* inverse_rms) {
    ops_.rms_norm(x, config_.hidden, weight.data(), config_.rms_norm_eps, pass_.rows.tokens, config_.hidden, rows_.normed,
                  config_.hidden, inverse_rms);
  }

  // dh += the norm's input gradient
  void norm(const float* x, const Buffer<float>& weight, const float* inverse_rms) {
    ops_.rms_norm_backward(scratch_.dnormed, config_.hidden, x, config_.hidden, weight.data(), inverse_rms,
                           pass_.rows.tokens, config_.hidden, scratch_.dh, config_.hidden);
  }

  // The residual stream's gradient as products read it.
  const T* rounded_dh() {
    const int64_t hidden = config_.hidden;
    if constexpr (!std::is_same_v<T, float>) {
      ops_.cast(scratch_.dh, hidden, scratch_.rounded_dh, hidden, pass_.rows.tokens, hidden);
    }
    return scratch_.rounded_dh;
  }

  void mlp() {
    const int64_t wide = config_.intermediate;
    T* gate = rows_.gate_up;
    T* up = rows_.gate_up + wide;
    if (adapted(LinearGroup::down)) ops_.swiglu(gate, up, 2 * wide, pass_.rows.tokens, wide, rows_.activated, wide);
    linear(LinearGroup::down, rounded_dh(), config_.hidden, rows_.activated, scratch_.dactivated);
    if (stops_at(LinearGroup::down)) return;
    ops_.swiglu_backward(scratch_.dactivated, wide, gate, up, 2 * wide, pass_.rows.tokens, wide, gate, up, 2 * wide);
    if (adapted(LinearGroup::gate_up)) recompute_norm(rows_.middle, weights_.post_attention_norm, rows_.inverse_rms2);
    linear(LinearGroup::gate_up, rows_.gate_up, 2 * wide, rows_.normed, scratch_.dnormed);
    if (stops_at(LinearGroup::gate_up)) return;
    norm(rows_.middle, weights_.post_attention_norm, rows_.inverse_rms2);
  }

  void attention() {
    const int64_t q_width = config_.q_width(), kv_width = config_.kv_width(), qkv_width = config_.qkv_width();
    linear(LinearGroup::o, rounded_dh(), config_.hidden, rows_.attention, scratch_.dattention);
    if (stops_at(LinearGroup::o)) return;
    const AttentionShape shape = pass_.model.attention_shape();
    const Rotary rotary = pass_.model.rotary(layer_, pass_.positions, pass_.cos_sin);
    const int64_t tokens = pass_.rows.tokens;
    const T* q = rows_.rotated ? rows_.rotated : rows_.qkv;
    if (rows_.rotated) ops_.rope(shape, rotary, rows_.qkv, qkv_width, tokens, rows_.rotated, qkv_width);
    T* dq = scratch_.dqkv;
    T* dk = dq + q_width;
    ops_.attention_packed_backward(shape, pass_.rows, q, qkv_width, q + q_width, q + q_width + kv_width, qkv_width,
                                   rows_.attention, q_width, pass_.activations.lse(layer_), scratch_.dattention,
                                   q_width, dq, qkv_width, dk, dk + kv_width, qkv_width);
    ops_.rope_backward(shape, rotary, rows_.qkv, qkv_width, tokens, dq, qkv_width);
    if (adapted(LinearGroup::qkv)) recompute_norm(rows_.input, weights_.input_norm, rows_.inverse_rms1);
    linear(LinearGroup::qkv, scratch_.dqkv, qkv_width, rows_.normed, scratch_.dnormed);
    const bool lowest_layer = pass_.activations.lowest().layer == layer_;
    if (!lowest_layer) norm(rows_.input, weights_.input_norm, rows_.inverse_rms1);
  }

  const BackwardPass<T>& pass_;
  BasicOps<T>& ops_;
  const LlamaConfig& config_;
  const LayerWeights& weights_;
  int layer_;
  LayerRows<T> rows_;
  const BackwardRows<T>& scratch_;
};

}  // namespace

template <class T>
void layer_backward(const BackwardPass<T>& pass, int layer) {
  pass.model.check_stop();
  LayerBackward<T>(pass, layer).run();
}

#define LLAMA_INSTANTIATE(T) template void layer_backward<T>(const BackwardPass<T>&, int);
LLAMA_FOR_EACH_ACTIVATION(LLAMA_INSTANTIATE)
#undef LLAMA_INSTANTIATE

}  // namespace llama
