// The whole engine on a GPU, emulated or a card, beside the CPU's reference kernels: the same model, prompts, adapters and
// batches.
//
// Tolerances: in float32 both sum the same products in another order (1e-4 of the largest value). Activations of 8 (bf16) or
// 11 (f16) significant bits round at every step of a layer; on these models of two layers that stays below 5e-2 (1e-2) of the
// largest logit, while a wrong index or a missed term is of its size.
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "random_model.h"

namespace {

void expect_close(const Floats& a, const Floats& b, double tolerance, const std::string& what) {
  double worst = 0, largest = 0;
  bool finite = a.size() == b.size();
  for (size_t i = 0; finite && i < a.size(); ++i) {
    finite = std::isfinite(a[i]);
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
  }
  expect(finite && worst <= tolerance * largest,
         what + ": off by " + std::to_string(worst) + " of " + std::to_string(largest));
}

// Steps of both engines in lockstep: prompts of three sequences, two of them with adapters, then single tokens; on the way a
// new sequence joins. Returns the tokens drawn; leaves what each sequence has become. `ahead`: every step is computed before it
// is asked for, as far as it can be.
std::vector<int32_t> serve(EngineModel& model, const std::vector<std::shared_ptr<EngineAdapter>>& adapters, bool greedy,
                           std::vector<std::vector<int32_t>>* texts = nullptr, bool ahead = false) {
  std::vector<std::shared_ptr<EngineSequence>> sequences;
  for (const auto& adapter : adapters) sequences.push_back(model.make_sequence(100, adapter));
  generator.seed(11);
  std::vector<std::vector<int32_t>> prompts;
  for (const int64_t length : {37, 5, 1, 12}) prompts.push_back(random_tokens(length));
  Sampling sampling;
  sampling.temperature = greedy ? 0.0f : 0.9f;
  sampling.top_k = greedy ? 0 : 20;
  sampling.top_p = greedy ? 1 : 0.95;
  sampling.repetition_penalty = greedy ? 1.0f : 1.2f;
  sampling.seed = 5;
  sampling.forbidden = {3};
  std::vector<int64_t> lengths(sequences.size(), 0);
  std::vector<int32_t> last(sequences.size(), 0), drawn;
  for (int round = 0; round < 7; ++round) {
    std::vector<StepRequest> requests;
    std::vector<size_t> of;
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (i == 3 && round < 2) continue;
      const bool first = lengths[i] == 0;
      sampling.index = static_cast<uint64_t>(round);
      requests.push_back({sequences[i], lengths[i], first ? prompts[i] : std::vector<int32_t>{last[i]}, sampling});
      if (ahead) requests.back().continues_unless.emplace();
      lengths[i] += static_cast<int64_t>(requests.back().tokens.size());
      of.push_back(i);
    }
    const std::vector<int32_t> tokens = tokens_of(model.step(requests));
    if (ahead) model.run_ahead();
    for (size_t i = 0; i < tokens.size(); ++i) last[of[i]] = tokens[i];
    drawn.insert(drawn.end(), tokens.begin(), tokens.end());
    for (size_t i = 0; texts != nullptr && i < tokens.size(); ++i) {
      texts->resize(prompts.size());
      std::vector<int32_t>& text = (*texts)[of[i]];
      if (text.empty()) text = prompts[of[i]];
      text.push_back(tokens[i]);
    }
  }
  return drawn;
}

// Every greedy token of a step is among the likeliest, within rounding, where its text is read whole.
void check_greedy(EngineModel& model, const std::vector<std::shared_ptr<EngineAdapter>>& adapters, double tolerance, const std::string& what) {
  std::vector<std::vector<int32_t>> texts;
  const std::vector<int32_t> drawn = serve(model, adapters, true, &texts);
  double worst = 0;
  size_t compared = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    PackedBatch whole;
    whole.tokens = texts[i];
    whole.offsets = {0, static_cast<int32_t>(texts[i].size())};
    const Floats logits = model.logits(whole, adapters[i]);
    const size_t vocab = logits.size() / texts[i].size(), steps = i == 3 ? 5 : 7;
    for (size_t at = texts[i].size() - steps; at < texts[i].size(); ++at, ++compared) {
      Floats row(logits.begin() + static_cast<int64_t>((at - 1) * vocab), logits.begin() + static_cast<int64_t>(at * vocab));
      row[3] = -INFINITY;  // forbidden
      const auto most = std::max_element(row.begin(), row.end());
      double largest = 0;
      for (size_t token = 0; token < vocab; ++token) {
        if (token != 3) largest = std::max(largest, std::abs(static_cast<double>(row[token])));
      }
      worst = std::max(worst, (*most - row[static_cast<size_t>(texts[i][at])]) / largest);
    }
  }
  expect(compared == drawn.size(), what + ": all greedy tokens are compared");
  expect(worst <= tolerance, what + ": a greedy token is " + std::to_string(worst) + " less likely than another");
}

