// Ranks that need nothing but a port of rank 0's machine: it adds what the others send, in the order of the ranks, and
// sends the sum back. A step moves 2 (size - 1) times the adapter's gradients through rank 0, megabytes; for many ranks
// or adapters of hundreds of megabytes MPI and NCCL have better roads.
#pragma once
#include <string>
#include <vector>

#include "communicator.h"
#include "frame.h"
#include "socket.h"

namespace llama {

class TcpCommunicator final : public Communicator {
 public:
  // Returns when all ranks are there. Throws EngineError DISTRIBUTED_RENDEZVOUS.
  TcpCommunicator(const std::string& host, int port, int rank, int size, Waiting waiting);

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const Waiting& waiting() const override { return waiting_; }
  void all_reduce_sum(float* values, int64_t count) override { sum(values, count, FrameKind::floats); }
  void all_reduce_sum(double* values, int64_t count) override { sum(values, count, FrameKind::doubles); }
  void broadcast(void* bytes, int64_t count) override;
  void barrier() override { sum<double>(nullptr, 0, FrameKind::doubles); }
  void finish() override { barrier(); }

 private:
  template <class Number>
  void sum(Number* values, int64_t count, FrameKind kind);
  template <class Number>
  void add_from(int rank, Number* values, int64_t count, FrameKind kind);
  void send(int to, const void* bytes, int64_t count, int64_t width, FrameKind kind);
  // The head of a message; throws when it is not the one that must come now.
  void expect(int from, int64_t count, FrameKind kind);
  // On rank 0: tells the others whom it has lost.
  void report_lost(int rank);

  int rank_, size_;
  Waiting waiting_;
  std::vector<Socket> peers_;  // by rank; on ranks above 0 only [0]
};

}  // namespace llama
