// One card and the stream on which everything is done, in the order of the calls.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "../memory.h"
#include "pinned_ring.h"
#include "probe.h"
#include "runtime.h"

namespace llama::cuda {

class Gpu final : public Device {
 public:
  // Throws EngineError OUT_OF_MEMORY, DEVICE_FAILED.
  explicit Gpu(const Card& card);
  ~Gpu() override;
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  // Aligned to 256 bytes. Memory may outlive the Gpu.
  std::unique_ptr<Memory> allocate(size_t bytes) override;
  int64_t available() const override { return static_cast<int64_t>(free_bytes()); }
  void upload(void* to, const void* from, size_t bytes) override;
  void download(void* to, const void* from, size_t bytes) override;
  void copy(void* to, const void* from, size_t bytes) override;
  void clear(void* to, size_t bytes) override;

  // Waits for everything before it; faults of kernels are reported here at the latest.
  void synchronize();
  // The same, asking `check` every now and then, which may throw.
  void synchronize(const std::function<void()>& check);
  // CUDA keeps the current card per host thread: called before anything is queued from another thread.
  void make_current() const;
  // Whether what is queued now is recorded into a graph.
  bool recording() const;

  const Card& card() const { return card_; }
  cudaStream_t stream() const { return stream_->handle; }
  size_t free_bytes() const;
  // How many allocations have been given back: where it differs, an address may have become another's.
  uint64_t releases() const { return *releases_; }

 private:
  // A member of its own, so that it outlives the buffers whose copies it holds.
  struct Stream {
    Stream();
    ~Stream();
    cudaStream_t handle = nullptr;
  };

  Card card_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<PinnedRing> uploads_;
  std::unique_ptr<PinnedMemory> answer_;  // of small downloads
  std::shared_ptr<std::atomic<uint64_t>> releases_;
};

}  // namespace llama::cuda
