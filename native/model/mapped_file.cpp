#include "mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine_error.h"

namespace llama {

MappedFile::MappedFile(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw EngineError("CHECKPOINT_NOT_FOUND", path + ": " + std::strerror(errno));
  struct stat status;
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor);
    throw EngineError("CHECKPOINT_NOT_FOUND", path + ": is not a regular file");
  }
  size_ = static_cast<size_t>(status.st_size);
  void* address = size_ == 0 ? nullptr : mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  const int error = errno;
  close(descriptor);
  if (address == MAP_FAILED) throw EngineError("CHECKPOINT_NOT_FOUND", path + ": " + std::strerror(error));
  data_ = static_cast<unsigned char*>(address);
}

MappedFile::~MappedFile() {
  if (data_) munmap(data_, size_);
}

void MappedFile::expect_random_reads() {
  if (data_) madvise(data_, size_, MADV_RANDOM);
}

}  // namespace llama
