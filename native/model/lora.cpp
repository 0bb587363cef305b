#include "lora.h"

#include <type_traits>

namespace llama {
namespace {

template <class T>
void drop(BasicOps<T>& ops, const AdapterModule& module, const Dropout& dropout, const T* x, int64_t ldx,
          int64_t tokens, T* y) {
  const auto stream = static_cast<uint32_t>(module.layer * linear_count + static_cast<int>(module.linear));
  ops.dropout(x, ldx, y, module.in, tokens, module.in, dropout.probability, dropout.seed, dropout.step, stream);
}

}  // namespace

template <class T, class Y>
void lora_forward(const Adapter<T>& adapter, const AdapterGroup& group, const Dropout& dropout, const T* x, int64_t ldx,
                  int64_t tokens, Y* y, int64_t ldy, const LoraScratch<T>& scratch) {
  if (group.modules.empty()) return;
  BasicOps<T>& ops = *adapter.model().ops;
  const LlamaConfig& config = adapter.model().config;
  const T* parameters = adapter.rounded();
  const int64_t in = group.modules.front().in;
  if (dropout.probability == 0) {
    ops.matmul_nt(x, ldx, parameters + group.a, in, scratch.u, group.rank, tokens, group.rank, in, 1, 0);
  }
  for (const AdapterModule& module : group.modules) {
    T* u = scratch.u + module.column;
    if (dropout.probability != 0) {
      drop(ops, module, dropout, x, ldx, tokens, scratch.dropped);
      ops.matmul_nt(scratch.dropped, in, parameters + module.a, in, u, group.rank, tokens, module.rank, in, 1, 0);
    }
    if (y == nullptr) continue;
    Y* columns = y + config.column(module.linear);
    const T* b = parameters + module.b;
    if constexpr (std::is_same_v<T, Y>) {
      ops.matmul_nt(u, group.rank, b, module.rank, columns, ldy, tokens, module.out, module.rank, module.scale, 1);
    } else {
      ops.matmul_nt_f32(u, group.rank, b, module.rank, columns, ldy, tokens, module.out, module.rank, module.scale, 1);
    }
  }
}

template <class T>
void lora_backward(const Adapter<T>& adapter, const AdapterGroup& group, const Dropout& dropout, const T* g,
                   int64_t ldg, const T* x, int64_t ldx, int64_t tokens, float* gradients, T* dx, int64_t lddx,
                   const LoraScratch<T>& scratch) {
  if (group.modules.empty()) return;
  BasicOps<T>& ops = *adapter.model().ops;
  const T* parameters = adapter.rounded();
  const int64_t in = group.modules.front().in, rank = group.rank;
  for (const AdapterModule& module : group.modules) {
    const T* gm = g + adapter.model().config.column(module.linear);
    T* du = scratch.du + module.column;
    ops.matmul_nn(gm, ldg, parameters + module.b, module.rank, du, rank, tokens, module.rank, module.out, module.scale,
                  0);
    ops.matmul_tn(gm, ldg, scratch.u + module.column, rank, gradients + module.b, module.rank, module.out, module.rank,
                  tokens, module.scale, 1);
  }
  if (dropout.probability == 0) {
    ops.matmul_tn(scratch.du, rank, x, ldx, gradients + group.a, in, rank, in, tokens, 1, 1);
    if (dx) ops.matmul_nn(scratch.du, rank, parameters + group.a, in, dx, lddx, tokens, in, rank, 1, 1);
    return;
  }
  for (const AdapterModule& module : group.modules) {
    const T* du = scratch.du + module.column;
    drop(ops, module, dropout, x, ldx, tokens, scratch.dropped);
    ops.matmul_tn(du, rank, scratch.dropped, in, gradients + module.a, in, module.rank, in, tokens, 1, 1);
    if (!dx) continue;
    ops.matmul_nn(du, rank, parameters + module.a, in, scratch.dropped, in, tokens, in, module.rank, 1, 0);
    // The mask of the forward pass, in place.
    drop(ops, module, dropout, static_cast<const T*>(scratch.dropped), in, tokens, scratch.dropped);
    ops.add(scratch.dropped, in, dx, lddx, tokens, in);
  }
}

#define LLAMA_INSTANTIATE_FORWARD(T, Y)                                                                             \
  template void lora_forward<T, Y>(const Adapter<T>&, const AdapterGroup&, const Dropout&, const T*, int64_t, int64_t, \
                                   Y*, int64_t, const LoraScratch<T>&);
#define LLAMA_INSTANTIATE(T)                                                                                         \
  template void lora_backward<T>(const Adapter<T>&, const AdapterGroup&, const Dropout&, const T*, int64_t, const T*, \
                                 int64_t, int64_t, float*, T*, int64_t, const LoraScratch<T>&);                      \
  LLAMA_INSTANTIATE_FORWARD(T, T)
LLAMA_FOR_EACH_ACTIVATION(LLAMA_INSTANTIATE)
#undef LLAMA_INSTANTIATE
#if defined(LLAMA_16_BIT_ACTIVATIONS)
LLAMA_INSTANTIATE_FORWARD(Bf16, float)
LLAMA_INSTANTIATE_FORWARD(Half, float)
#endif
#undef LLAMA_INSTANTIATE_FORWARD

}  // namespace llama
