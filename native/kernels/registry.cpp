// Chooses an implementation for this processor.
#include <stdexcept>

#include "implementations.h"
#include "ops.h"

namespace llama {

namespace {

bool runs_avx2() {
#if defined(LLAMA_HAS_AVX2)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
#else
  return false;
#endif
}

bool runs_avx512() {
#if defined(LLAMA_HAS_AVX512)
  return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#else
  return false;
#endif
}

}  // namespace

size_t bytes_of(StorageType type) { return type == StorageType::f32 ? 4 : 2; }

std::vector<std::string> available_ops() {
  std::vector<std::string> names;
  if (runs_avx512()) names.push_back("avx512");
  if (runs_avx2()) names.push_back("avx2");
  names.push_back("reference");
  return names;
}

std::unique_ptr<Ops> make_ops(const std::string& name, int threads) {
  if (name == "reference") return make_reference_ops(threads);
#if defined(LLAMA_HAS_AVX2)
  if (name == "avx2" && runs_avx2()) return make_avx2_ops(threads);
#endif
#if defined(LLAMA_HAS_AVX512)
  if (name == "avx512" && runs_avx512()) {
    return __builtin_cpu_supports("avx512bf16") ? make_avx512_bf16_ops(threads) : make_avx512_ops(threads);
  }
#endif
  std::string usable;
  for (const std::string& each : available_ops()) usable += (usable.empty() ? "" : ", ") + each;
  throw std::invalid_argument("no instruction set \"" + name + "\" on this processor; usable: " + usable);
}

}  // namespace llama
