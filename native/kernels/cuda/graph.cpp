#include "graph.h"

#include <algorithm>

namespace llama::cuda {

void GraphCache::replay(const std::vector<int64_t>& key, const std::function<void()>& body) {
  gpu_.make_current();
  if (gpu_.releases() != releases_) clear();
  const auto found = recordings_.find(key);
  if (found == recordings_.end()) {
    body();
    while (recordings_.size() >= most_) drop_oldest();
    recordings_[key].used = ++clock_;
    return;
  }
  Recording& recording = found->second;
  recording.used = ++clock_;
  if (recording.graph == nullptr) recording.graph = record(body);
  check(cudaGraphLaunch(recording.graph, gpu_.stream()));
}

cudaGraphExec_t GraphCache::record(const std::function<void()>& body) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(gpu_.stream(), cudaStreamCaptureModeThreadLocal));
  try {
    body();
  } catch (...) {
    if (cudaStreamEndCapture(gpu_.stream(), &graph) == cudaSuccess) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(gpu_.stream(), &graph));
  cudaGraphExec_t result = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&result, graph, 0);
  cudaGraphDestroy(graph);
  check(status);
  return result;
}

void GraphCache::drop_oldest() {
  const auto oldest = std::min_element(recordings_.begin(), recordings_.end(), [](const auto& a, const auto& b) {
    return a.second.used < b.second.used;
  });
  // One that is running is freed when it ends.
  if (oldest->second.graph != nullptr) cudaGraphExecDestroy(oldest->second.graph);
  recordings_.erase(oldest);
}

void GraphCache::clear() {
  while (!recordings_.empty()) drop_oldest();
  releases_ = gpu_.releases();
}

}  // namespace llama::cuda
