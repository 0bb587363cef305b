// operator new and delete for a kernel's test on a card: blocks of one managed arena, so that what a test keeps in vectors can
// be handed to a kernel as it is. Before the arena is open, and while CUDA itself opens it, memory is malloc's.
//
// A block's size is a power of two; blocks that come back are listed by size.
#include "managed_heap.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>

#include "../../kernels/cuda/probe.h"

namespace {

constexpr size_t most_bytes = size_t{2} << 30;

// Lies before what is handed out.
struct alignas(16) Header {
  void* block;
  int size;  // its logarithm
};

struct Link {
  Link* next;
};

std::mutex mutex;
std::atomic<unsigned char*> arena = nullptr;
unsigned char *next = nullptr, *end = nullptr;
Link* returned[64];

void* take(size_t bytes, size_t alignment) {
  const size_t beside = std::max(sizeof(Header), alignment);
  if (arena == nullptr) {
    // As the default operator does it; aligned_alloc wants a multiple.
    if (alignment <= sizeof(Header)) return std::malloc(std::max<size_t>(bytes, 1));
    return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  }
  const std::lock_guard lock(mutex);
  const size_t size = std::bit_ceil(bytes + beside);
  const int logarithm = std::countr_zero(size);
  Link*& same = returned[logarithm];
  void* block = same;
  if (block != nullptr) {
    same = same->next;
  } else if (size <= static_cast<size_t>(end - next)) {
    block = next;
    next += size;
  } else {
    std::fprintf(stderr, "the managed heap of %zu MB is full\n", static_cast<size_t>(end - arena) >> 20);
    std::fflush(stdout);
    std::_Exit(1);
  }
  // A block is aligned to 16 bytes and has room for the header before the first multiple.
  const uintptr_t start = reinterpret_cast<uintptr_t>(block) + sizeof(Header);
  auto* data = reinterpret_cast<unsigned char*>((start + alignment - 1) / alignment * alignment);
  *reinterpret_cast<Header*>(data - sizeof(Header)) = {block, logarithm};
  return data;
}

void give_back(void* data) {
  const auto* bytes = static_cast<unsigned char*>(data);
  if (data == nullptr) return;
  if (arena == nullptr || bytes < arena || bytes >= end) return std::free(data);
  const std::lock_guard lock(mutex);
  const Header header = *reinterpret_cast<const Header*>(bytes - sizeof(Header));
  Link*& same = returned[header.size];
  same = new (header.block) Link{same};
}

void* take_or_throw(size_t bytes, size_t alignment) {
  void* data = take(bytes, alignment);
  if (data == nullptr) throw std::bad_alloc();
  return data;
}

}  // namespace

void open_managed_heap() {
  const llama::cuda::Probe probe = llama::cuda::probe();
  if (probe.cards.empty()) {
    std::printf("skipped: no GPU: %s\n", probe.reason.c_str());
    std::exit(0);
  }
  size_t free = 0, total = 0;
  void* memory = nullptr;
  cudaError_t opened = cudaMemGetInfo(&free, &total);
  const size_t bytes = std::min(most_bytes, free / 4) / 256 * 256;
  if (opened == cudaSuccess) opened = cudaMallocManaged(&memory, bytes);
  if (opened != cudaSuccess) {
    std::fprintf(stderr, "no managed memory: %s\n", cudaGetErrorString(opened));
    std::exit(1);
  }
  next = static_cast<unsigned char*>(memory);
  end = next + bytes;
  arena = next;
}

void* operator new(size_t bytes) { return take_or_throw(bytes, sizeof(Header)); }
void* operator new[](size_t bytes) { return take_or_throw(bytes, sizeof(Header)); }
void* operator new(size_t bytes, std::align_val_t alignment) { return take_or_throw(bytes, static_cast<size_t>(alignment)); }
void* operator new[](size_t bytes, std::align_val_t alignment) { return take_or_throw(bytes, static_cast<size_t>(alignment)); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return take(bytes, sizeof(Header)); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return take(bytes, sizeof(Header)); }
void* operator new(size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept { return take(bytes, static_cast<size_t>(alignment)); }
void* operator new[](size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept { return take(bytes, static_cast<size_t>(alignment)); }
void operator delete(void* data) noexcept { give_back(data); }
void operator delete[](void* data) noexcept { give_back(data); }
void operator delete(void* data, size_t) noexcept { give_back(data); }
void operator delete[](void* data, size_t) noexcept { give_back(data); }
void operator delete(void* data, std::align_val_t) noexcept { give_back(data); }
void operator delete[](void* data, std::align_val_t) noexcept { give_back(data); }
void operator delete(void* data, size_t, std::align_val_t) noexcept { give_back(data); }
void operator delete[](void* data, size_t, std::align_val_t) noexcept { give_back(data); }
void operator delete(void* data, const std::nothrow_t&) noexcept { give_back(data); }
void operator delete[](void* data, const std::nothrow_t&) noexcept { give_back(data); }
void operator delete(void* data, std::align_val_t, const std::nothrow_t&) noexcept { give_back(data); }
void operator delete[](void* data, std::align_val_t, const std::nothrow_t&) noexcept { give_back(data); }
