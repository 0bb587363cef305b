// What native/kernels/cuda/gemm.cpp asks of cuBLASLt, carried out by a stand-in on the host (cublas_on_host.cpp): that
// row-major products become the library's column-major ones, that alignments are told as they are, that a shape is asked for
// once, and what is said where the library is missing. Built from NVIDIA's headers without emulation; needs no GPU.
//
// usage: gemm_cublas_test [FOLDER]     FOLDER holds the stand-in as libcublasLt.so.12 and .13; cublas_on_host beside the program
//
// Tolerance: both sides sum in double, so only the rounding of the result is left.
#include <dlfcn.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "../../kernels/cuda/gemm.h"
#include "../../kernels/cuda/plain_product.h"
#include "../../kernels/storage.h"
#include "../expect.h"

// ---- the runtime functions that a Gpu needs, on the heap
extern "C" {
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaPeekAtLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t) { return "an error"; }
cudaError_t cudaMalloc(void** result, size_t bytes) { return *result = std::aligned_alloc(256, (bytes + 255) / 256 * 256), cudaSuccess; }
cudaError_t cudaFree(void* memory) { return std::free(memory), cudaSuccess; }
cudaError_t cudaMallocHost(void** result, size_t bytes) { return *result = std::malloc(bytes), cudaSuccess; }
cudaError_t cudaFreeHost(void* memory) { return std::free(memory), cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) { return *free = *total = 0, cudaSuccess; }
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) { return std::memcpy(to, from, bytes), cudaSuccess; }
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) { return std::memset(to, value, bytes), cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { return *stream = nullptr, cudaSuccess; }
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) { return *status = cudaStreamCaptureStatusNone, cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return *event = nullptr, cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
}

static int plain_products = 0;
void llama::cuda::plain_product(cudaStream_t, const Gemm::Product&) { ++plain_products; }

namespace {

using namespace llama;
using namespace llama::cuda;

using checks::expect;

std::mt19937 generator(1);

float read(const float& value) { return value; }
float read(const Bf16& value) { return f32_from_bf16(value.bits); }
float read(const Half& value) { return f32_from_f16(value.bits); }
void write(float& to, float value) { to = value; }
void write(Bf16& to, float value) { to.bits = bf16_from_f32(value); }
void write(Half& to, float value) { to.bits = f16_from_f32(value); }

template <class T>
std::vector<T> random_values(int64_t count) {
  std::normal_distribution<float> normal;
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) write(value, normal(generator));
  return values;
}

template <class T, class C>
void test_products(Gemm& gemm, double rounding, const std::string& name) {
  const int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 7}, {16, 8, 32}, {1, 33, 65}, {29, 1, 12}};
  for (const auto& [m, n, k] : sizes) {
    for (int variant = 0; variant < 16; ++variant) {
      const bool transpose_a = variant & 1, transpose_b = variant & 2, gaps = variant & 4, accumulate = variant & 8;
      const int64_t gap = gaps ? 3 : 0, start = gaps ? 1 : 0;
      const int64_t lda = (transpose_a ? m : k) + gap, ldb = (transpose_b ? k : n) + 2 * gap, ldc = n + gap;
      const auto a = random_values<T>(start + (transpose_a ? k : m) * lda), b = random_values<T>(start + (transpose_b ? n : k) * ldb);
      auto c = random_values<C>(start + m * ldc);
      const auto before = c;
      if (!accumulate) write(c[static_cast<size_t>(start)], std::numeric_limits<float>::quiet_NaN());
      gemm.multiply<T, C>({a.data() + start, lda, transpose_a}, {b.data() + start, ldb, transpose_b}, c.data() + start, ldc, m, n, k, 0.5f, accumulate ? -2.0f : 0.0f);
      bool right = true, untouched = true;
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < ldc; ++j) {
          const auto at = static_cast<size_t>(start + i * ldc + j);
          if (j >= n) {
            untouched = untouched && std::memcmp(&c[at], &before[at], sizeof(C)) == 0;
            continue;
          }
          double sum = 0;
          for (int64_t l = 0; l < k; ++l) {
            sum += static_cast<double>(read(a[static_cast<size_t>(start + (transpose_a ? l * lda + i : i * lda + l))])) *
                   read(b[static_cast<size_t>(start + (transpose_b ? j * ldb + l : l * ldb + j))]);
          }
          const double wanted = 0.5 * sum + (accumulate ? -2.0 * read(before[at]) : 0);
          right = right && std::abs(read(c[at]) - wanted) <= 1e-6 + rounding * std::abs(wanted);
        }
      }
      const std::string what = name + " " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + " variant " + std::to_string(variant);
      expect(right, what);
      expect(untouched, what + " wrote between the rows");
    }
  }
}

