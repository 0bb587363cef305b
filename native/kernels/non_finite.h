// Overflow must not hide: what is infinite or not a number anywhere ends as a score that is not finite, and no token is drawn.
// Three operations would lose it, the same in every implementation:
//   rope      an infinite element of a key may make a score of -infinity, whose weight is 0: it becomes not a number
//   rms_norm  squares past float32 make the factor 0, and a row of zeros: the factor becomes not a number
//   maxima    skip what is not a number: the sums beside them (of exponentials, of logits times 0) do not
#pragma once
#include <limits>

#if defined(__CUDACC__)
#define LLAMA_HOST_DEVICE __host__ __device__
#else
#define LLAMA_HOST_DEVICE
#endif

namespace llama {

// x, or not a number where x is infinite.
LLAMA_HOST_DEVICE inline float finite_or_nan(float x) { return x + (x - x); }

// The factor of an RMSNorm, or not a number where it is 0.
LLAMA_HOST_DEVICE inline float norm_factor(float inverse_rms) {
  constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
  return inverse_rms > 0 ? inverse_rms : not_a_number;
}

}  // namespace llama
