// Memory that operations work on: the host's for the CPU, the card's for a GPU.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace llama {

class Memory {
 public:
  virtual ~Memory() = default;
  void* data = nullptr;
  size_t bytes = 0;
};

// Copies and clears are done in the order of the calls and of the operations between them.
class Device {
 public:
  virtual ~Device() = default;
  // Contents undefined. Throws EngineError OUT_OF_MEMORY.
  virtual std::unique_ptr<Memory> allocate(size_t bytes) = 0;
  // Bytes that can still be allocated, as far as is known.
  virtual int64_t available() const = 0;
  // From the host; `from` may change once it returns.
  virtual void upload(void* to, const void* from, size_t bytes) = 0;
  // To the host; waits for everything before it.
  virtual void download(void* to, const void* from, size_t bytes) = 0;
  virtual void copy(void* to, const void* from, size_t bytes) = 0;
  virtual void clear(void* to, size_t bytes) = 0;

  // Whether memory can be allocated and filled by another thread while operations run.
  virtual bool allocates_beside_operations() const { return false; }

  // Throws as require_memory() where more is asked for than available() says.
  void require(int64_t bytes, const std::string& what, const std::string& remedy = "") const;
};

// Throws EngineError OUT_OF_MEMORY where bytes > available: "<what> needs x GB, y GB are available; <remedy>".
void require_memory(int64_t bytes, int64_t available, const std::string& what, const std::string& remedy = "");

}  // namespace llama
