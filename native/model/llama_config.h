// The shape of a LLaMA-family decoder, as src/engine/config.ts has it, and the names of its linears.
#pragma once
#include <cstdint>
#include <vector>

namespace llama {

enum class Linear { q, k, v, o, gate, up, down };
constexpr int linear_count = 7;
const char* name_of(Linear linear);  // "q_proj", ...

// Linears that read the same input. Those of one group are stored as one matrix.
enum class LinearGroup { qkv, o, gate_up, down };
constexpr int group_count = 4;
LinearGroup group_of(Linear linear);
// A number for every product of the model that may be adapted.
inline int place_of(int layer, LinearGroup group) { return layer * group_count + static_cast<int>(group); }

struct LlamaConfig {
  int64_t vocab = 0, hidden = 0, intermediate = 0;
  int layers = 0, heads = 0, kv_heads = 0, head_dim = 0;
  float rms_norm_eps = 0;
  int64_t max_positions = 0;
  int64_t window = 0;  // 0: unlimited
  bool tied_head = false;
  bool attention_bias = false;  // on q, k and v (Qwen2)
  bool query_key_norm = false;  // RMSNorm of each head of q and k before RoPE (Qwen3)
  std::vector<float> inverse_frequencies;  // [head_dim / 2]
  float attention_scaling = 1;

  int64_t q_width() const { return int64_t{heads} * head_dim; }
  int64_t kv_width() const { return int64_t{kv_heads} * head_dim; }
  int64_t qkv_width() const { return q_width() + 2 * kv_width(); }

  int64_t rows(Linear linear) const;
  int64_t cols(Linear linear) const;
  int64_t cols(LinearGroup group) const;
  // First column of a linear's output in the output of its group.
  int64_t column(Linear linear) const;

  // Throws EngineError ENGINE_ARGUMENT. Afterwards no product of two sizes overflows int64_t.
  void validate() const;
};

}  // namespace llama
