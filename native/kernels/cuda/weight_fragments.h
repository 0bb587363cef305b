// Frozen weights as the left operand of tensor-core products: 16 rows of W, straight from global memory into fragments.
//
// The order in which k are summed is free as long as both operands agree on it. So lane c of the four that share a row takes
// `each` neighbouring elements of it, [k + c each, k + (c + 1) each), with one load, and step j of a round multiplies
// elements [4j, 4j + 4) of every lane: the first two of them in the place of columns 2c, 2c + 1 of mma_16x8x16, the others in
// that of 2c + 8, 2c + 9. x is read in the same way.
//
// Codes become 16-bit numbers that hold them exactly (NF4's values: rounded to T), scales are applied to float32 sums.
#pragma once
#include <type_traits>

#include "groups.h"
#include "quantized.h"
#include "tensor_core.h"

namespace llama::cuda {

// Weights are read once: they do not displace x and scales from the first-level cache.
template <int words>
__device__ inline Pack<uint32_t, words> stream_words(const void* from) {
  Pack<uint32_t, words> pack;
#if defined(__CUDA_ARCH__)
  if constexpr (words == 4) {
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(pack.at[0]), "=r"(pack.at[1]), "=r"(pack.at[2]), "=r"(pack.at[3])
                 : "l"(from));
  } else {
    static_assert(words == 2);
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];" : "=r"(pack.at[0]), "=r"(pack.at[1]) : "l"(from));
  }
#else
  pack = *static_cast<const Pack<uint32_t, words>*>(from);
#endif
  return pack;
}

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

// W as T is.
template <class T>
struct PlainFragments {
  static constexpr int each = 8, span = 4 * each, steps = each / 4;
  static constexpr bool block_scales = false, row_scales = false;
  static constexpr int table_words = 0;

  const T* values;

  struct Row {
    Pack<uint32_t, 4> words;
  };
  // group: which group of eight elements of the matrix the round begins with (32 bits are enough for 2^34 weights). Nothing is
  // read where not `valid`.
  __device__ Row load(int group, int c, bool valid) const {
    return valid ? Row{stream_words<4>(values + static_cast<int64_t>(group) * group_width + c * each)} : Row{};
  }
  __device__ void pairs(const Row& row, int step, const uint32_t*, uint32_t& first, uint32_t& second) const {
    first = row.words.at[2 * step];
    second = row.words.at[2 * step + 1];
  }
  __device__ float block_scale(const Row&) const { return 1.0f; }
  __device__ float row_scale(int64_t) const { return 1.0f; }
  __device__ void fill_table(uint32_t*) const {}
};

template <class T>
struct Int8Fragments {
  static constexpr int each = 16, span = 4 * each, steps = each / 4;
  static constexpr bool block_scales = false, row_scales = true;
  static constexpr int table_words = 0;

  const uint8_t* codes;
  const float* scales;

  struct Row {
    Pack<uint32_t, 4> words;
  };
  __device__ Row load(int group, int c, bool valid) const {
    return valid ? Row{stream_words<4>(codes + static_cast<int64_t>(group) * group_width + c * each)} : Row{};
  }
  __device__ void pairs(const Row& row, int step, const uint32_t*, uint32_t& first, uint32_t& second) const {
    const uint32_t word = row.words.at[step];
    if constexpr (storage_of<T> == StorageType::f16) {
      // 1024 + (code + 128) has the code's bits as its mantissa.
      const uint32_t shifted = word ^ 0x80808080u;
      first = subtract_pairs<T>(permute_bytes(shifted, 0x64646464u, 0x4140), 0x64806480u);
      second = subtract_pairs<T>(permute_bytes(shifted, 0x64646464u, 0x4342), 0x64806480u);
    } else {
      // bf16 has room for seven bits: 128 + low bits, less 128 or, where the sign bit is set, 256.
      first = signed_pair(permute_bytes(word, 0, 0x4140));
      second = signed_pair(permute_bytes(word, 0, 0x4342));
    }
  }
  __device__ float block_scale(const Row&) const { return 1.0f; }
  __device__ float row_scale(int64_t row) const { return scales[row]; }
  __device__ void fill_table(uint32_t*) const {}

 private:
  __device__ static uint32_t signed_pair(uint32_t bytes) {
    return subtract_pairs<T>((bytes & 0x007f007fu) | 0x43004300u, (bytes & 0x00800080u) | 0x43004300u);
  }
};

// int4 and NF4 with a scale per 64 elements, which are one round's share of a row: cols is a multiple of 64.
template <class T, Quantization kind, bool double_quantized>
struct FourBitFragments {
  static constexpr int each = 16, span = 4 * each, steps = each / 4;
  static_assert(span == weights_per_scale);
  static constexpr bool block_scales = true, row_scales = false;
  // Two values for every byte, once per bank: lanes never wait for one another.
  static constexpr int table_words = kind == Quantization::nf4 ? 256 * warp_size : 0;

  QuantizedView matrix;

  struct Row {
    Pack<uint32_t, 2> words;
    float scale;  // nested scale where doubly quantised
    uint8_t scale_code;
  };
  __device__ Row load(int group, int c, bool valid) const {
    Row row{};
    if (!valid) return row;
    const int block = group / (span / group_width);
    row.words = stream_words<2>(matrix.codes + static_cast<int64_t>(group) * (group_width / 2) + c * (each / 2));
    if constexpr (double_quantized) {
      row.scale_code = __ldg(matrix.scale_codes + block);
      row.scale = __ldg(matrix.nested_scales + block / static_cast<int>(scales_per_nested));
    } else {
      row.scale = __ldg(matrix.scales + block);
    }
    return row;
  }
  __device__ void pairs(const Row& row, int step, const uint32_t* table, uint32_t& first, uint32_t& second) const {
    const uint32_t word = row.words.at[step / 2];
    const int byte = step % 2 * 2;
    if constexpr (kind == Quantization::nf4) {
      const uint32_t* column = table + threadIdx.x % warp_size;
      first = column[(word >> (8 * byte) & 0xff) * warp_size];
      second = column[(word >> (8 * byte + 8) & 0xff) * warp_size];
    } else {
      first = int4_pair(word, byte);
      second = int4_pair(word, byte + 1);
    }
  }
  __device__ float block_scale(const Row& row) const {
    if constexpr (double_quantized) return nested_scale(row.scale_code, row.scale, __ldg(matrix.scale_offset));
    return row.scale;
  }
  __device__ float row_scale(int64_t) const { return 1.0f; }
  __device__ void fill_table(uint32_t* table) const {
    for (int i = static_cast<int>(threadIdx.x); i < table_words; i += static_cast<int>(blockDim.x)) {
      const int byte = i / warp_size;
      table[i] = pair_of<T>(value_of(kind, byte >> 4), value_of(kind, byte & 15));
    }
  }

 private:
  // The even element, in the high half of its byte, becomes the lower of the pair. base + code has the code as its mantissa's
  // last bits (1024 in f16, 128 in bf16).
  __device__ static uint32_t int4_pair(uint32_t word, int byte) {
    constexpr uint32_t base = storage_of<T> == StorageType::f16 ? 0x64006400u : 0x43004300u;
    constexpr uint32_t zero = base + 0x00080008u;
    const uint32_t halves = permute_bytes(word >> 4, word, static_cast<uint32_t>(byte | (4 + byte) << 8)) & 0x000f000fu;
    return subtract_pairs<T>(halves | base, zero);
  }
};

}  // namespace llama::cuda
