// Keeps small gradients above float16's smallest numbers (Micikevicius et al. 2018, "Mixed precision training"): the loss is
// multiplied by a power of two that halves when a gradient overflows and doubles after a run of steps without one.
#pragma once
#include <cmath>
#include <cstdint>

namespace llama {

struct LossScaleState {
  float value = 1;
  int64_t steady_steps = 0;
};

class LossScale {
 public:
  // needed: activations are float16. Otherwise the scale is 1 and stays.
  explicit LossScale(bool needed) : value_(needed ? 65536.0f : 1.0f), needed_(needed) {}

  float value() const { return value_; }
  LossScaleState state() const { return {value_, steady_steps_}; }

  // Whether it is a state that a scale of this kind can come to.
  bool accepts(const LossScaleState& state) const {
    if (!needed_) return state.value == 1 && state.steady_steps == 0;
    int exponent = 0;
    return std::frexp(state.value, &exponent) == 0.5f && exponent >= 1 && exponent <= 17 && state.steady_steps >= 0;
  }
  void restore(const LossScaleState& state) { value_ = state.value, steady_steps_ = state.steady_steps; }

  // After a step. Returns whether an overflow may be the scale's fault: the step is skipped and the next one tried with half.
  bool settle(bool finite) {
    if (!needed_) return false;
    if (finite) {
      if (++steady_steps_ >= 2000 && value_ < 65536.0f) value_ *= 2, steady_steps_ = 0;
      return false;
    }
    steady_steps_ = 0;
    if (value_ <= 1) return false;
    value_ /= 2;
    return true;
  }

 private:
  float value_;
  bool needed_;
  int64_t steady_steps_ = 0;
};

}  // namespace llama