// A new trainer of the tensors that were read, with the state that was read, goes on with the bits of the first.
void test_resumed(const std::string& what, EngineModel& model, AdapterSource source) {
  const PackedBatch batch = random_batch({5, 17, 9});
  const auto advance = [&](EngineTrainer& trainer, uint32_t step) {
    trainer.accumulate(batch, 1.0f / 30, {0.3f, 77, step});
    trainer.update({1e-2f, 0.9f, 0.999f, 1e-8f, 0.01f, 1.0});
  };
  const auto adapter = model.make_adapter(source.tensors);
  const auto trainer = model.make_trainer(adapter);
  for (const uint32_t step : {0u, 1u}) advance(*trainer, step);
  const std::vector<ModuleTensors> saved = adapter->read();
  const OptimizerState state = trainer->optimizer_state();
  expect(state.steps == 2, what + ": counts its updates");
  for (size_t i = 0; i < saved.size(); ++i) source.tensors[i].a = saved[i].a.data(), source.tensors[i].b = saved[i].b.data();
  const auto resumed = model.make_adapter(source.tensors);
  const auto second = model.make_trainer(resumed);
  second->restore_optimizer(state);
  for (const uint32_t step : {2u, 3u}) advance(*trainer, step), advance(*second, step);
  expect(flat(resumed->read()) == flat(adapter->read()), what + ": a resumed training gives the same bits");
  OptimizerState wrong = state;
  wrong.second.back().b.back() = -1;
  bool refused = false;
  try {
    second->restore_optimizer(wrong);
  } catch (const EngineError&) {
    refused = true;
  }
  expect(refused, what + ": an impossible moment is refused");
}

