// A thread block on the CPU: what the kernels in native/kernels/cuda use of CUDA, for tests without a GPU.
//
// Every thread of a block is a fiber on one stack of its own; barriers, shuffles and votes switch between them, from each to
// the next whose turn it is. Blocks run one after another. A run checks what a GPU would punish with a hang or a wrong result:
// threads that wait at different barriers end the program with a message, shared memory starts as NaN patterns, and the order
// in which threads run can be changed (EMULATED_ORDER=forward|reverse|shuffled) so that a missing barrier shows. Under
// AddressSanitizer every access out of bounds of global or dynamic shared memory is found.
//
// Blocks that meet (kernels/cuda/meeting.h) run twice: up to the meeting, all of them, and then from their beginning to
// their end. What they do before they meet must therefore bear repetition.
//
// One host thread at a time may run kernels.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#include "emulated_runtime.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace emulated {

constexpr int lanes = 32;
// Of a grid, as on every card; tests lower it, so that a launch beyond it does not need millions of threads.
inline int64_t most_blocks_y = 65535;
constexpr size_t stack_bytes = size_t{256} << 10;
// Stacks begin at different lines of their memory: at the same one, all of them would want the same few lines of the cache.
constexpr size_t most_offset = stack_bytes / 2, offset_step = 33 * 64;

enum class Wait { nothing, block, warp, over };

// A stack pointer below which the registers that a call preserves are saved.
using Context = void*;

extern "C" void emulated_switch(Context* from, Context to);
#if defined(__x86_64__)
asm(R"(
.text
.weak emulated_switch
.type emulated_switch, @function
emulated_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulated_switch, . - emulated_switch
)");
constexpr size_t saved_words = 6;
#elif defined(__aarch64__)
asm(R"(
.text
.weak emulated_switch
.type emulated_switch, %function
emulated_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size emulated_switch, . - emulated_switch
)");
#else
#error "fibers are written for x86-64 and arm64"
#endif

// A context that starts `function` on a fresh stack.
inline Context make_context(unsigned char* stack, size_t bytes, void (*function)()) {
  auto* top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(stack + bytes) / 16 * 16);
#if defined(__x86_64__)
  *--top = nullptr;  // a return address for `function`, which never returns; keeps its frame aligned
  *--top = reinterpret_cast<void*>(function);
  for (size_t i = 0; i < saved_words; ++i) *--top = nullptr;
#else
  top -= 20;
  std::memset(top, 0, 160);
  top[11] = reinterpret_cast<void*>(function);
#endif
  return top;
}

struct Fiber {
  Context context = nullptr;
  unsigned char* stack = nullptr;
  dim3 thread;
  int index = 0;
  Wait wait = Wait::nothing;
  unsigned mask = 0;  // lanes that meet at the warp barrier
  void* fake_stack = nullptr;  // of AddressSanitizer
};

// What lanes give each other. A lane writes one of its two slots while what it gave before can still be read in the other;
// where lanes meet these change places, so that nobody has to wait until all have read.
struct Warp {
  alignas(16) unsigned char slots[2][lanes][64];
  unsigned char written[lanes];
  unsigned char* to_write(int lane) { return slots[written[lane]][lane]; }
  const unsigned char* to_read(int lane) const { return slots[1 - written[lane]][lane]; }
};

struct Grid {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<std::unique_ptr<unsigned char[]>> stacks;
  std::vector<size_t> turn;  // of fibers, in this round
  size_t at = 0;             // who comes next in it
  Context scheduler = nullptr;
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_size = 0;
  const std::function<void()>* body = nullptr;
  Fiber* current = nullptr;
  dim3 block_index, block_size, grid_size;
  unsigned char* shared = nullptr;
  int live = 0;
  int64_t launches = 0;
  bool meets = false, has_met = false;
  bool in_time = true;  // tests set it: false, and nobody waits for those who arrive later
};

inline Grid grid;

[[noreturn]] inline void fail(const std::string& message) {
  std::fprintf(stderr, "emulated kernel, block (%u, %u, %u): %s\n", grid.block_index.x, grid.block_index.y,
               grid.block_index.z, message.c_str());
  std::abort();
}

// The next fiber of this round that can run, or null.
inline Fiber* next_fiber() {
  while (grid.at < grid.turn.size()) {
    Fiber& fiber = grid.fibers[grid.turn[grid.at++]];
    if (fiber.wait == Wait::nothing) return &fiber;
  }
  return nullptr;
}

