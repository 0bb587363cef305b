#include "page_pool.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>

#include "../engine_error.h"

namespace llama::cuda {
namespace {

// Few allocations, and little memory that is held for one page.
constexpr size_t slab_bytes = size_t{64} << 20;

std::string gigabytes(size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

}  // namespace

size_t PageLayout::bytes() const {
  const auto part = static_cast<size_t>(page_part(kv_heads, page_row(head_dim, element_bytes)));
  return size_t{2} * static_cast<size_t>(layers) * part * static_cast<size_t>(element_bytes);
}

PagePool::PagePool(Device& device, const PageLayout& layout, size_t max_bytes)
    : device_(device), layout_(layout), page_bytes_(layout.bytes()), max_bytes_(max_bytes) {}

size_t PagePool::bytes_in_use() const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(pages_ - static_cast<int64_t>(free_.size())) * page_bytes_;
}

size_t PagePool::bytes_allocated() const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(pages_) * page_bytes_;
}

void* PagePool::take() {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) grow();
  void* page = free_.back();
  free_.pop_back();
  return page;
}

void PagePool::give_back(void* page) {
  const std::lock_guard lock(mutex_);
  free_.push_back(page);
}

void PagePool::grow() {
  const int64_t left = max_pages() - pages_;
  if (left <= 0) {
    throw EngineError("OUT_OF_MEMORY", "keys and values of running sequences fill the " + gigabytes(max_bytes_) +
                                           " that LLAMA_CACHE_BYTES allows: run fewer or shorter sequences, or raise it");
  }
  int64_t pages = std::clamp<int64_t>(static_cast<int64_t>(slab_bytes / page_bytes_), 1, left);
  std::unique_ptr<Memory> slab = allocate(pages);
  free_.reserve(static_cast<size_t>(pages_ + pages));  // give_back never allocates, so that destructors cannot fail
  slabs_.push_back(std::move(slab));
  pages_ += pages;
  // The first page is taken first.
  auto* data = static_cast<unsigned char*>(slabs_.back()->data);
  for (int64_t i = pages - 1; i >= 0; --i) free_.push_back(data + static_cast<size_t>(i) * page_bytes_);
}

// A slab of `pages` pages, or of fewer where the device has no room for it.
std::unique_ptr<Memory> PagePool::allocate(int64_t& pages) {
  for (;; pages /= 2) {
    try {
      return device_.allocate(static_cast<size_t>(pages) * page_bytes_);
    } catch (const EngineError& error) {
      if (std::strcmp(error.code(), "OUT_OF_MEMORY") != 0) throw;
      if (pages == 1) {
        throw EngineError("OUT_OF_MEMORY", std::string(error.what()) + ": " + gigabytes(static_cast<size_t>(pages_) * page_bytes_) +
                                               " hold keys and values of sequences, " + gigabytes(page_bytes_) +
                                               " more are needed; run fewer or shorter sequences");
      }
    }
  }
}

PagedCache::PagedCache(std::shared_ptr<PagePool> pool, int64_t capacity_in_tokens) : pool_(std::move(pool)) {
  layers = pool_->layout().layers;
  kv_heads = pool_->layout().kv_heads;
  head_dim = pool_->layout().head_dim;
  capacity = capacity_in_tokens;
}

PagedCache::~PagedCache() {
  // Last page first, so that a cache that grows next finds the first one on top.
  for (auto page = pages_.rbegin(); page != pages_.rend(); ++page) pool_->give_back(*page);
}

void PagedCache::reserve(int64_t positions) {
  if (positions > capacity) throw std::invalid_argument("a cache is asked for more positions than its capacity");
  const auto count = static_cast<size_t>((positions + page_tokens - 1) / page_tokens);
  pages_.reserve(count);  // a page that is taken is never lost
  while (pages_.size() < count) pages_.push_back(pool_->take());
}

}  // namespace llama::cuda
