#pragma once
#include <napi.h>

#include <atomic>
#include <memory>
#include <optional>

#include "group.h"

namespace llama::addon {

// {rank, size, host, port, mpiModule, timeoutSeconds, agreement, cancelled: Int32Array}, or null. Its waits end when
// cancelled[0] != 0 or `stop` is set. The result keeps the array alive: it is destroyed on the JavaScript thread.
std::optional<Group> to_group(const Napi::Value& value, std::shared_ptr<std::atomic<bool>> stop);

}  // namespace llama::addon
