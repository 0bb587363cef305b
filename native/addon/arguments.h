// The second check of everything that comes from JavaScript (the first, with better messages, is in src/engine/native).
// Every function throws a JavaScript error with code ENGINE_ARGUMENT that names the argument.
#pragma once
#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

namespace llama::addon {

[[noreturn]] void refuse(Napi::Env env, const std::string& message);

// An integer between the bounds, both included (exact up to 2^53).
int64_t to_integer(const Napi::Value& value, const std::string& name, int64_t least, int64_t most);
// A finite number.
double to_number(const Napi::Value& value, const std::string& name);
bool to_boolean(const Napi::Value& value, const std::string& name);
std::string to_string(const Napi::Value& value, const std::string& name);
Napi::Object to_object(const Napi::Value& value, const std::string& name);
Napi::Array to_array(const Napi::Value& value, const std::string& name);
Napi::Float32Array to_float32_array(const Napi::Value& value, const std::string& name);
// A copy of an Int32Array.
std::vector<int32_t> to_int32_vector(const Napi::Value& value, const std::string& name);
// A copy of a Float64Array.
std::vector<double> to_double_vector(const Napi::Value& value, const std::string& name);

// A Float32Array that takes the vector's memory over.
Napi::Float32Array from_floats(Napi::Env env, std::vector<float>&& values);

// The C++ object behind a wrapped one. A tag proves the class: any other object in its place is refused.
template <class Wrapped>
Wrapped* to_wrapped(const Napi::Value& value, const std::string& name) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&Wrapped::type_tag)) {
    refuse(value.Env(), name + " is not an object of this engine");
  }
  return Wrapped::Unwrap(value.As<Napi::Object>());
}

}  // namespace llama::addon
