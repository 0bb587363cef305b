// What every CUDA kernel is written in: element types, launches, shared memory, and the instructions that need a newer
// architecture than the oldest supported one (sm_75), each behind a small function.
//
// The same sources compile for the host (LLAMA_CUDA_EMULATED): native/test/emulated_cuda.h runs a grid on the CPU, thread
// by thread, so that indexing, barriers and accesses out of bounds are tested where there is no GPU.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#if defined(LLAMA_CUDA_EMULATED)
#include "../../test/emulated_cuda.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif

#include "../element.h"
#include "../non_finite.h"
#include "../storage.h"
#include "status.h"

namespace llama::cuda {

constexpr int warp_size = 32;
constexpr unsigned all_lanes = 0xffffffffu;

// ---- element types: bit patterns, converted where they are loaded and stored

__host__ __device__ inline float to_float(float value) { return value; }

__host__ __device__ inline float to_float(Bf16 value) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
#else
  return f32_from_bf16(value.bits);
#endif
}

__host__ __device__ inline float to_float(Half value) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(value.bits));
#else
  return f32_from_f16(value.bits);
#endif
}

// Rounds to nearest, ties to even.
template <class T>
__host__ __device__ inline T from_float(float value);

template <>
__host__ __device__ inline float from_float<float>(float value) {
  return value;
}

template <>
__host__ __device__ inline Bf16 from_float<Bf16>(float value) {
#if defined(__CUDA_ARCH__)
  return Bf16{__bfloat16_as_ushort(__float2bfloat16_rn(value))};
#else
  return Bf16{bf16_from_f32(value)};
#endif
}

template <>
__host__ __device__ inline Half from_float<Half>(float value) {
#if defined(__CUDA_ARCH__)
  return Half{__half_as_ushort(__float2half_rn(value))};
#else
  return Half{f16_from_f32(value)};
#endif
}

template <class T>
constexpr StorageType storage_of = StorageType::f32;
template <>
inline constexpr StorageType storage_of<Bf16> = StorageType::bf16;
template <>
inline constexpr StorageType storage_of<Half> = StorageType::f16;

// `value` as T holds it, or not a number where that is infinite (non_finite.h).
template <class T>
__host__ __device__ inline float finite_in(float value) {
  return finite_or_nan(to_float(from_float<T>(value)));
}

// N elements that are loaded and stored with one instruction (at most 16 bytes); the address is a multiple of its size.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

template <class T>
constexpr int pack_width = 16 / static_cast<int>(sizeof(T));

template <class T, int N>
__host__ __device__ inline Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <class T, int N>
__host__ __device__ inline void store_pack(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// Whether rows of `width` elements from `pointer` on, `ld` apart, can be read in packs of N.
template <class T>
inline bool packable(const T* pointer, int64_t ld, int64_t width, int n) {
  return reinterpret_cast<uintptr_t>(pointer) % (sizeof(T) * static_cast<size_t>(n)) == 0 && ld % n == 0 && width % n == 0;
}

// ---- launches

// Shared memory whose size the launch gives, 16-byte aligned: LLAMA_SHARED(float, scores);
#if defined(LLAMA_CUDA_EMULATED)
#define LLAMA_SHARED(type, name) type* name = static_cast<type*>(::emulated::dynamic_shared())
#else
extern __shared__ __align__(16) unsigned char llama_dynamic_shared[];
#define LLAMA_SHARED(type, name) type* name = reinterpret_cast<type*>(::llama::cuda::llama_dynamic_shared)
#endif

#if defined(LLAMA_CUDA_SYNCHRONOUS)
// For tests that read results as soon as they have launched: waits for the kernel, and names it where it fails.
inline void wait_for(const void* kernel, cudaStream_t stream) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &capture));
  if (capture != cudaStreamCaptureStatusNone) return;
  const char* name = "a kernel";
#if CUDART_VERSION >= 12030
  check(cudaFuncGetName(&name, kernel));
