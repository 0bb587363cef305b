// What happens to the engine when the emulated GPU has too little memory, or refuses any one allocation of a model's life: an
// EngineError OUT_OF_MEMORY each time, nothing leaks, and what is asked for again gives what it gives undisturbed, bit for bit.
#include <algorithm>
#include <iterator>

#include "../emulated_cuda.h"
#include "random_model.h"

namespace {

struct Life {
  bool disturbed;
  Floats results;
  int refusals = 0;
};

std::vector<const void*> allocations() {
  std::vector<const void*> result;
  for (const auto* memory : {&emulated::machine.allocations, &emulated::machine.pinned}) {
    for (const auto& [address, bytes] : *memory) result.push_back(address);
  }
  std::sort(result.begin(), result.end());
  return result;
}

// Does `work` again and again, where the life is disturbed: each time the allocation after the one that failed last fails,
// until there is none left.
template <class Work>
auto insist(Life& life, const Work& work) {
  for (int64_t n = 0;;) {
    const std::vector<const void*> before = allocations();
    emulated::machine.fail_at = life.disturbed ? n : -1;
    try {
      auto result = work();
      emulated::machine.fail_at = -1;
      return result;
    } catch (const EngineError& error) {
      emulated::machine.fail_at = -1;
      ++life.refusals;
      expect(std::string(error.code()) == "OUT_OF_MEMORY", std::string("refused memory is reported as such: ") + error.code() + " " + error.what());
    }
    // What has been kept is not asked for another time.
    std::vector<const void*> after = allocations(), kept;
    std::set_difference(after.begin(), after.end(), before.begin(), before.end(), std::back_inserter(kept));
    n += 1 - static_cast<int64_t>(kept.size());
  }
}

// Loading, serving two sequences and then three, training an adapter, serving on.
Life live(const Checkpoint& checkpoint, const GpuOptions& options, const AdapterSource& source, bool disturbed) {
  Life life{disturbed, {}};
  const auto keep = [&](const auto& values) { life.results.insert(life.results.end(), values.begin(), values.end()); };
  ModelOptions model_options = checkpoint.options();
  model_options.cache_bytes = 64 << 10;  // small slabs
  const auto model = insist(life, [&] { return llama_gpu_module()->load(model_options, options, quiet); });
  const auto adapter = insist(life, [&] { return model->make_adapter(source.tensors); });
  const auto plain = insist(life, [&] { return model->make_sequence(100, nullptr); });
  const auto adapted = insist(life, [&] { return model->make_sequence(100, adapter); });
  const auto late = insist(life, [&] { return model->make_sequence(50, adapter); });
  Sampling sampling;
  sampling.temperature = 0.8f;
  sampling.top_p = 0.9;
  sampling.repetition_penalty = 1.2f;
  generator.seed(3);
  std::vector<StepRequest> requests = {{plain, 0, random_tokens(2), sampling}, {adapted, 0, random_tokens(33), sampling}};
  const auto step = [&] {
    const std::vector<int32_t> drawn = insist(life, [&] { return tokens_of(model->step(requests)); });
    keep(drawn);
    for (size_t i = 0; i < requests.size(); ++i) {
      requests[i].position += static_cast<int64_t>(requests[i].tokens.size());
      requests[i].tokens = {drawn[i]};
    }
  };
  // Prompts, then decode steps, of which the second is recorded and the third replayed; then a row more.
  for (int i = 0; i < 4; ++i) step();
  requests.push_back({late, 0, {5}, sampling});
  step();
  step();

  const PackedBatch small = random_batch({5}), large = random_batch({2, 9});
  keep(insist(life, [&] { return model->logits(small, adapter); }));
  const auto trained = insist(life, [&] { return model->make_adapter(source.tensors); });
  // After an error gradients are undefined: a new trainer.
  const auto trainer = insist(life, [&] {
    const auto made = model->make_trainer(trained);
    made->accumulate(small, 0.1f, {});
    made->accumulate(large, 0.1f, {0.3f, 5, 1});
    return made;
  });
  keep(flat(insist(life, [&] { return trainer->gradients(); })));
  life.results.push_back(static_cast<float>(insist(life, [&] { return trainer->update({1e-2f, 0.9f, 0.999f, 1e-8f, 0.01f, 1.0}); })));
  life.results.push_back(static_cast<float>(insist(life, [&] { return trainer->evaluate(large).loss; })));
  keep(flat(insist(life, [&] { return trained->read(); })));
  step();
  return life;
}

// Allocations fail alone, or with all after them until the error is seen.
void test_refused_allocations(const std::string& what, StorageType type, GpuOptions options, bool keeps_failing) {
  LlamaConfig config = make_config(16, 24, 2, 1, 8, false, 0);
  config.layers = 1;
  const Checkpoint checkpoint(config, type);
  const AdapterSource source = random_adapter(config, all_linears, 3);
  const Life undisturbed = live(checkpoint, options, source, false);
  emulated::machine.keeps_failing = keeps_failing;
  const Life disturbed = live(checkpoint, options, source, true);
  emulated::machine.keeps_failing = false;
  expect(undisturbed.refusals == 0 && disturbed.refusals > 80, what + ": " + std::to_string(disturbed.refusals) + " errors were seen");
  expect(disturbed.results == undisturbed.results, what + ": what comes after an error is as without it");
  expect(allocations().empty(), what + ": everything is given back");
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const EngineError& error) {
    return std::string(error.code()) + " " + error.what();
  }
  return "nothing";
}