// To the next fiber, or back to the scheduler where a round ends.
inline void switch_on(bool over) {
  Fiber& fiber = *grid.current;
  Fiber* next = next_fiber();
  if (over) --grid.live;
  grid.current = next;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(over ? nullptr : &fiber.fake_stack, next ? next->stack : grid.scheduler_stack, next ? stack_bytes : grid.scheduler_stack_size);
#endif
  emulated_switch(&fiber.context, next ? next->context : grid.scheduler);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fiber.fake_stack, nullptr, nullptr);
#endif
}

inline void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  // A block's first fiber comes from the scheduler.
  const bool is_first = grid.scheduler_stack == nullptr;
  __sanitizer_finish_switch_fiber(nullptr, is_first ? &grid.scheduler_stack : nullptr, is_first ? &grid.scheduler_stack_size : nullptr);
#endif
  (*grid.body)();
  grid.current->wait = Wait::over;
  switch_on(true);
}

inline void run_round() {
  grid.at = 0;
  Fiber* first = next_fiber();
  if (first == nullptr) return;
  grid.current = first;
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, first->stack, stack_bytes);
#endif
  emulated_switch(&grid.scheduler, first->context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

inline void wait(Wait what, unsigned mask = 0) {
  grid.current->wait = what;
  grid.current->mask = mask;
  switch_on(false);
}

// Where blocks meet: the end of their first run.
inline void meet() {
  if (grid.has_met || !grid.in_time) return;
  grid.meets = true;
  grid.current->wait = Wait::over;
  switch_on(true);
}

// Lets those go on that have met. Returns whether anybody can.
inline bool release() {
  const auto count = static_cast<int>(grid.fibers.size());
  int waiting_for_block = 0, live = 0;
  bool any = false;
  for (Fiber& fiber : grid.fibers) {
    if (fiber.wait != Wait::over) ++live;
    if (fiber.wait == Wait::block) ++waiting_for_block;
  }
  for (int first = 0; first < count; first += lanes) {
    const int last = std::min(first + lanes, count);
    for (int i = first; i < last; ++i) {
      if (grid.fibers[static_cast<size_t>(i)].wait != Wait::warp) continue;
      const unsigned mask = grid.fibers[static_cast<size_t>(i)].mask;
      bool met = true;
      for (int other = first; other < last; ++other) {
        const Fiber& fiber = grid.fibers[static_cast<size_t>(other)];
        if (((mask >> (other - first)) & 1) == 0 || fiber.wait == Wait::over) continue;
        met = met && fiber.wait == Wait::warp && fiber.mask == mask;
      }
      if (!met) continue;
      for (int other = first; other < last; ++other) {
        Fiber& fiber = grid.fibers[static_cast<size_t>(other)];
        if (((mask >> (other - first)) & 1) == 0 || fiber.wait != Wait::warp) continue;
        unsigned char& written = grid.warps[static_cast<size_t>(first / lanes)].written[other - first];
        written = 1 - written;
        fiber.wait = Wait::nothing;
        any = true;
      }
    }
  }
  if (live > 0 && waiting_for_block == live) {
    for (Fiber& fiber : grid.fibers) {
      if (fiber.wait == Wait::block) fiber.wait = Wait::nothing;
    }
    any = true;
  }
  return any;
}

enum class Order { forward, reverse, shuffled };
inline Order order_from_environment() {
  const char* name = std::getenv("EMULATED_ORDER");
  if (name == nullptr) return Order::forward;
  if (std::string(name) == "reverse") return Order::reverse;
  return std::string(name) == "shuffled" ? Order::shuffled : Order::forward;
}
// The order of threads between two barriers; tests set it.
inline Order order = order_from_environment();

inline void run_block() {
  grid.turn.resize(grid.fibers.size());
  std::iota(grid.turn.begin(), grid.turn.end(), size_t{0});
  if (order == Order::reverse) std::reverse(grid.turn.begin(), grid.turn.end());
  std::mt19937 random(static_cast<unsigned>(grid.launches));
  grid.live = static_cast<int>(grid.fibers.size());
  grid.scheduler_stack = nullptr;
  for (;;) {
    if (order == Order::shuffled) std::shuffle(grid.turn.begin(), grid.turn.end(), random);
    run_round();
    if (grid.live == 0) break;
    if (!release()) fail("threads wait for one another at different barriers");
  }
#if defined(__SANITIZE_ADDRESS__)
  // The frames that fibers ended in, which nobody returns from. All others have been left.
  for (const Fiber& fiber : grid.fibers) {
    auto* top = static_cast<unsigned char*>(fiber.context);
    __asan_unpoison_memory_region(top, static_cast<size_t>(fiber.stack + stack_bytes - top));
  }
#endif
}

inline void run_blocks(dim3 grid_size, dim3 block_size, size_t shared_bytes) {
  const size_t threads = grid.fibers.size();
  for (unsigned z = 0; z < grid_size.z; ++z) {
    for (unsigned y = 0; y < grid_size.y; ++y) {
      for (unsigned x = 0; x < grid_size.x; ++x) {
        grid.block_index = dim3(x, y, z);
        ++grid.launches;
        // Exactly as large as asked for, so that the sanitizer sees its end.
        grid.shared = static_cast<unsigned char*>(std::aligned_alloc(16, std::max<size_t>((shared_bytes + 15) / 16 * 16, 16)));
        std::memset(grid.shared, 0xff, shared_bytes);
        for (size_t i = 0; i < threads; ++i) {
          Fiber& fiber = grid.fibers[i];
          const auto index = static_cast<unsigned>(i);
          fiber.thread = dim3(index % block_size.x, index / block_size.x % block_size.y, index / block_size.x / block_size.y);
          fiber.index = static_cast<int>(i);
          fiber.wait = Wait::nothing;
          fiber.stack = grid.stacks[i].get();
          fiber.context = make_context(fiber.stack, stack_bytes - i * offset_step % most_offset, fiber_main);
        }
        run_block();
        std::free(grid.shared);
        grid.shared = nullptr;
      }
    }
  }
}

inline void run(dim3 grid_size, dim3 block_size, size_t shared_bytes, const std::function<void()>& body) {
  if (capture != nullptr) {
    queue([=] { run(grid_size, block_size, shared_bytes, body); });
    return;
  }
  const size_t threads = size_t{block_size.x} * block_size.y * block_size.z;
  if (threads == 0 || threads > 1024) fail("a block has " + std::to_string(threads) + " threads");
  if (shared_bytes > (size_t{227} << 10)) fail("a block asks for " + std::to_string(shared_bytes) + " bytes of shared memory");
  if (grid_size.x > 0x7fffffffu || grid_size.y > most_blocks_y || grid_size.z > 65535) fail("a grid is too large");
  finish_copies();
  grid.body = &body;
  grid.block_size = block_size;
  grid.grid_size = grid_size;
  while (grid.stacks.size() < threads) grid.stacks.emplace_back(new unsigned char[stack_bytes]);
  grid.fibers.assign(threads, Fiber{});
  grid.warps.assign((threads + lanes - 1) / lanes, Warp{});
  grid.meets = grid.has_met = false;
  run_blocks(grid_size, block_size, shared_bytes);
  if (!grid.meets) return;
  grid.has_met = true;
  run_blocks(grid_size, block_size, shared_bytes);
}

inline void* dynamic_shared() { return grid.shared; }

inline int lane() { return grid.current->index % lanes; }
inline Warp& warp() { return grid.warps[static_cast<size_t>(grid.current->index / lanes)]; }

// Every lane of the mask gives a value; the function sees all of them.
template <class T, class Read>
auto exchange(unsigned mask, const T& value, Read read) {
  static_assert(sizeof(T) <= sizeof(Warp::slots[0][0]));
  if (((mask >> lane()) & 1) == 0) fail("a lane that its mask leaves out takes part in a warp operation");
  Warp& mine = warp();
  std::memcpy(mine.to_write(lane()), &value, sizeof(T));
  wait(Wait::warp, mask);
  return read([&](int from) {
    T other;
    std::memcpy(&other, mine.to_read(from), sizeof(T));
    return other;
  });
}

template <class ToFloat>
void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], ToFloat to_float) {
  struct Fragments {
    uint32_t a[4], b[2];
  } mine;
  std::memcpy(mine.a, a, sizeof mine.a);
  std::memcpy(mine.b, b, sizeof mine.b);
  const auto half = [&](uint32_t pair, int which) { return to_float(static_cast<uint16_t>(which ? pair >> 16 : pair & 0xffffu)); };
  const int g = lane() / 4, c = lane() % 4;
  struct Result {
    float at[4];
  };
  const Result result = exchange(0xffffffffu, mine, [&](auto fragments_of) {
    Result sum{};
    for (int k = 0; k < 16; ++k) {
      // Row r of a lies with lanes 4 (r % 8) .. + 3, column k with lane (k % 8) / 2 of them.
      const Fragments above = fragments_of(g * 4 + k % 8 / 2);
      const float a_low = half(above.a[k < 8 ? 0 : 2], k % 2), a_high = half(above.a[k < 8 ? 1 : 3], k % 2);
      for (int i = 0; i < 2; ++i) {
        const Fragments column = fragments_of((2 * c + i) * 4 + k % 8 / 2);
        const float value = half(column.b[k < 8 ? 0 : 1], k % 2);
        sum.at[i] += a_low * value;
        sum.at[2 + i] += a_high * value;
      }
    }
    return sum;
  });
  std::memcpy(d, result.at, sizeof result.at);
}

