#include "serving.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>

#include "available_memory.h"
#include "engine_error.h"

namespace llama {
namespace {

// Large enough that the products run at full speed, small enough that a running answer does not wait long for a prompt.
constexpr int64_t rows_per_pass = 512;

}  // namespace

std::shared_ptr<Sequence> make_sequence(std::shared_ptr<Model> model, int64_t capacity,
                                        std::shared_ptr<Adapter> adapter) {
  const LlamaConfig& config = model->config;
  if (capacity < 1 || capacity > config.max_positions) {
    throw EngineError("ENGINE_ARGUMENT", "capacity is " + std::to_string(capacity) + ", allowed are 1 to " +
                                             std::to_string(config.max_positions));
  }
  const int64_t bytes =
      2 * config.layers * config.kv_width() * capacity * static_cast<int64_t>(bytes_of(model->cache_type()));
  require_memory(bytes, "a key/value cache of " + std::to_string(capacity) + " tokens");
  auto sequence = std::make_shared<Sequence>();
  sequence->cache =
      model->ops->make_cache(config.layers, config.kv_heads, config.head_dim, capacity, model->cache_type());
  sequence->model = std::move(model);
  sequence->adapter = std::move(adapter);
  return sequence;
}

void Server::check(const std::vector<StepRequest>& requests) const {
  std::vector<const Sequence*> seen;
  for (size_t i = 0; i < requests.size(); ++i) {
    const StepRequest& request = requests[i];
    const std::string name = "request " + std::to_string(i);
    const auto tokens = static_cast<int64_t>(request.tokens.size());
    if (request.sequence->model.get() != &model_) {
      throw EngineError("ENGINE_ARGUMENT", name + ": the sequence belongs to another model");
    }
    if (tokens < 1) throw EngineError("ENGINE_ARGUMENT", name + ": there are no tokens");
    if (request.position < 0 || request.position > static_cast<int64_t>(request.sequence->history.size())) {
      throw EngineError("ENGINE_ARGUMENT", name + ": the cache holds fewer tokens than its length says");
    }
    if (tokens > request.sequence->cache->capacity - request.position) {
      throw EngineError("ENGINE_ARGUMENT", name + ": " + std::to_string(request.position + tokens) +
                                               " tokens do not fit into a cache of " +
                                               std::to_string(request.sequence->cache->capacity));
    }
    model_.check_tokens(request.tokens.data(), tokens);
    if (request.sampling) {
      const std::vector<int32_t>& forbidden = request.sampling->forbidden;
      model_.check_tokens(forbidden.data(), static_cast<int64_t>(forbidden.size()));
    }
    seen.push_back(request.sequence.get());
  }
  std::sort(seen.begin(), seen.end(), std::less<>());
  if (std::adjacent_find(seen.begin(), seen.end()) != seen.end()) {
    throw EngineError("ENGINE_ARGUMENT", "a sequence is in the step twice");
  }
}

std::vector<int32_t> Server::step(const std::vector<StepRequest>& requests) {
  check(requests);
  for (const StepRequest& request : requests) {
    std::vector<int32_t>& history = request.sequence->history;
    history.resize(static_cast<size_t>(request.position));
    history.insert(history.end(), request.tokens.begin(), request.tokens.end());
  }
  std::vector<int32_t> result(requests.size(), -1);
  std::vector<Piece> pieces;
  int64_t rows = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto total = static_cast<int64_t>(requests[i].tokens.size());
    for (int64_t first = 0; first < total;) {
      const int64_t count = std::min(total - first, rows_per_pass - rows);
      pieces.push_back({i, first, count});
      first += count;
      rows += count;
      if (rows == rows_per_pass) {
        pass(requests, pieces, result);
        pieces.clear();
        rows = 0;
      }
    }
  }
  if (!pieces.empty()) pass(requests, pieces, result);
  return result;
}

