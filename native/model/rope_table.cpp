#include "rope_table.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace llama {

RopeTable::RopeTable(std::vector<float> inverse_frequencies, float attention_scaling)
    : inverse_frequencies_(std::move(inverse_frequencies)), attention_scaling_(attention_scaling) {}

const float* RopeTable::up_to(Device& device, int64_t positions) {
  const auto pairs = static_cast<int64_t>(inverse_frequencies_.size());
  // Nothing where the device had no memory the last time.
  const int64_t filled = held_.data() == nullptr ? 0 : static_cast<int64_t>(table_.size()) / (2 * pairs);
  if (positions <= filled) return held_.data();
  const int64_t wanted = std::max(positions, 2 * filled);  // doubling keeps token-by-token growth linear
  table_.resize(static_cast<size_t>(wanted * 2 * pairs));
  for (int64_t position = filled; position < wanted; ++position) {
    float* row = table_.data() + position * 2 * pairs;
    for (int64_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<float>(position) * inverse_frequencies_[static_cast<size_t>(i)];
      row[2 * i] = static_cast<float>(std::cos(angle)) * attention_scaling_;
      row[2 * i + 1] = static_cast<float>(std::sin(angle)) * attention_scaling_;
    }
  }
  return held_.hold(device, table_);
}

}  // namespace llama