void test_full_card() {
  const LlamaConfig config = make_config(64, 160, 4, 2, 16, false, 0);
  const Checkpoint checkpoint(config, StorageType::f32);
  const auto gpu = llama_gpu_module()->load(checkpoint.options(), {}, quiet);
  const AdapterSource source = random_adapter(config, all_linears, 4);
  const auto trainer = gpu->make_trainer(gpu->make_adapter(source.tensors));
  const PackedBatch batch = random_batch({30});
  const MemoryPlan plan = trainer->plan(100, false);
  expect(plan.weights > 0 && plan.activations > 0 && plan.checkpointed_layers == 0, "a plan names its parts");
  emulated::machine.memory = emulated::machine.allocated + (size_t{257} << 20);
  const std::string refused = error_of([&] { trainer->plan(1 << 20, false); });
  expect(refused.starts_with("OUT_OF_MEMORY") && refused.find("micro_batch_size") != std::string::npos, "a plan that cannot fit says what to change: " + refused);
  emulated::machine.memory = emulated::machine.allocated;
  expect(error_of([&] { trainer->accumulate(batch, 1, {}); }).starts_with("OUT_OF_MEMORY"), "training without memory is an error");
  expect(error_of([&] { gpu->make_sequence(100, nullptr); }).starts_with("OUT_OF_MEMORY"), "a sequence without memory is an error");
  emulated::machine.memory = size_t{1} << 40;
  expect(gpu->make_sequence(100, nullptr) != nullptr, "what a refused sequence had reserved is free again");
  expect(std::isfinite(trainer->accumulate(batch, 1, {}).loss), "and the next call works");
}

// Six pages of 32 tokens: what a sequence has is its own from the start, and no step takes more.
void test_reserved_caches() {
  const LlamaConfig config = make_config(64, 160, 4, 2, 16, false, 0);
  const Checkpoint checkpoint(config, StorageType::f32);
  ModelOptions options = checkpoint.options();
  options.cache_bytes = 6 * int64_t{2} * config.layers * 2 * 32 * 16 * 4 + 100;
  const auto gpu = llama_gpu_module()->load(options, {}, quiet);
  expect(gpu->cache_tokens() == 6 * 32, "the limit in tokens: " + std::to_string(gpu->cache_tokens()));
  const auto first = gpu->make_sequence(100, nullptr), second = gpu->make_sequence(40, nullptr);
  expect(first->bytes() == 2 * second->bytes(), "a sequence holds all its pages");
  const std::string refused = error_of([&] { gpu->make_sequence(1, nullptr); });
  expect(refused.starts_with("OUT_OF_MEMORY") && refused.find("LLAMA_CACHE_BYTES") != std::string::npos, "a sequence more does not fit: " + refused);
  tokens_of(gpu->step({{first, 0, random_tokens(100), Sampling{}}, {second, 0, random_tokens(40), Sampling{}}}));
}

}  // namespace

int main() {
  test_full_card();
  test_reserved_caches();
  GpuOptions nf4;
  nf4.quantization = Quantization::nf4;
  test_refused_allocations("float32", StorageType::f32, {}, false);
  test_refused_allocations("nf4", StorageType::bf16, nf4, true);
  if (checks::is_thorough()) {
    test_refused_allocations("float32", StorageType::f32, {}, true);
    test_refused_allocations("nf4", StorageType::bf16, nf4, false);
  }
  return checks::summary();
}
