// One element of any tensor that is infinite or not a number, or an adapter whose products overflow: neither a prompt's pass nor
// a decode step draws a token, and no loss is finite. The same verdict on the GPU, in every type and quantised, as of the CPU's
// reference kernels.
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "random_model.h"

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
// An emulated card takes minutes for every value, type and quantisation.
const bool thorough = std::getenv("THOROUGH_TESTS") != nullptr;
const LlamaConfig config = make_config(32, 32, 2, 1, 16, false, 0);
const std::vector<int32_t> prompt = {5, 9, 7, 11, 2};

// Losses are left out where only serving is asked for: emulated training takes most of this program's time.
struct Verdict {
  int32_t prefill, decode;
  double trained = NAN, evaluated = NAN;
};

Verdict verdict_of(EngineModel& model, const AdapterSource& source, bool trains) {
  Verdict verdict{};
  const auto adapter = model.make_adapter(source.tensors);
  const auto sequence = model.make_sequence(16, adapter);
  Sampling greedy;
  greedy.temperature = 0;
  verdict.prefill = model.step({{sequence, 0, prompt, greedy}})[0].token;
  verdict.decode = model.step({{sequence, 5, {7}, greedy}})[0].token;
  if (!trains) return verdict;
  PackedBatch batch;
  batch.tokens = prompt;
  batch.targets = {9, 7, 11, 2, -100};
  batch.offsets = {0, 5};
  const auto trainer = model.make_trainer(adapter);
  verdict.evaluated = trainer->evaluate(batch).loss;
  verdict.trained = trainer->accumulate(batch, 1, {}).loss;
  return verdict;
}

void expect_refused(EngineModel& model, const AdapterSource& source, bool trains, const std::string& what) {
  const Verdict verdict = verdict_of(model, source, trains);
  expect(verdict.prefill == -1 && verdict.decode == -1, what + ": draws " + std::to_string(verdict.prefill) + ", then " + std::to_string(verdict.decode));
  expect(!std::isfinite(verdict.evaluated) && !std::isfinite(verdict.trained), what + ": losses " + std::to_string(verdict.evaluated) + " and " + std::to_string(verdict.trained));
}

struct Setup {
  std::string dtype;
  StorageType type;
  Quantization quantization = Quantization::none;
};

void test(const Setup& setup) {
  const std::string what = setup.dtype + (setup.quantization == Quantization::none ? "" : " quantised " + std::to_string(static_cast<int>(setup.quantization)));
  GpuOptions gpu;
  gpu.dtype = setup.dtype;
  gpu.quantization = setup.quantization;
  Checkpoint checkpoint(config, setup.type);
  const AdapterSource adapter = random_adapter(config, {Linear::q, Linear::v}, 3);
  const auto load = [&] { return llama_gpu_module()->load(checkpoint.options(), gpu, quiet); };
  {
    const auto sound = load();
    const Verdict verdict = verdict_of(*sound, adapter, true);
    expect(verdict.prefill >= 0 && verdict.decode >= 0 && std::isfinite(verdict.evaluated) && std::isfinite(verdict.trained), what + ": a sound model draws");
  }
  for (const std::string& tensor : checkpoint.names()) {
    // Layer 1 is the last one, in which no later layer spreads what a token alone has met.
    if (tensor.find("layers.0.") != std::string::npos) continue;
    const bool of_layer = tensor.find("layers.") != std::string::npos && tensor.find("norm") == std::string::npos;
    if (setup.quantization != Quantization::none && !of_layer) continue;
    for (const float value : {NAN, infinity, -infinity}) {
      // Infinities go the same ways as what is not a number, but for the loss itself, which reads the head's products.
      const bool is_own_way = std::isnan(value) || tensor == "lm_head.weight";
      if (!is_own_way && !thorough) continue;
      // In the embedding a token of the prompt's, which the decode step is given as well; in the head one that is no target.
      const int64_t at = tensor.find("embed") != std::string::npos ? 7 * config.hidden + 3 : 5;
      const float before = checkpoint.replace(tensor, at, value);
      const std::string which = what + ": " + std::to_string(value) + " in " + tensor;
      expect_refused(*load(), adapter, is_own_way, which);
      if (setup.dtype == "float32" && setup.quantization == Quantization::none) {
        expect_refused(*load_on_cpu(checkpoint.options(), "reference", 1, quiet), adapter, true, which + " (reference)");
      }
      checkpoint.replace(tensor, at, before);
    }
  }
  if (setup.quantization != Quantization::none) return;
  for (const Linear linear : all_linears) {
    AdapterSource huge = random_adapter(config, {linear}, 3);
    for (Floats& values : huge.values) {
      for (float& value : values) value *= 1e4f;
    }
    for (AdapterTensors& tensors : huge.tensors) tensors.scale = 1e38f;
    expect_refused(*load(), huge, true, what + ": an adapter that overflows on " + name_of(linear));
  }
}

// Keys or values about a million times larger, and what reads them as much smaller: powers of two, so that every product is the
// same. Pages of bf16 hold them; float16, which older cards compute in, does not even hold the weights, and says so.
void test_range() {
  for (const auto& [larger, smaller] : {std::pair(Linear::k, Linear::q), {Linear::v, Linear::o}}) {
    const auto answer = [](const Checkpoint& checkpoint, const std::string& dtype) {
      GpuOptions gpu;
      gpu.dtype = dtype;
      const auto model = llama_gpu_module()->load(checkpoint.options(), gpu, quiet);
      const auto sequence = model->make_sequence(64, nullptr);
      Sampling greedy;
      greedy.temperature = 0;
      std::vector<int32_t> drawn = {model->step({{sequence, 0, prompt, greedy}})[0].token};
      for (int64_t at = 5; at < 10 && drawn.back() >= 0; ++at) {
        drawn.push_back(model->step({{sequence, at, {drawn.back()}, greedy}})[0].token);
      }
      return drawn;
    };
    Checkpoint checkpoint(config, StorageType::bf16);
    const std::vector<int32_t> expected = answer(checkpoint, "bfloat16");
    checkpoint.multiply(larger, 0x1p20f);
    checkpoint.multiply(smaller, 0x1p-20f);
    const std::string what = std::string("a large ") + name_of(larger) + " of bf16 ";
    expect(expected.size() == 6 && answer(checkpoint, "bfloat16") == expected, what + "gives the usual answer");
    std::string message;
    try {
      answer(checkpoint, "float16");
    } catch (const EngineError& error) {
      message = error.what();
    }
    expect(message.find("LLAMA_DTYPE") != std::string::npos, what + "is refused in float16: " + message);
  }
}

}  // namespace

int main() {
  if (llama_gpu_module()->probe().cards.empty()) {
    std::printf("skipped: no GPU\n");
    return 0;
  }
  test_range();
  test({"float32", StorageType::f32});
  if (thorough) {
    test({"bfloat16", StorageType::bf16});
    test({"float16", StorageType::f16});
    for (const Quantization quantization : {Quantization::int8, Quantization::int4, Quantization::nf4}) {
      test({"bfloat16", StorageType::bf16, quantization});
    }
  }
  return checks::summary();
}
