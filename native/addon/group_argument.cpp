#include "group_argument.h"

#include "arguments.h"

namespace llama::addon {

std::optional<Group> to_group(const Napi::Value& value, std::shared_ptr<std::atomic<bool>> stop) {
  if (value.IsNull()) return std::nullopt;
  const Napi::Object object = to_object(value, "group");
  const auto integer = [&](const char* field, int64_t least, int64_t most) {
    return static_cast<int>(to_integer(object.Get(field), std::string("group.") + field, least, most));
  };
  const auto text = [&](const char* field) { return to_string(object.Get(field), std::string("group.") + field); };
  Group group;
  group.size = integer("size", 1, 1 << 16);
  group.rank = integer("rank", 0, group.size - 1);
  group.host = text("host");
  group.port = integer("port", 0, 65535);
  group.mpi_module = text("mpiModule");
  group.agreement = text("agreement");
  if (group.agreement.size() != 64) refuse(value.Env(), "group.agreement has not 64 digits");
  group.waiting.limit = std::chrono::seconds(integer("timeoutSeconds", 1, 1 << 20));

  const Napi::Value flag = object.Get("cancelled");
  if (!flag.IsTypedArray() || flag.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array ||
      flag.As<Napi::Int32Array>().ElementLength() < 1) {
    refuse(value.Env(), "group.cancelled is not an Int32Array");
  }
  int32_t* const cancelled = flag.As<Napi::Int32Array>().Data();
  auto alive = std::make_shared<Napi::ObjectReference>(Napi::Persistent(flag.As<Napi::Object>()));
  group.waiting.stopped = [stop = std::move(stop), cancelled, alive = std::move(alive)] {
    return *stop || std::atomic_ref<int32_t>(*cancelled).load(std::memory_order_relaxed) != 0;
  };
  return group;
}

}  // namespace llama::addon
