// Bit patterns of the storage types and their conversion to and from float32, in portable C++.
// bf16 is the upper half of a float32; f16 is IEEE 754 binary16. Rounding is to nearest, ties to even.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>

#include "ops.h"

namespace llama {

inline float f32_from_bf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

inline uint16_t bf16_from_f32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);  // stays a NaN
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}

inline float f32_from_f16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t rest = bits & 0x7fffu;
  if (rest >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | ((rest & 0x3ffu) << 13));
  // Shifted into float32's fields the exponent is too small by 127 - 15; the multiplication also normalises subnormals.
  const float magnitude = std::bit_cast<float>(rest << 13) * std::bit_cast<float>((127u + 127u - 15u) << 23);
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

inline uint16_t f16_from_f32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t rest = bits & 0x7fffffffu;
  if (rest > 0x7f800000u) return sign | 0x7e00u;
  if (rest >= 0x477ff000u) return sign | 0x7c00u;  // rounds to 65536 or more
  if (rest < 0x38800000u) {                        // subnormal: adding 0.5 leaves the rounded multiple of 2^-24 below
    const float aligned = std::bit_cast<float>(rest) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(aligned) - 0x3f000000u);
  }
  return sign | static_cast<uint16_t>((rest - 0x38000000u + 0xfffu + ((rest >> 13) & 1)) >> 13);
}

// Element `index` of an array that need not be aligned.
inline float load_element(const void* data, StorageType type, int64_t index) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  if (type == StorageType::f32) {
    float value;
    std::memcpy(&value, bytes + index * 4, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, bytes + index * 2, 2);
  return type == StorageType::f16 ? f32_from_f16(bits) : f32_from_bf16(bits);
}

}  // namespace llama
