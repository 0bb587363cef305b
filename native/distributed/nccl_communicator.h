// Sums over ranks that each have a GPU, by NVIDIA's NCCL, which is loaded at run time (libnccl.so.2, 2.4 or newer).
#pragma once
#include <cstdint>

#include "communicator.h"

namespace llama {

// The ranks' second line beside the one they have already: what lies in the devices' memory is added there.
class NcclCommunicator final : public DeviceLine {
 public:
  // Whether the library is there and new enough.
  static bool is_available();

  // Collective. The calling thread's current device is this rank's; no two ranks may have the same. Throws EngineError
  // DISTRIBUTED_UNAVAILABLE when the library is missing, too old, or refuses the device.
  explicit NcclCommunicator(Communicator& host);
  // Gives up what is not finished.
  ~NcclCommunicator() override;
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  // Adds the arrays of all ranks, in place, in device memory: enqueued on the stream (a cudaStream_t), not waited for.
  void all_reduce_sum(float* values, int64_t count, void* stream);
  // What has gone wrong since on the way to other ranks. To be asked while waiting for the stream: without a peer the
  // sum never ends. Throws EngineError DISTRIBUTED_PEER_LOST.
  void check();

 private:
  void* communicator_ = nullptr;  // ncclComm_t
};

}  // namespace llama
