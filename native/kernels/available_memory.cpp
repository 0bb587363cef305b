#include "available_memory.h"

#include <algorithm>
#include <cstdio>
#include <fstream>

namespace llama {
namespace {

// A file that holds one number; -1 for "max" or no such file.
int64_t read_number(const char* path) {
  std::ifstream file(path);
  int64_t value = -1;
  return file >> value ? value : -1;
}

int64_t machine_memory() {
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    long long kilobytes = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %lld kB", &kilobytes) == 1) return int64_t{kilobytes} * 1024;
  }
  return INT64_MAX;
}

// Page cache counts as used memory of a container although it can be given back.
int64_t reclaimable_cache() {
  std::ifstream file("/sys/fs/cgroup/memory.stat");
  std::string name;
  int64_t value = 0, sum = 0;
  while (file >> name >> value) {
    if (name == "inactive_file" || name == "active_file") sum += value;
  }
  return sum;
}

int64_t container_memory() {
  const int64_t limit = read_number("/sys/fs/cgroup/memory.max");
  const int64_t used = read_number("/sys/fs/cgroup/memory.current");
  if (limit < 0 || used < 0) return INT64_MAX;
  return std::max<int64_t>(0, limit - used + reclaimable_cache());
}

}  // namespace

int64_t available_memory() { return std::min(machine_memory(), container_memory()); }

}  // namespace llama
