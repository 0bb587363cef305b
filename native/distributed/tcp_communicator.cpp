#include "tcp_communicator.h"

#include <algorithm>
#include <array>

#include "rendezvous.h"

namespace llama {
namespace {

std::string name(int rank) { return "rank " + std::to_string(rank); }

}  // namespace

TcpCommunicator::TcpCommunicator(const std::string& host, int port, int rank, int size, Waiting waiting)
    : rank_(rank), size_(size), waiting_(std::move(waiting)) {
  if (rank == 0) {
    peers_ = gather_ranks(host, port, size, waiting_);
  } else {
    peers_.push_back(join_ranks(host, port, rank, size, waiting_));
  }
}

template <class Number>
void TcpCommunicator::sum(Number* values, int64_t count, FrameKind kind) {
  if (rank_ > 0) {
    try {
      send(0, values, count, sizeof(Number), kind);
    } catch (const EngineError& error) {
      // Rank 0 may have gone with a word about whom it has lost.
      if (std::string(error.code()) == "DISTRIBUTED_PEER_LOST") expect(0, count, kind);
      throw;
    }
    expect(0, count, kind);
    peers_[0].read(values, static_cast<size_t>(count) * sizeof(Number), name(0), waiting_);
    return;
  }
  int peer = 1;
  try {
    for (; peer < size_; ++peer) add_from(peer, values, count, kind);
    for (peer = 1; peer < size_; ++peer) send(peer, values, count, sizeof(Number), kind);
  } catch (const EngineError&) {
    report_lost(peer);
    throw;
  }
}

template <class Number>
void TcpCommunicator::add_from(int rank, Number* values, int64_t count, FrameKind kind) {
  expect(rank, count, kind);
  std::array<Number, 1 << 14> block;
  for (int64_t start = 0; start < count; start += block.size()) {
    const int64_t length = std::min<int64_t>(block.size(), count - start);
    peers_[static_cast<size_t>(rank)].read(block.data(), static_cast<size_t>(length) * sizeof(Number), name(rank),
                                           waiting_);
    for (int64_t i = 0; i < length; ++i) values[start + i] += block[static_cast<size_t>(i)];
  }
}

void TcpCommunicator::broadcast(void* bytes, int64_t count) {
  if (rank_ > 0) {
    expect(0, count, FrameKind::bytes);
    peers_[0].read(bytes, static_cast<size_t>(count), name(0), waiting_);
    return;
  }
  for (int peer = 1; peer < size_; ++peer) send(peer, bytes, count, 1, FrameKind::bytes);
}

void TcpCommunicator::send(int to, const void* bytes, int64_t count, int64_t width, FrameKind kind) {
  Frame head;
  head.kind = kind;
  head.rank = rank_;
  head.size = size_;
  head.count = count;
  Socket& peer = peers_[static_cast<size_t>(to)];
  peer.write(&head, sizeof head, name(to), waiting_);
  peer.write(bytes, static_cast<size_t>(count * width), name(to), waiting_);
}

void TcpCommunicator::expect(int from, int64_t count, FrameKind kind) {
  Frame head;
  peers_[static_cast<size_t>(from)].read(&head, sizeof head, name(from), waiting_);
  const bool is_frame = head.magic == Frame::expected_magic;
  if (is_frame && head.kind == FrameKind::lost) {
    throw EngineError("DISTRIBUTED_PEER_LOST", name(head.rank) + " has left the training: its own output says why");
  }
  if (!is_frame || head.kind != kind || head.count != count) {
    throw EngineError("DISTRIBUTED_MISMATCH", name(from) + " does not take the same steps as " + name(rank_));
  }
}

void TcpCommunicator::report_lost(int rank) {
  Frame head;
  head.kind = FrameKind::lost;
  head.rank = rank;
  for (int peer = 1; peer < size_; ++peer) {
    // Without waiting: whoever cannot take it now sees the connection close.
    if (peer != rank) peers_[static_cast<size_t>(peer)].write_some(&head, sizeof head);
  }
}

}  // namespace llama
