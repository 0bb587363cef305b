#include "weights.h"

#include <algorithm>

#include "engine_error.h"
#include "matrix_sources.h"

namespace llama {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Looks tensors up, maps each file once and checks every size against it.
class Checkpoint {
 public:
  explicit Checkpoint(const TensorSources& tensors) : tensors_(tensors) {}

  MatrixSource matrix(const std::string& name, int64_t rows, int64_t cols) {
    const TensorSource& tensor = source(name);
    return {bytes(name, {rows, cols}), tensor.type, rows, cols, tensor.blocks, tensor.interleaved_heads};
  }

  std::vector<float> vector(const std::string& name, int64_t length) {
    const TensorSource& tensor = source(name);
    std::vector<float> stored(static_cast<size_t>(length)), values(static_cast<size_t>(length));
    load_row({bytes(name, {length}), tensor.type, 1, length, tensor.blocks}, 0, stored.data());
    for (int64_t i = 0; i < length; ++i) {
      values[static_cast<size_t>(i)] = stored[static_cast<size_t>(stored_row(i, length, tensor.interleaved_heads))];
    }
    return values;
  }

  std::shared_ptr<MappedFile> file_of(const std::string& name) { return mapped(source(name).file); }

 private:
  const TensorSource& source(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw EngineError("CHECKPOINT_TENSOR", "tensor " + name + " is missing");
    return found->second;
  }

  const unsigned char* bytes(const std::string& name, const std::vector<int64_t>& shape) {
    const TensorSource& tensor = source(name);
    if (tensor.shape != shape) {
      throw EngineError("CHECKPOINT_TENSOR", tensor.file + ": tensor " + name + " has shape " +
                                                 shape_text(tensor.shape) + ", the configuration says " +
                                                 shape_text(shape));
    }
    check_order(name, tensor);
    const int64_t rows = shape.size() == 2 ? shape[0] : 1;
    // Cannot overflow: LlamaConfig::validate bounds every extent.
    const int64_t size = rows * row_bytes({nullptr, tensor.type, rows, shape.back(), tensor.blocks});
    const std::shared_ptr<MappedFile>& file = mapped(tensor.file);
    const auto available = static_cast<int64_t>(file->size());
    if (tensor.offset < 0 || tensor.offset > available || size > available - tensor.offset) {
      throw EngineError("CHECKPOINT_CORRUPT", tensor.file + ": is too short for tensor " + name + " (" +
                                                  std::to_string(size) + " bytes at " + std::to_string(tensor.offset) +
                                                  ", the file has " + std::to_string(available) + ")");
    }
    return file->data() + tensor.offset;
  }

  // Rows are whole blocks, and heads have pairs.
  static void check_order(const std::string& name, const TensorSource& tensor) {
    const int64_t heads = tensor.interleaved_heads;
    if (heads < 0 || (heads > 0 && tensor.shape[0] % (2 * heads) != 0)) {
      throw EngineError("CHECKPOINT_TENSOR", tensor.file + ": tensor " + name + " of shape " + shape_text(tensor.shape) +
                                                 " does not have " + std::to_string(heads) + " heads of pairs");
    }
    if (tensor.blocks != BlockFormat::none && tensor.shape.back() % layout_of(tensor.blocks).elements != 0) {
      throw EngineError("CHECKPOINT_CORRUPT", tensor.file + ": tensor " + name + " of shape " +
                                                  shape_text(tensor.shape) + " is not made of whole blocks");
    }
  }

  const std::shared_ptr<MappedFile>& mapped(const std::string& path) {
    std::shared_ptr<MappedFile>& file = files_[path];
    if (!file) file = std::make_shared<MappedFile>(path);
    return file;
  }

  const TensorSources& tensors_;
  std::map<std::string, std::shared_ptr<MappedFile>> files_;
};

// One matrix of all sources. Checkpoints that mix storage types inside a group are widened to float32.
template <class T>
std::unique_ptr<PackedMatrix> pack(BasicOps<T>& ops, std::vector<MatrixSource> sources) {
  const bool same = std::all_of(sources.begin(), sources.end(),
                                [&](const MatrixSource& source) { return source.type == sources[0].type; });
  std::vector<std::vector<float>> widened;
  if (!same) {
    for (MatrixSource& source : sources) {
      if (source.type == StorageType::f32) continue;
      std::vector<float>& values = widened.emplace_back(static_cast<size_t>(source.rows * source.cols));
      for (int64_t row = 0; row < source.rows; ++row) load_row(source, row, values.data() + row * source.cols);
      source = {values.data(), StorageType::f32, source.rows, source.cols};
    }
  }
  return ops.pack(sources);
}

// Bytes that the tensors will take. A checkpoint's header may say anything: sizes that are not possible count as too many.
template <class T>
int64_t planned_bytes(const BasicOps<T>& ops, const TensorSources& tensors) {
  int64_t sum = 0;
  for (const auto& [name, tensor] : tensors) {
    int64_t elements = 1;
    for (const int64_t extent : tensor.shape) {
      if (__builtin_mul_overflow(elements, extent, &elements) || elements > INT64_MAX / 8) return INT64_MAX;
    }
    const bool matrix = tensor.shape.size() == 2;
    const int64_t bytes = matrix ? ops.packed_bytes({nullptr, tensor.type, tensor.shape[0], tensor.shape[1]},
                                                    name.starts_with("model.layers."))
                                 : elements * static_cast<int64_t>(sizeof(float));
    if (__builtin_add_overflow(sum, bytes, &sum)) return INT64_MAX;
  }
  return sum;
}

}  // namespace

