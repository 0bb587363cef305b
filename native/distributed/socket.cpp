#include "socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

namespace llama {
namespace {

constexpr auto connect_limit = std::chrono::seconds(1);

struct AddressList {
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> first{nullptr, freeaddrinfo};
  std::string error;
};

AddressList resolve(const char* host, int port, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  AddressList list;
  const int error = getaddrinfo(host, std::to_string(port).c_str(), &hints, &found);
  if (error != 0) {
    list.error = gai_strerror(error);
  } else {
    list.first.reset(found);
  }
  return list;
}

void set(int fd, int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof value); }

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

[[noreturn]] void throw_lost(const std::string& peer) {
  throw EngineError("DISTRIBUTED_PEER_LOST", peer + " has left the training: its own output says why");
}

[[noreturn]] void throw_late(const std::string& peer, const Waiting& waiting) {
  throw EngineError("DISTRIBUTED_TIMEOUT", peer + " has not been heard of for " + describe(waiting));
}

}  // namespace

Socket::Socket(int fd) : fd_(fd) {
  fcntl(fd_, F_SETFD, FD_CLOEXEC);
  fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK);
  set(fd_, IPPROTO_TCP, TCP_NODELAY, 1);
}

Socket::Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

Socket Socket::listen(const std::string& host, int port) {
  const AddressList list = resolve(is_loopback(host) ? host.c_str() : nullptr, port, AI_PASSIVE);
  std::string why = list.error;
  // An IPv6 socket takes IPv4 connections too, so those addresses are tried first.
  for (const int family : {AF_INET6, AF_INET}) {
    for (const addrinfo* address = list.first.get(); address; address = address->ai_next) {
      if (address->ai_family != family) continue;
      const int fd = ::socket(family, SOCK_STREAM, 0);
      if (fd >= 0) {
        Socket socket(fd);
        set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (family == AF_INET6) set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
        if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && ::listen(fd, SOMAXCONN) == 0) return socket;
      }
      why = std::strerror(errno);
    }
  }
  throw EngineError("DISTRIBUTED_RENDEZVOUS", "rank 0 cannot listen at port " + std::to_string(port) + ": " + why);
}

std::optional<Socket> Socket::connect(const std::string& host, int port, const Deadline& deadline, std::string& why) {
  const AddressList list = resolve(host.c_str(), port, 0);
  if (!list.first) why = list.error;
  for (const addrinfo* address = list.first.get(); address; address = address->ai_next) {
    const int fd = ::socket(address->ai_family, SOCK_STREAM, 0);
    if (fd < 0) {
      why = std::strerror(errno);
      continue;
    }
    Socket socket(fd);
    if (::connect(fd, address->ai_addr, address->ai_addrlen) == 0) return socket;
    int error = errno;
    if (error == EINPROGRESS) {
      const Waiting attempt{connect_limit, [&] { return deadline.slice() < 0; }};  // throws when stopped
      error = ETIMEDOUT;
      socklen_t length = sizeof error;
      if (socket.wait(POLLOUT, Deadline(attempt))) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    }
    if (error == 0) return socket;
    why = std::strerror(error);
  }
  return std::nullopt;
}

std::optional<Socket> Socket::accept() {
  const int fd = ::accept(fd_, nullptr, nullptr);
  if (fd < 0) return std::nullopt;
  return Socket(fd);
}

bool Socket::wait(short events, const Deadline& deadline) const {
  while (const int slice = deadline.slice()) {
    pollfd entry{fd_, events, 0};
    if (poll(&entry, 1, slice) > 0) return true;
  }
  return false;
}

ptrdiff_t Socket::read_some(void* bytes, size_t count) {
  const ptrdiff_t got = recv(fd_, bytes, count, 0);
  if (got > 0) return got;
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? 0 : -1;
}

ptrdiff_t Socket::write_some(const void* bytes, size_t count) {
  const ptrdiff_t sent = send(fd_, bytes, count, MSG_NOSIGNAL);
  if (sent >= 0) return sent;
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
}

void Socket::read(void* bytes, size_t count, const std::string& peer, const Waiting& waiting) {
  auto* next = static_cast<char*>(bytes);
  Deadline deadline(waiting);
  while (count > 0) {
    const ptrdiff_t got = read_some(next, count);
    if (got < 0) throw_lost(peer);
    if (got > 0) {
      next += got;
      count -= static_cast<size_t>(got);
      deadline.restart();
    } else if (!wait(POLLIN, deadline)) {
      throw_late(peer, waiting);
    }
  }
}

void Socket::write(const void* bytes, size_t count, const std::string& peer, const Waiting& waiting) {
  const auto* next = static_cast<const char*>(bytes);
  Deadline deadline(waiting);
  while (count > 0) {
    const ptrdiff_t sent = write_some(next, count);
    if (sent < 0) throw_lost(peer);
    if (sent > 0) {
      next += sent;
      count -= static_cast<size_t>(sent);
      deadline.restart();
    } else if (!wait(POLLOUT, deadline)) {
      throw_late(peer, waiting);
    }
  }
}

}  // namespace llama
