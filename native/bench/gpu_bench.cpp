// Measures the engine on the card it runs on, with a LLaMA of the 7B shape and random weights, and prints JSON: what
// scripts/gpu.sh bench runs. Every number stands beside the limit it is held against, measured in the same run: the rate of
// a large bf16 product, and the bandwidth of a copy.
//   gpu_bench [--layers N] [--seconds S] [--only bf16|int8|int4|nf4] [--checkpointed-layers N] [--limit S] [--out FILE]
#include <sys/mman.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../kernels/cuda/gemm.h"
#include "../kernels/cuda/gpu.h"
#include "../kernels/cuda/probe.h"
#include "../kernels/engine_error.h"
#include "../model/gpu_module.h"
#include "random_checkpoint.h"
#include "runner.h"

extern "C" llama::GpuModule* llama_gpu_module();

namespace {

using namespace llama;
using namespace llama::bench;

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

constexpr int repeats = 20;  // of what is too short to be timed alone
const std::vector<Linear> all_linears = {Linear::q,    Linear::k,  Linear::v,   Linear::o,
                                         Linear::gate, Linear::up, Linear::down};

// Nothing of CUDA is started before a measurement: a process that has started it cannot fork.
class Bench {
 public:
  explicit Bench(const Options& options) : config_(llama_7b(options.layers)), options_(options) {
    void* memory = mmap(nullptr, sizeof(Limits), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("no memory to share with the processes that measure");
    limits_ = new (memory) Limits;
  }

  Measurements of_card() {
    return {{"card", [this] { return describe_card(); }, ""},
            {"gemm", [this] { return gemm(); }, ""},
            {"copy", [this] { return copy(); }, ""}};
  }

  // Training comes first: pages of keys and values that serving has taken are not given back, and would count as training's.
  Measurements of_model(Quantization kind) {
    if (!checkpoint_) checkpoint_ = std::make_unique<RandomCheckpoint>(config_, options_.checkpointed_layers);
    return {{"load", [=, this] { return load(kind); }, ""},
            {"train_2048_qv_r8", [=, this] { return train(kind, {Linear::q, Linear::v}, 8); }, ""},
            {"train_2048_all_r16", [=, this] { return train(kind, all_linears, 16); }, ""},
            {"decode_1", [=, this] { return decode(kind, 1, false); }, ""},
            {"decode_1_adapter_r16", [=, this] { return decode(kind, 1, true); }, ""},
            {"prefill_2048", [=, this] { return prefill(kind); }, ""},
            {"decode_8", [=, this] { return decode(kind, 8, false); }, ""},
            {"decode_64", [=, this] { return decode(kind, 64, false); }, ""}};
  }

 private:
  // What the numbers are held against, seen by every process.
  struct Limits {
    double gemm_flops = NAN, copy_bandwidth = NAN;
  };

  const cuda::Card& card() {
    if (!card_) {
      const cuda::Probe probe = cuda::probe();
      if (probe.cards.empty()) throw std::runtime_error("no GPU: " + probe.reason);
      card_ = probe.cards.front();
    }
    return *card_;
  }

  cuda::Gpu& gpu() {
    if (!gpu_) gpu_.emplace(card());
    return *gpu_;
  }

  EngineModel& model(Quantization kind) {
    if (!model_) {
      GpuOptions options;
      options.card = card().index;
      options.dtype = card().major >= 8 ? "bfloat16" : "float16";
      options.quantization = kind;
      free_before_ = static_cast<int64_t>(gpu().free_bytes());
      model_ = llama_gpu_module()->load(checkpoint_->options(), options, {[](double) {}, [] { return false; }});
    }
    return *model_;
  }

  Json describe_card() {
    Json result;
    const cuda::Probe probe = cuda::probe();
    if (probe.cards.empty()) {
      result.text("skipped", "no GPU: " + probe.reason);
      return result;
    }
    result.text("name", card().name);
    result.number("capability", card().major * 10 + card().minor);
    result.number("memory_gb", static_cast<double>(card().total_bytes) / 1e9);
    return result;
  }

  Json gemm() {
    const bool has_bf16 = card().major >= 8;
    limits_->gemm_flops = has_bf16 ? gemm_rate<Bf16>(bf16_from_f32) : gemm_rate<Half>(f16_from_f32);
    Json result;
    result.number(has_bf16 ? "bf16_tflops" : "f16_tflops", limits_->gemm_flops / 1e12);
    return result;
  }

  template <class T>
  double gemm_rate(uint16_t (*rounded)(float)) {
    cuda::Gemm gemm(gpu());
    const int64_t m = 2048, n = 22016, k = 4096;
    const auto a = gpu().allocate(m * k * 2), b = gpu().allocate(n * k * 2), c = gpu().allocate(m * n * 2);
    // Random operands: a card clocks higher on zeros.
    std::vector<uint16_t> values(static_cast<size_t>(n * k));
    std::mt19937 generator(3);
    for (uint16_t& value : values) value = rounded(static_cast<float>(generator() % 2000) / 1000 - 1);
    gpu().upload(a->data, values.data(), a->bytes);
    gpu().upload(b->data, values.data(), b->bytes);
    const double product = median_seconds(options_.seconds / 2, [&] {
      for (int i = 0; i < repeats; ++i) {
        gemm.multiply<T, T>({static_cast<const T*>(a->data), k}, {static_cast<const T*>(b->data), k, true},
                            static_cast<T*>(c->data), n, m, n, k, 1, 0);
      }
      gpu().synchronize();
    });
    return 2.0 * m * n * k * repeats / product;
  }

  Json copy() {
    const size_t bytes = size_t{1} << 30;
    const auto from = gpu().allocate(bytes), to = gpu().allocate(bytes);
    const double seconds = median_seconds(options_.seconds / 2, [&] {
      for (int i = 0; i < repeats; ++i) gpu().copy(to->data, from->data, bytes);
      gpu().synchronize();
    });
    limits_->copy_bandwidth = 2.0 * static_cast<double>(bytes) * repeats / seconds;
    Json result;
    result.number("gbs", limits_->copy_bandwidth / 1e9);
    return result;
  }

  Json load(Quantization kind) {
    gpu();  // CUDA's start is not the loading's
    const auto start = Clock::now();
    const EngineModel& loaded = model(kind);
    const double seconds = seconds_since(start);
    Json result;
    result.number("seconds", seconds);
    result.number("gbs", checkpoint_->bytes() / seconds / 1e9);
    result.number("weights_gb", static_cast<double>(loaded.weight_bytes()) / 1e9);
    return result;
  }

  Json train(Quantization kind, const std::vector<Linear>& linears, int rank) {
    EngineModel& loaded = model(kind);
    PackedBatch batch;
    std::mt19937 generator(4);
    for (int i = 0; i < 2048; ++i) {
      batch.tokens.push_back(static_cast<int32_t>(generator() % 32000));
      batch.targets.push_back(i % 512 == 511 ? -100 : static_cast<int32_t>(generator() % 32000));
    }
    batch.offsets = {0, 512, 1024, 1536, 2048};
    const Adapter source = random_adapter(config_, linears, rank);
    const auto trainer = loaded.make_trainer(loaded.make_adapter(source.tensors));
    LossSum loss;
    const auto step = [&] {
      loss = trainer->accumulate(batch, 1.0f / 2044, {});
      trainer->update({1e-4f, 0.9f, 0.999f, 1e-8f, 0, 1});
    };
    step();
    // All that a step needs is allocated in the first one, and kept. Asking takes time, so no timed step asks.
    const auto taken = static_cast<double>(free_before_ - static_cast<int64_t>(gpu().free_bytes()));
    const double first_loss = loss.loss / static_cast<double>(loss.targets);
    const double seconds = median_seconds(2 * options_.seconds, step);
    // 4 FLOP for each weight of a product and token, and 3.5 times attention's forward pass (12 causal products of a row).
    double weights = 0;
    for (const Linear linear : all_linears) weights += static_cast<double>(config_.rows(linear) * config_.cols(linear));
    weights = weights * config_.layers + static_cast<double>(config_.vocab * config_.hidden);
    const double attention = 3.5 * 2 * 512 * static_cast<double>(config_.q_width()) * config_.layers;
    const double flops = 2048 * (4 * weights + attention) / seconds;
    Json result;
    result.number("tokens_per_second", 2048 / seconds);
    result.number("useful_tflops", flops / 1e12);
    result.number("share_of_gemm_rate", flops / limits_->gemm_flops);
    result.number("peak_memory_gib", taken / (1 << 30));
    result.number("checkpointed_layers", trainer->plan(2048, false).checkpointed_layers);
    result.number("first_loss", first_loss);
    return result;
  }

  // Greedy steps at contexts of 512 to 576 tokens, over and over: what a step reads does not grow with how many are timed.
  Json decode(Quantization kind, int batch, bool adapted) {
    EngineModel& loaded = model(kind);
    std::shared_ptr<EngineAdapter> adapter;
    if (adapted) adapter = loaded.make_adapter(random_adapter(config_, all_linears, 16).tensors);
    Sampling greedy;
    std::vector<StepRequest> requests;
    const std::vector<int32_t> prompt(512, 17);
    for (int i = 0; i < batch; ++i) {
      requests.push_back({loaded.make_sequence(576, adapter), 0, prompt, std::nullopt});
      loaded.step({requests.back()});
      requests.back() = {requests.back().sequence, 512, {17}, greedy};
    }
    const double step = median_seconds(options_.seconds, [&] {
      const std::vector<StepResult> results = loaded.step(requests);
      for (size_t i = 0; i < requests.size(); ++i) {
        if (results[i].failure) throw *results[i].failure;
        requests[i].tokens = {results[i].token};
        if (++requests[i].position == 576) requests[i].position = 512;
      }
    });
    // The embedding is not read whole. Keys and values, 2 bytes each, are as much as the weights at 64 sequences.
    const auto weights = static_cast<double>(loaded.weight_bytes());
    const double cache = batch * 544.0 * 2 * 2 * static_cast<double>(config_.kv_width()) * config_.layers;
    Json result;
    result.number("tokens_per_second", batch / step);
    result.number("weights_gb", weights / 1e9);
    result.number("cache_gb", cache / 1e9);
    result.number("share_of_copy_bandwidth", (weights + cache) / step / limits_->copy_bandwidth);
    return result;
  }

  Json prefill(Quantization kind) {
    EngineModel& loaded = model(kind);
    const std::vector<int32_t> prompt(2048, 17);
    const auto sequence = loaded.make_sequence(2048, nullptr);
    const double seconds = median_seconds(options_.seconds, [&] { loaded.step({{sequence, 0, prompt, Sampling{}}}); });
    Json result;
    result.number("tokens_per_second", 2048 / seconds);
    return result;
  }

  LlamaConfig config_;
  Options options_;
  Limits* limits_;
  std::unique_ptr<RandomCheckpoint> checkpoint_;
  // Of the process that measures:
  std::optional<cuda::Card> card_;
  std::optional<cuda::Gpu> gpu_;
  std::shared_ptr<EngineModel> model_;
  int64_t free_before_ = 0;  // loading
};

constexpr std::pair<const char*, Quantization> kinds[] = {{"bf16", Quantization::none},
                                                          {"int8", Quantization::int8},
                                                          {"int4", Quantization::int4},
                                                          {"nf4", Quantization::nf4}};

std::optional<Options> read_options(int count, char** words) {
  Options options;
  for (int i = 1; i < count; i += 2) {
    const std::string name = words[i];
    if (i + 1 == count) return std::nullopt;
    const char* value = words[i + 1];
    if (name == "--layers") options.layers = std::atoi(value);
    else if (name == "--checkpointed-layers") options.checkpointed_layers = std::atoi(value);
    else if (name == "--seconds") options.seconds = std::atof(value);
    else if (name == "--limit") options.limit = std::atof(value);
    else if (name == "--only") options.only = value;
    else if (name == "--out") options.out = value;
    else return std::nullopt;
  }
  const auto named = [&](const auto& kind) { return options.only == kind.first; };
  const bool known = options.only.empty() || std::any_of(std::begin(kinds), std::end(kinds), named);
  if (!known || options.layers < 1 || options.seconds <= 0 || options.limit <= 0) return std::nullopt;
  return options;
}

}  // namespace

int main(int count, char** words) {
  const std::optional<Options> options = read_options(count, words);
  if (!options) {
    std::fprintf(stderr, "usage: gpu_bench [--layers N] [--seconds S] [--only bf16|int8|int4|nf4]\n"
                         "                 [--checkpointed-layers N] [--limit S] [--out FILE]\n");
    return 2;
  }
  struct sigaction stop {};
  stop.sa_handler = [](int) { stopped = 1; };
  sigaction(SIGTERM, &stop, nullptr);
  sigaction(SIGINT, &stop, nullptr);
  Runner runner(*options);
  try {
    Bench bench(*options);
    if (runner.run("", bench.of_card())) {
      for (const auto& [name, kind] : kinds) {
        if (!stopped && (options->only.empty() || options->only == name)) runner.run(name, bench.of_model(kind));
      }
    }
  } catch (const std::exception& error) {
    runner.give_up(error.what());
  }
  std::printf("%s\n", runner.whole().c_str());
  return stopped ? 1 : 0;
}
