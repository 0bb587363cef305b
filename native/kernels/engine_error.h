// An error with one of the project's stable codes (src/errors/codes.ts). Anything else that is thrown is a defect.
#pragma once
#include <stdexcept>
#include <string>

namespace llama {

// Visible, so that what the GPU module throws is caught in the addon as the same type.
class __attribute__((visibility("default"))) EngineError : public std::runtime_error {
 public:
  EngineError(const char* code, const std::string& message) : std::runtime_error(message), code_(code) {}
  const char* code() const { return code_; }

 private:
  const char* code_;  // a literal
};

}  // namespace llama
