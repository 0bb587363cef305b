#include "lora_pass.h"

#include <algorithm>

namespace llama::cuda {
namespace {

constexpr int64_t prompt_rows = 32;  // more of one adapter are worth the library's launches
constexpr size_t least_rows = 512;

// Grows by doubling: its address stays as long as it can.
void reserve(Gpu& gpu, std::unique_ptr<Memory>& memory, size_t bytes) {
  if (memory && memory->bytes >= bytes) return;
  const size_t grown = memory ? std::max(bytes, memory->bytes * 2) : bytes;
  memory.reset();
  memory = gpu.allocate(grown);
}

template <class T>
bool same_rows(const std::vector<LoraRow<T>>& a, const std::vector<LoraRow<T>>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const LoraRow<T>& x, const LoraRow<T>& y) {
    return x.terms == y.terms && x.stride == y.stride;
  });
}

}  // namespace

template <class T>
std::unique_ptr<LoraTable> LoraPass<T>::make_table(const std::vector<std::vector<LoraTerm<T>>>& terms) {
  auto table = std::make_unique<CardLoraTable<T>>();
  table->terms = terms;
  for (const std::vector<LoraTerm<T>>& place : terms) {
    int64_t ranks = 0;
    for (const LoraTerm<T>& term : place) {
      ranks += padded_rank(term.rank);
      table->width = std::max(table->width, term.column + term.out);
    }
    table->ranks = std::max(table->ranks, ranks);
    table->stride = std::max(table->stride, static_cast<int64_t>(place.size()));
  }
  std::vector<LoraTerm<T>> flat(terms.size() * static_cast<size_t>(table->stride), LoraTerm<T>{});
  for (size_t place = 0; place < terms.size(); ++place) {
    std::copy(terms[place].begin(), terms[place].end(), flat.begin() + static_cast<int64_t>(place) * table->stride);
  }
  table->memory = gpu_.allocate(flat.size() * sizeof(LoraTerm<T>));
  gpu_.upload(table->memory->data, flat.data(), flat.size() * sizeof(LoraTerm<T>));
  return table;
}

template <class T>
void LoraPass<T>::plan(const std::vector<LoraSpan>& spans, int64_t tokens) {
  prompts_.clear();
  planned_.clear();
  ranks_ = width_ = stride_ = 0;
  for (const LoraSpan& span : spans) {
    const auto* table = static_cast<const CardLoraTable<T>*>(span.table);
    if (table == nullptr || table->ranks == 0 || span.count == 0) continue;
    ranks_ = std::max(ranks_, table->ranks);
    width_ = std::max(width_, table->width);
    stride_ = std::max(stride_, table->stride);
    if (span.count > prompt_rows) {
      prompts_.push_back({table, span.row, span.count});
      continue;
    }
    planned_.resize(static_cast<size_t>(tokens));
    const LoraRow<T> row{static_cast<const LoraTerm<T>*>(table->memory->data), table->stride};
    std::fill_n(planned_.begin() + span.row, span.count, row);
  }
  if (ranks_ == 0) return;
  reserve(gpu_, scratch_, lora_scratch_bytes(tokens, ranks_));
  if (planned_.empty()) return;
  if (!meeting_) {
    meeting_ = gpu_.allocate(sizeof(Meeting));
    gpu_.clear(meeting_->data, sizeof(Meeting));
  }
  const size_t bytes = std::max(planned_.size(), least_rows) * sizeof(LoraRow<T>);
  if (!rows_ || rows_->bytes < bytes) uploaded_.clear();  // goes with its memory, even where there is none to follow
  reserve(gpu_, rows_, bytes);
  if (same_rows(planned_, uploaded_)) return;
  gpu_.upload(rows_->data, planned_.data(), planned_.size() * sizeof(LoraRow<T>));
  uploaded_ = planned_;
}

template <class T>
DecodeTerms<T> LoraPass<T>::decode_terms(int place) const {
  if (place == no_place || planned_.empty() || !prompts_.empty() || stride_ > most_decode_terms) return {};
  return {static_cast<const LoraRow<T>*>(rows_->data), place, static_cast<int>(ranks_), static_cast<float*>(scratch_->data),
          static_cast<Meeting*>(meeting_->data)};
}

template <class T>
template <class Y>
void LoraPass<T>::add(int place, const T* x, int64_t ldx, int64_t tokens, Y* y, int64_t ldy) {
  for (const Prompt& prompt : prompts_) add_prompt(prompt, place, x, ldx, y, ldy);
  if (planned_.empty()) return;
  const auto* rows = static_cast<const LoraRow<T>*>(rows_->data);
  auto* u = static_cast<float*>(scratch_->data);
  lora_shrink(gpu_.stream(), rows, place, x, ldx, tokens, ranks_, u);
  lora_expand(gpu_.stream(), rows, place, u, ranks_, tokens, width_, y, ldy);
}

template <class T>
template <class Y>
void LoraPass<T>::add_prompt(const Prompt& prompt, int place, const T* x, int64_t ldx, Y* y, int64_t ldy) {
  const std::vector<LoraTerm<T>>& terms = prompt.table->terms[static_cast<size_t>(place)];
  auto* u = static_cast<T*>(scratch_->data);
  const int64_t ldu = prompt.table->ranks;
  x += prompt.row * ldx;
  y += prompt.row * ldy;
  for (size_t first = 0, column = 0; first < terms.size();) {
    // Terms whose A lie behind one another, without gaps in u, are one product.
    int64_t rank = terms[first].rank;
    size_t end = first + 1;
    while (end < terms.size() && rank == padded_rank(static_cast<int>(rank)) &&
           terms[end].a == terms[first].a + rank * terms[first].in) {
      rank += terms[end++].rank;
    }
    gemm_.multiply<T, T>({x, ldx}, {terms[first].a, terms[first].in, true}, u + column, ldu, prompt.count, rank,
                         terms[first].in, 1, 0);
    column += static_cast<size_t>(padded_rank(static_cast<int>(rank)));
    first = end;
  }
  int64_t column = 0;
  for (const LoraTerm<T>& term : terms) {
    gemm_.multiply<T, Y>({u + column, ldu}, {term.b, term.rank, true}, y + term.column, ldy, prompt.count, term.out,
                         term.rank, term.scale, 1);
    column += padded_rank(term.rank);
  }
}

template <class T>
std::vector<int64_t> LoraPass<T>::shape() const {
  std::vector<int64_t> result = {planned_.empty() ? 0 : 1, ranks_, width_, stride_ > most_decode_terms ? 1 : 0};
  for (const Prompt& prompt : prompts_) {
    result.insert(result.end(), {static_cast<int64_t>(reinterpret_cast<intptr_t>(prompt.table)), prompt.row, prompt.count});
  }
  return result;
}

template class LoraPass<float>;
template class LoraPass<Bf16>;
template class LoraPass<Half>;
template void LoraPass<float>::add(int, const float*, int64_t, int64_t, float*, int64_t);
template void LoraPass<Bf16>::add(int, const Bf16*, int64_t, int64_t, Bf16*, int64_t);
template void LoraPass<Bf16>::add(int, const Bf16*, int64_t, int64_t, float*, int64_t);
template void LoraPass<Half>::add(int, const Half*, int64_t, int64_t, Half*, int64_t);
template void LoraPass<Half>::add(int, const Half*, int64_t, int64_t, float*, int64_t);

}  // namespace llama::cuda
