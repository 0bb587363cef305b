#include "layer.h"

namespace llama {
namespace {

template <class T>
class LayerPass {
 public:
  LayerPass(Model<T>& model, int layer, const LayerRows<T>& rows, int64_t tokens, const Adaptation<T>& adaptation)
      : model_(model), ops_(*model.ops), layer_(layer), rows_(rows), tokens_(tokens), adaptation_(adaptation) {}

  void run(const Attend<T>& attend) {
    const LlamaConfig& config = model_.config;
    const LayerWeights& weights = model_.weights.layers[static_cast<size_t>(layer_)];
    const int64_t hidden = config.hidden, wide = config.intermediate, qkv = config.qkv_width(), q = config.q_width();
    const size_t row_bytes = static_cast<size_t>(tokens_ * hidden) * sizeof(float);

    ops_.norm_linear(rows_.input, hidden, weights.input_norm.data(), config.rms_norm_eps, w(LinearGroup::qkv),
                     place(LinearGroup::qkv), tokens_, rows_.normed, hidden, rows_.qkv, qkv, rows_.inverse_rms1);
    adapt(LinearGroup::qkv, rows_.normed, hidden, rows_.qkv, qkv);
    attend(rows_.qkv, rows_.attention);
    if (rows_.middle != rows_.input) ops_.copy(rows_.middle, rows_.input, row_bytes);
    ops_.add_linear(w(LinearGroup::o), place(LinearGroup::o), rows_.attention, q, tokens_, rows_.middle, hidden);
    adapt(LinearGroup::o, rows_.attention, q, rows_.middle, hidden);

    ops_.norm_linear(rows_.middle, hidden, weights.post_attention_norm.data(), config.rms_norm_eps,
                     w(LinearGroup::gate_up), place(LinearGroup::gate_up), tokens_, rows_.normed, hidden,
                     rows_.gate_up, 2 * wide, rows_.inverse_rms2);
    adapt(LinearGroup::gate_up, rows_.normed, hidden, rows_.gate_up, 2 * wide);
    if (rows_.output == nullptr) return recompute_down();
    if (rows_.output != rows_.middle) ops_.copy(rows_.output, rows_.middle, row_bytes);
    ops_.swiglu_linear(rows_.gate_up, rows_.gate_up + wide, 2 * wide, w(LinearGroup::down), place(LinearGroup::down),
                       tokens_, rows_.activated, wide, rows_.output, hidden);
    adapt(LinearGroup::down, rows_.activated, wide, rows_.output, hidden);
  }

 private:
  const PackedMatrix& w(LinearGroup group) const {
    return *model_.weights.layers[static_cast<size_t>(layer_)].linears[static_cast<int>(group)];
  }

  // Where the product adds the planned adapters' terms by itself.
  int place(LinearGroup group) const { return adaptation_.planned ? place_of(layer_, group) : no_place; }

  // y += the trained adapter's terms
  template <class Y>
  void adapt(LinearGroup group, const T* x, int64_t ldx, Y* y, int64_t ldy) const {
    if (adaptation_.trained == nullptr) return;
    const AdapterGroup& modules = adaptation_.trained->layout().group(layer_, group);
    lora_forward(*adaptation_.trained, modules, adaptation_.dropout, x, ldx, tokens_, y, ldy,
                 LoraScratch<T>{rows_.u[static_cast<int>(group)], nullptr, rows_.dropped});
  }

  // The backward pass of down's adapter reads its u, which nothing else of the recomputation needs.
  void recompute_down() const {
    if (adaptation_.trained == nullptr) return;
    const AdapterGroup& modules = adaptation_.trained->layout().group(layer_, LinearGroup::down);
    if (modules.modules.empty()) return;
    const int64_t wide = model_.config.intermediate;
    ops_.swiglu(rows_.gate_up, rows_.gate_up + wide, 2 * wide, tokens_, wide, rows_.activated, wide);
    lora_forward<T, T>(*adaptation_.trained, modules, adaptation_.dropout, rows_.activated, wide, tokens_, nullptr, 0,
                       LoraScratch<T>{rows_.u[static_cast<int>(LinearGroup::down)], nullptr, rows_.dropped});
  }

  Model<T>& model_;
  BasicOps<T>& ops_;
  int layer_;
  const LayerRows<T>& rows_;
  int64_t tokens_;
  const Adaptation<T>& adaptation_;
};

}  // namespace

template <class T>
void layer_forward(Model<T>& model, int layer, const LayerRows<T>& rows, int64_t tokens,
                   const Adaptation<T>& adaptation, const Attend<T>& attend) {
  model.check_stop();
  LayerPass<T>(model, layer, rows, tokens, adaptation).run(attend);
}

#define LLAMA_INSTANTIATE(T)                                                                               \
  template void layer_forward<T>(Model<T>&, int, const LayerRows<T>&, int64_t, const Adaptation<T>&, const Attend<T>&);
LLAMA_FOR_EACH_ACTIVATION(LLAMA_INSTANTIATE)
#undef LLAMA_INSTANTIATE

}  // namespace llama
