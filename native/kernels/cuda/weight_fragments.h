// Frozen weights as the left operand of tensor-core products: 16 rows of W, straight from global memory into fragments.
//
// The order in which k are summed is free as long as both operands agree on it. So lane c of the four that share a row takes
// `each` neighbouring elements of it, [k + c each, k + (c + 1) each), with one load, and step j of a round multiplies
// elements [4j, 4j + 4) of every lane: the first two of them in the place of columns 2c, 2c + 1 of mma_16x8x16, the others in
// that of 2c + 8, 2c + 9. x is read in the same way and brought into the codes' order by `arrange`.
//
// Codes become 16-bit numbers that hold them exactly (NF4's values: rounded to T), scales are applied to float32 sums.
#pragma once
#include <type_traits>

#include "groups.h"
#include "quantized.h"
#include "stream.h"
#include "tensor_core.h"

namespace llama::cuda {

// Bytes of a (0 to 3) and b (4 to 7) in the order of the selector's half-bytes, lowest first.
__device__ inline uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t selector) {
#if defined(__CUDA_ARCH__)
  return __byte_perm(a, b, selector);
#else
  const uint64_t both = static_cast<uint64_t>(b) << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) result |= static_cast<uint32_t>(both >> (selector >> (4 * i) & 7) * 8 & 0xff) << (8 * i);
  return result;
#endif
}