void Server::pass(const std::vector<StepRequest>& requests, std::vector<Piece>& pieces, std::vector<int32_t>& result) {
  // Rows read with the same adapter lie together, so that their thin products are one.
  std::stable_sort(pieces.begin(), pieces.end(), [&](const Piece& x, const Piece& y) {
    return std::less<>()(requests[x.request].sequence->adapter.get(), requests[y.request].sequence->adapter.get());
  });
  std::vector<int32_t> tokens, positions;
  std::vector<AttentionSpan> spans;
  std::vector<AdapterRows> adapters;
  std::vector<size_t> drawing;
  std::vector<int64_t> drawing_rows;
  int64_t furthest = 0, largest_rank = 0;
  for (const Piece& piece : pieces) {
    const StepRequest& request = requests[piece.request];
    const int64_t row = static_cast<int64_t>(tokens.size()), position = request.position + piece.first;
    spans.push_back({request.sequence->cache.get(), row, piece.count, position});
    for (int64_t i = 0; i < piece.count; ++i) {
      tokens.push_back(request.tokens[static_cast<size_t>(piece.first + i)]);
      positions.push_back(static_cast<int32_t>(position + i));
    }
    furthest = std::max(furthest, position + piece.count);
    if (const Adapter* adapter = request.sequence->adapter.get()) {
      if (adapters.empty() || adapters.back().adapter != adapter) adapters.push_back({adapter, row, 0});
      adapters.back().count += piece.count;
      largest_rank = std::max(largest_rank, adapter->largest_rank());
    }
    if (request.sampling && piece.first + piece.count == static_cast<int64_t>(request.tokens.size())) {
      drawing.push_back(piece.request);
      drawing_rows.push_back(row + piece.count - 1);
    }
  }

  const LlamaConfig& config = model_.config;
  const auto count = static_cast<int64_t>(tokens.size());
  const int64_t qkv_width = config.qkv_width();
  float* h = h_.reserve(count, config.hidden);
  LayerRows rows{};
  rows.input = rows.middle = rows.output = h;
  rows.qkv = qkv_.reserve(count, qkv_width);
  rows.attention = attention_.reserve(count, config.q_width());
  rows.gate_up = gate_up_.reserve(count, 2 * config.intermediate);
  rows.normed = normed_.reserve(count, config.hidden);
  rows.activated = activated_.reserve(count, config.intermediate);
  // Spans of several adapters start at row * (rank of their group), which never exceeds row * largest_rank.
  std::fill_n(rows.u, group_count, u_.reserve(count, largest_rank));

  const float* cos_sin = model_.rope.up_to(furthest);
  model_.ops->embed(model_.weights.embedding, tokens.data(), count, h, config.hidden);
  for (int layer = 0; layer < config.layers; ++layer) {
    layer_forward(model_, layer, rows, count, positions.data(), cos_sin, adapters, Dropout{},
                  [&](const float* qkv, float* attention) {
                    model_.ops->attention(model_.attention_shape(), layer, spans, qkv, qkv_width,
                                          qkv + config.q_width(), qkv + config.q_width() + config.kv_width(),
                                          qkv_width, attention, config.q_width());
                  });
  }
  if (!drawing.empty()) draw(requests, drawing, drawing_rows, h, result);
}

void Server::draw(const std::vector<StepRequest>& requests, const std::vector<size_t>& drawing,
                  const std::vector<int64_t>& rows, const float* h, std::vector<int32_t>& result) {
  const int64_t vocab = model_.config.vocab;
  float* logits = head_.logits.reserve(static_cast<int64_t>(rows.size()), vocab);
  head_logits(model_, h, rows, logits, head_);
  model_.ops->pool().parallel_for(static_cast<int64_t>(drawing.size()), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const StepRequest& request = requests[drawing[static_cast<size_t>(i)]];
      result[drawing[static_cast<size_t>(i)]] =
          sample(logits + i * vocab, vocab, request.sequence->history, *request.sampling);
    }
  });
}

}  // namespace llama
