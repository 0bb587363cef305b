// How much memory can still be had. The kernel grants far more address space than there is memory and ends the process
// later, so large requests are compared with this first.
#pragma once
#include <cstdint>

namespace llama {

// Bytes, the smaller of the machine's and the container's; INT64_MAX when unknown.
int64_t available_memory();

}  // namespace llama
