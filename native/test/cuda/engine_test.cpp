// The whole engine on the emulated GPU beside the CPU's reference kernels: the same model, prompts, adapters and batches.
//
// Tolerances: in float32 both sum the same products in another order (1e-4 of the largest value). Activations of 8 (bf16) or
// 11 (f16) significant bits round at every step of a layer; on these models of two layers that stays below 5e-2 (1e-2) of the
// largest logit, while a wrong index or a missed term is of its size.
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "../../kernels/engine_error.h"
#include "../../kernels/reference/quantized.h"
#include "../../kernels/storage.h"
#include "../../model/gpu_module.h"
#include "../../kernels/cuda/device.h"

extern "C" llama::GpuModule* llama_gpu_module();

namespace {

using namespace llama;
using Floats = std::vector<float>;

int checks = 0, failures = 0;

void expect(bool holds, const std::string& what) {
  ++checks;
  if (holds) return;
  ++failures;
  std::printf("FAILED %s\n", what.c_str());
}

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

std::mt19937 generator(7);
Floats random_floats(int64_t n, float scale) {
  std::normal_distribution<float> normal(0, scale);
  Floats values(static_cast<size_t>(n));
  for (float& value : values) value = normal(generator);
  return values;
}

Floats quantized_and_back(const Floats& weights, int64_t rows, int64_t cols, Quantization kind, bool doubly) {
  Floats back(weights.size());
  reference::dequantize(reference::quantize(weights.data(), rows, cols, kind, doubly), back.data());
  return back;
}

// A checkpoint in one raw file.
class Checkpoint {
 public:
  Checkpoint(const LlamaConfig& config, StorageType type) : config_(config), type_(type) {
    path_ = std::filesystem::temp_directory_path() / ("engine_test_" + std::to_string(::getpid()) + "_" + std::to_string(count_++));
    generator.seed(7);
    add("model.embed_tokens.weight", {config.vocab, config.hidden}, 1);
    add_ones("model.norm.weight", config.hidden);
    for (int layer = 0; layer < config.layers; ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".";
      add_ones(prefix + "input_layernorm.weight", config.hidden);
      add_ones(prefix + "post_attention_layernorm.weight", config.hidden);
      for (int i = 0; i < linear_count; ++i) {
        const auto linear = static_cast<Linear>(i);
        const bool mlp = linear >= Linear::gate;
        add(prefix + (mlp ? "mlp." : "self_attn.") + name_of(linear) + ".weight", {config.rows(linear), config.cols(linear)},
            1 / std::sqrt(static_cast<float>(config.cols(linear))));
      }
    }
    if (!config.tied_head) add("lm_head.weight", {config.vocab, config.hidden}, 1 / std::sqrt(static_cast<float>(config.hidden)));
    write();
  }
  ~Checkpoint() { std::filesystem::remove(path_); }

  // The same model with its layers' linears quantised and dequantised again, as float32.
  void quantize(Quantization kind) {
    const bool doubly = kind == Quantization::nf4;
    for (int layer = 0; layer < config_.layers; ++layer) {
      const auto stack = [&](std::vector<Linear> linears) {
        Floats all;
        for (const Linear linear : linears) {
          const Floats& values = tensors_[name(layer, linear)];
          all.insert(all.end(), values.begin(), values.end());
        }
        const int64_t cols = config_.cols(linears[0]), rows = static_cast<int64_t>(all.size()) / cols;
        const Floats back = quantized_and_back(all, rows, cols, kind, doubly);
        size_t at = 0;
        for (const Linear linear : linears) {
          Floats& values = tensors_[name(layer, linear)];
          std::copy_n(back.begin() + static_cast<int64_t>(at), values.size(), values.begin());
          at += values.size();
        }
      };
      stack({Linear::q, Linear::k, Linear::v});
      stack({Linear::o});
      stack({Linear::gate, Linear::up});
      stack({Linear::down});
    }
    type_ = StorageType::f32;
    write();
  }

  ModelOptions options() const { return {config_, sources_, -1, nullptr}; }

