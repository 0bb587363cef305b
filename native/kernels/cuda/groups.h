// Eight neighbouring elements as float32: what a thread loads, computes and stores at a time.
#pragma once
#include "device.h"

namespace llama::cuda {

constexpr int group_width = 8;

// In 16-byte packs where `packed` says that all eight are there and aligned; else the first `count`, and zeros for the rest.
template <class T>
__device__ inline void load_group(const T* from, int64_t count, bool packed, float (&values)[group_width]) {
  constexpr int width = pack_width<T>;
  if (packed) {
#pragma unroll
    for (int first = 0; first < group_width; first += width) {
      const Pack<T, width> pack = load_pack<T, width>(from + first);
      for (int i = 0; i < width; ++i) values[first + i] = to_float(pack.at[i]);
    }
    return;
  }
  for (int i = 0; i < group_width; ++i) values[i] = i < count ? to_float(from[i]) : 0.0f;
}

template <class T>
__device__ inline void store_group(T* to, int64_t count, bool packed, const float (&values)[group_width]) {
  constexpr int width = pack_width<T>;
  if (packed) {
#pragma unroll
    for (int first = 0; first < group_width; first += width) {
      Pack<T, width> pack;
      for (int i = 0; i < width; ++i) pack.at[i] = from_float<T>(values[first + i]);
      store_pack<T, width>(to + first, pack);
    }
    return;
  }
  for (int i = 0; i < group_width; ++i) {
    if (i < count) to[i] = from_float<T>(values[i]);
  }
}

// Whether groups at multiples of eight, in rows `ld` apart, are aligned.
template <class T>
inline bool groups_packable(const T* pointer, int64_t ld) {
  return packable(pointer, ld, ld, pack_width<T>);
}

}  // namespace llama::cuda
