#include "group.h"

#include <dlfcn.h>

#include "mpi_communicator.h"
#include "tcp_communicator.h"

namespace llama {
namespace {

std::unique_ptr<Communicator> join_mpi(const Group& group) {
  void* const module = dlopen(group.mpi_module.c_str(), RTLD_NOW);
  if (module == nullptr) {
    throw EngineError("DISTRIBUTED_UNAVAILABLE", std::string("MPI cannot be loaded: ") + dlerror());
  }
  const auto join = reinterpret_cast<decltype(&llama_join_mpi)>(dlsym(module, "llama_join_mpi"));
  if (join == nullptr) throw EngineError("DISTRIBUTED_UNAVAILABLE", group.mpi_module + " is not the engine's");
  return std::unique_ptr<Communicator>(join(group.rank, group.size, group.waiting));
}

}  // namespace

std::unique_ptr<Communicator> join(const Group& group) {
  std::unique_ptr<Communicator> communicator =
      group.mpi_module.empty()
          ? std::make_unique<TcpCommunicator>(group.host, group.port, group.rank, group.size, group.waiting)
          : join_mpi(group);
  std::string first = group.agreement;
  communicator->broadcast(first.data(), static_cast<int64_t>(first.size()));
  if (first != group.agreement) {
    throw EngineError("DISTRIBUTED_MISMATCH", "rank " + std::to_string(group.rank) +
                                                  " was given other rows, other settings or another base than rank 0");
  }
  return communicator;
}

}  // namespace llama
