// A small random LLaMA in a checkpoint's file, and adapters, prompts and batches for it.
#pragma once
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "../../kernels/engine_error.h"
#include "../../kernels/matrix_sources.h"
#include "../../kernels/reference/quantized.h"
#include "../../kernels/storage.h"
#include "../../model/gpu_module.h"
#include "../expect.h"

extern "C" llama::GpuModule* llama_gpu_module();

namespace {

using namespace llama;
using Floats = std::vector<float>;

using checks::expect;

// Of a step in which no request fails.
inline std::vector<int32_t> tokens_of(const std::vector<StepResult>& results) {
  std::vector<int32_t> tokens;
  for (const StepResult& result : results) {
    expect(!result.failure, std::string("a request fails: ") + (result.failure ? result.failure->what() : ""));
    tokens.push_back(result.token);
  }
  return tokens;
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
      if (config.query_key_norm) {
        add_ones(prefix + "self_attn.q_norm.weight", config.head_dim);
        add_ones(prefix + "self_attn.k_norm.weight", config.head_dim);
      }
      for (const Linear linear : {Linear::q, Linear::k, Linear::v}) {
        if (config.attention_bias) add(prefix + "self_attn." + name_of(linear) + ".bias", {config.rows(linear)}, 2);
      }
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

  // Matrices become what blocks of Q8_0 can hold.
  void round_to_blocks() {
    for (auto& [tensor, values] : tensors_) {
      if (shapes_[tensor].size() != 2) continue;
      const std::vector<unsigned char> blocks = q8_0(values.data(), static_cast<int64_t>(values.size()));
      dequantize_blocks(BlockFormat::q8_0, blocks.data(), static_cast<int64_t>(values.size()), values.data());
    }
    write();
  }

  // The file as GGUF has it: matrices in blocks of Q8_0, queries' and keys' rows interleaved.
  void write_blocks() {
    std::ofstream file(path_, std::ios::binary | std::ios::trunc);
    int64_t offset = 0;
    for (auto& [tensor, source] : sources_) {
      const Floats& values = tensors_[tensor];
      const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
      std::vector<unsigned char> stored(bytes, bytes + values.size() * 4);
      if (source.shape.size() == 2) {
        source.blocks = BlockFormat::q8_0;
        if (tensor.ends_with("q_proj.weight")) source.interleaved_heads = config_.heads;
        if (tensor.ends_with("k_proj.weight")) source.interleaved_heads = config_.kv_heads;
        stored.clear();
        Floats rows(values.size());
        const int64_t cols = source.shape[1];
        for (int64_t row = 0; row < source.shape[0]; ++row) {
          const int64_t to = stored_row(row, source.shape[0], source.interleaved_heads);
          std::copy_n(values.begin() + row * cols, cols, rows.begin() + to * cols);
        }
        stored = q8_0(rows.data(), static_cast<int64_t>(rows.size()));
      }
      source.offset = offset;
      file.write(reinterpret_cast<const char*>(stored.data()), static_cast<int64_t>(stored.size()));
      offset += static_cast<int64_t>(stored.size());
    }
  }

  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& [tensor, values] : tensors_) all.push_back(tensor);
    return all;
  }

  // Returns what was there.
  float replace(const std::string& tensor, int64_t at, float value) {
    const float before = std::exchange(tensors_.at(tensor).at(static_cast<size_t>(at)), value);
    write();
    return before;
  }

  // A linear of every layer.
  void multiply(Linear linear, float factor) {
    for (int layer = 0; layer < config_.layers; ++layer) {
      for (float& value : tensors_.at(name(layer, linear))) value *= factor;
    }
    write();
  }

  ModelOptions options() const { return {config_, sources_, -1, nullptr}; }

 private:
  // A scale that is a power of two: rounding what has been rounded changes nothing.
  static std::vector<unsigned char> q8_0(const float* values, int64_t count) {
    std::vector<unsigned char> blocks;
    for (int64_t at = 0; at < count; at += 32) {
      float largest = 0;
      for (int64_t i = at; i < at + 32; ++i) largest = std::max(largest, std::abs(values[i]));
      const float scale = std::exp2(std::ceil(std::log2(std::max(largest, 1e-3f) / 127)));
      const uint16_t bits = f16_from_f32(scale);
      blocks.push_back(static_cast<unsigned char>(bits & 255));
      blocks.push_back(static_cast<unsigned char>(bits >> 8));
      for (int64_t i = at; i < at + 32; ++i) {
        blocks.push_back(static_cast<unsigned char>(static_cast<int8_t>(std::lround(values[i] / scale))));
      }
    }
    return blocks;
  }
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

inline AdapterSource random_adapter(const LlamaConfig& config, std::vector<Linear> linears, int rank) {
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

inline std::vector<int32_t> random_tokens(int64_t n) {
  std::vector<int32_t> tokens(static_cast<size_t>(n));
  for (int32_t& token : tokens) token = static_cast<int32_t>(generator() % 97);
  return tokens;
}

inline PackedBatch random_batch(const std::vector<int>& lengths) {
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

inline Floats flat(const std::vector<ModuleTensors>& modules) {
  Floats all;
  for (const ModuleTensors& module : modules) {
    all.insert(all.end(), module.a.begin(), module.a.end());
    all.insert(all.end(), module.b.begin(), module.b.end());
  }
  return all;
}

}  // namespace
