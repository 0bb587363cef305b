// One thread that executes a model's jobs in the order they were given, and the way back to JavaScript: each job is a
// promise. Created, used and destroyed on the JavaScript thread; jobs run on the executor's own.
#pragma once
#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace llama::addon {

// What a job leaves when it throws.
struct JobError {
  std::string code;  // empty: a defect, not an error with a code
  std::string message;
};
// To be called inside a catch block.
JobError current_error();
Napi::Error to_javascript(Napi::Env env, const JobError& error);

// Travels from the executor's thread to the JavaScript thread, where it is delivered and deleted.
class Message {
 public:
  virtual ~Message() = default;
  virtual void deliver(Napi::Env env) = 0;
};

class Executor : public std::enable_shared_from_this<Executor> {
 public:
  static std::shared_ptr<Executor> create(Napi::Env env);
  ~Executor();

  // Runs work() on the executor's thread, then convert(env, result) on the JavaScript thread, and resolves the promise
  // with that (undefined where work returns nothing). Both are destroyed on the JavaScript thread, so they may hold
  // references to JavaScript values.
  template <class Work, class Convert>
  Napi::Promise run(Napi::Env env, Work work, Convert convert);

  // Destroys the value on the executor's thread, before the next job: it may have to wait for a device.
  void dispose(std::shared_ptr<void> value);

  // From a job: what to do after it, once its promise is on the way and if no other job waits. What it throws is lost.
  void when_idle(std::function<void()> work) { idle_work_ = std::move(work); }

  // From a job: something to be told before the job's promise is settled.
  void tell(std::unique_ptr<Message> message);

  // Set when the environment is going away; jobs should end soon.
  const std::shared_ptr<std::atomic<bool>>& stop_flag() const { return stopping_; }

 private:
  class Job;
  template <class Work, class Convert>
  class TypedJob;
  static void call_javascript(Napi::Env env, Napi::Function, std::nullptr_t*, Message* message);
  using Channel = Napi::TypedThreadSafeFunction<std::nullptr_t, Message, call_javascript>;

  explicit Executor(Napi::Env env);
  void submit(Napi::Env env, std::unique_ptr<Job> job);
  void settled(Napi::Env env);
  void loop();
  void run_idle_work() noexcept;
  void stop();
  static void environment_closes(void* executor);

  napi_env env_;
  Channel channel_;
  std::shared_ptr<std::atomic<bool>> stopping_ = std::make_shared<std::atomic<bool>>(false);
  bool stopped_ = false;
  int64_t pending_ = 0;  // promises that keep the process alive
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Job>> queue_;
  std::vector<std::shared_ptr<void>> disposed_;
  std::function<void()> idle_work_;  // the executor's thread's
  std::thread thread_;
};

class Executor::Job : public Message {
 public:
  Job(Napi::Env env, std::shared_ptr<Executor> executor)
      : deferred_(Napi::Promise::Deferred::New(env)), executor_(std::move(executor)) {}
  void execute() noexcept;
  void deliver(Napi::Env env) override;
  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  virtual void work() = 0;
  virtual Napi::Value value(Napi::Env env) = 0;

 private:
  Napi::Promise::Deferred deferred_;
  std::shared_ptr<Executor> executor_;  // lives until its last promise is settled
  std::optional<JobError> error_;
};

template <class Work, class Convert>
class Executor::TypedJob final : public Executor::Job {
 public:
  TypedJob(Napi::Env env, std::shared_ptr<Executor> executor, Work work, Convert convert)
      : Job(env, std::move(executor)), work_(std::move(work)), convert_(std::move(convert)) {}

 protected:
  using Result = std::invoke_result_t<Work>;

  void work() override {
    if constexpr (std::is_void_v<Result>) {
      work_();
    } else {
      result_.emplace(work_());
    }
  }

  Napi::Value value(Napi::Env env) override {
    if constexpr (std::is_void_v<Result>) {
      return env.Undefined();
    } else {
      return convert_(env, std::move(*result_));
    }
  }

 private:
  Work work_;
  Convert convert_;
  std::optional<std::conditional_t<std::is_void_v<Result>, char, Result>> result_;
};

template <class Work, class Convert>
Napi::Promise Executor::run(Napi::Env env, Work work, Convert convert) {
  auto job = std::make_unique<TypedJob<Work, Convert>>(env, shared_from_this(), std::move(work), std::move(convert));
  const Napi::Promise promise = job->promise();
  submit(env, std::move(job));
  return promise;
}

}  // namespace llama::addon
