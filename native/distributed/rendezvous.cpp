#include "rendezvous.h"

#include <poll.h>

#include <thread>

#include "frame.h"

namespace llama {
namespace {

using Clock = std::chrono::steady_clock;

// A rank says who it is as soon as it is connected.
constexpr auto hello_limit = std::chrono::seconds(5);
constexpr auto retry_pause = std::chrono::milliseconds(100);
constexpr size_t most_visitors = 256;

// A connection whose hello has not come yet.
struct Visitor {
  explicit Visitor(Socket connection) : socket(std::move(connection)) {}

  Socket socket;
  Clock::time_point end = Clock::now() + hello_limit;
  Frame hello;
  size_t got = 0;

  // False when it is not to be waited for any more.
  bool read() {
    const ptrdiff_t more = socket.read_some(reinterpret_cast<char*>(&hello) + got, sizeof hello - got);
    if (more < 0) return false;
    got += static_cast<size_t>(more);
    return is_complete() || Clock::now() < end;
  }
  bool is_complete() const { return got == sizeof hello; }
};

// Takes a visitor in, or answers why not; strangers get no answer.
void judge(Visitor& visitor, std::vector<Socket>& ranks) {
  const int size = static_cast<int>(ranks.size());
  const Frame& hello = visitor.hello;
  if (hello.magic != Frame::expected_magic || hello.kind != FrameKind::hello) return;
  Frame answer;
  answer.size = size;
  if (hello.size != size) {
    answer.kind = FrameKind::other_size;
  } else if (hello.rank < 1 || hello.rank >= size) {
    return;
  } else {
    answer.kind = ranks[static_cast<size_t>(hello.rank)].is_open() ? FrameKind::taken : FrameKind::welcome;
  }
  // A new connection has room for these few bytes.
  if (visitor.socket.write_some(&answer, sizeof answer) != sizeof answer) return;
  if (answer.kind == FrameKind::welcome) ranks[static_cast<size_t>(hello.rank)] = std::move(visitor.socket);
}

std::string missing_ranks(const std::vector<Socket>& ranks) {
  std::string list;
  for (size_t rank = 1; rank < ranks.size(); ++rank) {
    if (!ranks[rank].is_open()) list += (list.empty() ? "" : ", ") + std::to_string(rank);
  }
  return list;
}

std::string place(const std::string& host, int port) { return host + " port " + std::to_string(port); }

}  // namespace

std::vector<Socket> gather_ranks(const std::string& host, int port, int size, const Waiting& waiting) {
  std::vector<Socket> ranks(static_cast<size_t>(size));
  std::vector<Visitor> visitors;
  Socket door = Socket::listen(host, port);
  const Deadline deadline(waiting);
  while (!missing_ranks(ranks).empty()) {
    const int slice = deadline.slice();
    if (slice == 0) {
      throw EngineError("DISTRIBUTED_RENDEZVOUS", "rank 0 has waited at " + place(host, port) + " for " +
                                                      describe(waiting) + " without these ranks: " +
                                                      missing_ranks(ranks));
    }
    std::vector<pollfd> entries;
    if (visitors.size() < most_visitors) entries.push_back({door.fd(), POLLIN, 0});
    for (const Visitor& visitor : visitors) entries.push_back({visitor.socket.fd(), POLLIN, 0});
    poll(entries.data(), entries.size(), slice);
    while (visitors.size() < most_visitors) {
      std::optional<Socket> socket = door.accept();
      if (!socket) break;
      visitors.emplace_back(std::move(*socket));
    }
    std::vector<Visitor> waiting_on;
    for (Visitor& visitor : visitors) {
      if (!visitor.read()) continue;
      if (visitor.is_complete()) {
        judge(visitor, ranks);
      } else {
        waiting_on.push_back(std::move(visitor));
      }
    }
    visitors = std::move(waiting_on);
  }
  return ranks;
}

Socket join_ranks(const std::string& host, int port, int rank, int size, const Waiting& waiting) {
  const std::string self = "rank " + std::to_string(rank);
  const Deadline deadline(waiting);
  std::string why;
  while (deadline.slice() > 0) {
    if (std::optional<Socket> socket = Socket::connect(host, port, deadline, why)) {
      Frame hello, answer;
      hello.kind = FrameKind::hello;
      hello.rank = rank;
      hello.size = size;
      try {
        socket->write(&hello, sizeof hello, "rank 0", waiting);
        socket->read(&answer, sizeof answer, "rank 0", waiting);
      } catch (const EngineError& error) {
        if (deadline.slice() == 0) break;
        answer.magic = 0;
      }
      if (answer.magic != Frame::expected_magic) {
        why = "what listens there is not rank 0 of this training";
      } else if (answer.kind == FrameKind::welcome) {
        return std::move(*socket);
      } else if (answer.kind == FrameKind::other_size) {
        throw EngineError("DISTRIBUTED_RENDEZVOUS", self + " of " + std::to_string(size) + " came to a rank 0 of " +
                                                        std::to_string(answer.size));
      } else if (answer.kind == FrameKind::taken) {
        throw EngineError("DISTRIBUTED_RENDEZVOUS", "another process is " + self + " already");
      }
    }
    std::this_thread::sleep_for(retry_pause);
  }
  throw EngineError("DISTRIBUTED_RENDEZVOUS", self + " could not reach rank 0 at " + place(host, port) + " within " +
                                                  describe(waiting) + ": " + why);
}

}  // namespace llama