template <class Action>
void expect_error(const std::string& code, const std::vector<std::string>& parts, Action action) {
  try {
    action();
    expect(false, code + " is not thrown");
  } catch (const EngineError& error) {
    bool all = error.code() == code;
    for (const std::string& part : parts) all = all && std::string(error.what()).find(part) != std::string::npos;
    expect(all, code + " expected, got " + error.code() + ": " + error.what());
  }
}

void test_missing(Gpu& gpu, const std::string& folder) {
  unsetenv("LLAMA_CUBLAS");
  setenv("LLAMA_CUBLAS", "/nowhere:/nowhere/else", 1);
  expect_error("ENGINE_UNAVAILABLE", {"libcublasLt.so.13", "libcublasLt.so.12", "/nowhere, /nowhere/else", "none is there", "LLAMA_CUBLAS"}, [&] { Gemm gemm(gpu); });
  const std::string broken = folder + "/broken.so";
  std::ofstream(broken) << "not a library";
  setenv("LLAMA_CUBLAS", broken.c_str(), 1);
  expect_error("ENGINE_UNAVAILABLE", {broken + ": "}, [&] { Gemm gemm(gpu); });
  std::remove(broken.c_str());
  setenv("LLAMA_CUBLAS", "libm.so.6", 1);  // found by nothing: a bare name is a folder that is not there
  expect_error("ENGINE_UNAVAILABLE", {"none is there"}, [&] { Gemm gemm(gpu); });
}

}  // namespace

int main(int count, char** arguments) {
  const std::string program = arguments[0];
  const std::string folder = count > 1 ? arguments[1] : program.substr(0, program.rfind('/') + 1) + "cublas_on_host";
  Gpu gpu{Card{}};
  test_missing(gpu, folder);

  setenv("LLAMA_CUBLAS", ("/nowhere:" + folder).c_str(), 1);
  Gemm gemm(gpu);
  expect(gemm.name() == "cuBLASLt 13.1.2", "its name, not " + gemm.name());
  test_products<float, float>(gemm, 1e-7, "float");
  test_products<Bf16, Bf16>(gemm, 0x1p-8, "bf16");
  test_products<Bf16, float>(gemm, 1e-7, "bf16 into float");
  test_products<Half, Half>(gemm, 0x1p-10, "half");
  test_products<Half, float>(gemm, 1e-7, "half into float");

  // The same call is asked for once; another alignment, size or beta is another question.
  const std::string file = folder + "/libcublasLt.so." + std::to_string(CUDART_VERSION / 1000);
  void* library = dlopen(file.c_str(), RTLD_NOW);
  const auto questions = reinterpret_cast<int (*)()>(dlsym(library, "cublas_on_host_questions"));
  const auto memory = gpu.allocate(4096);
  auto* x = static_cast<float*>(memory->data);
  const auto asked = [&](const float* a, int64_t k, float beta) {
    const int before = questions();
    gemm.multiply<float, float>({a, 10}, {x + 64, 10}, x + 512, 10, 9, 8, k, 1, beta);
    return questions() - before;
  };
  gpu.clear(x, 4096);
  expect(asked(x, 10, 0) == 1, "a new shape");
  expect(asked(x, 10, 0) == 0 && asked(x + 64, 10, 0) == 0, "the same shape and alignments");
  expect(asked(x + 1, 10, 0) == 1 && asked(x + 3, 10, 0) == 0, "another alignment");
  expect(asked(x, 9, 0) == 1 && asked(x, 10, 1) == 1 && asked(x, 10, 2) == 0, "another size, another use of C");
  dlclose(library);

  std::vector<float> wide(777);
  gemm.multiply<float, float>({x, 1}, {wide.data(), 777}, wide.data(), 777, 1, 777, 1, 1, 0);
  expect(plain_products == 1, "what the library has no kernel for is multiplied without it");

  return checks::summary();
}
