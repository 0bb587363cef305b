// Ranks over TCP, each a thread of this process: sums and broadcasts at odd sizes, ranks that come late, go, keep
// silent or disagree, and strangers at the door. Sums are compared exactly: they are taken in the order of the ranks.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../distributed/frame.h"
#include "../distributed/group.h"
#include "../distributed/tcp_communicator.h"
#include "expect.h"

namespace {

using namespace llama;
using namespace std::chrono_literals;

using checks::expect;

// A port that nobody listens at; it stays free unless another program takes it in the meantime.
int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  bind(fd, reinterpret_cast<sockaddr*>(&address), length);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  close(fd);
  return ntohs(address.sin_port);
}

// A plain connection, as soon as somebody listens.
int visit(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  for (;;) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
    close(fd);
    std::this_thread::sleep_for(5ms);
  }
}

Waiting within(std::chrono::milliseconds limit) {
  return {limit, [] { return false; }};
}

constexpr auto long_enough = 30s;

// The error's code and message, or "" when the work goes well.
std::string outcome(const std::function<void()>& work) {
  try {
    work();
    return "";
  } catch (const EngineError& error) {
    return std::string(error.code()) + " " + error.what();
  }
}

// Runs every rank of a group on a thread of its own; returns their outcomes.
std::vector<std::string> run(int size, Waiting waiting, const std::function<void(Communicator&)>& work) {
  const int port = free_port();
  std::vector<std::string> outcomes(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      outcomes[static_cast<size_t>(rank)] = outcome([&] {
        TcpCommunicator communicator("127.0.0.1", port, rank, size, waiting);
        work(communicator);
      });
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

void expect_all(const std::vector<std::string>& outcomes, const std::string& start, const std::string& what) {
  for (const std::string& found : outcomes) {
    expect(start.empty() ? found.empty() : found.rfind(start, 0) == 0, what + ": \"" + found + "\"");
  }
}

template <class Number>
std::vector<Number> values_of(int rank, int64_t count) {
  std::mt19937 random(static_cast<unsigned>(rank * 7919 + count));
  std::normal_distribution<Number> normal;
  std::vector<Number> values(static_cast<size_t>(count));
  for (Number& value : values) value = normal(random);
  return values;
}

template <class Number>
void test_sums() {
  for (const int size : {2, 3, 5}) {
    expect_all(run(size, within(long_enough),
                   [&](Communicator& ranks) {
                     for (const int64_t count : {0, 1, 3, 16383, 16384, 16385, 200001}) {
                       std::vector<Number> expected = values_of<Number>(0, count);
                       for (int rank = 1; rank < size; ++rank) {
                         const std::vector<Number> other = values_of<Number>(rank, count);
                         for (size_t i = 0; i < expected.size(); ++i) expected[i] += other[i];
                       }
                       std::vector<Number> values = values_of<Number>(ranks.rank(), count);
                       ranks.all_reduce_sum(values.data(), count);
                       expect(values == expected, "the sum of " + std::to_string(count) + " values over " +
                                                      std::to_string(size) + " ranks");
                     }
                     ranks.finish();
                   }),
               "", "sums");
  }
}

void test_broadcast() {
  expect_all(run(3, within(long_enough),
                 [](Communicator& ranks) {
                   std::string text = ranks.rank() == 0 ? "from rank 0" : "not from it";
                   ranks.broadcast(text.data(), static_cast<int64_t>(text.size()));
                   expect(text == "from rank 0", "broadcast: " + text);
                 }),
             "", "broadcast");
}

void test_agreement() {
  const int port = free_port();
  const auto member = [&](int rank, const std::string& agreement) {
    const Group group{rank, 2, "127.0.0.1", port, "", agreement, within(long_enough)};
    return outcome([&] {
      const auto ranks = join(group);
      ranks->finish();
    });
  };
  std::string first, second;
  std::thread other([&] { second = member(1, "b"); });
  first = member(0, "a");
  other.join();
  expect(second.rfind("DISTRIBUTED_MISMATCH rank 1 was given", 0) == 0, "a rank with other data: " + second);
  expect(first.rfind("DISTRIBUTED_PEER_LOST rank 1", 0) == 0, "rank 0 without it: " + first);
}

void test_late_rank_0() {
  const int port = free_port();
  std::string outcome_of_1;
  std::thread early([&] {
    outcome_of_1 = outcome([&] { TcpCommunicator("127.0.0.1", port, 1, 2, within(long_enough)).finish(); });
  });
  std::this_thread::sleep_for(300ms);
  const std::string outcome_of_0 =
      outcome([&] { TcpCommunicator("127.0.0.1", port, 0, 2, within(long_enough)).finish(); });
  early.join();
  expect_all({outcome_of_0, outcome_of_1}, "", "rank 0 comes last");
}

void test_strangers() {
  const int port = free_port();
  std::vector<std::string> outcomes(2);
  std::vector<std::thread> ranks;
  const auto start = [&](int rank) {
    ranks.emplace_back([&, rank] {
      outcomes[static_cast<size_t>(rank)] = outcome([&] {
        TcpCommunicator communicator("127.0.0.1", port, rank, 2, within(long_enough));
        double one = 1;
        communicator.all_reduce_sum(&one, 1);
        expect(one == 2, "the sum after strangers came");
        communicator.finish();
      });
    });
  };
  start(0);
  std::vector<int> visitors;
  const auto say = [&](const void* bytes, size_t count) {
    visitors.push_back(visit(port));
    if (count > 0) expect(send(visitors.back(), bytes, count, 0) == static_cast<ssize_t>(count), "a stranger's words");
  };
  say("", 0);
  say("GET / HTTP/1.1\r\nHost: rank0\r\n\r\n", 31);
  say("LL", 2);
  Frame frame;
  frame.kind = FrameKind::hello;
  for (const int32_t rank : {-1, 0, 2, INT32_MAX, INT32_MIN}) {
    frame.rank = rank;
    frame.size = 2;
    say(&frame, sizeof frame);
  }
  frame.rank = 1;
  frame.kind = FrameKind::floats;
  frame.count = INT64_MAX;
  say(&frame, sizeof frame);
  // A rank of a group of another size is told so.
  frame.kind = FrameKind::hello;
  frame.size = 3;
  say(&frame, sizeof frame);
  Frame answer;
  expect(recv(visitors.back(), &answer, sizeof answer, MSG_WAITALL) == sizeof answer, "an answer for another group");
  expect(answer.kind == FrameKind::other_size && answer.size == 2, "what the answer says");
  start(1);
  for (std::thread& rank : ranks) rank.join();
  for (const int fd : visitors) close(fd);
  expect_all(outcomes, "", "ranks among strangers");
}

void test_refusals() {
  const int port = free_port();
  std::atomic<bool> stop = false;
  std::string first;
  std::thread rank_0([&] {
    first = outcome([&] { TcpCommunicator("127.0.0.1", port, 0, 3, {long_enough, [&] { return stop.load(); }}); });
  });
  TcpCommunicator* joined = nullptr;
  const auto join_as = [&](int rank, int size) {
    return outcome([&] { joined = new TcpCommunicator("127.0.0.1", port, rank, size, within(long_enough)); });
  };
  expect(join_as(1, 3).empty(), "rank 1 comes");
  const std::unique_ptr<TcpCommunicator> rank_1(joined);
  const std::string twice = join_as(1, 3), other = join_as(1, 2);
  expect(twice == "DISTRIBUTED_RENDEZVOUS another process is rank 1 already", "rank 1 comes twice: " + twice);
  expect(other == "DISTRIBUTED_RENDEZVOUS rank 1 of 2 came to a rank 0 of 3", "another size: " + other);
  const std::string occupied = outcome([&] { TcpCommunicator("127.0.0.1", port, 0, 3, within(1s)); });
  expect(occupied.rfind("DISTRIBUTED_RENDEZVOUS rank 0 cannot listen at port", 0) == 0, "a taken port: " + occupied);
  stop = true;
  rank_0.join();
  expect(first.rfind("ENGINE_UNAVAILABLE", 0) == 0, "a stopped rank 0: " + first);
}

void test_absence() {
  const int port = free_port();
  const std::string alone = outcome([&] { TcpCommunicator("127.0.0.1", port, 0, 3, within(200ms)); });
  expect(alone.rfind("DISTRIBUTED_RENDEZVOUS rank 0 has waited", 0) == 0 && alone.ends_with(": 1, 2"), alone);
  const std::string lost = outcome([&] { TcpCommunicator("127.0.0.1", port, 2, 3, within(200ms)); });
  expect(lost.rfind("DISTRIBUTED_RENDEZVOUS rank 2 could not reach rank 0", 0) == 0, lost);
  const std::string nowhere = outcome([&] { TcpCommunicator("no-such-host.invalid", port, 1, 2, within(200ms)); });
  expect(nowhere.rfind("DISTRIBUTED_RENDEZVOUS rank 1 could not reach rank 0", 0) == 0, nowhere);
}

void test_lost_rank() {
  const std::vector<std::string> outcomes = run(4, within(long_enough), [](Communicator& ranks) {
    std::vector<float> values(100000);
    ranks.all_reduce_sum(values.data(), 100000);
    if (ranks.rank() == 2) return;
    ranks.all_reduce_sum(values.data(), 3);
  });
  expect(outcomes[2].empty(), "the rank that goes: " + outcomes[2]);
  for (const int rank : {0, 1, 3}) {
    const std::string& found = outcomes[static_cast<size_t>(rank)];
    expect(found.rfind("DISTRIBUTED_PEER_LOST rank 2 has left", 0) == 0, "a rank that stays: " + found);
  }
}

void test_silent_rank() {
  std::atomic<int> waiting = 2;
  const std::vector<std::string> outcomes = run(3, within(300ms), [&](Communicator& ranks) {
    double value = 0;
    if (ranks.rank() == 1) {
      while (waiting > 0) std::this_thread::sleep_for(5ms);
      return;
    }
    const std::string found = outcome([&] { ranks.all_reduce_sum(&value, 1); });
    --waiting;
    expect(found.rfind(ranks.rank() == 0 ? "DISTRIBUTED_TIMEOUT rank 1" : "DISTRIBUTED_", 0) == 0, found);
  });
  expect_all(outcomes, "", "a silent rank");
}

void test_different_steps() {
  const std::vector<std::string> outcomes = run(2, within(long_enough), [](Communicator& ranks) {
    std::vector<float> values(8);
    ranks.all_reduce_sum(values.data(), ranks.rank() == 0 ? 8 : 4);
  });
  expect(outcomes[0].rfind("DISTRIBUTED_MISMATCH rank 1", 0) == 0, "rank 0: " + outcomes[0]);
  expect(outcomes[1].rfind("DISTRIBUTED_", 0) == 0, "rank 1: " + outcomes[1]);
}

}  // namespace

int main() {
  test_sums<float>();
  test_sums<double>();
  test_broadcast();
  test_agreement();
  test_late_rank_0();
  test_strangers();
  test_refusals();
  test_absence();
  test_lost_rank();
  test_silent_rank();
  test_different_steps();
  return checks::summary();
}
