// A fixed team of threads for data-parallel loops. The caller is thread 0; idle workers spin for a moment
// (the next loop is usually microseconds away), then sleep.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace llama {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // >= 1, the caller included
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Runs body(thread) once on every thread and waits for all of them. Not reentrant: loops do not nest.
  // An exception from a body is rethrown here once all have ended.
  template <class Body>
  void run(Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run_erased([](void* context, int thread) { (*static_cast<Plain*>(context))(thread); }, &body);
  }

  // Splits [0, count) into chunks that threads take as they become free: body(begin, end, thread).
  // Chunk borders do not depend on the number of threads, so neither do sums formed inside a chunk.
  template <class Body>
  void parallel_for(int64_t count, int64_t chunk, Body&& body) {
    if (count <= chunk || size() == 1) {
      for (int64_t begin = 0; begin < count; begin += chunk) body(begin, std::min(begin + chunk, count), 0);
      return;
    }
    std::atomic<int64_t> next{0};
    run([&](int thread) {
      for (;;) {
        const int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
        if (begin >= count) return;
        body(begin, std::min(begin + chunk, count), thread);
      }
    });
  }

  // The same with shares that become smaller towards the end, at most `most` and at least one, so that threads finish
  // together. Borders depend on the threads.
  template <class Body>
  void parallel_for_shrinking(int64_t count, int64_t most, Body&& body) {
    if (count <= 1 || size() == 1) {
      if (count > 0) body(int64_t{0}, count, 0);
      return;
    }
    std::atomic<int64_t> next{0};
    const int64_t parts = 2 * size();
    run([&](int thread) {
      int64_t begin = next.load(std::memory_order_relaxed);
      for (;;) {
        if (begin >= count) return;
        const int64_t end = begin + std::clamp<int64_t>((count - begin) / parts, 1, most);
        if (!next.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
        body(begin, end, thread);
        begin = next.load(std::memory_order_relaxed);
      }
    });
  }

  // Scratch of one thread, at least `bytes` large, 64-byte aligned, grow-only, contents undefined.
  void* scratch(int thread, size_t bytes);

 private:
  void run_erased(void (*function)(void*, int), void* context);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace llama
