// The host's memory to the card through pinned chunks, so that a copy runs on while the next chunk is being filled.
#pragma once
#include <cstddef>
#include <functional>
#include <vector>

#include "runtime.h"

namespace llama::cuda {

// Host memory that the card reads and writes by itself.
class PinnedMemory {
 public:
  // Throws EngineError OUT_OF_MEMORY.
  explicit PinnedMemory(size_t bytes);
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  unsigned char* data() const { return data_; }

 private:
  unsigned char* data_ = nullptr;
};

// Copies are queued on one stream of the card that is current at construction. One caller at a time.
class PinnedRing {
 public:
  PinnedRing(cudaStream_t stream, size_t chunks, size_t chunk_bytes);
  ~PinnedRing();
  PinnedRing(const PinnedRing&) = delete;
  PinnedRing& operator=(const PinnedRing&) = delete;

  // `from` may change once it returns. Many small ones share a chunk.
  void upload(void* to, const void* from, size_t bytes);

  // The same by `threads` host threads at once, for what is read from a mapped file: reading is parallel, and goes on while
  // earlier chunks are copied.
  void upload_large(void* to, const void* from, size_t bytes, int threads);

  // Writes bytes [offset, offset + bytes) of what is uploaded to `chunk`; called by several threads. offset is a multiple of
  // the chunk size. May convert while it copies.
  using Fill = std::function<void(void* chunk, size_t offset, size_t bytes)>;
  void upload_filled(void* to, size_t bytes, int threads, const Fill& fill);

 private:
  unsigned char* chunk(size_t index) const { return memory_.data() + index * chunk_bytes_; }
  void close_chunk();
  void wait(size_t index);
  void mark(size_t index);

  cudaStream_t stream_;
  int device_ = 0;
  size_t chunk_bytes_;
  PinnedMemory memory_;
  std::vector<cudaEvent_t> copied_;  // by chunk: its last copy is done
  size_t current_ = 0, used_ = 0;    // of upload: its chunk, and the bytes taken there
};

}  // namespace llama::cuda
