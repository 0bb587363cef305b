// LLaMA of the 7B shape with random weights, and adapters for it.
#pragma once
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../kernels/storage.h"
#include "../model/engine.h"

namespace llama::bench {

inline LlamaConfig llama_7b(int layers) {
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

inline Adapter random_adapter(const LlamaConfig& config, const std::vector<Linear>& linears, int rank) {
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

}  // namespace llama::bench
