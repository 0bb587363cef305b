#include "arguments.h"

#include <cmath>
#include <utility>

#include "executor.h"

namespace llama::addon {

void refuse(Napi::Env env, const std::string& message) { throw to_javascript(env, {"ENGINE_ARGUMENT", message}); }

int64_t to_integer(const Napi::Value& value, const std::string& name, int64_t least, int64_t most) {
  const double number = to_number(value, name);
  if (number != std::floor(number) || number < static_cast<double>(least) || number > static_cast<double>(most)) {
    refuse(value.Env(), name + " is not an integer from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return static_cast<int64_t>(number);
}

double to_number(const Napi::Value& value, const std::string& name) {
  if (!value.IsNumber() || !std::isfinite(value.As<Napi::Number>().DoubleValue())) {
    refuse(value.Env(), name + " is not a finite number");
  }
  return value.As<Napi::Number>().DoubleValue();
}

bool to_boolean(const Napi::Value& value, const std::string& name) {
  if (!value.IsBoolean()) refuse(value.Env(), name + " is not a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::string to_string(const Napi::Value& value, const std::string& name) {
  if (!value.IsString()) refuse(value.Env(), name + " is not a string");
  return value.As<Napi::String>().Utf8Value();
}

Napi::Object to_object(const Napi::Value& value, const std::string& name) {
  if (!value.IsObject()) refuse(value.Env(), name + " is not an object");
  return value.As<Napi::Object>();
}

Napi::Array to_array(const Napi::Value& value, const std::string& name) {
  if (!value.IsArray()) refuse(value.Env(), name + " is not an array");
  return value.As<Napi::Array>();
}

Napi::Float32Array to_float32_array(const Napi::Value& value, const std::string& name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
    refuse(value.Env(), name + " is not a Float32Array");
  }
  return value.As<Napi::Float32Array>();
}

std::vector<int32_t> to_int32_vector(const Napi::Value& value, const std::string& name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) {
    refuse(value.Env(), name + " is not an Int32Array");
  }
  const auto array = value.As<Napi::Int32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

std::vector<double> to_double_vector(const Napi::Value& value, const std::string& name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
    refuse(value.Env(), name + " is not a Float64Array");
  }
  const auto array = value.As<Napi::Float64Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

Napi::Float32Array from_floats(Napi::Env env, std::vector<float>&& values) {
  if (values.empty()) return Napi::Float32Array::New(env, 0);
  auto* owner = new std::vector<float>(std::move(values));
  const Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(
      env, owner->data(), owner->size() * sizeof(float),
      [](Napi::Env, void*, std::vector<float>* vector) { delete vector; }, owner);
  return Napi::Float32Array::New(env, owner->size(), buffer, 0);
}

}  // namespace llama::addon
