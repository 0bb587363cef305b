#include "blocks.h"

#include <cstring>
#include <stdexcept>

#include "storage.h"

namespace llama {
namespace {

using Byte = unsigned char;

float half_at(const Byte* from) {
  uint16_t bits;
  std::memcpy(&bits, from, 2);
  return f32_from_f16(bits);
}

uint32_t word_at(const Byte* from) {
  return from[0] | static_cast<uint32_t>(from[1]) << 8 | static_cast<uint32_t>(from[2]) << 16 |
         static_cast<uint32_t>(from[3]) << 24;
}

int signed_at(const Byte* from) { return static_cast<int8_t>(*from); }

// ---- blocks of 32: scale, minimum (of the kinds _1), fifth bits (Q5), codes. Low nibbles are weights 0 to 15.

void q4_0(const Byte* b, float* to) {
  const float scale = half_at(b);
  for (int i = 0; i < 16; ++i) {
    to[i] = scale * static_cast<float>((b[2 + i] & 15) - 8);
    to[16 + i] = scale * static_cast<float>((b[2 + i] >> 4) - 8);
  }
}

void q4_1(const Byte* b, float* to) {
  const float scale = half_at(b), minimum = half_at(b + 2);
  for (int i = 0; i < 16; ++i) {
    to[i] = scale * static_cast<float>(b[4 + i] & 15) + minimum;
    to[16 + i] = scale * static_cast<float>(b[4 + i] >> 4) + minimum;
  }
}

int low_of_five(const Byte* codes, uint32_t fifth, int i) { return (codes[i] & 15) | static_cast<int>(fifth >> i & 1) << 4; }
int high_of_five(const Byte* codes, uint32_t fifth, int i) {
  return (codes[i] >> 4) | static_cast<int>(fifth >> (i + 16) & 1) << 4;
}

void q5_0(const Byte* b, float* to) {
  const float scale = half_at(b);
  const uint32_t fifth = word_at(b + 2);
  for (int i = 0; i < 16; ++i) {
    to[i] = scale * static_cast<float>(low_of_five(b + 6, fifth, i) - 16);
    to[16 + i] = scale * static_cast<float>(high_of_five(b + 6, fifth, i) - 16);
  }
}

void q5_1(const Byte* b, float* to) {
  const float scale = half_at(b), minimum = half_at(b + 2);
  const uint32_t fifth = word_at(b + 4);
  for (int i = 0; i < 16; ++i) {
    to[i] = scale * static_cast<float>(low_of_five(b + 8, fifth, i)) + minimum;
    to[16 + i] = scale * static_cast<float>(high_of_five(b + 8, fifth, i)) + minimum;
  }
}

void q8_0(const Byte* b, float* to) {
  const float scale = half_at(b);
  for (int i = 0; i < 32; ++i) to[i] = scale * static_cast<float>(signed_at(b + 2 + i));
}

// ---- k-quants: 256 weights in parts of 16 or 32, whose scales are small integers times the block's own. As
// dequantize_row_q*_K of ggml-quants.c.

// Scales and minima [16] of 4 bits each, codes [64] of 2 bits, scale, minimum.
void q2_k(const Byte* b, float* to) {
  const float scale = half_at(b + 80), minimum = half_at(b + 82);
  for (int part = 0; part < 16; ++part) {
    const float step = scale * static_cast<float>(b[part] & 15), least = minimum * static_cast<float>(b[part] >> 4);
    // Eight parts share 32 bytes: two halves of them, at four shifts.
    const Byte* codes = b + 16 + (part >> 3) * 32 + (part & 1) * 16;
    const int shift = (part >> 1 & 3) * 2;
    for (int i = 0; i < 16; ++i) to[part * 16 + i] = step * static_cast<float>(codes[i] >> shift & 3) - least;
  }
}

// Third bits [32], codes [64] of 2 bits, scales [12] of 6 bits, scale.
void q3_k(const Byte* b, float* to) {
  const float scale = half_at(b + 108);
  for (int part = 0; part < 16; ++part) {
    const int low = b[96 + (part & 7)] >> (part < 8 ? 0 : 4) & 15;
    const int high = b[104 + (part & 3)] >> (part >> 2) * 2 & 3;
    const float step = scale * static_cast<float>((low | high << 4) - 32);
    const int within = (part & 1) * 16, shift = (part >> 1 & 3) * 2;
    const Byte* codes = b + 32 + (part >> 3) * 32 + within;
    for (int i = 0; i < 16; ++i) {
      const int third = b[within + i] >> (part >> 1) & 1;
      to[part * 16 + i] = step * static_cast<float>((codes[i] >> shift & 3) - (third ? 0 : 4));
    }
  }
}

// Step and minimum of one of eight parts, packed as 6-bit numbers after the block's two.
struct SixBits {
  SixBits(const Byte* b, int part) {
    const Byte* packed = b + 4;
    const bool first = part < 4;
    const int scale = first ? packed[part] & 63 : (packed[part + 4] & 15) | (packed[part - 4] >> 6) << 4;
    const int minimum = first ? packed[part + 4] & 63 : packed[part + 4] >> 4 | (packed[part] >> 6) << 4;
    step = half_at(b) * static_cast<float>(scale);
    least = half_at(b + 2) * static_cast<float>(minimum);
  }
  float step, least;
};

// Scale, minimum, scales and minima [12] of 6 bits, codes [128] of 4 bits.
void q4_k(const Byte* b, float* to) {
  for (int part = 0; part < 8; ++part) {
    const SixBits of(b, part);
    const Byte* codes = b + 16 + (part >> 1) * 32;
    const int shift = (part & 1) * 4;
    for (int i = 0; i < 32; ++i) to[part * 32 + i] = of.step * static_cast<float>(codes[i] >> shift & 15) - of.least;
  }
}

// As Q4_K, with fifth bits [32] before the codes.
void q5_k(const Byte* b, float* to) {
  for (int part = 0; part < 8; ++part) {
    const SixBits of(b, part);
    const Byte* codes = b + 48 + (part >> 1) * 32;
    const int shift = (part & 1) * 4;
    for (int i = 0; i < 32; ++i) {
      const int code = (codes[i] >> shift & 15) | (b[16 + i] >> part & 1) << 4;
      to[part * 32 + i] = of.step * static_cast<float>(code) - of.least;
    }
  }
}

// Codes' low nibbles [128] and high pairs [64], signed scales [16], scale.
void q6_k(const Byte* b, float* to) {
  const float scale = half_at(b + 208);
  for (int part = 0; part < 16; ++part) {
    const float step = scale * static_cast<float>(signed_at(b + 192 + part));
    const int group = part >> 1 & 3, within = (part & 1) * 16;
    const Byte* low = b + (part >> 3) * 64 + (group & 1) * 32 + within;
    const Byte* high = b + 128 + (part >> 3) * 32 + within;
    const int shift = group >> 1 ? 4 : 0;
    for (int i = 0; i < 16; ++i) {
      const int code = (low[i] >> shift & 15) | (high[i] >> group * 2 & 3) << 4;
      to[part * 16 + i] = step * static_cast<float>(code - 32);
    }
  }
}

struct Format {
  BlockLayout layout;
  void (*dequantize)(const Byte* block, float* to);
};

const Format& format_of(BlockFormat format) {
  static constexpr Format formats[] = {{{32, 18}, q4_0}, {{32, 20}, q4_1},   {{32, 22}, q5_0},   {{32, 24}, q5_1},
                                       {{32, 34}, q8_0}, {{256, 84}, q2_k},  {{256, 110}, q3_k}, {{256, 144}, q4_k},
                                       {{256, 176}, q5_k}, {{256, 210}, q6_k}};
  if (format == BlockFormat::none) throw std::invalid_argument("elements that are not in blocks have no layout");
  return formats[static_cast<int>(format) - 1];
}

}  // namespace

BlockLayout layout_of(BlockFormat format) { return format_of(format).layout; }

void dequantize_blocks(BlockFormat format, const void* blocks, int64_t elements, float* to) {
  const Format& of = format_of(format);
  const auto* from = static_cast<const Byte*>(blocks);
  for (int64_t at = 0; at < elements; at += of.layout.elements, from += of.layout.bytes) of.dequantize(from, to + at);
}

}  // namespace llama
