#include "lora.h"

namespace llama {
namespace {

void drop(Ops& ops, const AdapterModule& module, const Dropout& dropout, const float* x, int64_t ldx, int64_t tokens,
          float* y) {
  const auto stream = static_cast<uint32_t>(module.layer * linear_count + static_cast<int>(module.linear));
  ops.dropout(x, ldx, y, module.in, tokens, module.in, dropout.probability, dropout.seed, dropout.step, stream);
}

}  // namespace

void lora_forward(Ops& ops, const Adapter& adapter, const LlamaConfig& config, const AdapterGroup& group,
                  const Dropout& dropout, const float* x, int64_t ldx, int64_t tokens, float* y, int64_t ldy,
                  const LoraScratch& scratch) {
  if (group.modules.empty()) return;
  const float* parameters = adapter.parameters();
  const int64_t in = group.modules.front().in;
  if (dropout.probability == 0) {
    ops.matmul_nt(x, ldx, parameters + group.a, in, scratch.u, group.rank, tokens, group.rank, in, 1, 0);
  }
  for (const AdapterModule& module : group.modules) {
    float* u = scratch.u + module.column;
    if (dropout.probability != 0) {
      drop(ops, module, dropout, x, ldx, tokens, scratch.dropped);
      ops.matmul_nt(scratch.dropped, in, parameters + module.a, in, u, group.rank, tokens, module.rank, in, 1, 0);
    }
    ops.matmul_nt(u, group.rank, parameters + module.b, module.rank, y + config.column(module.linear), ldy, tokens,
                  module.out, module.rank, module.scale, 1);
  }
}

void lora_backward(Ops& ops, const Adapter& adapter, const LlamaConfig& config, const AdapterGroup& group,
                   const Dropout& dropout, const float* g, int64_t ldg, const float* x, int64_t ldx, int64_t tokens,
                   float* gradients, float* dx, int64_t lddx, const LoraScratch& scratch) {
  if (group.modules.empty()) return;
  const float* parameters = adapter.parameters();
  const int64_t in = group.modules.front().in, rank = group.rank;
  for (const AdapterModule& module : group.modules) {
    const float* gm = g + config.column(module.linear);
    float* du = scratch.du + module.column;
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
    const float* du = scratch.du + module.column;
    drop(ops, module, dropout, x, ldx, tokens, scratch.dropped);
    ops.matmul_tn(du, rank, scratch.dropped, in, gradients + module.a, in, module.rank, in, tokens, 1, 1);
    if (!dx) continue;
    ops.matmul_nn(du, rank, parameters + module.a, in, scratch.dropped, in, tokens, in, module.rank, 1, 0);
    drop(ops, module, dropout, scratch.dropped, in, tokens, scratch.dropped);  // the mask of the forward pass, in place
    ops.add(scratch.dropped, in, dx, lddx, tokens, in);
  }
}

}  // namespace llama
