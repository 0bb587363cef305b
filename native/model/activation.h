// What activations may be made of in this build. The CPU engine has float; the GPU module also has 16 bits.
#pragma once
#include "element.h"

#if defined(LLAMA_16_BIT_ACTIVATIONS)
#define LLAMA_FOR_EACH_ACTIVATION(instantiate) instantiate(float) instantiate(llama::Bf16) instantiate(llama::Half)
#else
#define LLAMA_FOR_EACH_ACTIVATION(instantiate) instantiate(float)
#endif
