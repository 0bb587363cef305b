// Measures the engine on the card it runs on, with a LLaMA of the 7B shape and random weights, and prints JSON: what
// scripts/gpu.sh bench runs. Every number stands beside the limit it is held against, measured in the same run: the rate of
// a large bf16 product, and the bandwidth of a copy.
//   gpu_bench [--layers N] [--seconds S] [--only NAME]
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "../kernels/cuda/gemm.h"
#include "../kernels/cuda/gpu.h"
#include "../kernels/cuda/probe.h"
#include "../kernels/engine_error.h"
#include "../kernels/storage.h"
#include "../model/gpu_module.h"

extern "C" llama::GpuModule* llama_gpu_module();

namespace {

using namespace llama;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Seconds of one call of `work`, the median of as many as fit into `budget` seconds after two that do not count.
double median_seconds(double budget, const std::function<void()>& work) {
  work();
  work();
  std::vector<double> times;
  const auto begin = Clock::now();
  while (times.size() < 3 || (seconds_since(begin) < budget && times.size() < 1000)) {
    const auto start = Clock::now();
    work();
    times.push_back(seconds_since(start));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<int64_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

class Json {
 public:
  void text(const std::string& name, const std::string& value) {
    std::string quoted = "\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c == '\n' ? ' ' : c;
    }
    add(name, quoted + "\"");
  }
  void number(const std::string& name, double value) {
    char text[64];
    std::snprintf(text, sizeof text, "%.6g", value);
    add(name, text);
  }
  void object(const std::string& name, const Json& value) { add(name, "{" + value.body_ + "}"); }
  std::string whole() const { return "{" + body_ + "}"; }

 private:
  void add(const std::string& name, const std::string& value) {
    if (!body_.empty()) body_ += ", ";
    body_ += "\"" + name + "\": " + value;
  }
  std::string body_;
};

LlamaConfig llama_7b(int layers) {
  LlamaConfig config;
  config.vocab = 32000;
  config.hidden = 4096;
  config.intermediate = 11008;
  config.layers = layers;
  config.heads = config.kv_heads = 32;
  config.head_dim = 128;
  config.rms_norm_eps = 1e-5f;
  config.max_positions = 4096;
  for (int i = 0; i < 64; ++i) config.inverse_frequencies.push_back(std::pow(10000.0f, -static_cast<float>(i) / 64));
  return config;
}

// Every tensor is read from the start of one file of random bf16 values: a whole checkpoint's work without its disk space.
class RandomCheckpoint {
 public:
  explicit RandomCheckpoint(const LlamaConfig& config) : config_(config) {
    path_ = std::filesystem::temp_directory_path() / ("gpu_bench_" + std::to_string(::getpid()));
    const int64_t largest = std::max(config.vocab * config.hidden, config.intermediate * config.hidden);
    std::vector<uint16_t> values(static_cast<size_t>(largest));
    std::mt19937 generator(1);
    std::uniform_real_distribution<float> uniform(-0.03f, 0.03f);
    for (uint16_t& value : values) value = bf16_from_f32(uniform(generator));
    std::ofstream(path_, std::ios::binary).write(reinterpret_cast<const char*>(values.data()), largest * 2);
    add("model.embed_tokens.weight", {config.vocab, config.hidden});
    add("lm_head.weight", {config.vocab, config.hidden});
    add("model.norm.weight", {config.hidden});
    for (int layer = 0; layer < config.layers; ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".";
      add(prefix + "input_layernorm.weight", {config.hidden});
      add(prefix + "post_attention_layernorm.weight", {config.hidden});
      for (int i = 0; i < linear_count; ++i) {
        const auto linear = static_cast<Linear>(i);
        add(prefix + (linear >= Linear::gate ? "mlp." : "self_attn.") + name_of(linear) + ".weight",
            {config.rows(linear), config.cols(linear)});
      }
    }
  }
  ~RandomCheckpoint() { std::filesystem::remove(path_); }
  ModelOptions options() const { return {config_, sources_, -1, nullptr}; }
  double bytes() const {
    double sum = 0;
    for (const auto& [name, source] : sources_) {
      double size = 2;
      for (const int64_t extent : source.shape) size *= static_cast<double>(extent);
      sum += size;
    }
    return sum;
  }

 private:
  void add(const std::string& name, std::vector<int64_t> shape) {
    sources_[name] = {path_.string(), 0, StorageType::bf16, std::move(shape)};
  }
  LlamaConfig config_;
  std::filesystem::path path_;
  TensorSources sources_;
};

struct Adapter {
  std::vector<std::vector<float>> values;
  std::vector<AdapterTensors> tensors;
};

Adapter random_adapter(const LlamaConfig& config, const std::vector<Linear>& linears, int rank) {
  Adapter adapter;
  std::mt19937 generator(2);
  std::uniform_real_distribution<float> uniform(-0.01f, 0.01f);
  adapter.values.reserve(linears.size() * static_cast<size_t>(config.layers) * 2);
  const auto random = [&](int64_t n) -> const std::vector<float>& {
    std::vector<float>& values = adapter.values.emplace_back(static_cast<size_t>(n));
    for (float& value : values) value = uniform(generator);
    return values;
  };
  for (int layer = 0; layer < config.layers; ++layer) {
    for (const Linear linear : linears) {
      const int64_t in = config.cols(linear), out = config.rows(linear);
      const float* a = random(rank * in).data();
      const float* b = random(rank * out).data();
      adapter.tensors.push_back({layer, linear, rank, 2.0f, a, rank * in, b, rank * out});
    }
  }
  return adapter;
}

constexpr int repeats = 20;  // of what is too short to be timed alone
const std::vector<Linear> all_linears = {Linear::q,    Linear::k,  Linear::v,   Linear::o,
                                         Linear::gate, Linear::up, Linear::down};

class Bench {
 public:
  Bench(int layers, double budget, std::string only)
      : config_(llama_7b(layers)), budget_(budget), only_(std::move(only)), checkpoint_(config_) {}

  void run(const cuda::Card& card) {
    Json result;
    result.text("card", card.name);
    result.number("capability", card.major * 10 + card.minor);
    result.number("memory_gb", static_cast<double>(card.total_bytes) / 1e9);
    if (const char* revision = std::getenv("LLAMA_REVISION")) result.text("revision", revision);
    if (const char* driver = std::getenv("LLAMA_DRIVER")) result.text("driver", driver);
    result.text("model", "LLaMA 7B shape, " + std::to_string(config_.layers) + " layers, random weights");
    measure_limits(card, result);
    for (const auto& [name, kind] : {std::pair{"bf16", Quantization::none}, std::pair{"int8", Quantization::int8},
                                     std::pair{"int4", Quantization::int4}, std::pair{"nf4", Quantization::nf4}}) {
      if (only_.empty() || only_ == name) measure(result, name, [&] { return measure_model(card, kind); });
    }
    std::printf("%s\n", result.whole().c_str());
  }

 private:
  void measure_limits(const cuda::Card& card, Json& result) {
    cuda::Gpu gpu(card);
    const bool has_bf16 = card.major >= 8;
    gemm_flops_ = has_bf16 ? gemm_rate<Bf16>(gpu, bf16_from_f32) : gemm_rate<Half>(gpu, f16_from_f32);
    result.number(has_bf16 ? "gemm_bf16_tflops" : "gemm_f16_tflops", gemm_flops_ / 1e12);
    const size_t bytes = size_t{1} << 30;
    const auto from = gpu.allocate(bytes), to = gpu.allocate(bytes);
    const double copy = median_seconds(budget_ / 4, [&] {
      for (int i = 0; i < repeats; ++i) gpu.copy(to->data, from->data, bytes);
      gpu.synchronize();
    });
    copy_bandwidth_ = 2.0 * static_cast<double>(bytes) * repeats / copy;
    result.number("copy_gbs", copy_bandwidth_ / 1e9);
  }

  template <class T>
  double gemm_rate(cuda::Gpu& gpu, uint16_t (*rounded)(float)) const {
    cuda::Gemm gemm(gpu);
    const int64_t m = 2048, n = 22016, k = 4096;
    const auto a = gpu.allocate(m * k * 2), b = gpu.allocate(n * k * 2), c = gpu.allocate(m * n * 2);
    // Random operands: a card clocks higher on zeros.
    std::vector<uint16_t> values(static_cast<size_t>(n * k));
    std::mt19937 generator(3);
    for (uint16_t& value : values) value = rounded(static_cast<float>(generator() % 2000) / 1000 - 1);
    gpu.upload(a->data, values.data(), a->bytes);
    gpu.upload(b->data, values.data(), b->bytes);
    const double product = median_seconds(budget_ / 4, [&] {
      for (int i = 0; i < repeats; ++i) {
        gemm.multiply<T, T>({static_cast<const T*>(a->data), k}, {static_cast<const T*>(b->data), k, true},
                            static_cast<T*>(c->data), n, m, n, k, 1, 0);
      }
      gpu.synchronize();
    });
    return 2.0 * m * n * k * repeats / product;
  }

  // What does not fit onto this card is said in its place.
  static void measure(Json& result, const std::string& name, const std::function<Json()>& work) {
    Json measured;
    try {
      measured = work();
    } catch (const EngineError& error) {
      measured.text("failed", error.what());
    }
    result.object(name, measured);
  }

  int64_t free_bytes() const { return static_cast<int64_t>(cuda::probe().cards.at(0).free_bytes); }

  Json measure_model(const cuda::Card& card, Quantization kind) {
    Json result;
    const int64_t before = free_bytes();
    GpuOptions options;
    options.dtype = card.major >= 8 ? "bfloat16" : "float16";
    options.quantization = kind;
    const auto start = Clock::now();
    const auto model = llama_gpu_module()->load(checkpoint_.options(), options, {[](double) {}, [] { return false; }});
    const double loading = seconds_since(start);
    result.number("load_seconds", loading);
    result.number("load_gbs", checkpoint_.bytes() / loading / 1e9);
    result.number("weights_gb", static_cast<double>(model->weight_bytes()) / 1e9);
    for (const int batch : {1, 8, 64}) {
      measure(result, "decode_" + std::to_string(batch), [&] { return decode(*model, batch, nullptr); });
    }
    const Adapter adapter = random_adapter(config_, all_linears, 16);
    measure(result, "decode_1_adapter_r16", [&] { return decode(*model, 1, model->make_adapter(adapter.tensors)); });
    measure(result, "prefill_2048", [&] { return prefill(*model); });
    measure(result, "train_2048_qv_r8", [&] { return train(*model, {Linear::q, Linear::v}, 8, before); });
    measure(result, "train_2048_all_r16", [&] { return train(*model, all_linears, 16, before); });
    return result;
  }

  // Greedy steps from a context of 512 tokens.
  Json decode(EngineModel& model, int batch, const std::shared_ptr<EngineAdapter>& adapter) {
    Sampling greedy;
    std::vector<StepRequest> requests;
    const std::vector<int32_t> prompt(512, 17);
    for (int i = 0; i < batch; ++i) {
      requests.push_back({model.make_sequence(2048, adapter), 0, prompt, std::nullopt});
      model.step({requests.back()});
      requests.back() = {requests.back().sequence, 512, {17}, greedy};
    }
    const double step = median_seconds(budget_, [&] {
      const std::vector<int32_t> drawn = model.step(requests);
      for (size_t i = 0; i < requests.size(); ++i) {
        requests[i].tokens = {drawn[i]};
        if (++requests[i].position == 2047) requests[i].position = 512;
      }
    });
    // The embedding is not read whole.
    const double bytes = static_cast<double>(model.weight_bytes());
    Json result;
    result.number("tokens_per_second", batch / step);
    result.number("weights_gbs", bytes / step / 1e9);
    result.number("share_of_copy_bandwidth", bytes / step / copy_bandwidth_);
    return result;
  }

  Json prefill(EngineModel& model) {
    const std::vector<int32_t> prompt(2048, 17);
    const auto sequence = model.make_sequence(2048, nullptr);
    const double seconds = median_seconds(budget_, [&] { model.step({{sequence, 0, prompt, Sampling{}}}); });
    Json result;
    result.number("tokens_per_second", 2048 / seconds);
    return result;
  }

  Json train(EngineModel& model, const std::vector<Linear>& linears, int rank, int64_t free_before) {
    PackedBatch batch;
    std::mt19937 generator(4);
    for (int i = 0; i < 2048; ++i) {
      batch.tokens.push_back(static_cast<int32_t>(generator() % 32000));
      batch.targets.push_back(i % 512 == 511 ? -100 : static_cast<int32_t>(generator() % 32000));
    }
    batch.offsets = {0, 512, 1024, 1536, 2048};
    const Adapter source = random_adapter(config_, linears, rank);
    const auto trainer = model.make_trainer(model.make_adapter(source.tensors));
    int64_t least = free_before;
    const double step = median_seconds(2 * budget_, [&] {
      trainer->accumulate(batch, 1.0f / 2044, {});
      least = std::min(least, free_bytes());
      trainer->update({1e-4f, 0.9f, 0.999f, 1e-8f, 0, 1});
    });
    // 4 FLOP for each weight of a product and token, and 3.5 times attention's forward pass (12 causal products of a row).
    double weights = 0;
    for (const Linear linear : all_linears) weights += static_cast<double>(config_.rows(linear) * config_.cols(linear));
    weights = weights * config_.layers + static_cast<double>(config_.vocab * config_.hidden);
    const double attention = 3.5 * 2 * 512 * static_cast<double>(config_.q_width()) * config_.layers;
    const double flops = 2048 * (4 * weights + attention) / step;
    Json result;
    result.number("tokens_per_second", 2048 / step);
    result.number("useful_tflops", flops / 1e12);
    result.number("share_of_gemm_rate", flops / gemm_flops_);
    result.number("peak_memory_gib", static_cast<double>(free_before - least) / (1 << 30));
    result.number("checkpointed_layers", trainer->plan(2048, false).checkpointed_layers);
    return result;
  }

  LlamaConfig config_;
  double budget_;
  std::string only_;
  RandomCheckpoint checkpoint_;
  double gemm_flops_ = 0, copy_bandwidth_ = 0;
};

}  // namespace

int main(int count, char** words) {
  int layers = 32;
  double seconds = 4;
  std::string only;
  for (int i = 1; i + 1 < count; i += 2) {
    if (std::strcmp(words[i], "--layers") == 0) layers = std::atoi(words[i + 1]);
    if (std::strcmp(words[i], "--seconds") == 0) seconds = std::atof(words[i + 1]);
    if (std::strcmp(words[i], "--only") == 0) only = words[i + 1];
  }
  const cuda::Probe probe = cuda::probe();
  if (probe.cards.empty()) {
    Json result;
    result.text("skipped", "no GPU: " + probe.reason);
    std::printf("%s\n", result.whole().c_str());
    return 0;
  }
  Bench(layers, seconds, only).run(probe.cards[0]);
  return 0;
}