void test_model(const std::string& what, const LlamaConfig& config, StorageType type, const std::string& dtype, double tolerance) {
  const Checkpoint checkpoint(config, type);
  const auto cpu = load_on_cpu(checkpoint.options(), "reference", 1, quiet);
  GpuOptions gpu_options;
  gpu_options.dtype = dtype;
  const auto gpu = llama_gpu_module()->load(checkpoint.options(), gpu_options, quiet);
  const bool exact = dtype == "float32";

  const AdapterSource some = random_adapter(config, {Linear::q, Linear::v}, 3), all = random_adapter(config, all_linears, 5);
  const auto adapters = [&](EngineModel& model) {
    const auto first = model.make_adapter(some.tensors), second = model.make_adapter(all.tensors);
    return std::vector<std::shared_ptr<EngineAdapter>>{nullptr, first, second, second};
  };
  const auto on_cpu = adapters(*cpu), on_gpu = adapters(*gpu);
  PackedBatch whole;
  whole.tokens = random_tokens(41);
  whole.offsets = {0, 41};
  for (const size_t i : {size_t{0}, size_t{2}}) {
    expect_close(gpu->logits(whole, on_gpu[i]), cpu->logits(whole, on_cpu[i]), tolerance, what + ": logits");
  }
  if (exact) {
    expect(serve(*gpu, on_gpu, true) == serve(*cpu, on_cpu, true), what + ": greedy tokens");
    const std::vector<int32_t> drawn = serve(*cpu, on_cpu, false);
    expect(serve(*gpu, on_gpu, false) == drawn, what + ": drawn tokens");
    expect(serve(*gpu, on_gpu, false, nullptr, true) == drawn, what + ": drawn tokens, computed ahead");
  } else {
    check_greedy(*gpu, on_gpu, tolerance, what);
  }

  test_resumed(what, *gpu, some);
  const PackedBatch batch = random_batch({9, 1, 23, 14});
  for (const float dropout : {0.0f, 0.3f}) {
    const auto train = [&](EngineModel& model, const AdapterSource& source, std::vector<Floats>& results) {
      const auto adapter = model.make_adapter(source.tensors);
      const auto trainer = model.make_trainer(adapter);
      const double before = trainer->evaluate(batch).loss;
      double loss = 0;
      for (int step = 0; step < 2; ++step) {
        loss += trainer->accumulate(batch, 1.0f / 30, {dropout, 77, 3}).loss;
        results.push_back(flat(trainer->gradients()));
        trainer->update({1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f, 1.0});
      }
      results.push_back(flat(adapter->read()));
      const double after = trainer->evaluate(batch).loss;
      expect(after < before, what + ": training lowers the loss, to " + std::to_string(after) + " of " + std::to_string(before));
      return loss + after;
    };
    for (const AdapterSource* source : {&some, &all}) {
      // Every linear with dropout, and some without it.
      if (!checks::is_thorough() && (source == &all) != (dropout > 0)) continue;
      std::vector<Floats> expected, results;
      const double wanted = train(*cpu, *source, expected), loss = train(*gpu, *source, results);
      expect(std::abs(loss - wanted) <= tolerance * wanted, what + ": loss " + std::to_string(loss) + " for " + std::to_string(wanted));
      for (size_t i = 0; i < expected.size(); ++i) {
        // AdamW's first steps move every parameter by the learning rate, whatever the gradient's size: they are compared where
        // gradients are exact.
        if (i + 1 == expected.size() && !exact) continue;
        expect_close(results[i], expected[i], exact ? tolerance : 2 * tolerance, what + ": training result " + std::to_string(i));
      }
      // Computed again instead of kept: the same bits.
      ModelOptions again = checkpoint.options();
      again.checkpointed_layers = 2;
      std::vector<Floats> recomputed;
      train(*llama_gpu_module()->load(again, gpu_options, quiet), *source, recomputed);
      expect(recomputed == results, what + ": checkpointed layers give the same bits");
    }
  }
}

// Wrong arguments and logits that are not finite, in every step beside a sequence that goes on.
void test_failing_requests() {
  const LlamaConfig config = make_config(48, 88, 4, 2, 12, false, 0);
  const Checkpoint checkpoint(config, StorageType::f32);
  const auto gpu = llama_gpu_module()->load(checkpoint.options(), {}, quiet);
  AdapterSource source = random_adapter(config, all_linears, 3);
  for (AdapterTensors& tensors : source.tensors) tensors.scale = 1e38f;
  const auto overflowing = gpu->make_adapter(source.tensors);
  generator.seed(11);
  const std::vector<int32_t> prompt = random_tokens(9);
  const auto serve_victim = [&](bool beside_failures) {
    const auto victim = gpu->make_sequence(40, nullptr);
    std::vector<int32_t> drawn, next = prompt;
    int64_t position = 0;
    for (int round = 0; round < 5; ++round) {
      std::vector<StepRequest> requests;
      if (beside_failures) {
        requests.push_back({gpu->make_sequence(40, overflowing), 0, prompt, Sampling{}});
        requests.push_back({gpu->make_sequence(4, nullptr), 0, prompt, Sampling{}});
        requests.push_back({gpu->make_sequence(40, nullptr), 0, {-1}, Sampling{}});
        requests.push_back({gpu->make_sequence(40, nullptr), 7, {1}, Sampling{}});
        requests.push_back({gpu->make_sequence(40, nullptr), 0, {}, std::nullopt});
      }
      requests.push_back({victim, position, next, Sampling{}});
      if (beside_failures) requests.push_back({victim, position, next, Sampling{}});
      const std::vector<StepResult> results = gpu->step(requests);
      gpu->run_ahead();
      for (size_t i = 0; i < results.size(); ++i) {
        const bool of_victim = i == (beside_failures ? 5u : 0u);
        expect(results[i].failure.has_value() != of_victim, "request " + std::to_string(i) + " fails, and no other");
        if (of_victim) drawn.push_back(results[i].token);
        if (results[i].failure) {
          const std::string code = results[i].failure->code();
          expect(code == (i == 0 ? "LOGITS_NOT_FINITE" : "ENGINE_ARGUMENT"), "and says why: " + code);
        }
      }
      position += static_cast<int64_t>(next.size());
      next = {drawn.back()};
    }
    return drawn;
  };
  expect(serve_victim(true) == serve_victim(false), "a sequence beside requests that fail goes on as alone");
}

