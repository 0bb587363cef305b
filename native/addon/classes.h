// The addon's JavaScript classes of one environment (main thread or worker thread); nothing is global.
#pragma once
#include <napi.h>

#include "arguments.h"

namespace llama::addon {

struct Classes {
  Napi::FunctionReference model, adapter, sequence, trainer;
};

// Classes are constructed by the addon only: their one argument is a pointer to what they wrap.
template <class Parts>
Napi::Object construct(Napi::Env env, const Napi::FunctionReference& constructor, Parts& parts) {
  return constructor.New({Napi::External<Parts>::New(env, &parts)});
}

template <class Parts>
Parts& parts_of(const Napi::CallbackInfo& info) {
  if (info.Length() != 1 || !info[0].IsExternal()) refuse(info.Env(), "this class is not constructed from JavaScript");
  return *info[0].As<Napi::External<Parts>>().Data();
}

}  // namespace llama::addon
