// Frozen weights in fewer bits: what their codes stand for. A weight is value(code) * scale.
//
//   int8  one scale per row, max |w| / 127; the code is a signed byte
//   int4  one scale per block, code - 8; the scale is the element of largest magnitude / -8, so that this element is met
//         exactly whatever its sign (on normal weights a rounding error 12 % below that of max |w| / 7)
//   nf4   one scale per block, max |w|; 4-bit NormalFloat of QLoRA (Dettmers et al. 2023), laid out as bitsandbytes does
//
// A block is 64 consecutive elements of the row-major matrix, across rows where its width is no multiple of 64. Two codes
// share a byte, the even element in the high half; the half that an odd number of elements leaves over stands for zero.
//
// Doubly quantised scales: their mean is taken off, and what remains is stored as an 8-bit code times one scale per 256.
//
// A row (int8) or block with a weight that is not finite has a scale that is not a number.
#pragma once
#include <cstdint>

namespace llama {

enum class Quantization { none, int8, int4, nf4 };

constexpr int64_t weights_per_scale = 64;   // int4, nf4
constexpr int64_t scales_per_nested = 256;  // doubly quantised

// Smaller blocks are taken for zeros where a quotient by them would overflow.
constexpr float least_scaled = 1e-36f;

template <int n>
struct Codebook {
  float at[n];
};

inline constexpr Codebook<16> nf4_codebook = {{-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
                                               -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
                                               0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f,
                                               0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,
                                               0.7229568362236023f, 1.0f}};

constexpr Codebook<16> make_int4_codebook() {
  Codebook<16> codebook{};
  for (int code = 0; code < 16; ++code) codebook.at[code] = static_cast<float>(code - 8);
  return codebook;
}
inline constexpr Codebook<16> int4_codebook = make_int4_codebook();

// bitsandbytes' signed dynamic code: for each of seven decimal exponents e, [0.1, 1] is cut into 2^e equal parts whose
// middles times 10^(e - 6) are values of both signs; 0 and 1 complete them.
constexpr Codebook<256> make_dynamic_codebook() {
  constexpr float powers[7] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
  Codebook<256> codebook{};
  int place = 0;
  for (int exponent = 0; exponent < 7; ++exponent) {
    const int parts = 1 << exponent;
    const float first = 0.1f, last = 1.0f, step = (last - first) / static_cast<float>(parts);
    // Counted from the nearer end and rounded once, as torch.linspace does: the code then has bitsandbytes' bits.
    const auto boundary = [&](int i) {
      return i < (parts + 1) / 2 ? static_cast<float>(first + static_cast<double>(step) * i)
                                 : static_cast<float>(last - static_cast<double>(step) * (parts - i));
    };
    for (int part = 0; part < parts; ++part, ++place) {
      const float value = powers[exponent] * ((boundary(part) + boundary(part + 1)) / 2);
      codebook.at[128 + place] = value;
      codebook.at[126 - place] = -value;
    }
  }
  codebook.at[127] = 0.0f;
  codebook.at[255] = 1.0f;
  return codebook;
}
inline constexpr Codebook<256> dynamic_codebook = make_dynamic_codebook();

// Halfway between neighbouring values; a number above one belongs to the next code.
template <int n>
constexpr Codebook<n - 1> midpoints_of(const Codebook<n>& codebook) {
  Codebook<n - 1> midpoints{};
  for (int i = 0; i + 1 < n; ++i) midpoints.at[i] = (codebook.at[i] + codebook.at[i + 1]) / 2;
  return midpoints;
}
inline constexpr Codebook<15> nf4_midpoints = midpoints_of(nf4_codebook);
inline constexpr Codebook<255> dynamic_midpoints = midpoints_of(dynamic_codebook);

}  // namespace llama