// The lane as a register that the compiler knows nothing of: it is or-ed into an index without being masked every time.
__device__ inline uint32_t lane_number() {
#if defined(__CUDA_ARCH__)
  uint32_t lane;
  asm("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
#else
  return threadIdx.x % warp_size;
#endif
}

template <class T>
__device__ inline uint32_t subtract_pairs(uint32_t a, uint32_t b) {
#if defined(__CUDA_ARCH__)
  using Pair = std::conditional_t<storage_of<T> == StorageType::bf16, __nv_bfloat162, __half2>;
  const Pair difference = __hsub2(*reinterpret_cast<const Pair*>(&a), *reinterpret_cast<const Pair*>(&b));
  return *reinterpret_cast<const uint32_t*>(&difference);
#else
  return pair_of<T>(low_of<T>(a) - low_of<T>(b), high_of<T>(a) - high_of<T>(b));
#endif
}

// A row's blocks have a scale each, which all four lanes of the row need. Each loads the scale of one block of four, and hands
// it to the others: lane i of the four gives `own`. Whole warp.
__device__ inline float of_lane(float own, int i) {
  return __shfl_sync(all_lanes, own, i, 4);
}

// What the kinds have in common. Places along a row are counted in groups of eight elements; 32 bits of them are enough for
// 2^34 weights.
template <int each_>
struct Fragments {
  static constexpr int each = each_, span = 4 * each, steps = each / 4;
  static constexpr bool block_scales = false;
  static constexpr int table_words = 0;
  struct Scale {};
  template <class Place>
  __device__ Scale load_scale(const Place&, unsigned) const { return {}; }
  __device__ float value_of_scale(Scale) const { return 1.0f; }
  __device__ void fill_table(uint32_t*) const {}
  __device__ float row_scale(int) const { return 1.0f; }
  __device__ static void arrange(Pack<uint32_t, 4>&) {}
};

// W as T is.
template <class T>
struct PlainFragments : Fragments<8> {
  const T* values;

  explicit PlainFragments(const T* values_) : values(values_) {}

  struct Row {
    Pack<uint32_t, 4> words;
  };
  using Place = const T*;
  // Where lane c reads of a round that begins with this group, and what lies `skip` groups further.
  __device__ Place at(unsigned group, int c) const { return values + static_cast<uint64_t>(group) * group_width + c * each; }
  __device__ Row load(Place place, unsigned skip) const { return {stream_words<4>(place + skip * group_width)}; }
  __device__ void pairs(const Row& row, int step, const uint32_t*, uint32_t& first, uint32_t& second) const {
    first = row.words.at[2 * step];
    second = row.words.at[2 * step + 1];
  }
};

template <class T>
struct Int8Fragments : Fragments<16> {
  const uint8_t* codes;
  const float* scales;

  explicit Int8Fragments(const QuantizedView& matrix) : codes(matrix.codes), scales(matrix.scales) {}

  struct Row {
    Pack<uint32_t, 4> words;
  };
  using Place = const uint8_t*;
  __device__ Place at(unsigned group, int c) const { return codes + static_cast<uint64_t>(group) * group_width + c * each; }
  __device__ Row load(Place place, unsigned skip) const { return {stream_words<4>(place + skip * group_width)}; }
  __device__ void pairs(const Row& row, int step, const uint32_t*, uint32_t& first, uint32_t& second) const {
    const uint32_t word = row.words.at[step];
    if constexpr (storage_of<T> == StorageType::f16) {
      // 1024 + (code + 128) has the code's bits as its mantissa.
      const uint32_t shifted = word ^ 0x80808080u;
      first = subtract_pairs<T>(permute_bytes(shifted, 0x64646464u, 0x4140), 0x64806480u);
      second = subtract_pairs<T>(permute_bytes(shifted, 0x64646464u, 0x4342), 0x64806480u);
    } else {
      // bf16 has room for seven bits: 128 + low bits, less 128 or, where the sign bit is set, 256.
      const uint32_t low = word & 0x7f7f7f7fu, sign = word & 0x80808080u;
      first = subtract_pairs<T>(permute_bytes(low, 0x43434343u, 0x4140), permute_bytes(sign, 0x43434343u, 0x4140));
      second = subtract_pairs<T>(permute_bytes(low, 0x43434343u, 0x4342), permute_bytes(sign, 0x43434343u, 0x4342));
    }
  }
  __device__ float row_scale(int row) const { return scales[row]; }
};

// int4 and NF4 with a scale per 64 elements, which are one round's share of a row: cols is a multiple of 64.
template <class T, Quantization kind, bool double_quantized>
struct FourBitFragments : Fragments<16> {
  static_assert(span == weights_per_scale);
  static constexpr bool block_scales = true;
  static constexpr unsigned groups_per_block = span / group_width;
  // Two values for every byte, once per bank: lanes never wait for one another.
  static constexpr int table_words = kind == Quantization::nf4 ? 256 * warp_size : 0;

  QuantizedView matrix;

  explicit FourBitFragments(const QuantizedView& matrix_) : matrix(matrix_) {}

  struct Row {
    Pack<uint32_t, 2> words;
  };
  struct Scale {
    float scale = 0;  // nested scale where doubly quantised
    uint8_t code = 0;
  };
  struct Place {
    const uint8_t* codes;
    unsigned block;
  };
  __device__ Place at(unsigned group, int c) const {
    return {matrix.codes + static_cast<uint64_t>(group) * (group_width / 2) + c * (each / 2), group / groups_per_block};
  }
  __device__ Row load(const Place& place, unsigned skip) const { return {stream_words<2>(place.codes + skip * (group_width / 2))}; }
  __device__ Scale load_scale(const Place& place, unsigned skip) const {
    const unsigned block = place.block + skip / groups_per_block;
    if constexpr (double_quantized) {
      return {__ldg(matrix.nested_scales + block / static_cast<unsigned>(scales_per_nested)), __ldg(matrix.scale_codes + block)};
    } else {
      return {__ldg(matrix.scales + block), 0};
    }
  }
  __device__ float value_of_scale(const Scale& scale) const {
    if constexpr (double_quantized) return nested_scale(scale.code, scale.scale, __ldg(matrix.scale_offset));
    return scale.scale;
  }
  __device__ void pairs(const Row& row, int step, const uint32_t* table, uint32_t& first, uint32_t& second) const {
    const uint32_t word = row.words.at[step / 2];
    if constexpr (kind == Quantization::nf4) {
      // In bytes: an index would be scaled every time.
      const uint32_t lane = lane_number() * sizeof(uint32_t);
      const auto values_of = [&](int byte) {
        const uint32_t place = ((byte == 0 ? word << 7 : word >> (8 * byte - 7)) & 0xff * warp_size * sizeof(uint32_t)) | lane;
        return *reinterpret_cast<const uint32_t*>(reinterpret_cast<const unsigned char*>(table) + place);
      };
      first = values_of(step % 2 * 2);
      second = values_of(step % 2 * 2 + 1);
    } else {
      // The codes of one parity, a byte each, as the last bits of base + code's mantissa (base: 1024 in f16, 128 in bf16).
      constexpr uint32_t base = storage_of<T> == StorageType::f16 ? 0x64646464u : 0x43434343u;
      constexpr uint32_t zero = (base & 0xff00ff00u) | 0x00080008u;
      const uint32_t codes = (step % 2 == 0 ? word >> 4 : word) & 0x0f0f0f0fu;
      first = subtract_pairs<T>(permute_bytes(codes, base, 0x4140), zero);
      second = subtract_pairs<T>(permute_bytes(codes, base, 0x4342), zero);
    }
  }
  // int4: the even elements of a group come before its odd ones.
  __device__ static void arrange(Pack<uint32_t, 4>& group) {
    if constexpr (kind == Quantization::int4) {
      const Pack<uint32_t, 4> plain = group;
#pragma unroll
      for (int i = 0; i < 4; ++i) group.at[i] = permute_bytes(plain.at[i % 2 * 2], plain.at[i % 2 * 2 + 1], i < 2 ? 0x5410 : 0x7632);
    }
  }
  __device__ void fill_table(uint32_t* table) const {
    for (int i = static_cast<int>(threadIdx.x); i < table_words; i += static_cast<int>(blockDim.x)) {
      const int byte = i / warp_size;
      table[i] = pair_of<T>(value_of(kind, byte >> 4), value_of(kind, byte & 15));
    }
  }
};

}  // namespace llama::cuda
