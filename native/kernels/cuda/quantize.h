// Quantising a matrix where it lies, and the way back for products that want 16-bit or 32-bit weights.
// Bit for bit what reference/quantized.cpp gives; needs IEEE division (no fast-math).
#pragma once
#include "quantized.h"

namespace llama::cuda {

// Device memory that quantize needs beside its arguments.
size_t quantize_scratch_bytes(const QuantizedView& to);

// weights [to.rows, to.cols], contiguous -> to. S is float, Bf16 or Half.
template <class S>
void quantize(cudaStream_t stream, const S* weights, const QuantizedView& to, void* scratch);

// matrix -> weights [rows, cols], contiguous, rounded to T.
template <class T>
void dequantize(cudaStream_t stream, const QuantizedView& matrix, T* weights);

}  // namespace llama::cuda
