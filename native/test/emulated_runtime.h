// The CUDA runtime's host functions on a machine without a GPU: "device" memory is the heap, a stream runs everything at once.
//
// `machine` says what a test wants to see: how many cards there are, how much memory they have, which driver. With
// deferred_copies, copies from pinned memory wait until something orders them, as late as a card may do them, so that
// memory that is used again too early shows. With fail_at an allocation is refused. Between the beginning and the end of a
// capture launches and copies are recorded, with their arguments as they are then, and what cannot be recorded is refused.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#define CUDART_VERSION 13000

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorECCUncorrectable = 214,
  cudaErrorNvlinkUncorrectable = 220,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchTimeout = 702,
  cudaErrorContextIsDestroyed = 709,
  cudaErrorAssert = 710,
  cudaErrorHardwareStackError = 714,
  cudaErrorIllegalInstruction = 715,
  cudaErrorMisalignedAddress = 716,
  cudaErrorInvalidAddressSpace = 717,
  cudaErrorInvalidPc = 718,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorExternalDevice = 911,
  cudaErrorUnknown = 999,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault };
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal };
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventBlockingSync = 1, cudaEventDisableTiming = 2;

struct cudaDeviceProp {
  char name[256];
  int major, minor, multiProcessorCount;
  size_t totalGlobalMem;
};

struct EmulatedStream {};
struct EmulatedEvent {
  uint64_t copies = 0;  // issued before it
};
struct EmulatedGraph {
  std::vector<std::function<void()>> operations;
};
using cudaStream_t = EmulatedStream*;
using cudaEvent_t = EmulatedEvent*;
using cudaGraph_t = EmulatedGraph*;
using cudaGraphExec_t = EmulatedGraph*;

namespace emulated {

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};

struct Machine {
  int devices = 1;
  int major = 8, minor = 0;
  int driver = CUDART_VERSION;
  size_t memory = size_t{1} << 40;
  bool deferred_copies = false;
  int64_t fail_at = -1;        // allocations (on the card, pinned, of graphs) until one fails; -1: none does
  bool keeps_failing = false;  // those after it fail too
  int64_t refused = 0;         // how many have failed

  std::recursive_mutex mutex;
  std::map<const void*, size_t> allocations, pinned;
  size_t allocated = 0;
  std::deque<Copy> copies;
  uint64_t copies_done = 0;
};
inline Machine machine;
inline thread_local EmulatedGraph* capture = nullptr;  // of this thread

inline void finish_copies(uint64_t until = UINT64_MAX) {
  const std::lock_guard lock(machine.mutex);
  while (!machine.copies.empty() && machine.copies_done < until) {
    const Copy& copy = machine.copies.front();
    std::memcpy(copy.to, copy.from, copy.bytes);
    machine.copies.pop_front();
    ++machine.copies_done;
  }
}

inline bool is_pinned(const void* pointer) {
  const auto after = machine.pinned.upper_bound(pointer);
  if (after == machine.pinned.begin()) return false;
  const auto& [start, bytes] = *std::prev(after);
  return static_cast<const char*>(pointer) < static_cast<const char*>(start) + bytes;
}

inline bool refuses_memory() {
  const std::lock_guard lock(machine.mutex);
  if (machine.fail_at < 0) return false;
  if (machine.fail_at > 0) return --machine.fail_at, false;
  if (!machine.keeps_failing) machine.fail_at = -1;
  ++machine.refused;
  return true;
}

// Does it in the stream's order: now, or when the graph that is being recorded is launched.
inline void queue(std::function<void()> operation) {
  if (capture != nullptr) {
    capture->operations.push_back(std::move(operation));
    return;
  }
  finish_copies();
  operation();
}

}  // namespace emulated

inline const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    default: return "emulated";
  }
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaPeekAtLastError() { return cudaSuccess; }

