// Measurements in processes of their own.
//
// A fault leaves CUDA unusable in the process that met it, and a kernel that hangs ends only with its process. So children
// measure, and a new one goes on behind a measurement that failed or took more than Options::limit seconds. What is finished is said
// on standard error at once; Options::out holds the JSON of all that is finished at any time.
#pragma once
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "json.h"

namespace llama::bench {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Options {
  int layers = 32, checkpointed_layers = -1;  // -1: as many as memory asks for
  double seconds = 2;  // of a measurement, about
  double limit = 60;
  std::string only, out;
};

struct Measurement {
  std::string name;
  std::function<Json()> work;  // in a child
  std::string result;          // JSON; empty: not there yet
  bool is(const char* word) const { return is_a(result, word); }
};
using Measurements = std::vector<Measurement>;

// Set by a signal.
inline volatile std::sig_atomic_t stopped = 0;

inline std::string failed(const std::string& why) {
  Json result;
  result.text("failed", why);
  return result.whole();
}

// The measurements from `next` on, a line for each, until one fails or there is no card for them.
[[noreturn]] inline void measure_in_child(const Measurements& group, size_t next, int to) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
  dup2(STDERR_FILENO, STDOUT_FILENO);  // which is the JSON's alone
  for (bool good = true; good && next < group.size(); ++next) {
    std::string line;
    try {
      line = group[next].work().whole();
      good = !is_a(line, "skipped");
    } catch (const std::exception& error) {
      line = failed(error.what());
      good = false;
    }
    line += '\n';
    if (write(to, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(1);
  }
  _exit(0);  // nothing is taken apart: a card that fails may hang there
}

// The process that starts the others, and what they have measured so far.
class Runner {
 public:
  explicit Runner(const Options& options) : options_(options) {
    if (const char* revision = std::getenv("LLAMA_REVISION")) about_.text("revision", revision);
    if (const char* driver = std::getenv("LLAMA_DRIVER")) about_.text("driver", driver);
    about_.text("model", "LLaMA 7B shape, " + std::to_string(options.layers) + " layers, random weights");
  }

  // Its results lie in an object `name` or, where that is empty, beside the others. Whether the first of them succeeded,
  // which the others stand on.
  bool run(const std::string& name, Measurements group) {
    groups_.emplace_back(name, std::move(group));
    Measurements& measurements = groups_.back().second;
    for (size_t next = 0; next < measurements.size() && !stopped;) {
      const size_t first = next;
      int ends[2];
      if (pipe(ends) != 0) throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
      const pid_t child = fork();
      if (child < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
      if (child == 0) {
        close(ends[0]);
        measure_in_child(measurements, next, ends[1]);
      }
      close(ends[1]);
      std::string problem = read_results(ends[0], measurements, next);
      close(ends[0]);
      if (!problem.empty()) kill(child, SIGKILL);
      int status = 0;
      while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
      if (problem.empty() && WIFSIGNALED(status)) problem = std::string("the process ended: ") + strsignal(WTERMSIG(status));
      const bool in_vain = next == first || WEXITSTATUS(status) != 0;
      if (problem.empty() && in_vain) problem = "the process ended with status " + std::to_string(WEXITSTATUS(status));
      if (!problem.empty() && next < measurements.size()) finish(measurements[next++], failed(problem));
      if (measurements[0].is("failed") || measurements[0].is("skipped")) return false;
    }
    return !stopped;
  }

  void give_up(const std::string& why) { about_.text("failed", why); }

  std::string whole() const {
    if (!groups_.empty() && groups_.front().second[0].is("skipped")) return groups_.front().second[0].result;
    Json all = about_;
    for (const auto& [name, group] : groups_) {
      Json own;
      for (const Measurement& measurement : group) {
        if (!measurement.result.empty()) (name.empty() ? all : own).object(measurement.name, measurement.result);
      }
      if (!name.empty()) all.object(name, own.whole());
    }
    return all.whole();
  }

 private:
  // Until the child has ended, or the reason to end it.
  std::string read_results(int from, Measurements& group, size_t& next) {
    std::string text;
    auto start = Clock::now();
    for (;;) {
      if (stopped) return "stopped by a signal";
      if (seconds_since(start) > options_.limit) {
        return "not finished after " + std::to_string(static_cast<int>(options_.limit)) + " seconds";
      }
      pollfd ready{from, POLLIN, 0};
      if (poll(&ready, 1, 200) <= 0) continue;
      char part[4096];
      const ssize_t count = read(from, part, sizeof part);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return "";
      text.append(part, static_cast<size_t>(count));
      for (size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) {
        finish(group[next++], text.substr(0, end));
        start = Clock::now();
      }
    }
  }

  void finish(Measurement& measurement, std::string result) {
    measurement.result = std::move(result);
    const std::string& group = groups_.back().first;
    std::fprintf(stderr, "%s%s%s %s\n", group.c_str(), group.empty() ? "" : " ", measurement.name.c_str(),
                 measurement.result.c_str());
    if (options_.out.empty()) return;
    // In one step, so that whoever reads it finds a whole one.
    const std::string beside = options_.out + ".new";
    std::ofstream(beside) << whole() << "\n";
    std::error_code problem;
    std::filesystem::rename(beside, options_.out, problem);
    if (problem) std::fprintf(stderr, "%s cannot be written: %s\n", options_.out.c_str(), problem.message().c_str());
  }

  Options options_;
  Json about_;
  std::vector<std::pair<std::string, Measurements>> groups_;
};

}  // namespace llama::bench
