// A TCP connection whose every wait has an end.
#pragma once
#include <cstddef>
#include <optional>
#include <string>

#include "waiting.h"

namespace llama {

class Socket {
 public:
  Socket() = default;
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();

  // Listens at the port; on loopback alone where the host is written as such, else on all of this machine's addresses:
  // a host name may mean another one here than for the others. Throws EngineError DISTRIBUTED_RENDEZVOUS.
  static Socket listen(const std::string& host, int port);
  // One attempt at each of the host's addresses, of a second at most; the last one's failure is left in `why`.
  static std::optional<Socket> connect(const std::string& host, int port, const Deadline& deadline, std::string& why);
  // A connection that waits to be accepted, if there is one.
  std::optional<Socket> accept();

  bool is_open() const { return fd_ >= 0; }
  int fd() const { return fd_; }

  // Everything, from or to `peer` ("rank 1"). Each stretch without progress has the limit of `waiting`. Throws
  // EngineError DISTRIBUTED_PEER_LOST, DISTRIBUTED_TIMEOUT naming the peer.
  void read(void* bytes, size_t count, const std::string& peer, const Waiting& waiting);
  void write(const void* bytes, size_t count, const std::string& peer, const Waiting& waiting);

  // What is there now, up to `count` bytes: 0 for nothing yet, -1 when the connection is closed or broken.
  ptrdiff_t read_some(void* bytes, size_t count);
  ptrdiff_t write_some(const void* bytes, size_t count);

 private:
  explicit Socket(int fd);
  // False when the deadline is over.
  bool wait(short events, const Deadline& deadline) const;

  int fd_ = -1;
};

}  // namespace llama
