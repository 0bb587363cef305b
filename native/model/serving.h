// Sequences with caches, and one forward pass over all of them together (continuous batching).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "adapter.h"
#include "head.h"
#include "layer.h"
#include "sampling.h"

namespace llama {

struct Sequence {
  std::shared_ptr<Model> model;
  std::shared_ptr<Adapter> adapter;  // or null
  std::unique_ptr<KvCache> cache;
  std::vector<int32_t> history;  // the tokens in the cache, for the repetition penalty
};

// Throws EngineError OUT_OF_MEMORY.
std::shared_ptr<Sequence> make_sequence(std::shared_ptr<Model> model, int64_t capacity,
                                        std::shared_ptr<Adapter> adapter);

struct StepRequest {
  std::shared_ptr<Sequence> sequence;
  int64_t position;  // tokens that are in the cache already; later ones are forgotten
  std::vector<int32_t> tokens;
  std::optional<Sampling> sampling;
};

// Keeps its buffers between steps.
class Server {
 public:
  explicit Server(Model& model) : model_(model) {}

  // The drawn token of each request, or -1. A pass holds at most 512 rows; longer prompts take several.
  std::vector<int32_t> step(const std::vector<StepRequest>& requests);

 private:
  struct Piece {
    size_t request;
    int64_t first;  // index in the request's tokens
    int64_t count;
  };
  void check(const std::vector<StepRequest>& requests) const;
  void pass(const std::vector<StepRequest>& requests, std::vector<Piece>& pieces, std::vector<int32_t>& result);
  void draw(const std::vector<StepRequest>& requests, const std::vector<size_t>& drawing,
            const std::vector<int64_t>& rows, const float* h, std::vector<int32_t>& result);

  Model& model_;
  FloatBuffer h_, qkv_, attention_, gate_up_, u_, normed_, activated_;
  HeadBuffers head_;
};

}  // namespace llama
