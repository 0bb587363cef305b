// How long one rank waits for another.
#pragma once
#include <algorithm>
#include <chrono>
#include <functional>

#include "engine_error.h"

namespace llama {

struct Waiting {
  std::chrono::milliseconds limit;
  std::function<bool()> stopped;  // true: this rank is wanted no more
};

// One wait, taken in slices.
class Deadline {
 public:
  explicit Deadline(const Waiting& waiting) : waiting_(waiting) { restart(); }

  void restart() { end_ = std::chrono::steady_clock::now() + waiting_.limit; }

  // Milliseconds until the next look, 0 when the time is over. Throws EngineError ENGINE_UNAVAILABLE when stopped.
  int slice() const {
    if (waiting_.stopped()) throw EngineError("ENGINE_UNAVAILABLE", "the training was stopped");
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end_ - std::chrono::steady_clock::now()).count();
    return static_cast<int>(std::clamp<int64_t>(left, 0, 50));
  }

 private:
  const Waiting& waiting_;
  std::chrono::steady_clock::time_point end_;
};

// "600 s"
inline std::string describe(const Waiting& waiting) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(waiting.limit).count()) + " s";
}

}  // namespace llama
