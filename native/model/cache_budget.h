// Memory for the key/value caches of a model, reserved before a cache is made: what has been promised can be kept.
#pragma once
#include <cstdint>
#include <mutex>
#include <string>

#include "ops.h"

namespace llama {

class CacheBudget {
 public:
  explicit CacheBudget(const CacheLimit& limit) : limit_(limit) {}

  // Of all caches together.
  int64_t tokens() const { return limit_.pages * limit_.page_tokens; }
  int64_t page_tokens() const { return limit_.page_tokens; }

  // Throws EngineError OUT_OF_MEMORY where a cache of so many tokens does not fit beside the others.
  void take(int64_t capacity) {
    const std::lock_guard lock(mutex_);
    require_memory(pages_of(capacity) * limit_.page_bytes, (limit_.pages - taken_) * limit_.page_bytes,
                   "a key/value cache of " + std::to_string(capacity) + " tokens",
                   "ask for fewer max_new_tokens or for fewer answers at once, or raise LLAMA_CACHE_BYTES");
    taken_ += pages_of(capacity);
  }
  void give_back(int64_t capacity) {
    const std::lock_guard lock(mutex_);
    taken_ -= pages_of(capacity);
  }

 private:
  int64_t pages_of(int64_t capacity) const { return (capacity + limit_.page_tokens - 1) / limit_.page_tokens; }

  const CacheLimit limit_;
  std::mutex mutex_;  // sequences end on other threads than the one that steps
  int64_t taken_ = 0;  // pages
};

// Given back when it goes.
class CacheReservation {
 public:
  CacheReservation(CacheBudget& budget, int64_t capacity) : budget_(budget), capacity_(capacity) { budget_.take(capacity_); }
  ~CacheReservation() { budget_.give_back(capacity_); }
  CacheReservation(const CacheReservation&) = delete;
  CacheReservation& operator=(const CacheReservation&) = delete;

 private:
  CacheBudget& budget_;
  const int64_t capacity_;
};

}  // namespace llama
