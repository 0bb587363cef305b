// Sequences with caches, and one forward pass over all of them together (continuous batching).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "adapter.h"
#include "buffer.h"
#include "head.h"
#include "layer.h"

namespace llama {

template <class T>
class Sequence final : public EngineSequence {
 public:
  // Throws EngineError ENGINE_ARGUMENT, OUT_OF_MEMORY.
  Sequence(std::shared_ptr<Model<T>> owner, int64_t capacity, std::shared_ptr<Adapter<T>> read_with);

  std::shared_ptr<Model<T>> model;
  std::shared_ptr<Adapter<T>> adapter;  // or null
  std::optional<CacheReservation> reservation;  // stands before the cache: it outlives it
  std::unique_ptr<KvCache> cache;
  std::vector<int32_t> history;  // the tokens in the cache, for the repetition penalty

  size_t bytes() const override { return cache->bytes(); }
};

// Keeps its buffers between steps.
template <class T>
class Server {
 public:
  explicit Server(Model<T>& model) : model_(model) {}

  // As EngineModel::step. A pass holds at most 512 rows; longer prompts take several.
  std::vector<StepResult> step(const std::vector<StepRequest>& requests);
  // While the caller is still busy with the tokens of the last step: the next one, as far as its requests foretold it.
  void run_ahead();

 private:
  // A request that may come; its own pointer to the sequence is null, so that nothing is kept alive for it.
  struct Foreseen {
    std::weak_ptr<EngineSequence> sequence;
    StepRequest request;
    uint64_t adapter_version;
    int32_t drawn;
  };
  struct Piece {
    size_t request;
    int64_t first;  // index in the request's tokens
    int64_t count;
  };
  // What one pass reads, row by row.
  struct Rows {
    std::vector<int32_t> tokens, positions;
    std::vector<AttentionSpan> spans;
    std::vector<LoraSpan> adapters;
    std::vector<size_t> drawing;        // requests
    std::vector<int32_t> drawing_rows;  // their last rows
    int64_t furthest = 0;               // position
  };
  static Sequence<T>& sequence_of(const StepRequest& request) { return static_cast<Sequence<T>&>(*request.sequence); }
  static uint64_t adapter_version(const StepRequest& request);
  void check(const StepRequest& request) const;
  std::vector<int32_t> run(const std::vector<StepRequest>& requests);
  const Foreseen* find_ahead(const StepRequest& request) const;
  void foresee(const StepRequest& request, int32_t drawn);
  Rows rows_of(const std::vector<StepRequest>& requests, std::vector<Piece>& pieces) const;
  void pass(const std::vector<StepRequest>& requests, std::vector<Piece>& pieces, std::vector<int32_t>& result);
  void draw(const std::vector<StepRequest>& requests, const Rows& rows, const float* h, std::vector<int32_t>& result);

  Model<T>& model_;
  std::vector<Foreseen> coming_, ahead_;  // not computed yet; computed
  Buffer<float> h_;
  Buffer<T> qkv_, attention_, gate_up_, normed_, activated_;
  Buffer<int32_t> tokens_, positions_;
  HeadBuffers<T> head_;
};

}  // namespace llama
