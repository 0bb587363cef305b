// Products of 16-bit tiles on tensor cores, asynchronous copies into shared memory, and a plain version of each for the
// emulated build. Fragment layouts are those of the PTX ISA's mma.m16n8k16 and ldmatrix.
#pragma once
#include "device.h"

namespace llama::cuda {

// Whether T can be multiplied here: bf16 needs sm_80, f16 sm_75.
template <class T>
constexpr bool is_16_bit = sizeof(T) == 2;

// Two neighbouring elements in one register, the first in the lower half.
template <class T>
__device__ inline uint32_t pair_of(float first, float second) {
#if defined(__CUDA_ARCH__)
  if constexpr (storage_of<T> == StorageType::bf16) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
    return *reinterpret_cast<const uint32_t*>(&pair);
  } else {
    const __half2 pair = __floats2half2_rn(first, second);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }
#else
  return static_cast<uint32_t>(from_float<T>(first).bits) | (static_cast<uint32_t>(from_float<T>(second).bits) << 16);
#endif
}

template <class T>
__device__ inline float low_of(uint32_t pair) {
  return to_float(T{static_cast<uint16_t>(pair & 0xffffu)});
}
template <class T>
__device__ inline float high_of(uint32_t pair) {
  return to_float(T{static_cast<uint16_t>(pair >> 16)});
}

// d [16, 8] += a [16, 16] b [16, 8], whole warp. With g = lane / 4 and c = lane % 4:
//   a[0]: row g,     columns 2c, 2c + 1        a[1]: row g + 8, columns 2c, 2c + 1
//   a[2]: row g,     columns 2c + 8, 2c + 9    a[3]: row g + 8, columns 2c + 8, 2c + 9
//   b[0]: rows 2c, 2c + 1, column g            b[1]: rows 2c + 8, 2c + 9, column g
//   d[0], d[1]: row g, columns 2c, 2c + 1      d[2], d[3]: row g + 8, columns 2c, 2c + 1
template <class T>
__device__ inline void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  static_assert(is_16_bit<T>);
#if defined(LLAMA_CUDA_EMULATED)
  float product[4];
  emulated::mma_16x8x16(product, a, b, [](uint16_t bits) { return to_float(T{bits}); });
  for (int i = 0; i < 4; ++i) d[i] += product[i];
#elif defined(__CUDA_ARCH__)
#if __CUDA_ARCH__ >= 800
  if constexpr (storage_of<T> == StorageType::bf16) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
#else
  // sm_75 has no bf16 tensor cores; models in bf16 are converted to f16 there, so that branch is never run.
  if constexpr (storage_of<T> == StorageType::f16) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b[1]));
  } else {
    __trap();
  }
#endif
#endif
}

// Four 8x8 matrices of 16-bit elements from shared memory, whole warp: lane i gives the address of row i % 8 of matrix
// i / 8 (16 bytes, aligned). result[m] holds row lane / 4, columns 2 (lane % 4) and the next, of matrix m; transposed:
// rows 2 (lane % 4) and the next, column lane / 4.
template <bool transposed = false>
__device__ inline void load_matrices(uint32_t (&result)[4], const void* row) {
#if defined(LLAMA_CUDA_EMULATED)
  emulated::load_matrices(result, row, transposed);
#elif defined(__CUDA_ARCH__)
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3])
                 : "r"(address));
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3])
                 : "r"(address));
  }
#endif
}

// 16 bytes from global to shared memory, both aligned; zeros where not `valid` (nothing is read then). Asynchronous from
// sm_80 on: commit_copies() closes a group, wait_for_copies<n>() waits until at most n groups are under way, and a barrier
// makes the bytes visible to other threads.
__device__ inline void copy_16(void* shared, const void* global, bool valid) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes));
#else
  using Words = Pack<uint32_t, 4>;
  *static_cast<Words*>(shared) = valid ? *static_cast<const Words*>(global) : Words{};
#endif
}

__device__ inline void commit_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;");
#endif
}

template <int groups>
__device__ inline void wait_for_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(groups));
#endif
}

}  // namespace llama::cuda
