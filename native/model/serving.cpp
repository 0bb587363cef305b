#include "serving.h"

#include <algorithm>
#include <functional>
#include <set>
#include <string>

#include "engine_error.h"

namespace llama {
namespace {

// Large enough that the products run at full speed, small enough that a running answer does not wait long for a prompt.
constexpr int64_t rows_per_pass = 512;

}  // namespace

template <class T>
Sequence<T>::Sequence(std::shared_ptr<Model<T>> owner, int64_t capacity, std::shared_ptr<Adapter<T>> read_with)
    : model(std::move(owner)), adapter(std::move(read_with)) {
  const LlamaConfig& config = model->config;
  if (capacity < 1 || capacity > config.max_positions) {
    throw EngineError("ENGINE_ARGUMENT", "capacity is " + std::to_string(capacity) + ", allowed are 1 to " +
                                             std::to_string(config.max_positions));
  }
  reservation.emplace(*model->cache_budget, capacity);
  cache = model->ops->make_cache(config.layers, config.kv_heads, config.head_dim, capacity, model->cache_type());
}

template <class T>
void Server<T>::check(const StepRequest& request) const {
  const auto tokens = static_cast<int64_t>(request.tokens.size());
  const auto* sequence = dynamic_cast<const Sequence<T>*>(request.sequence.get());
  if (sequence == nullptr || sequence->model.get() != &model_) {
    throw EngineError("ENGINE_ARGUMENT", "the sequence belongs to another model");
  }
  if (tokens < 1) throw EngineError("ENGINE_ARGUMENT", "there are no tokens");
  if (request.position < 0 || request.position > static_cast<int64_t>(sequence->history.size())) {
    throw EngineError("ENGINE_ARGUMENT", "the cache holds fewer tokens than its length says");
  }
  if (tokens > sequence->cache->capacity - request.position) {
    throw EngineError("ENGINE_ARGUMENT", std::to_string(request.position + tokens) + " tokens do not fit into a cache of " +
                                             std::to_string(sequence->cache->capacity));
  }
  check_tokens(model_.config, request.tokens);
  if (request.sampling) check_tokens(model_.config, request.sampling->forbidden);
}

template <class T>
std::vector<StepResult> Server<T>::step(const std::vector<StepRequest>& requests) {
  std::vector<StepResult> results(requests.size());
  std::set<const EngineSequence*> seen;
  std::vector<StepRequest> open;
  std::vector<size_t> places;
  for (size_t i = 0; i < requests.size(); ++i) {
    try {
      check(requests[i]);
      if (!seen.insert(requests[i].sequence.get()).second) {
        throw EngineError("ENGINE_ARGUMENT", "a sequence is in the step twice");
      }
    } catch (const EngineError& error) {
      results[i].failure = error;
      continue;
    }
    if (const Foreseen* found = find_ahead(requests[i])) {
      results[i].token = found->drawn;
    } else {
      open.push_back(requests[i]);
      places.push_back(i);
    }
  }
  ahead_.clear();
  coming_.clear();
  const std::vector<int32_t> drawn = run(open);
  for (size_t i = 0; i < open.size(); ++i) results[places[i]].token = drawn[i];
  for (size_t i = 0; i < requests.size(); ++i) {
    if (results[i].failure || !requests[i].sampling) continue;
    if (results[i].token < 0) {
      results[i].failure.emplace("LOGITS_NOT_FINITE", "the logits hold NaN or infinity: the weights or the adapter overflow");
    } else {
      foresee(requests[i], results[i].token);
    }
  }
  return results;
}

template <class T>
void Server<T>::run_ahead() {
  std::vector<Foreseen> foreseen;
  std::vector<StepRequest> requests;
  for (Foreseen& next : coming_) {
    const std::shared_ptr<EngineSequence> sequence = next.sequence.lock();
    if (sequence == nullptr) continue;
    requests.push_back(next.request);
    requests.back().sequence = sequence;
    next.adapter_version = adapter_version(requests.back());
    foreseen.push_back(std::move(next));
  }
  coming_.clear();
  const std::vector<int32_t> drawn = run(requests);
  for (size_t i = 0; i < foreseen.size(); ++i) foreseen[i].drawn = drawn[i];
  ahead_ = std::move(foreseen);
}

template <class T>
uint64_t Server<T>::adapter_version(const StepRequest& request) {
  const auto& adapter = sequence_of(request).adapter;
  return adapter ? adapter->version() : 0;
}

template <class T>
const typename Server<T>::Foreseen* Server<T>::find_ahead(const StepRequest& request) const {
  for (const Foreseen& found : ahead_) {
    // The same sequence: its owner is compared, which is no pointer that another may have after it.
    if (found.sequence.owner_before(request.sequence) || request.sequence.owner_before(found.sequence)) continue;
    const bool same = found.request.position == request.position && found.request.tokens == request.tokens &&
                      found.request.sampling == request.sampling && found.adapter_version == adapter_version(request);
    return same ? &found : nullptr;
  }
  return nullptr;
}

template <class T>
void Server<T>::foresee(const StepRequest& request, int32_t drawn) {
  if (!request.continues_unless) return;
  const std::vector<int32_t>& endings = *request.continues_unless;
  if (std::find(endings.begin(), endings.end(), drawn) != endings.end()) return;
  const int64_t position = request.position + static_cast<int64_t>(request.tokens.size());
  if (position >= sequence_of(request).cache->capacity) return;
  StepRequest next{nullptr, position, {drawn}, request.sampling};
  ++next.sampling->index;
  coming_.push_back({request.sequence, std::move(next), 0, -1});
}

template <class T>
std::vector<int32_t> Server<T>::run(const std::vector<StepRequest>& requests) {
  for (const StepRequest& request : requests) {
    std::vector<int32_t>& history = sequence_of(request).history;
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

template <class T>
typename Server<T>::Rows Server<T>::rows_of(const std::vector<StepRequest>& requests,
                                            std::vector<Piece>& pieces) const {
  const auto adapter_of = [&](const Piece& piece) { return sequence_of(requests[piece.request]).adapter.get(); };
  // Rows read with the same adapter lie together, so that their thin products are one.
  std::stable_sort(pieces.begin(), pieces.end(), [&](const Piece& x, const Piece& y) {
    return std::less<>()(adapter_of(x), adapter_of(y));
  });
  Rows rows;
  for (const Piece& piece : pieces) {
    const StepRequest& request = requests[piece.request];
    const int64_t row = static_cast<int64_t>(rows.tokens.size()), position = request.position + piece.first;
    rows.spans.push_back({sequence_of(request).cache.get(), row, piece.count, position});
    for (int64_t i = 0; i < piece.count; ++i) {
      rows.tokens.push_back(request.tokens[static_cast<size_t>(piece.first + i)]);
      rows.positions.push_back(static_cast<int32_t>(position + i));
    }
    rows.furthest = std::max(rows.furthest, position + piece.count);
    if (const Adapter<T>* adapter = adapter_of(piece)) {
      const LoraTable* table = &adapter->table();
      if (rows.adapters.empty() || rows.adapters.back().table != table) rows.adapters.push_back({table, row, 0});
      rows.adapters.back().count += piece.count;
    }
    if (request.sampling && piece.first + piece.count == static_cast<int64_t>(request.tokens.size())) {
      rows.drawing.push_back(piece.request);
      rows.drawing_rows.push_back(static_cast<int32_t>(row + piece.count - 1));
    }
  }
  return rows;
}

template <class T>
void Server<T>::pass(const std::vector<StepRequest>& requests, std::vector<Piece>& pieces,
                     std::vector<int32_t>& result) {
  BasicOps<T>& ops = *model_.ops;
  const LlamaConfig& config = model_.config;
  const Rows rows = rows_of(requests, pieces);
  const auto count = static_cast<int64_t>(rows.tokens.size());
  const int64_t qkv_width = config.qkv_width();

  LayerRows<T> layer_rows{};
  float* h = h_.reserve(ops, count, config.hidden);
  layer_rows.input = layer_rows.middle = layer_rows.output = h;
  layer_rows.qkv = qkv_.reserve(ops, count, qkv_width);
  layer_rows.attention = attention_.reserve(ops, count, config.q_width());
  layer_rows.gate_up = gate_up_.reserve(ops, count, 2 * config.intermediate);
  layer_rows.normed = normed_.reserve(ops, count, config.hidden);
  layer_rows.activated = activated_.reserve(ops, count, config.intermediate);
  const int32_t* tokens = tokens_.hold(ops, rows.tokens);
  const int32_t* positions = positions_.hold(ops, rows.positions);
  const float* cos_sin = model_.rope.up_to(ops, rows.furthest);
  ops.plan_attention(rows.spans);
  Adaptation<T> adaptation;
  adaptation.planned = !rows.adapters.empty();
  if (adaptation.planned) ops.plan_lora(rows.adapters, count);

  const auto layers = [&] {
    ops.embed(*model_.weights.embedding, tokens, count, h, config.hidden);
    for (int layer = 0; layer < config.layers; ++layer) {
      layer_forward<T>(model_, layer, layer_rows, count, adaptation, [&](T* qkv, T* attention) {
        ops.attention(model_.attention_shape(), layer, model_.rotary(layer, positions, cos_sin), qkv, qkv_width, count,
                      attention, config.q_width());
      });
    }
  };
  // One row of each sequence: the next pass is the same again.
  if (static_cast<size_t>(count) == rows.spans.size()) {
    ops.replay({count, adaptation.planned ? 1 : 0, reinterpret_cast<int64_t>(cos_sin)}, layers);
  } else {
    layers();
  }
  if (!rows.drawing.empty()) draw(requests, rows, h, result);
}

template <class T>
void Server<T>::draw(const std::vector<StepRequest>& requests, const Rows& rows, const float* h,
                     std::vector<int32_t>& result) {
  std::vector<Draw> draws;
  for (const size_t index : rows.drawing) {
    draws.push_back({&*requests[index].sampling, &sequence_of(requests[index]).history});
  }
  float* logits = head_logits(model_, h, rows.drawing_rows, head_);
  const std::vector<int32_t> drawn = model_.ops->sample(logits, model_.config.vocab, draws);
  for (size_t i = 0; i < drawn.size(); ++i) result[rows.drawing[i]] = drawn[i];
}

#define LLAMA_INSTANTIATE(T) \
  template class Sequence<T>; \
  template class Server<T>;
LLAMA_FOR_EACH_ACTIVATION(LLAMA_INSTANTIATE)
#undef LLAMA_INSTANTIATE

}  // namespace llama
