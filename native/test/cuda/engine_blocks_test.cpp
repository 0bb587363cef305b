// A model as GGUF has it (matrices in blocks, queries' and keys' rows interleaved) on a GPU, emulated or a card, and on the CPU:
// the same bits as from the same numbers in plain float32.
#include <string>
#include <vector>

#include "random_model.h"

namespace {

PackedBatch batch() {
  generator.seed(3);
  PackedBatch rows;
  rows.tokens = random_tokens(40);
  rows.offsets = {0, 27, 40};
  return rows;
}

void test_gpu(const LlamaConfig& config, const std::string& dtype, Quantization quantization, const std::string& what) {
  Checkpoint plain(config, StorageType::f32), blocks(config, StorageType::f32);
  plain.round_to_blocks();
  blocks.round_to_blocks();
  blocks.write_blocks();
  GpuOptions options;
  options.quantization = quantization;
  options.dtype = dtype.empty() ? "bfloat16" : dtype;
  const auto expected = llama_gpu_module()->load(plain.options(), options, quiet);
  options.dtype = dtype;
  const auto model = llama_gpu_module()->load(blocks.options(), options, quiet);
  expect(std::string(model->kernels()) == expected->kernels(), what + ": another kind of activations");
  expect(model->weight_bytes() == expected->weight_bytes(), what + ": another number of bytes");
  expect(model->logits(batch(), nullptr) == expected->logits(batch(), nullptr), what + ": other logits");
}

void test_cpu(const LlamaConfig& config, const std::string& isa) {
  Checkpoint plain(config, StorageType::f32), blocks(config, StorageType::f32);
  plain.round_to_blocks();
  blocks.round_to_blocks();
  blocks.write_blocks();
  const auto expected = load_on_cpu(plain.options(), isa, 2, quiet), model = load_on_cpu(blocks.options(), isa, 2, quiet);
  expect(model->logits(batch(), nullptr) == expected->logits(batch(), nullptr), isa + ": other logits");
}

void test_refusals(const LlamaConfig& config) {
  Checkpoint blocks(config, StorageType::f32);
  blocks.write_blocks();
  const auto refusal = [](const ModelOptions& options) -> std::string {
    try {
      load_on_cpu(options, "reference", 1, quiet);
      return "";
    } catch (const EngineError& error) {
      return error.code();
    }
  };
  const std::string query = "model.layers.0.self_attn.q_proj.weight";
  ModelOptions options = blocks.options();
  options.tensors[query].interleaved_heads = 5;
  expect(refusal(options) == "CHECKPOINT_TENSOR", "heads that do not divide the rows are refused");
  options = blocks.options();
  options.tensors[query].blocks = BlockFormat::q4_k;
  expect(refusal(options) == "CHECKPOINT_CORRUPT", "rows that are no whole blocks are refused");
  options = blocks.options();
  options.tensors[query].offset = int64_t{1} << 40;
  expect(refusal(options) == "CHECKPOINT_CORRUPT", "blocks outside the file are refused");
}

}  // namespace

int main() {
  const LlamaConfig tied = make_config(64, 96, 4, 2, 16, true, 0), untied = make_config(32, 64, 2, 1, 16, false, 0);
  test_gpu(tied, "float32", Quantization::none, "float32");
  test_gpu(untied, "float32", Quantization::none, "float32, untied");
  test_gpu(tied, "", Quantization::none, "the default");
  test_gpu(untied, "float16", Quantization::int8, "float16, int8");
  for (const char* isa : {"reference", "auto"}) test_cpu(tied, isa);
  test_refusals(tied);
  return checks::summary();
}