inline void load_matrices(uint32_t (&result)[4], const void* row, bool transposed) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) fail("a matrix row is not 16-byte aligned");
  struct Row {
    uint16_t at[8];
  } mine;
  std::memcpy(&mine, row, sizeof mine);
  struct Result {
    uint32_t at[4];
  };
  const int g = lane() / 4, c = lane() % 4;
  const Result all = exchange(0xffffffffu, mine, [&](auto row_of) {
    Result r{};
    for (int m = 0; m < 4; ++m) {
      const uint16_t first = transposed ? row_of(m * 8 + 2 * c).at[g] : row_of(m * 8 + g).at[2 * c];
      const uint16_t second = transposed ? row_of(m * 8 + 2 * c + 1).at[g] : row_of(m * 8 + g).at[2 * c + 1];
      r.at[m] = static_cast<uint32_t>(first) | (static_cast<uint32_t>(second) << 16);
    }
    return r;
  });
  std::memcpy(result, all.at, sizeof all.at);
}

}  // namespace emulated

#define threadIdx (::emulated::grid.current->thread)
#define blockIdx (::emulated::grid.block_index)
#define blockDim (::emulated::grid.block_size)
#define gridDim (::emulated::grid.grid_size)

inline void __syncthreads() { emulated::wait(emulated::Wait::block); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { emulated::wait(emulated::Wait::warp, mask); }
inline void __threadfence() {}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int first = emulated::lane() / width * width;
  return emulated::exchange(mask, value, [&](auto of) { return of(first + source % width); });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  (void)width;
  return emulated::exchange(mask, value, [&](auto of) { return of(emulated::lane() ^ bits); });
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int delta, int width = 32) {
  const int lane = emulated::lane();
  return emulated::exchange(mask, value, [&](auto of) { return lane % width + delta < width ? of(lane + delta) : value; });
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, int delta, int width = 32) {
  const int lane = emulated::lane();
  return emulated::exchange(mask, value, [&](auto of) { return lane % width >= delta ? of(lane - delta) : value; });
}
inline unsigned __ballot_sync(unsigned mask, bool holds) {
  return emulated::exchange(mask, holds, [&](auto of) {
    unsigned votes = 0;
    for (int i = 0; i < emulated::lanes; ++i) {
      const int index = emulated::grid.current->index / 32 * 32 + i;
      if (((mask >> i) & 1) != 0 && index < static_cast<int>(emulated::grid.fibers.size()) && of(i)) votes |= 1u << i;
    }
    return votes;
  });
}
inline bool __any_sync(unsigned mask, bool holds) { return __ballot_sync(mask, holds) != 0; }
inline bool __all_sync(unsigned mask, bool holds) { return __ballot_sync(mask, !holds) == 0; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits)); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }

template <class T>
T atomicAdd(T* to, T value) {
  const T before = *to;
  *to += value;
  return before;
}
template <class T>
T atomicMax(T* to, T value) {
  const T before = *to;
  *to = std::max(before, value);
  return before;
}
template <class T>
T atomicMin(T* to, T value) {
  const T before = *to;
  *to = std::min(before, value);
  return before;
}
template <class T>
T atomicOr(T* to, T value) {
  const T before = *to;
  *to |= value;
  return before;
}
inline float atomicExch(float* to, float value) {
  const float before = *to;
  *to = value;
  return before;
}
inline unsigned atomicCAS(unsigned* to, unsigned expected, unsigned value) {
  const unsigned before = *to;
  if (before == expected) *to = value;
  return before;
}
inline unsigned atomicInc(unsigned* to, unsigned limit) {
  const unsigned before = *to;
  *to = before >= limit ? 0 : before + 1;
  return before;
}

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t{a} * b) >> 32); }
template <class T>
T __ldg(const T* from) {
  return *from;
}
template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T max(T a, T b) {
  return a < b ? b : a;
}
