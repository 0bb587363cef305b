// Queued operations that are recorded once and replayed with one call.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "gpu.h"

namespace llama::cuda {

// A key's body runs as it is the first time, is recorded when the key comes back, and is replayed from then on: recording
// needs its kernels to be loaded already, and a key that is never seen again is not worth one.
class GraphCache {
 public:
  explicit GraphCache(Gpu& gpu, size_t most = 64) : gpu_(gpu), most_(most) {}
  ~GraphCache() { clear(); }
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;

  // Queues what `body` queues: the same operations on the same memory for the same key. body allocates, uploads, downloads
  // and waits for nothing. What it throws is thrown on, and nothing of it is kept.
  void replay(const std::vector<int64_t>& key, const std::function<void()>& body);

  // Also done by itself once memory of the card has been given back, which a recording may name.
  void clear();
  size_t size() const { return recordings_.size(); }

 private:
  struct Recording {
    cudaGraphExec_t graph = nullptr;  // null: seen once
    uint64_t used = 0;
  };
  cudaGraphExec_t record(const std::function<void()>& body);
  void drop_oldest();

  Gpu& gpu_;
  size_t most_;
  std::map<std::vector<int64_t>, Recording> recordings_;
  uint64_t clock_ = 0, releases_ = 0;
};

}  // namespace llama::cuda
