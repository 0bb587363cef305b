#include "memory.h"

#include <cstdio>

#include "engine_error.h"

namespace llama {
namespace {

std::string gigabytes(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

}  // namespace

void require_memory(int64_t bytes, int64_t available, const std::string& what, const std::string& remedy) {
  if (bytes <= available) return;
  throw EngineError("OUT_OF_MEMORY", what + " needs " + gigabytes(bytes) + ", " + gigabytes(available) +
                                         " are available" + (remedy.empty() ? "" : "; " + remedy));
}

void Device::require(int64_t bytes, const std::string& what, const std::string& remedy) const {
  require_memory(bytes, available(), what, remedy);
}

}  // namespace llama
