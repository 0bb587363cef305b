// The adapters of a pass over the model: their tables on the card, which row is read with which, and what adds their terms.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "decode_terms.h"
#include "gemm.h"
#include "gpu.h"

namespace llama::cuda {

// The weights that its terms point to stay their owner's.
template <class T>
class CardLoraTable final : public LoraTable {
 public:
  std::vector<std::vector<LoraTerm<T>>> terms;  // host, by place
  std::unique_ptr<Memory> memory;               // the same on the card, `stride` for each place
  int64_t stride = 0;
  int64_t ranks = 0, width = 0;  // the most of any place: sum of padded ranks, end of the last column
};

// Spans of more than 32 rows (prompts) are products of the library, one by one. All other rows go through two kernels
// together, whatever their adapters.
template <class T>
class LoraPass {
 public:
  LoraPass(Gpu& gpu, Gemm& gemm) : gpu_(gpu), gemm_(gemm) {}

  std::unique_ptr<LoraTable> make_table(const std::vector<std::vector<LoraTerm<T>>>& terms);
  // Uploads: not to be recorded. May give memory back, which ends recordings that name it.
  void plan(const std::vector<LoraSpan>& spans, int64_t tokens);
  // Adds the planned terms of a place to y; Y: T or float.
  template <class Y>
  void add(int place, const T* x, int64_t ldx, int64_t tokens, Y* y, int64_t ldy);
  // The planned terms of a place for a product of few tokens that adds them by itself, or none: those of more than
  // most_decode_terms, and of prompts, are for add().
  DecodeTerms<T> decode_terms(int place) const;
  // What the launches of add() and of such products depend on beside its arguments: a part of a recording's key.
  std::vector<int64_t> shape() const;

 private:
  struct Prompt {
    const CardLoraTable<T>* table;
    int64_t row, count;
  };
  template <class Y>
  void add_prompt(const Prompt& prompt, int place, const T* x, int64_t ldx, Y* y, int64_t ldy);

  Gpu& gpu_;
  Gemm& gemm_;
  std::vector<Prompt> prompts_;
  std::vector<LoraRow<T>> planned_;  // by row; empty where no row goes through the kernels
  std::vector<LoraRow<T>> uploaded_;
  int64_t ranks_ = 0, width_ = 0, stride_ = 0;  // the most of any planned adapter
  std::unique_ptr<Memory> rows_, scratch_, meeting_;
};

}  // namespace llama::cuda