 private:
  std::string name(int layer, Linear linear) const {
    return "model.layers." + std::to_string(layer) + (linear >= Linear::gate ? ".mlp." : ".self_attn.") + name_of(linear) + ".weight";
  }
  void add(const std::string& tensor, std::vector<int64_t> shape, float scale) {
    int64_t n = 1;
    for (const int64_t extent : shape) n *= extent;
    keep(tensor, random_floats(n, scale), std::move(shape));
  }
  void add_ones(const std::string& tensor, int64_t n) {
    Floats values = random_floats(n, 0.1f);
    for (float& value : values) value += 1;
    keep(tensor, values, {n});
  }
  void keep(const std::string& tensor, Floats values, std::vector<int64_t> shape) {
    // What the storage type can hold, so that every reading of it is the same model.
    for (float& value : values) {
      if (type_ == StorageType::bf16) value = f32_from_bf16(bf16_from_f32(value));
      if (type_ == StorageType::f16) value = f32_from_f16(f16_from_f32(value));
    }
    tensors_[tensor] = std::move(values);
    shapes_[tensor] = std::move(shape);
  }
  void write() {
    std::ofstream file(path_, std::ios::binary | std::ios::trunc);
    int64_t offset = 0;
    sources_.clear();
    for (const auto& [tensor, values] : tensors_) {
      sources_[tensor] = {path_.string(), offset, type_, shapes_[tensor]};
      for (const float value : values) {
        if (type_ == StorageType::f32) file.write(reinterpret_cast<const char*>(&value), 4);
        const uint16_t bits = type_ == StorageType::bf16 ? bf16_from_f32(value) : f16_from_f32(value);
        if (type_ != StorageType::f32) file.write(reinterpret_cast<const char*>(&bits), 2);
        offset += static_cast<int64_t>(bytes_of(type_));
      }
    }
  }

