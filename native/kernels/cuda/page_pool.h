// Memory for keys and values in pages: sequences of any length share one card without gaps between them, and memory
// that a kernel may name never moves.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "../memory.h"
#include "../ops.h"

namespace llama::cuda {

constexpr int page_tokens = 32;

// Elements from one position of a head to the next in a page: head_dim, filled up with zeros to whole packs of 16
// bytes.
constexpr int page_row(int head_dim, int element_bytes) {
  const int pack = 16 / element_bytes;
  return (head_dim + pack - 1) / pack * pack;
}

// Elements of one layer's keys, or values, in a page.
constexpr int64_t page_part(int kv_heads, int row) { return int64_t{kv_heads} * page_tokens * row; }

// A page: [layers][keys, values][kv_heads][page_tokens][page_row].
struct PageLayout {
  int layers, kv_heads, head_dim, element_bytes;
  size_t bytes() const;
  bool operator==(const PageLayout&) const = default;
};

// Sequences end on other threads than the one that steps.
class PagePool {
 public:
  // The pool uses at most max_bytes. The device outlives it.
  PagePool(Device& device, const PageLayout& layout, size_t max_bytes);
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // Contents undefined. Throws EngineError OUT_OF_MEMORY.
  void* take();
  void give_back(void* page);

  const PageLayout& layout() const { return layout_; }
  size_t page_bytes() const { return page_bytes_; }
  int64_t max_pages() const { return static_cast<int64_t>(max_bytes_ / page_bytes_); }
  size_t bytes_in_use() const;
  size_t bytes_allocated() const;

 private:
  void grow();
  std::unique_ptr<Memory> allocate(int64_t& pages);

  Device& device_;
  PageLayout layout_;
  size_t page_bytes_, max_bytes_;
  mutable std::mutex mutex_;  // of what follows
  int64_t pages_ = 0;         // of all slabs
  std::vector<std::unique_ptr<Memory>> slabs_;
  std::vector<void*> free_;
};

// A sequence's pages, in the order of its positions. Gives them back when it goes.
class PagedCache final : public KvCache {
 public:
  PagedCache(std::shared_ptr<PagePool> pool, int64_t capacity_in_tokens);
  ~PagedCache() override;
  PagedCache(const PagedCache&) = delete;
  PagedCache& operator=(const PagedCache&) = delete;

  // Makes room for positions 0 .. positions - 1. Throws EngineError OUT_OF_MEMORY; pages taken until then are kept.
  void reserve(int64_t positions);
  const std::vector<void*>& pages() const { return pages_; }
  size_t bytes() const override { return pages_.size() * pool_->page_bytes(); }

 private:
  std::shared_ptr<PagePool> pool_;
  std::vector<void*> pages_;
};

}  // namespace llama::cuda