LlamaConfig with_bias(LlamaConfig config) {
  config.attention_bias = true;
  return config;
}

LlamaConfig with_norms(LlamaConfig config) {
  config.query_key_norm = true;
  return config;
}

void test_quantized(Quantization kind, const std::string& what) {
  const LlamaConfig config = with_norms(with_bias(make_config(64, 160, 4, 2, 16, false, 0)));
  Checkpoint checkpoint(config, StorageType::f32);
  GpuOptions gpu_options;
  gpu_options.quantization = kind;
  const auto gpu = llama_gpu_module()->load(checkpoint.options(), gpu_options, quiet);
  checkpoint.quantize(kind);
  const auto cpu = load_on_cpu(checkpoint.options(), "reference", 1, quiet);
  const std::vector<std::shared_ptr<EngineAdapter>> none(4, nullptr);
  expect(serve(*gpu, none, true) == serve(*cpu, none, true), what + ": greedy tokens");
  const AdapterSource source = random_adapter(config, all_linears, 4);
  const PackedBatch batch = random_batch({17, 33});
  const auto gradients = [&](EngineModel& model) {
    const auto trainer = model.make_trainer(model.make_adapter(source.tensors));
    trainer->accumulate(batch, 0.1f, {});
    return flat(trainer->gradients());
  };
  expect_close(gradients(*gpu), gradients(*cpu), 1e-4, what + ": gradients");
  expect(gpu->weight_bytes() < cpu->weight_bytes() / 2, what + ": takes less memory");
}

}  // namespace

int main() {
  const GpuProbe probe = llama_gpu_module()->probe();
#if defined(LLAMA_CUDA_EMULATED)
  expect(probe.cards.size() == 1 && probe.problem.empty(), "the emulated card is found");
#else
  if (probe.cards.empty()) {
    std::printf("skipped: no GPU: %s\n", probe.problem.c_str());
    return 0;
  }
#endif
  test_model("f32 odd, window, tied, bias, norms", with_norms(with_bias(make_config(35, 53, 3, 1, 10, true, 7))), StorageType::bf16, "float32", 1e-4);
  test_model("bf16", make_config(64, 96, 4, 1, 16, false, 0), StorageType::bf16, "bfloat16", 5e-2);
  const bool thorough = checks::is_thorough();
  if (thorough) {
    test_model("f32", make_config(48, 88, 4, 2, 12, false, 0), StorageType::f32, "float32", 1e-4);
    test_model("f16", make_config(64, 96, 2, 2, 32, true, 0), StorageType::f16, "float16", 1e-2);
    test_model("f32 odd, window, tied", make_config(35, 53, 3, 1, 10, true, 7), StorageType::bf16, "float32", 1e-4);
    test_model("Qwen2 f32", with_bias(make_config(48, 88, 4, 2, 12, true, 0)), StorageType::bf16, "float32", 1e-4);
    test_model("Qwen3 f32", with_norms(make_config(35, 53, 4, 2, 20, true, 0)), StorageType::bf16, "float32", 1e-4);
    test_model("Qwen2 bf16", with_bias(make_config(64, 96, 4, 2, 16, true, 0)), StorageType::bf16, "bfloat16", 5e-2);
    test_model("Qwen3 bf16", with_norms(make_config(64, 96, 2, 1, 64, true, 0)), StorageType::bf16, "bfloat16", 5e-2);
    test_model("Qwen3 f16", with_norms(make_config(64, 96, 2, 1, 64, true, 0)), StorageType::f16, "float16", 1e-2);
  }
  test_failing_requests();
  test_quantized(Quantization::int8, "int8");
  if (thorough) test_quantized(Quantization::int4, "int4");
  test_quantized(Quantization::nf4, "nf4");
  return checks::summary();
}
