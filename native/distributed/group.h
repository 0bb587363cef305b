// A group of ranks as JavaScript describes it, and the way into it.
#pragma once
#include <memory>
#include <string>

#include "communicator.h"
#include "waiting.h"

namespace llama {

struct Group {
  int rank = 0, size = 1;
  std::string host;  // where rank 0 listens
  int port = 0;
  std::string mpi_module;  // path of llama_mpi.so; empty: TCP
  std::string agreement;   // equally long on all ranks
  Waiting waiting;
};

// Returns when all ranks have met and agree. Throws EngineError DISTRIBUTED_*.
std::unique_ptr<Communicator> join(const Group& group);

}  // namespace llama
