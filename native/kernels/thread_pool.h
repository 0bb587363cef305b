// A fixed team of threads for data-parallel loops. The caller is thread 0; idle workers spin for a moment
// (the next loop is usually microseconds away), then sleep.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

namespace llama {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // >= 1, the caller included
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Runs body(thread) once on every thread and waits for all of them. Not reentrant: loops do not nest.
  template <class Body>
  void run(Body&& body) {
    run_erased([](void* context, int thread) { (*static_cast<std::remove_reference_t<Body>*>(context))(thread); }, &body);
  }

  // Splits [0, count) into chunks that threads take as they become free: body(begin, end, thread).
  template <class Body>
  void parallel_for(int64_t count, int64_t chunk, Body&& body);

  // Scratch of one thread, at least `bytes` large, 64-byte aligned, grow-only, contents undefined.
  void* scratch(int thread, size_t bytes);

 private:
  void run_erased(void (*function)(void*, int), void* context);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace llama
