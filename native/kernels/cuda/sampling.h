// Drawing tokens on the device, a row of logits each: what ../sampling.h says of sample(), without a copy of the logits.
#pragma once
#include "device.h"

namespace llama::cuda {

// One row's settings. The arrays are in device memory and hold tokens below `vocab`; a token may be there many times.
struct DrawSettings {
  const int32_t* history;
  int64_t history_count;
  const int32_t* forbidden;
  int64_t forbidden_count;
  double top_p;
  int64_t top_k;
  uint64_t seed, index;
  float temperature;
  float repetition_penalty;
};

// logits [rows, vocab] are overwritten; settings and tokens [rows] in device memory. vocab is at most 500,000.
//
// Scores and top-k's choice are ../sampling.h's bit for bit, so greedy tokens are always the same. Probabilities are float32
// exponentials summed exactly, the host's are float64: top-p keeps another token, or another token is drawn, only where a
// cumulative probability is within 1e-6 of p or of the random number.
void sample(cudaStream_t stream, float* logits, int64_t ld, int64_t rows, int64_t vocab, const DrawSettings* settings, int32_t* tokens);

}  // namespace llama::cuda
