#include "attention_plan.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

namespace llama::cuda {
namespace {

// Fewer and a block's work is less than what it costs to start it and to write a partial result.
constexpr int64_t least_pages = 4;
// A lane each when they are put together.
constexpr int64_t most_splits = 32;
// Enough to fill the largest card with one query.
constexpr int64_t blocks_per_query = 256;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t power_of_two(int64_t n) { return n == 0 ? 0 : static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(n))); }

int64_t pages_of(const AttentionSpan& span) { return divide_up(span.position + span.count, page_tokens); }

int64_t pages_per_split(int64_t pages, int kv_heads) {
  const int64_t most = std::clamp<int64_t>(blocks_per_query / kv_heads, 4, most_splits);
  return std::max(least_pages, divide_up(pages, most));
}

int64_t splits_of(int64_t pages, int kv_heads) { return divide_up(pages, pages_per_split(pages, kv_heads)); }

// Where each part of a plan begins. What changes within a replayed record's bounds comes last.
struct Sections {
  size_t row_pages, splits, prefill_spans, counters, prefill_counters, pages, end;

  explicit Sections(const AttentionBounds& bounds) {
    size_t at = 0;
    const auto section = [&](int64_t count, size_t bytes) {
      const size_t begin = at;
      at += (static_cast<size_t>(count) * bytes + 15) / 16 * 16;
      return begin;
    };
    row_pages = section(bounds.rows, sizeof(void*));
    splits = section(bounds.splits, sizeof(DecodeSplit));
    prefill_spans = section(bounds.prefill_spans, sizeof(PrefillSpan));
    counters = section(bounds.rows * bounds.kv_heads, sizeof(unsigned));
    prefill_counters = section(bounds.prefill_spans > 0 ? prefill_blocks : 0, sizeof(unsigned));
    pages = section(bounds.pages, sizeof(void*));
    end = at;
  }
};

}  // namespace

bool is_decode(const std::vector<AttentionSpan>& spans) {
  return std::all_of(spans.begin(), spans.end(), [](const AttentionSpan& span) { return span.count == 1; });
}

AttentionBounds bounds_of(const std::vector<AttentionSpan>& spans, int64_t rows) {
  AttentionBounds bounds;
  bounds.rows = rows;
  for (const AttentionSpan& span : spans) {
    bounds.kv_heads = span.cache->kv_heads;
    bounds.pages += pages_of(span);
    if (span.count == 1) {
      bounds.splits += splits_of(pages_of(span), bounds.kv_heads);
    } else {
      bounds.prefill_spans += 1;
      bounds.prefill_rows += span.count;
      bounds.prefill_pages = std::max(bounds.prefill_pages, pages_of(span));
    }
  }
  bounds.splits = power_of_two(bounds.splits);
  return bounds;
}

AttentionBounds largest_bounds(int64_t max_rows, int64_t max_pages, int kv_heads) {
  AttentionBounds bounds;
  bounds.rows = max_rows;
  bounds.splits = power_of_two(std::min(max_pages / least_pages + max_rows, max_rows * most_splits));
  bounds.prefill_spans = max_rows / 2;
  bounds.prefill_rows = max_rows;
  bounds.prefill_pages = max_pages;
  bounds.kv_heads = kv_heads;
  bounds.pages = max_pages;
  return bounds;
}

size_t plan_bytes(const AttentionBounds& bounds) { return Sections(bounds).end; }

void write_plan(void* host, const std::vector<AttentionSpan>& spans, const AttentionBounds& bounds) {
  const Sections sections(bounds);
  auto* bytes = static_cast<unsigned char*>(host);
  std::memset(bytes, 0, sections.end);
  const auto put = [&](size_t section, int64_t index, const auto& value) {
    std::memcpy(bytes + section + static_cast<size_t>(index) * sizeof value, &value, sizeof value);
  };
  int64_t splits = 0, prefill_spans = 0, pages = 0, queries = 0;
  for (const AttentionSpan& span : spans) {
    const auto& held = static_cast<const PagedCache&>(*span.cache).pages();
    const int64_t used = pages_of(span);
    if (static_cast<int64_t>(held.size()) < used) throw std::invalid_argument("a cache has no room for its span");
    std::memcpy(bytes + sections.pages + static_cast<size_t>(pages) * sizeof(void*), held.data(),
                static_cast<size_t>(used) * sizeof(void*));
    for (int64_t i = 0; i < span.count; ++i) {
      put(sections.row_pages, span.row + i, held[static_cast<size_t>((span.position + i) / page_tokens)]);
    }
    const auto row = static_cast<int32_t>(span.row), position = static_cast<int32_t>(span.position);
    const auto first_page = static_cast<int32_t>(pages);
    if (span.count > 1) {
      put(sections.prefill_spans, prefill_spans++,
          PrefillSpan{row, static_cast<int32_t>(span.count), position, first_page});
    } else {
      const int64_t step = pages_per_split(used, bounds.kv_heads), count = splits_of(used, bounds.kv_heads);
      for (int64_t i = 0; i < count; ++i) {
        put(sections.splits, splits + i,
            DecodeSplit{row, position, first_page, static_cast<int32_t>(i * step),
                        static_cast<int32_t>(std::min((i + 1) * step, used)), static_cast<int32_t>(splits),
                        static_cast<int32_t>(count), static_cast<int32_t>(queries * bounds.kv_heads)});
      }
      splits += count;
      queries += 1;
    }
    pages += used;
  }
  DecodeSplit nothing{};
  nothing.row = -1;
  for (; splits < bounds.splits; ++splits) put(sections.splits, splits, nothing);
}

PlanView plan_view(void* device, const AttentionBounds& bounds) {
  const Sections sections(bounds);
  auto* bytes = static_cast<unsigned char*>(device);
  PlanView view{};
  view.row_pages = reinterpret_cast<void* const*>(bytes + sections.row_pages);
  view.splits = reinterpret_cast<const DecodeSplit*>(bytes + sections.splits);
  view.prefill_spans = reinterpret_cast<const PrefillSpan*>(bytes + sections.prefill_spans);
  view.counters = reinterpret_cast<unsigned*>(bytes + sections.counters);
  view.prefill_counters = reinterpret_cast<unsigned*>(bytes + sections.prefill_counters);
  view.pages = reinterpret_cast<void* const*>(bytes + sections.pages);
  view.rows = bounds.rows;
  view.split_count = bounds.splits;
  view.prefill_span_count = bounds.prefill_spans;
  view.prefill_rows = bounds.prefill_rows;
  view.prefill_pages = bounds.prefill_pages;
  return view;
}

}  // namespace llama::cuda
