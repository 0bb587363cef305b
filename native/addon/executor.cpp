#include "executor.h"

#include <new>
#include <stdexcept>
#include <utility>

#include "engine_error.h"

namespace llama::addon {

JobError current_error() {
  try {
    throw;
  } catch (const EngineError& error) {
    return {error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return {"OUT_OF_MEMORY", "the system has no memory left for this"};
  } catch (const std::invalid_argument& error) {
    return {"ENGINE_ARGUMENT", error.what()};
  } catch (const std::exception& error) {
    return {"", error.what()};
  } catch (...) {
    return {"", "unknown exception"};
  }
}

Napi::Error to_javascript(Napi::Env env, const JobError& error) {
  Napi::Error result = Napi::Error::New(env, error.message);
  if (!error.code.empty()) result.Set("code", Napi::String::New(env, error.code));
  return result;
}

void Executor::Job::execute() noexcept {
  try {
    work();
  } catch (...) {
    error_ = current_error();
  }
}

void Executor::Job::deliver(Napi::Env env) {
  executor_->settled(env);
  if (error_) {
    deferred_.Reject(to_javascript(env, *error_).Value());
    return;
  }
  try {
    deferred_.Resolve(value(env));
  } catch (const Napi::Error& error) {
    deferred_.Reject(error.Value());
  } catch (...) {
    deferred_.Reject(to_javascript(env, current_error()).Value());
  }
}

std::shared_ptr<Executor> Executor::create(Napi::Env env) { return std::shared_ptr<Executor>(new Executor(env)); }

Executor::Executor(Napi::Env env) : env_(env) {
  channel_ = Channel::New(env, "llama engine", 0, 1);
  channel_.Unref(env);  // an idle model does not keep the process alive
  // Hooks run in reverse order: this one, which ends the thread, before the channel's own.
  napi_add_env_cleanup_hook(env_, environment_closes, this);
  thread_ = std::thread([this] { loop(); });
}

Executor::~Executor() {
  if (stopped_) return;
  napi_remove_env_cleanup_hook(env_, environment_closes, this);
  stop();
}

void Executor::environment_closes(void* executor) { static_cast<Executor*>(executor)->stop(); }

void Executor::stop() {
  stopped_ = true;
  {
    const std::lock_guard lock(mutex_);
    *stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  // Destroying a job may destroy this object, once the last reference to it goes.
  const std::deque<std::unique_ptr<Job>> abandoned = std::move(queue_);
  channel_.Release();
}

void Executor::submit(Napi::Env env, std::unique_ptr<Job> job) {
  if (stopped_) throw to_javascript(env, {"ENGINE_UNAVAILABLE", "the engine is shutting down"});
  if (pending_++ == 0) channel_.Ref(env);
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Executor::dispose(std::shared_ptr<void> value) {
  if (stopped_) return;
  {
    const std::lock_guard lock(mutex_);
    disposed_.push_back(std::move(value));
  }
  wake_.notify_one();
}

void Executor::settled(Napi::Env env) {
  if (--pending_ == 0 && !stopped_) channel_.Unref(env);
}

void Executor::tell(std::unique_ptr<Message> message) {
  // Refused only when the environment is closing; then nobody listens any more.
  if (channel_.NonBlockingCall(message.get()) == napi_ok) message.release();
}

void Executor::loop() {
  for (;;) {
    std::unique_ptr<Job> job;
    std::vector<std::shared_ptr<void>> disposed;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return *stopping_ || !queue_.empty() || !disposed_.empty(); });
      if (*stopping_) return;
      disposed = std::move(disposed_);
      disposed_.clear();
      if (!queue_.empty()) {
        job = std::move(queue_.front());
        queue_.pop_front();
      }
    }
    disposed.clear();
    if (!job) continue;
    idle_work_ = nullptr;
    job->execute();
    Message* const message = job.release();
    if (channel_.NonBlockingCall(message) == napi_ok) {
      run_idle_work();
      continue;
    }
    // The channel is closing: hand the job back, it must not be destroyed on this thread.
    const std::lock_guard lock(mutex_);
    queue_.emplace_back(static_cast<Job*>(message));
    return;
  }
}

void Executor::run_idle_work() noexcept {
  const std::function<void()> work = std::exchange(idle_work_, nullptr);
  if (!work) return;
  {
    const std::lock_guard lock(mutex_);
    if (!queue_.empty()) return;
  }
  try {
    work();
  } catch (...) {
    // Whoever asks for its result gets the error.
  }
}

void Executor::call_javascript(Napi::Env env, Napi::Function, std::nullptr_t*, Message* message) {
  const std::unique_ptr<Message> owned(message);
  if (static_cast<napi_env>(env) != nullptr) owned->deliver(env);
}

}  // namespace llama::addon
