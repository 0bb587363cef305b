// What all JavaScript objects of one model share. Members are touched on the JavaScript thread only, except `model`,
// which belongs to the executor's thread once loaded and is only copied on the other.
#pragma once
#include <napi.h>

#include <memory>
#include <string>
#include <unordered_set>

#include "engine.h"
#include "executor.h"

namespace llama::addon {

// A JavaScript object made from a model; it lets go of its memory when the model is closed.
class ModelChild {
 public:
  virtual ~ModelChild() = default;
  virtual void release(Napi::Env env) = 0;
};

struct ModelHandle {
  std::shared_ptr<Executor> executor;
  // Of adapters, where they can be made beside steps: a large one takes longer than a token may. Made with the first.
  std::shared_ptr<Executor> adapter_executor;
  std::shared_ptr<EngineModel> model;
  bool closed = false;
  std::unordered_set<ModelChild*> children;

  void check_open(Napi::Env env) const {
    if (closed) throw to_javascript(env, {"ENGINE_ARGUMENT", "the model is closed"});
  }
};

// A child's value: alive until close(), the model's close() or garbage collection, whichever comes first. Jobs that are
// under way hold their own reference.
template <class Value>
class OwnedValue {
 public:
  void set(Napi::Env env, std::shared_ptr<ModelHandle> handle, ModelChild* child, std::shared_ptr<Value> value,
           size_t bytes) {
    handle_ = std::move(handle);
    child_ = child;
    value_ = std::move(value);
    bytes_ = static_cast<int64_t>(bytes);
    handle_->children.insert(child_);
    Napi::MemoryManagement::AdjustExternalMemory(env, bytes_);
  }

  // Throws when it is gone.
  const std::shared_ptr<Value>& get(Napi::Env env, const char* name) const {
    if (!value_) throw to_javascript(env, {"ENGINE_ARGUMENT", std::string(name) + " is closed"});
    return value_;
  }

  void release(Napi::Env env) {
    if (!value_) return;
    handle_->executor->dispose(std::move(value_));  // which leaves none here
    handle_->children.erase(child_);
    Napi::MemoryManagement::AdjustExternalMemory(env, -bytes_);
  }

  const std::shared_ptr<ModelHandle>& handle() const { return handle_; }

 private:
  std::shared_ptr<ModelHandle> handle_;
  ModelChild* child_ = nullptr;
  std::shared_ptr<Value> value_;
  int64_t bytes_ = 0;
};

}  // namespace llama::addon
