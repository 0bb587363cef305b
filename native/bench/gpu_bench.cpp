// Measures the engine on the card it runs on, with a LLaMA of the 7B shape and random weights, and prints JSON: what
// scripts/gpu.sh bench runs. Every number stands beside the limit it is held against, measured in the same run: the rate of
// a large bf16 product, and the bandwidth of a copy.
//   gpu_bench [--layers N] [--seconds S] [--only bf16|int8|int4|nf4] [--checkpointed-layers N] [--limit S] [--out FILE]
//
// A fault leaves CUDA unusable in the process that met it, and a kernel that hangs ends only with its process. So children
// measure, and a new one goes on behind a measurement that failed or took more than --limit seconds. What is finished is said
// on standard error at once; FILE holds the JSON of all that is finished at any time.
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
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
      quoted += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
    add(name, quoted + "\"");
  }
  void number(const std::string& name, double value) {
    char text[64];
    std::snprintf(text, sizeof text, "%.6g", value);
    add(name, std::isfinite(value) ? text : "null");
  }
  void object(const std::string& name, const std::string& whole) { add(name, whole); }
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

// Every tensor is read from one file of random bf16 values: a whole checkpoint's work without its disk space.
class RandomCheckpoint {
 public:
  RandomCheckpoint(const LlamaConfig& config, int checkpointed_layers)
      : config_(config), checkpointed_layers_(checkpointed_layers) {
    path_ = std::filesystem::temp_directory_path() / ("gpu_bench_" + std::to_string(::getpid()));
    const int64_t largest = std::max(config.vocab * config.hidden, config.intermediate * config.hidden);
    std::vector<uint16_t> values(static_cast<size_t>(largest + head_offset / 2));
    std::mt19937 generator(1);
    std::uniform_real_distribution<float> uniform(-0.03f, 0.03f);
    for (uint16_t& value : values) value = bf16_from_f32(uniform(generator));
    std::ofstream file(path_, std::ios::binary);
    file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * 2));
    file.close();
    if (!file) {
      std::filesystem::remove(path_);
      throw std::runtime_error(path_.string() + " cannot be written");
    }
    add("model.embed_tokens.weight", {config.vocab, config.hidden});
    // Where the embedding lies it would be taken for a tied head, and its memory shared.
    add("lm_head.weight", {config.vocab, config.hidden}, head_offset);
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
  RandomCheckpoint(const RandomCheckpoint&) = delete;
  RandomCheckpoint& operator=(const RandomCheckpoint&) = delete;
  ModelOptions options() const { return {config_, sources_, checkpointed_layers_, nullptr}; }
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
  static constexpr int64_t head_offset = 4096;  // bytes

  void add(const std::string& name, std::vector<int64_t> shape, int64_t offset = 0) {
    sources_[name] = {path_.string(), offset, StorageType::bf16, std::move(shape)};
  }
  LlamaConfig config_;
  int checkpointed_layers_;
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

struct Options {
  int layers = 32, checkpointed_layers = -1;  // -1: as many as memory asks for
  double seconds = 2;  // of a measurement, about
  double limit = 60;
  std::string only, out;
};

bool is_a(const std::string& json, const char* word) { return json.starts_with(std::string("{\"") + word + "\""); }

