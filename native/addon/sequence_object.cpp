#include "sequence_object.h"

#include "classes.h"

namespace llama::addon {

Napi::Function SequenceObject::define(Napi::Env env) {
  return DefineClass(env, "Sequence", {InstanceMethod("close", &SequenceObject::close)});
}

SequenceObject::SequenceObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  Parts& parts = parts_of<Parts>(info);
  info.This().As<Napi::Object>().TypeTag(&type_tag);
  const size_t bytes = parts.sequence->bytes();
  value_.set(info.Env(), parts.handle, this, parts.sequence, bytes);
}

}  // namespace llama::addon