// ---- cards
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = emulated::machine.driver;
  return cudaSuccess;
}
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = emulated::machine.devices;
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device >= emulated::machine.devices) return cudaErrorInvalidDevice;
  std::snprintf(properties->name, sizeof properties->name, "Emulated %d", device);
  properties->major = emulated::machine.major;
  properties->minor = emulated::machine.minor;
  properties->multiProcessorCount = 4;
  properties->totalGlobalMem = emulated::machine.memory;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int device) {
  std::snprintf(text, static_cast<size_t>(length), "emulated:%d", device);
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int device) {
  return device < emulated::machine.devices ? cudaSuccess : cudaErrorInvalidDevice;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

// ---- memory
inline cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const std::lock_guard lock(emulated::machine.mutex);
  *total = emulated::machine.memory;
  *free = *total - std::min(*total, emulated::machine.allocated);
  return cudaSuccess;
}
inline cudaError_t cudaMalloc(void** result, size_t bytes) {
  *result = nullptr;
  if (emulated::capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  if (emulated::refuses_memory()) return cudaErrorMemoryAllocation;
  const std::lock_guard lock(emulated::machine.mutex);
  if (bytes > emulated::machine.memory - std::min(emulated::machine.memory, emulated::machine.allocated)) {
    return cudaErrorMemoryAllocation;
  }
  *result = std::malloc(std::max<size_t>(bytes, 1));
  if (*result == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*result, 0xff, bytes);  // NaN: nothing may count on zeros
  emulated::machine.allocations[*result] = bytes;
  emulated::machine.allocated += bytes;
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
  if (emulated::capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  const std::lock_guard lock(emulated::machine.mutex);
  emulated::finish_copies();
  const auto found = emulated::machine.allocations.find(memory);
  if (found != emulated::machine.allocations.end()) {
    emulated::machine.allocated -= found->second;
    emulated::machine.allocations.erase(found);
  }
  std::free(memory);
  return cudaSuccess;
}
inline cudaError_t cudaMallocHost(void** result, size_t bytes) {
  *result = nullptr;
  if (emulated::refuses_memory()) return cudaErrorMemoryAllocation;
  *result = std::malloc(std::max<size_t>(bytes, 1));
  if (*result == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*result, 0xff, std::min(bytes, size_t{1} << 20));  // staging chunks of 100 MB would take longer than what they are for
  const std::lock_guard lock(emulated::machine.mutex);
  emulated::machine.pinned[*result] = bytes;
  return cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* memory) {
  const std::lock_guard lock(emulated::machine.mutex);
  emulated::finish_copies();
  emulated::machine.pinned.erase(memory);
  std::free(memory);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t = nullptr) {
  // A recorded copy would read the host's memory again at each replay.
  if (emulated::capture != nullptr && kind != cudaMemcpyDeviceToDevice) return cudaErrorStreamCaptureUnsupported;
  if (bytes == 0) return cudaSuccess;
  const std::lock_guard lock(emulated::machine.mutex);
  if (emulated::machine.deferred_copies && kind == cudaMemcpyHostToDevice && emulated::is_pinned(from)) {
    emulated::machine.copies.push_back({to, from, bytes});
    return cudaSuccess;
  }
  emulated::queue([=] { std::memmove(to, from, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t = nullptr) {
  if (bytes > 0) emulated::queue([=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}

// ---- streams and events
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  emulated::finish_copies();
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamQuery(cudaStream_t) {
  emulated::finish_copies();
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  if (emulated::capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  emulated::finish_copies();
  return cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  const std::lock_guard lock(emulated::machine.mutex);
  event->copies = emulated::machine.copies_done + emulated::machine.copies.size();
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (emulated::capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  emulated::finish_copies(event->copies);
  return cudaSuccess;
}

// ---- graphs
inline cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  if (emulated::capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  emulated::capture = new EmulatedGraph;
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = std::exchange(emulated::capture, nullptr);
  return *graph != nullptr ? cudaSuccess : cudaErrorInvalidValue;
}
inline cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = emulated::capture != nullptr ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* result, cudaGraph_t graph, unsigned long long) {
  if (emulated::refuses_memory()) return cudaErrorMemoryAllocation;
  *result = new EmulatedGraph(*graph);
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t) {
  if (emulated::capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  emulated::finish_copies();
  for (const auto& operation : graph->operations) operation();
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete graph;
  return cudaSuccess;
}