struct Measurement {
  std::string name;
  std::function<Json()> work;  // in a child
  std::string result;          // JSON; empty: not there yet
  bool is(const char* word) const { return is_a(result, word); }
};
using Measurements = std::vector<Measurement>;

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
      const std::vector<int32_t> drawn = loaded.step(requests);
      for (size_t i = 0; i < requests.size(); ++i) {
        requests[i].tokens = {drawn[i]};
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

volatile std::sig_atomic_t stopped = 0;

std::string failed(const std::string& why) {
  Json result;
  result.text("failed", why);
  return result.whole();
}

// The measurements from `next` on, a line for each, until one fails or there is no card for them.
[[noreturn]] void measure_in_child(const Measurements& group, size_t next, int to) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
  dup2(STDERR_FILENO, STDOUT_FILENO);  // which is the JSON's alone
  for (bool good = true; good && next < group.size(); ++next) {
    std::string line;
    try {
      line = group[next].work().whole();
      good = !is_a(line, "skipped");
    } catch (const std::exception& error) {
      line = failed(error.what());
      good = false;
    }
    line += '\n';
    if (write(to, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(1);
  }
  _exit(0);  // nothing is taken apart: a card that fails may hang there
}

// The process that starts the others, and what they have measured so far.
class Runner {
 public:
  explicit Runner(const Options& options) : options_(options) {
    if (const char* revision = std::getenv("LLAMA_REVISION")) about_.text("revision", revision);
    if (const char* driver = std::getenv("LLAMA_DRIVER")) about_.text("driver", driver);
    about_.text("model", "LLaMA 7B shape, " + std::to_string(options.layers) + " layers, random weights");
  }

  // Its results lie in an object `name` or, where that is empty, beside the others. Whether the first of them succeeded,
  // which the others stand on.
  bool run(const std::string& name, Measurements group) {
    groups_.emplace_back(name, std::move(group));
    Measurements& measurements = groups_.back().second;
    for (size_t next = 0; next < measurements.size() && !stopped;) {
      const size_t first = next;
      int ends[2];
      if (pipe(ends) != 0) throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
      const pid_t child = fork();
      if (child < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
      if (child == 0) {
        close(ends[0]);
        measure_in_child(measurements, next, ends[1]);
      }
      close(ends[1]);
      std::string problem = read_results(ends[0], measurements, next);
      close(ends[0]);
      if (!problem.empty()) kill(child, SIGKILL);
      int status = 0;
      while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
      if (problem.empty() && WIFSIGNALED(status)) problem = std::string("the process ended: ") + strsignal(WTERMSIG(status));
      const bool in_vain = next == first || WEXITSTATUS(status) != 0;
      if (problem.empty() && in_vain) problem = "the process ended with status " + std::to_string(WEXITSTATUS(status));
      if (!problem.empty() && next < measurements.size()) finish(measurements[next++], failed(problem));
      if (measurements[0].is("failed") || measurements[0].is("skipped")) return false;
    }
    return !stopped;
  }

  void give_up(const std::string& why) { about_.text("failed", why); }

  std::string whole() const {
    if (!groups_.empty() && groups_.front().second[0].is("skipped")) return groups_.front().second[0].result;
    Json all = about_;
    for (const auto& [name, group] : groups_) {
      Json own;
      for (const Measurement& measurement : group) {
        if (!measurement.result.empty()) (name.empty() ? all : own).object(measurement.name, measurement.result);
      }
      if (!name.empty()) all.object(name, own.whole());
    }
    return all.whole();
  }

 private:
  // Until the child has ended, or the reason to end it.
  std::string read_results(int from, Measurements& group, size_t& next) {
    std::string text;
    auto start = Clock::now();
    for (;;) {
      if (stopped) return "stopped by a signal";
      if (seconds_since(start) > options_.limit) {
        return "not finished after " + std::to_string(static_cast<int>(options_.limit)) + " seconds";
      }
      pollfd ready{from, POLLIN, 0};
      if (poll(&ready, 1, 200) <= 0) continue;
      char part[4096];
      const ssize_t count = read(from, part, sizeof part);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return "";
      text.append(part, static_cast<size_t>(count));
      for (size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) {
        finish(group[next++], text.substr(0, end));
        start = Clock::now();
      }
    }
  }

  void finish(Measurement& measurement, std::string result) {
    measurement.result = std::move(result);
    const std::string& group = groups_.back().first;
    std::fprintf(stderr, "%s%s%s %s\n", group.c_str(), group.empty() ? "" : " ", measurement.name.c_str(),
                 measurement.result.c_str());
    if (options_.out.empty()) return;
    // In one step, so that whoever reads it finds a whole one.
    const std::string beside = options_.out + ".new";
    std::ofstream(beside) << whole() << "\n";
    std::error_code problem;
    std::filesystem::rename(beside, options_.out, problem);
    if (problem) std::fprintf(stderr, "%s cannot be written: %s\n", options_.out.c_str(), problem.message().c_str());
  }

  Options options_;
  Json about_;
  std::vector<std::pair<std::string, Measurements>> groups_;
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
