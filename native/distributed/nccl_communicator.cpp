#include "nccl_communicator.h"

#include <dlfcn.h>

#include <string>

#include "engine_error.h"

namespace llama {
namespace {

// From NCCL's public interface (nccl.h), which has kept these since 2.4.
struct UniqueId {
  char internal[128];
};
constexpr int success = 0, in_progress = 7, float32 = 7, sum = 0;
constexpr int oldest = 2400;  // 2.4.0 of the first numbering

struct Nccl {
  int (*get_version)(int*);
  int (*get_unique_id)(UniqueId*);
  int (*init_rank)(void**, int, UniqueId, int);
  int (*all_reduce)(const void*, void*, size_t, int, int, void*, void*);
  int (*get_async_error)(void*, int*);
  int (*abort)(void*);
  const char* (*error_string)(int);
};

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) throw EngineError("DISTRIBUTED_UNAVAILABLE", std::string("libnccl.so.2 lacks ") + name);
}

Nccl load() {
  void* const library = dlopen("libnccl.so.2", RTLD_NOW);
  if (library == nullptr) {
    throw EngineError("DISTRIBUTED_UNAVAILABLE", std::string("NCCL cannot be loaded: ") + dlerror());
  }
  Nccl nccl{};
  find(library, "ncclGetVersion", nccl.get_version);
  find(library, "ncclGetUniqueId", nccl.get_unique_id);
  find(library, "ncclCommInitRank", nccl.init_rank);
  find(library, "ncclAllReduce", nccl.all_reduce);
  find(library, "ncclCommGetAsyncError", nccl.get_async_error);
  find(library, "ncclCommAbort", nccl.abort);
  find(library, "ncclGetErrorString", nccl.error_string);
  int version = 0;
  if (nccl.get_version(&version) != success || version < oldest) {
    throw EngineError("DISTRIBUTED_UNAVAILABLE", "NCCL " + std::to_string(version) + " is older than " +
                                                     std::to_string(oldest));
  }
  return nccl;
}

const Nccl& library() {
  static const Nccl nccl = load();
  return nccl;
}

void require(int result, const char* what, const char* code) {
  if (result == success || result == in_progress) return;
  throw EngineError(code, std::string(what) + ": " + library().error_string(result));
}

constexpr char unavailable[] = "DISTRIBUTED_UNAVAILABLE", lost[] = "DISTRIBUTED_PEER_LOST";

}  // namespace

bool NcclCommunicator::is_available() {
  try {
    library();
    return true;
  } catch (const EngineError&) {
    return false;
  }
}

NcclCommunicator::NcclCommunicator(Communicator& host) {
  const Nccl& nccl = library();
  UniqueId id{};
  if (host.rank() == 0) require(nccl.get_unique_id(&id), "ncclGetUniqueId", unavailable);
  host.broadcast(&id, sizeof id);
  require(nccl.init_rank(&communicator_, host.size(), id, host.rank()), "ncclCommInitRank", unavailable);
}

NcclCommunicator::~NcclCommunicator() {
  if (communicator_ != nullptr) library().abort(communicator_);
}

void NcclCommunicator::all_reduce_sum(float* values, int64_t count, void* stream) {
  require(library().all_reduce(values, values, static_cast<size_t>(count), float32, sum, communicator_, stream),
          "ncclAllReduce", lost);
}

void NcclCommunicator::check() {
  int state = success;
  require(library().get_async_error(communicator_, &state), "ncclCommGetAsyncError", lost);
  require(state, "NCCL", lost);
}

}  // namespace llama
