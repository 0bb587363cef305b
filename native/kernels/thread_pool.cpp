#include "thread_pool.h"

#include <chrono>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "aligned_buffer.h"

namespace llama {

namespace {

// Between two loops of one forward pass lie a few microseconds; falling asleep costs more than that.
constexpr auto kSpin = std::chrono::microseconds(60);

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Waits until `value` differs from `old`: spins first, then sleeps in the kernel, so that a thread without work (or whose
// partner was not scheduled) never burns a core for longer than kSpin.
uint32_t wait_for_change(const std::atomic<uint32_t>& value, uint32_t old) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      const uint32_t now = value.load(std::memory_order_acquire);
      if (now != old) return now;
      pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  for (;;) {
    value.wait(old, std::memory_order_acquire);
    const uint32_t now = value.load(std::memory_order_acquire);
    if (now != old) return now;
  }
}

}  // namespace

struct ThreadPool::State {
  // On lines of their own: workers poll `generation` while others count `running` down.
  alignas(64) std::atomic<uint32_t> generation{0};
  alignas(64) std::atomic<uint32_t> running{0};
  alignas(64) void (*function)(void*, int) = nullptr;
  void* context = nullptr;
  bool stop = false;
  std::mutex failure_mutex;
  std::exception_ptr failure;
  std::vector<AlignedBuffer> scratch;
  std::vector<std::thread> workers;

  void call(int thread) {
    try {
      function(context, thread);
    } catch (...) {
      const std::lock_guard lock(failure_mutex);
      if (!failure) failure = std::current_exception();
    }
  }

  void work(int thread) {
    uint32_t seen = 0;
    for (;;) {
      seen = wait_for_change(generation, seen);
      if (stop) return;
      call(thread);
      if (running.fetch_sub(1, std::memory_order_acq_rel) == 1) running.notify_one();
    }
  }

  void end() {
    stop = true;
    generation.fetch_add(1, std::memory_order_release);
    generation.notify_all();
    for (auto& worker : workers) worker.join();
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads < 1) throw std::invalid_argument("a thread pool needs at least one thread");
  state_->scratch.resize(threads);
  try {
    for (int thread = 1; thread < threads; ++thread) {
      state_->workers.emplace_back([state = state_.get(), thread] { state->work(thread); });
    }
  } catch (...) {
    state_->end();
    throw;
  }
}

ThreadPool::~ThreadPool() { state_->end(); }

int ThreadPool::size() const { return static_cast<int>(state_->scratch.size()); }

void* ThreadPool::scratch(int thread, size_t bytes) {
  AlignedBuffer& buffer = state_->scratch[thread];
  buffer.reserve(bytes);
  return buffer.data();
}

void ThreadPool::run_erased(void (*function)(void*, int), void* context) {
  State& state = *state_;
  state.function = function;
  state.context = context;
  if (!state.workers.empty()) {
    state.running.store(static_cast<uint32_t>(state.workers.size()), std::memory_order_relaxed);
    state.generation.fetch_add(1, std::memory_order_release);
    state.generation.notify_all();
  }
  state.call(0);
  for (uint32_t left; (left = state.running.load(std::memory_order_acquire)) != 0;) wait_for_change(state.running, left);
  if (state.failure) std::rethrow_exception(std::exchange(state.failure, nullptr));
}

}  // namespace llama
