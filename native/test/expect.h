// Checks that count. From any thread.
#pragma once
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace llama::checks {

inline std::atomic<int> count = 0, failures = 0;
inline std::string current;  // what is being tested; stands before what failed

inline void expect(bool holds, const std::string& what) {
  ++count;
  if (holds) return;
  ++failures;
  std::printf("FAILED %s%s%s\n", current.c_str(), current.empty() ? "" : ": ", what.c_str());
}

// Whether every type gets every shape: on a card, where they cost little, and emulated in `npm run test:thorough`.
inline bool is_thorough() {
#if defined(LLAMA_CUDA_EMULATED)
  return std::getenv("THOROUGH_TESTS") != nullptr;
#else
  return true;
#endif
}

// Prints how many; returns the exit status.
inline int summary() {
  std::printf("%d checks, %d failed\n", count.load(), failures.load());
  return failures == 0 ? 0 : 1;
}

}  // namespace llama::checks
