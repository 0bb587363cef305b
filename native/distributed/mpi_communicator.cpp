#include "mpi_communicator.h"

#include <mpi.h>

#include <algorithm>
#include <string>
#include <thread>

namespace llama {
namespace {

void check(int result) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(result, text, &length);
  throw EngineError("DISTRIBUTED_PEER_LOST", "MPI: " + std::string(text, static_cast<size_t>(length)));
}

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(int rank, int size, const Waiting& waiting) : rank_(rank), size_(size), waiting_(waiting) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const Waiting& waiting() const override { return waiting_; }
  void all_reduce_sum(float* values, int64_t count) override { sum(values, count, MPI_FLOAT); }
  void all_reduce_sum(double* values, int64_t count) override { sum(values, count, MPI_DOUBLE); }

  void broadcast(void* bytes, int64_t count) override {
    in_blocks(static_cast<char*>(bytes), count, [](char* block, int length, MPI_Request* request) {
      return MPI_Ibcast(block, length, MPI_BYTE, 0, MPI_COMM_WORLD, request);
    });
  }

  void barrier() override {
    MPI_Request request;
    check(MPI_Ibarrier(MPI_COMM_WORLD, &request));
    wait(request, std::chrono::microseconds(50));
  }

  void finish() override {
    barrier();
    check(MPI_Finalize());
  }

 private:
  // MPI 3.1, 5.9.6: all processes receive identical results.
  template <class Number>
  void sum(Number* values, int64_t count, MPI_Datatype type) {
    in_blocks(values, count, [type](Number* block, int length, MPI_Request* request) {
      return MPI_Iallreduce(MPI_IN_PLACE, block, length, type, MPI_SUM, MPI_COMM_WORLD, request);
    });
  }

  // Blocks that stay in the cache take a fifth of the time of one array of hundreds of megabytes. MPI moves data only
  // while it is asked: asking all the time is no waste once all ranks are here.
  template <class Value, class Start>
  void in_blocks(Value* values, int64_t count, Start start) {
    constexpr int64_t longest = 1 << 20;
    barrier();
    for (int64_t at = 0; at < count; at += longest) {
      MPI_Request request;
      check(start(values + at, static_cast<int>(std::min(longest, count - at)), &request));
      wait(request, std::chrono::microseconds(0));
    }
  }

  // Blocking calls of MPI would wait for ever; this one ends.
  void wait(MPI_Request& request, std::chrono::microseconds pause) {
    const Deadline deadline(waiting_);
    for (int64_t tries = 0;; ++tries) {
      int done = 0;
      check(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
      if (done) return;
      if (deadline.slice() == 0) {
        throw EngineError("DISTRIBUTED_TIMEOUT", "another rank has not been heard of for " + describe(waiting_));
      }
      if (tries < 1000 || pause.count() == 0) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(pause);
      }
    }
  }

  int rank_, size_;
  Waiting waiting_;
};

}  // namespace
}  // namespace llama

llama::Communicator* llama_join_mpi(int rank, int size, const llama::Waiting& waiting) {
  using llama::EngineError;
  int started = 0, provided = 0, found_rank = 0, found_size = 0;
  MPI_Initialized(&started);
  if (started) throw EngineError("DISTRIBUTED_UNAVAILABLE", "a process can join an MPI training once: start it again");
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
    throw EngineError("DISTRIBUTED_UNAVAILABLE", "MPI cannot be started");
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &found_rank);
  MPI_Comm_size(MPI_COMM_WORLD, &found_size);
  if (found_rank != rank || found_size != size) {
    const auto place = [](int of, int all) { return std::to_string(of) + " of " + std::to_string(all); };
    throw EngineError("DISTRIBUTED_ENVIRONMENT", "MPI made this process rank " + place(found_rank, found_size) +
                                                     ", its variables say " + place(rank, size));
  }
  return new llama::MpiCommunicator(rank, size, waiting);
}
