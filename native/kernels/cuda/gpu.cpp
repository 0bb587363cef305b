#include "gpu.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

namespace llama::cuda {
namespace {

constexpr size_t upload_chunks = 4, upload_chunk_bytes = size_t{1} << 20;
constexpr size_t answer_bytes = size_t{64} << 10;

std::string size_text(size_t bytes) {
  char text[32];
  const bool large = bytes >= 1000000000;
  std::snprintf(text, sizeof text, "%.2f %s", static_cast<double>(bytes) / (large ? 1e9 : 1e6), large ? "GB" : "MB");
  return text;
}

class CardMemory final : public Memory {
 public:
  CardMemory(int card, std::shared_ptr<std::atomic<uint64_t>> releases) : card_(card), releases_(std::move(releases)) {}
  ~CardMemory() override {
    if (data == nullptr) return;
    ++*releases_;
    cudaSetDevice(card_);
    cudaFree(data);  // waits for what still uses it
  }

 private:
  int card_;
  std::shared_ptr<std::atomic<uint64_t>> releases_;
};

}  // namespace

Gpu::Stream::Stream() { check(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking)); }

Gpu::Stream::~Stream() {
  cudaStreamSynchronize(handle);
  cudaStreamDestroy(handle);
}

Gpu::Gpu(const Card& card) : card_(card), releases_(std::make_shared<std::atomic<uint64_t>>(0)) {
  make_current();
  stream_ = std::make_unique<Stream>();
  uploads_ = std::make_unique<PinnedRing>(stream(), upload_chunks, upload_chunk_bytes);
  answer_ = std::make_unique<PinnedMemory>(answer_bytes);
}

Gpu::~Gpu() { cudaSetDevice(card_.index); }

void Gpu::make_current() const { check(cudaSetDevice(card_.index)); }

size_t Gpu::free_bytes() const {
  make_current();
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total));
  return free;
}

std::unique_ptr<Memory> Gpu::allocate(size_t bytes) {
  make_current();
  auto memory = std::make_unique<CardMemory>(card_.index, releases_);
  const cudaError_t status = cudaMalloc(&memory->data, std::max<size_t>(bytes, 1));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw EngineError("OUT_OF_MEMORY", size_text(bytes) + " are needed on the GPU, " + size_text(free_bytes()) + " of " +
                                           size_text(card_.total_bytes) + " are free");
  }
  check(status);
  memory->bytes = bytes;
  return memory;
}

void Gpu::upload(void* to, const void* from, size_t bytes) {
  if (recording()) throw std::logic_error("an upload cannot be recorded: its replay would read the staging memory again");
  make_current();
  uploads_->upload(to, from, bytes);
}

void Gpu::download(void* to, const void* from, size_t bytes) {
  make_current();
  const bool small = bytes <= answer_bytes;
  check(cudaMemcpyAsync(small ? answer_->data() : to, from, bytes, cudaMemcpyDeviceToHost, stream()));
  synchronize();
  if (small && bytes > 0) std::memcpy(to, answer_->data(), bytes);
}

void Gpu::copy(void* to, const void* from, size_t bytes) {
  make_current();
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()));
}

void Gpu::clear(void* to, size_t bytes) {
  make_current();
  check(cudaMemsetAsync(to, 0, bytes, stream()));
}

void Gpu::synchronize(const std::function<void()>& check_others) {
  for (;;) {
    const cudaError_t state = cudaStreamQuery(stream());
    if (state != cudaErrorNotReady) return check(state);
    cudaGetLastError();  // not ready is not an error
    check_others();
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

void Gpu::synchronize() {
  make_current();
  check(cudaStreamSynchronize(stream()));
}

bool Gpu::recording() const {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream(), &status));
  return status != cudaStreamCaptureStatusNone;
}

}  // namespace llama::cuda
