// Which rows of a step are read with which pages, as the kernels of attention_cached.h read it from device memory.
//
// Everything that changes from one decode step to the next lies in one block that the host writes and uploads; launches
// depend on AttentionBounds alone, so a step that was recorded can be replayed for any other of equal bounds.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../ops.h"
#include "page_pool.h"

namespace llama::cuda {

// Pages [first_page, end_page) of the context of one query: what one block reads. The cut depends on the query's
// position and the number of key heads only, so that a row gives the same bits alone and in a batch.
struct alignas(16) DecodeSplit {
  int32_t row;       // of q and o; -1: nothing to do
  int32_t position;  // of the query
  int32_t pages;     // its sequence's first page is PlanView::pages[pages]
  int32_t first_page, end_page;
  int32_t first;    // the query's splits are [first, first + count)
  int32_t count;    // at most 32
  int32_t counter;  // its counters are [counter, counter + kv_heads)
};

// Query rows [row, row + count) at positions [position, position + count), count > 1.
struct alignas(16) PrefillSpan {
  int32_t row, count, position, pages;
};

// A prefill of few rows over a long context is cut as well, into at most so many blocks.
constexpr int prefill_blocks = 256;

struct AttentionBounds {
  int64_t rows = 0;    // of the step
  int64_t splits = 0;  // a power of two
  // 0 in a decode step.
  int64_t prefill_spans = 0, prefill_rows = 0;
  int64_t prefill_pages = 0;  // of the longest context
  int kv_heads = 0;
  // Lies behind everything that a launch names: bounds that differ in it alone are equal to a launch.
  int64_t pages = 0;
};

// Whether every span is one row: the step can be replayed with (rows, splits) as part of the key.
bool is_decode(const std::vector<AttentionSpan>& spans);

// Spans of a step of `rows` rows; rows outside of all spans are left alone. Every span's cache is a PagedCache.
AttentionBounds bounds_of(const std::vector<AttentionSpan>& spans, int64_t rows);
// No step of up to max_rows rows over up to max_pages pages needs a larger plan or more scratch memory.
AttentionBounds largest_bounds(int64_t max_rows, int64_t max_pages, int kv_heads);

size_t plan_bytes(const AttentionBounds& bounds);
// Writes plan_bytes(bounds) to `host`, bounds being bounds_of(spans, rows). The caches have room for their spans.
void write_plan(void* host, const std::vector<AttentionSpan>& spans, const AttentionBounds& bounds);

// A plan in device memory.
struct PlanView {
  void* const* row_pages;  // [rows] where the row's key and value go; null: nowhere
  const DecodeSplit* splits;
  const PrefillSpan* prefill_spans;
  // Zeros between two launches.
  unsigned* counters;          // [rows * kv_heads]
  unsigned* prefill_counters;  // [prefill_blocks]
  void* const* pages;
  int64_t rows, split_count, prefill_span_count, prefill_rows, prefill_pages;
};

// `device` is 16-byte aligned.
PlanView plan_view(void* device, const AttentionBounds& bounds);

}  // namespace llama::cuda