#endif
  const Status status = cudaStreamSynchronize(stream);
  if (status != cudaSuccess) {
    throw EngineError(is_lost(status) ? "DEVICE_LOST" : "DEVICE_FAILED", std::string(name) + ": the GPU reports: " + cudaGetErrorString(status));
  }
}
#endif

#if !defined(LLAMA_CUDA_EMULATED)
// A block has 48 KB for its static and its dynamic shared memory together unless more is asked for. What is asked for is
// kept with the kernel, for all threads and recordings: it only ever rises.
inline void allow_shared(const void* kernel, size_t bytes) {
  constexpr size_t allowed_anyway = 32 << 10;  // leaves 16 KB for static memory
  if (bytes <= allowed_anyway) return;
  static std::mutex mutex;
  static std::map<std::pair<int, const void*>, size_t> allowed;
  int device = 0;
  check(cudaGetDevice(&device));
  const std::lock_guard lock(mutex);
  size_t& most = allowed[{device, kernel}];
  if (bytes <= most) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  most = bytes;
}
#endif

// Blocks of a launch, counted in 64 bits so that none is lost before the limits are checked.
struct Grid {
  int64_t x, y = 1, z = 1;
};

// CUDA's limits of a grid, the same for every supported card.
constexpr int64_t most_blocks_x = 0x7fffffff, most_blocks_z = 65535;
#if defined(LLAMA_CUDA_EMULATED)
using ::emulated::most_blocks_y;
#else
constexpr int64_t most_blocks_y = 65535;
#endif

inline dim3 checked(const Grid& grid) {
  if (grid.x > most_blocks_x || grid.y > most_blocks_y || grid.z > most_blocks_z) {
    throw EngineError("ENGINE_ARGUMENT", "a kernel would take " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " +
                                             std::to_string(grid.z) + " blocks, more than a GPU's grid holds: use smaller batches or a lower rank");
  }
  return dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z));
}

// Launches kernel(arguments...) on `stream`. Throws EngineError when it cannot be launched; faults inside a kernel are
// reported by a later call on the stream.
template <class... Parameters, class... Arguments>
inline void launch(void (*kernel)(Parameters...), const Grid& grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   Arguments... arguments) {
  const dim3 blocks = checked(grid);
  if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0) return;
#if defined(LLAMA_CUDA_EMULATED)
  (void)stream;
  ::emulated::run(blocks, block, shared_bytes, [=] { kernel(static_cast<Parameters>(arguments)...); });
#else
  allow_shared(reinterpret_cast<const void*>(kernel), shared_bytes);
  kernel<<<blocks, block, shared_bytes, stream>>>(static_cast<Parameters>(arguments)...);
  check(cudaGetLastError());
#if defined(LLAMA_CUDA_SYNCHRONOUS)
  wait_for(reinterpret_cast<const void*>(kernel), stream);
#endif
#endif
}

inline int64_t blocks_for(int64_t count, int64_t per_block) { return (count + per_block - 1) / per_block; }

// ---- reductions

__device__ inline float warp_sum(float value) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(all_lanes, value, offset);
  return value;
}

__device__ inline float warp_max(float value) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    value = fmaxf(value, __shfl_xor_sync(all_lanes, value, offset));
  }
  return value;
}

// The sum over a block of whole warps, on every thread, in an order that does not depend on timing. `scratch`: 32 floats
// of shared memory that nothing else uses between two barriers.
__device__ inline float block_sum(float value, float* scratch) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  value = warp_sum(value);
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  value = warp_sum(lane < warps ? scratch[lane] : 0.0f);
  __syncthreads();
  return value;
}

__device__ inline float block_max(float value, float* scratch) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  value = warp_max(value);
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  value = warp_max(scratch[lane < warps ? lane : 0]);
  __syncthreads();
  return value;
}

}  // namespace llama::cuda
