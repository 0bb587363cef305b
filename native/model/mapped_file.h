// A file's bytes, read through the page cache without a copy.
#pragma once
#include <cstddef>
#include <string>

namespace llama {

class MappedFile {
 public:
  // Throws EngineError CHECKPOINT_NOT_FOUND when it cannot be opened.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const unsigned char* data() const { return data_; }
  size_t size() const { return size_; }
  // From now on the pages are read here and there, not in one sweep.
  void expect_random_reads();

 private:
  unsigned char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace llama
