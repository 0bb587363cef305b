// A loaded model as the addon and the GPU runner see it, whatever its activations are made of and wherever they lie.
// Twin of src/engine/engine.ts.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "communicator.h"
#include "engine_error.h"
#include "llama_config.h"
#include "loss_scale.h"
#include "memory_plan.h"
#include "packed_batch.h"
#include "sampling.h"
#include "weights.h"

namespace llama {

// One low-rank pair to make an adapter of (host).
struct AdapterTensors {
  int layer;
  Linear linear;
  int rank;
  float scale;
  const float* a;  // [rank, in]
  int64_t a_length;
  const float* b;  // [out, rank]
  int64_t b_length;
};

// A and B of one module (host).
struct ModuleTensors {
  std::vector<float> a, b;
};

class EngineAdapter {
 public:
  virtual ~EngineAdapter() = default;
  // In the order the adapter was made.
  virtual std::vector<ModuleTensors> read() const = 0;
  virtual size_t bytes() const = 0;
};

class EngineSequence {
 public:
  virtual ~EngineSequence() = default;
  virtual size_t bytes() const = 0;
};

struct StepRequest {
  std::shared_ptr<EngineSequence> sequence;
  int64_t position;  // tokens that are in the cache already; later ones are forgotten
  std::vector<int32_t> tokens;
  std::optional<Sampling> sampling;
  // Set: the drawn token, unless it is one of these, is the next step's only one, to be drawn from with the same settings
  // and the next index.
  std::optional<std::vector<int32_t>> continues_unless{};
};

// What became of a request. A failure is that request's alone: the others' results are as without it.
struct StepResult {
  int32_t token = -1;  // drawn; -1 where none was asked for, and with a failure
  std::optional<EngineError> failure{};
};

// A separate mask for each module's input, a function of (seed, step, layer * 7 + linear, row, column).
struct Dropout {
  float probability = 0;
  uint64_t seed = 0;
  uint32_t step = 0;
};

struct LossSum {
  double loss = 0;  // nats, over all positions with a target
  int64_t targets = 0;
};

// AdamW with decoupled weight decay (Loshchilov and Hutter 2019).
struct OptimizerStep {
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  double max_grad_norm;  // 0: no clipping
};

// What an update remembers of the steps before it (host).
struct OptimizerState {
  int64_t steps = 0;                         // updates so far: the bias correction counts them
  std::vector<ModuleTensors> first, second;  // AdamW's moments, in the order of the adapter's modules
  LossScaleState loss_scale;
};

class EngineTrainer {
 public:
  virtual ~EngineTrainer() = default;
  // Forward and backward: adds gradient_scale * d(sum of losses) / d(adapter). After an error they are undefined.
  virtual LossSum accumulate(const PackedBatch& batch, float gradient_scale, const Dropout& dropout) = 0;
  // Forward only.
  virtual LossSum evaluate(const PackedBatch& batch) = 0;
  // Applies the accumulated gradients and clears them; returns their norm before clipping. Gradients whose norm is not
  // finite are cleared without being applied.
  virtual double update(const OptimizerStep& step) = 0;
  virtual std::vector<ModuleTensors> gradients() const = 0;
  // Between two steps: what another trainer of the same adapter goes on from bit for bit.
  virtual OptimizerState optimizer_state() const = 0;
  // Throws EngineError ENGINE_ARGUMENT, and nothing has changed.
  virtual void restore_optimizer(const OptimizerState& state) = 0;
  // For micro-batches of so many tokens. Throws EngineError OUT_OF_MEMORY where they cannot fit.
  virtual MemoryPlan plan(int64_t tokens, bool dropout) const = 0;
  virtual size_t state_bytes() const = 0;
  // Frees activations: after the last step, before something else needs the memory. Another step takes them anew.
  virtual void release_activations() = 0;

  // The other ranks that train a copy of the adapter; update() then sums the gradients over all of them.
  void set_communicator(std::shared_ptr<Communicator> communicator) { communicator_ = std::move(communicator); }
  Communicator* communicator() const { return communicator_.get(); }  // null: one rank

 private:
  std::shared_ptr<Communicator> communicator_;
};

struct ModelOptions {
  LlamaConfig config;
  TensorSources tensors;
  // Layers whose activations training computes again instead of keeping them; -1: as many as memory asks for.
  int checkpointed_layers = -1;
  std::shared_ptr<const std::atomic<bool>> stop;  // or null; set by another thread to end a pass before its next layer
  int64_t cache_bytes = 0;                        // at most for keys and values; 0: a share of what the loaded weights leave
};

// Fraction 0..1 of the loading, called after each layer, and whether to give up.
struct LoadProgress {
  std::function<void(double)> report;
  std::function<bool()> cancelled;
};

class EngineModel {
 public:
  virtual ~EngineModel() = default;
  virtual const char* kernels() const = 0;  // "avx2", "cuda bf16", ...
  virtual size_t weight_bytes() const = 0;
  // That all sequences together may have room for.
  virtual int64_t cache_tokens() const = 0;
  // Each sequence's room is a multiple of it.
  virtual int64_t cache_page_tokens() const = 0;
  // Whether make_adapter() can be called on another thread beside the other functions.
  virtual bool makes_adapters_beside_steps() const = 0;
  // Throws EngineError ADAPTER_MISMATCH, ENGINE_ARGUMENT naming layer and linear.
  virtual std::shared_ptr<EngineAdapter> make_adapter(const std::vector<AdapterTensors>& tensors) = 0;
  // Takes all the memory that its tokens will need. Throws EngineError OUT_OF_MEMORY, ENGINE_ARGUMENT.
  virtual std::shared_ptr<EngineSequence> make_sequence(int64_t capacity, std::shared_ptr<EngineAdapter> adapter) = 0;
  // In the order of the requests. Throws EngineError where the step as a whole is not possible.
  virtual std::vector<StepResult> step(const std::vector<StepRequest>& requests) = 0;
  // Computes what the last step's requests said comes next, for the step that asks for it. What is not asked for then is
  // forgotten.
  virtual void run_ahead() = 0;
  // [tokens, vocab], without a cache.
  virtual std::vector<float> logits(const PackedBatch& batch, const std::shared_ptr<EngineAdapter>& adapter) = 0;
  // The adapter is trained in place.
  virtual std::shared_ptr<EngineTrainer> make_trainer(std::shared_ptr<EngineAdapter> adapter) = 0;
};

// On the CPU. isa: as in make_ops. Throws EngineError; std::invalid_argument for an instruction set this processor lacks.
std::shared_ptr<EngineModel> load_on_cpu(ModelOptions options, const std::string& isa, int threads,
                                         const LoadProgress& progress);

}  // namespace llama
