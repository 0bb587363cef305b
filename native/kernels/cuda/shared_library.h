// A library that is opened at run time, so that the engine starts where it is not installed. It stays in the process: what it
// has left with the driver must not be unmapped.
#pragma once
#include <dlfcn.h>

#include <string>
#include <utility>

namespace llama::cuda {

class SharedLibrary {
 public:
  SharedLibrary() = default;
  explicit SharedLibrary(const std::string& file) : handle_(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)) {
    if (handle_ == nullptr) problem_ = dlerror();
  }
  ~SharedLibrary() {
    if (handle_ != nullptr) dlclose(handle_);
  }
  SharedLibrary(SharedLibrary&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)), problem_(std::move(other.problem_)) {}
  SharedLibrary& operator=(SharedLibrary&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(problem_, other.problem_);
    return *this;
  }

  bool is_open() const { return handle_ != nullptr; }
  const std::string& problem() const { return problem_; }  // why it is not open, in the loader's words

  // Whether the symbol is there; sets `function` to it.
  template <class Function>
  bool find(const char* name, Function& function) const {
    function = handle_ == nullptr ? nullptr : reinterpret_cast<Function>(dlsym(handle_, name));
    return function != nullptr;
  }

 private:
  void* handle_ = nullptr;
  std::string problem_;
};

}  // namespace llama::cuda
