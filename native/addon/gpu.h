// The GPU module beside the addon, opened when it is first asked for.
#pragma once
#include <napi.h>

#include <string>

#include "gpu_module.h"

namespace llama::addon {

// Null when it cannot be opened; `problem` says why.
GpuModule* open_gpu_module(const std::string& file, std::string& problem);

// JavaScript: gpus(file): {cards: {index, name, capability, memory, available}[], problem: string | null}
Napi::Value gpus(const Napi::CallbackInfo& info);

GpuOptions to_gpu_options(const Napi::Value& value);

}  // namespace llama::addon
