#include "pinned_ring.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>
#include <string>
#include <thread>

namespace llama::cuda {
namespace {

constexpr size_t alignment = 256;

// Has the system read a mapped file's pages in one go, where it can (Linux 5.14): faults read them one by one otherwise. Other
// memory is as it was.
void read_pages(const void* from, size_t bytes) {
#if defined(MADV_POPULATE_READ)
  static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(from) / page * page;
  madvise(reinterpret_cast<void*>(begin), reinterpret_cast<uintptr_t>(from) + bytes - begin, MADV_POPULATE_READ);
#else
  (void)from;
  (void)bytes;
#endif
}

}  // namespace

PinnedMemory::PinnedMemory(size_t bytes) {
  void* memory = nullptr;
  if (cudaMallocHost(&memory, bytes) != cudaSuccess) {
    cudaGetLastError();
    throw EngineError("OUT_OF_MEMORY", "the system has no " + std::to_string(bytes >> 20) + " MB that the GPU can read");
  }
  data_ = static_cast<unsigned char*>(memory);
}

PinnedMemory::~PinnedMemory() { cudaFreeHost(data_); }

PinnedRing::PinnedRing(cudaStream_t stream, size_t chunks, size_t chunk_bytes)
    : stream_(stream), chunk_bytes_(chunk_bytes), memory_(chunks * chunk_bytes) {
  check(cudaGetDevice(&device_));
  for (size_t i = 0; i < chunks; ++i) {
    cudaEvent_t event;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync));
    copied_.push_back(event);
  }
}

PinnedRing::~PinnedRing() {
  cudaStreamSynchronize(stream_);  // the card may still read
  for (cudaEvent_t event : copied_) cudaEventDestroy(event);
}

// An event that was never recorded counts as done.
void PinnedRing::wait(size_t index) { check(cudaEventSynchronize(copied_[index])); }

void PinnedRing::mark(size_t index) { check(cudaEventRecord(copied_[index], stream_)); }

void PinnedRing::close_chunk() {
  if (used_ == 0) return;
  mark(current_);
  current_ = (current_ + 1) % copied_.size();
  used_ = 0;
}

void PinnedRing::upload(void* to, const void* from, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    if (used_ == chunk_bytes_) close_chunk();
    if (used_ == 0) wait(current_);
    const size_t count = std::min(bytes - done, chunk_bytes_ - used_);
    unsigned char* staged = chunk(current_) + used_;
    std::memcpy(staged, static_cast<const unsigned char*>(from) + done, count);
    check(cudaMemcpyAsync(static_cast<unsigned char*>(to) + done, staged, count, cudaMemcpyHostToDevice, stream_));
    used_ = std::min(chunk_bytes_, (used_ + count + alignment - 1) / alignment * alignment);
    done += count;
  }
}

void PinnedRing::upload_large(void* to, const void* from, size_t bytes, int threads) {
  const auto* source = static_cast<const unsigned char*>(from);
  upload_filled(to, bytes, threads, [source](void* chunk, size_t offset, size_t count) {
    read_pages(source + offset, count);
    std::memcpy(chunk, source + offset, count);
  });
}

void PinnedRing::upload_filled(void* to, size_t bytes, int threads, const Fill& fill) {
  close_chunk();
  const size_t pieces = (bytes + chunk_bytes_ - 1) / chunk_bytes_, chunks = copied_.size();
  const size_t team = std::min({static_cast<size_t>(std::max(threads, 1)), chunks, pieces});
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::mutex failing;
  // Each thread has chunks of its own and fills one while its others are being copied.
  const auto work = [&](size_t thread) {
    try {
      check(cudaSetDevice(device_));
      size_t own = thread;
      for (size_t piece = next++; piece < pieces; piece = next++) {
        const size_t offset = piece * chunk_bytes_, count = std::min(chunk_bytes_, bytes - offset);
        wait(own);
        fill(chunk(own), offset, count);
        check(cudaMemcpyAsync(static_cast<unsigned char*>(to) + offset, chunk(own), count, cudaMemcpyHostToDevice, stream_));
        mark(own);
        own = own + team < chunks ? own + team : thread;
      }
    } catch (...) {
      next = pieces;
      const std::lock_guard lock(failing);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  for (size_t thread = 1; thread < team; ++thread) others.emplace_back(work, thread);
  if (team > 0) work(0);
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace llama::cuda
