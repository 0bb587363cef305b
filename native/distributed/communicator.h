// What the ranks of one training say to each other.
#pragma once
#include <cstdint>
#include <memory>

#include "waiting.h"

namespace llama {

// What lies in devices' memory may have a line of its own.
class DeviceLine {
 public:
  virtual ~DeviceLine() = default;
};

// One rank's line to the others. Every call is collective: all ranks make the same calls in the same order, each from
// the thread that made its communicator. A rank that has gone, or keeps the others waiting for too long, is an
// EngineError DISTRIBUTED_PEER_LOST or DISTRIBUTED_TIMEOUT on them; after an error nothing is left but to destroy the
// communicator, which tells the others.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const Waiting& waiting() const = 0;

  // Adds the arrays of all ranks, in place, in host memory. All ranks get the same bits.
  virtual void all_reduce_sum(float* values, int64_t count) = 0;
  virtual void all_reduce_sum(double* values, int64_t count) = 0;
  // Rank 0's bytes to all others.
  virtual void broadcast(void* bytes, int64_t count) = 0;
  // Returns when all ranks are here.
  virtual void barrier() = 0;
  // The last call of a training that went well: a barrier, after which a rank may go without being missed.
  virtual void finish() = 0;

  // Of the implementation that sums on this rank; goes with the group.
  std::unique_ptr<DeviceLine> device_line;
  bool device_line_is_settled = false;  // whether the ranks know if they have one
};

}  // namespace llama