template <class T>
Weights load_weights(BasicOps<T>& ops, const LlamaConfig& config, const TensorSources& tensors,
                     const std::function<void(double)>& progress, const std::function<bool()>& cancelled) {
  Checkpoint checkpoint(tensors);
  Weights weights;
  const std::string embedding = "model.embed_tokens.weight";
  const MatrixSource table = checkpoint.matrix(embedding, config.vocab, config.hidden);
  const std::shared_ptr<MappedFile> embedding_file = checkpoint.file_of(embedding);
  weights.final_norm.hold(ops, checkpoint.vector("model.norm.weight", config.hidden));
  const bool blocks = std::any_of(tensors.begin(), tensors.end(),
                                  [](const auto& tensor) { return tensor.second.blocks != BlockFormat::none; });
  // Several times the file's size, which the user should not have to wonder about.
  const std::string what = blocks ? "loading the model's weights, GGUF's blocks as plain numbers," : "loading the model's weights";
  ops.require(planned_bytes(ops, tensors), what, ops.weights_remedy());
  weights.embedding = ops.make_embedding(table, embedding_file);

  for (int layer = 0; layer < config.layers; ++layer) {
    if (cancelled()) throw EngineError("ENGINE_ARGUMENT", "loading was cancelled");
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const auto linear = [&](Linear name) {
      const bool mlp = name >= Linear::gate;
      return checkpoint.matrix(prefix + (mlp ? "mlp." : "self_attn.") + name_of(name) + ".weight", config.rows(name),
                               config.cols(name));
    };
    LayerWeights& packed = weights.layers.emplace_back();
    packed.input_norm.hold(ops, checkpoint.vector(prefix + "input_layernorm.weight", config.hidden));
    packed.post_attention_norm.hold(ops,
                                    checkpoint.vector(prefix + "post_attention_layernorm.weight", config.hidden));
    if (config.attention_bias) {
      std::vector<float> bias;
      for (const Linear name : {Linear::q, Linear::k, Linear::v}) {
        const std::vector<float> part = checkpoint.vector(prefix + "self_attn." + name_of(name) + ".bias", config.rows(name));
        bias.insert(bias.end(), part.begin(), part.end());
      }
      packed.qkv_bias.hold(ops, bias);
    }
    if (config.query_key_norm) {
      packed.q_norm.hold(ops, checkpoint.vector(prefix + "self_attn.q_norm.weight", config.head_dim));
      packed.k_norm.hold(ops, checkpoint.vector(prefix + "self_attn.k_norm.weight", config.head_dim));
    }
    for (const Linear name : {Linear::q, Linear::k, Linear::v}) {
      const StorageType type = linear(name).type;
      if (layer == 0 && name == Linear::q) weights.type = type;
      if (type != weights.type) weights.type = StorageType::f32;
    }
    packed.linears[static_cast<int>(LinearGroup::qkv)] =
        pack(ops, {linear(Linear::q), linear(Linear::k), linear(Linear::v)});
    packed.linears[static_cast<int>(LinearGroup::o)] = pack(ops, {linear(Linear::o)});
    packed.linears[static_cast<int>(LinearGroup::gate_up)] = pack(ops, {linear(Linear::gate), linear(Linear::up)});
    packed.linears[static_cast<int>(LinearGroup::down)] = pack(ops, {linear(Linear::down)});
    for (const auto& matrix : packed.linears) weights.bytes += matrix->bytes();
    progress((layer + 1.0) / (config.layers + 1.0));
  }
  const std::string head = config.tied_head ? embedding : "lm_head.weight";
  weights.head = ops.pack_head(checkpoint.matrix(head, config.vocab, config.hidden));
  weights.bytes += weights.head->bytes();
  embedding_file->expect_random_reads();
  progress(1);
  return weights;
}

#define LLAMA_INSTANTIATE(T)                                                                           \
  template Weights load_weights<T>(BasicOps<T>&, const LlamaConfig&, const TensorSources&,             \
                                   const std::function<void(double)>&, const std::function<bool()>&);
LLAMA_FOR_EACH_ACTIVATION(LLAMA_INSTANTIATE)
#undef LLAMA_INSTANTIATE

}  // namespace llama