  static inline int count_ = 0;
  LlamaConfig config_;
  StorageType type_;
  std::filesystem::path path_;
  std::map<std::string, Floats> tensors_;
  std::map<std::string, std::vector<int64_t>> shapes_;
  TensorSources sources_;
};

LlamaConfig make_config(int64_t hidden, int64_t intermediate, int heads, int kv_heads, int head_dim, bool tied, int64_t window) {
  LlamaConfig config;
  config.vocab = 97;
  config.hidden = hidden;
  config.intermediate = intermediate;
  config.layers = 2;
  config.heads = heads;
  config.kv_heads = kv_heads;
  config.head_dim = head_dim;
  config.rms_norm_eps = 1e-5f;
  config.max_positions = 128;
  config.window = window;
  config.tied_head = tied;
  for (int i = 0; i < head_dim / 2; ++i) config.inverse_frequencies.push_back(std::pow(10000.0f, -2.0f * static_cast<float>(i) / static_cast<float>(head_dim)));
  return config;
}

struct AdapterSource {
  std::vector<Floats> values;
  std::vector<AdapterTensors> tensors;
};

AdapterSource random_adapter(const LlamaConfig& config, std::vector<Linear> linears, int rank) {
  AdapterSource source;
  source.values.reserve(linears.size() * static_cast<size_t>(config.layers) * 2);
  for (int layer = 0; layer < config.layers; ++layer) {
    for (const Linear linear : linears) {
      const int64_t in = config.cols(linear), out = config.rows(linear);
      const Floats& a = source.values.emplace_back(random_floats(rank * in, 1 / std::sqrt(static_cast<float>(in))));
      const Floats& b = source.values.emplace_back(random_floats(rank * out, 0.3f));
      source.tensors.push_back({layer, linear, rank, 0.5f, a.data(), rank * in, b.data(), rank * out});
    }
  }
  return source;
}

const std::vector<Linear> all_linears = {Linear::q, Linear::k, Linear::v, Linear::o, Linear::gate, Linear::up, Linear::down};
const LoadProgress quiet{[](double) {}, [] { return false; }};

std::vector<int32_t> random_tokens(int64_t n) {
  std::vector<int32_t> tokens(static_cast<size_t>(n));
  for (int32_t& token : tokens) token = static_cast<int32_t>(generator() % 97);
  return tokens;
}

PackedBatch random_batch(const std::vector<int>& lengths) {
  PackedBatch batch;
  batch.offsets = {0};
  for (const int length : lengths) {
    for (int i = 0; i < length; ++i) {
      batch.tokens.push_back(static_cast<int32_t>(generator() % 97));
      batch.targets.push_back(i + 1 == length || generator() % 4 == 0 ? -100 : static_cast<int32_t>(generator() % 97));
    }
    batch.offsets.push_back(static_cast<int32_t>(batch.tokens.size()));
  }
  return batch;
}

Floats flat(const std::vector<ModuleTensors>& modules) {
  Floats all;
  for (const ModuleTensors& module : modules) {
    all.insert(all.end(), module.a.begin(), module.a.end());
    all.insert(all.end(), module.b.begin(), module.b.end());
  }
  return all;
}

// Steps of both engines in lockstep: prompts of three sequences, two of them with adapters, then single tokens; on the way a
// new sequence joins. Returns the tokens drawn.
std::vector<int32_t> serve(EngineModel& model, const std::vector<std::shared_ptr<EngineAdapter>>& adapters, bool greedy) {
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
      lengths[i] += static_cast<int64_t>(requests.back().tokens.size());
      of.push_back(i);
    }
    const std::vector<int32_t> tokens = model.step(requests);
    for (size_t i = 0; i < tokens.size(); ++i) last[of[i]] = tokens[i];
    drawn.insert(drawn.end(), tokens.begin(), tokens.end());
  }
  return drawn;
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
    expect(serve(*gpu, on_gpu, false) == serve(*cpu, on_cpu, false), what + ": drawn tokens");
  } else {
    expect(serve(*gpu, on_gpu, true).size() == 26, what + ": serves");
  }

  const PackedBatch batch = random_batch({9, 1, 23, 14});
  for (const float dropout : {0.0f, 0.3f}) {
    const auto train = [&](EngineModel& model, const AdapterSource& source, std::vector<Floats>& results) {
      const auto adapter = model.make_adapter(source.tensors);
      const auto trainer = model.make_trainer(adapter);
      double loss = 0;
      for (int step = 0; step < 2; ++step) {
        loss += trainer->accumulate(batch, 1.0f / 30, {dropout, 77, 3}).loss;
        results.push_back(flat(trainer->gradients()));
        trainer->update({1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f, 1.0});
      }
      results.push_back(flat(adapter->read()));
      return loss + trainer->evaluate(batch).loss;
    };
    for (const AdapterSource* source : {&some, &all}) {
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

void test_quantized(Quantization kind, const std::string& what) {
  const LlamaConfig config = make_config(64, 160, 4, 2, 16, false, 0);
  Checkpoint checkpoint(config, StorageType::f32);
  GpuOptions gpu_options;
  gpu_options.quantization = kind;
  const auto gpu = llama_gpu_module()->load(checkpoint.options(), gpu_options, quiet);
  checkpoint.quantize(kind);
  const auto cpu = load_on_cpu(checkpoint.options(), "reference", 1, quiet);
  const std::vector<std::shared_ptr<EngineAdapter>> none(4, nullptr);
  expect(serve(*gpu, none, true) == serve(*cpu, none, true), what + ": greedy tokens");
  const AdapterSource source = random_adapter(config, all_linears, 4);
  const PackedBatch batch = random_batch({30, 50});
  const auto gradients = [&](EngineModel& model) {
    const auto trainer = model.make_trainer(model.make_adapter(source.tensors));
    trainer->accumulate(batch, 0.1f, {});
    return flat(trainer->gradients());
  };
  expect_close(gradients(*gpu), gradients(*cpu), 1e-4, what + ": gradients");
  expect(gpu->weight_bytes() < cpu->weight_bytes() / 2, what + ": takes less memory");
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const EngineError& error) {
    return std::string(error.code()) + " " + error.what();
  }
  return "nothing";
}

void test_memory() {
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
  expect(std::isfinite(trainer->accumulate(batch, 1, {}).loss), "and the next call works");
}

}  // namespace

int main() {
  const GpuProbe probe = llama_gpu_module()->probe();
  expect(probe.cards.size() == 1 && probe.problem.empty(), "the emulated card is found");
  test_model("f32", make_config(48, 88, 4, 2, 12, false, 0), StorageType::f32, "float32", 1e-4);
  test_model("f32 odd, window, tied", make_config(35, 53, 3, 1, 10, true, 7), StorageType::bf16, "float32", 1e-4);
  test_model("bf16", make_config(64, 96, 4, 1, 16, false, 0), StorageType::bf16, "bfloat16", 5e-2);
  test_model("f16", make_config(64, 96, 2, 2, 32, true, 0), StorageType::f16, "float16", 1e-2);
  test_quantized(Quantization::int8, "int8");
  test_quantized(Quantization::int4, "int4");
  test_quantized(Quantization::nf4, "nf4");
  test_memory();
  std::printf("%d checks, %d failed\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
