// The card's memory, uploads through pinned chunks, recordings, and what is said where no card can be used, on the emulated
// runtime. Everything is compared bit for bit.
#include <cstring>
#include <stdexcept>
#include <vector>

#include "../../kernels/cuda/device.h"
#include "../../kernels/cuda/gpu.h"
#include "../../kernels/cuda/graph.h"
#include "checks.h"

namespace {

using namespace llama;
using namespace llama::cuda;
using namespace llama::checks;
using Bytes = std::vector<unsigned char>;

Bytes random_bytes(size_t count) {
  Bytes bytes(count);
  for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(generator());
  return bytes;
}

// Whether `action` throws an EngineError of this code whose message holds `part`.
template <class Action>
void expect_error(const std::string& code, const std::string& part, Action action) {
  try {
    action();
    expect(false, code + " is not thrown");
  } catch (const EngineError& error) {
    expect(error.code() == code && std::string(error.what()).find(part) != std::string::npos,
           code + " expected with '" + part + "', got " + error.code() + ": " + error.what());
  }
}

// Puts the machine back as it was.
struct MachineChange {
  int devices = emulated::machine.devices, major = emulated::machine.major, minor = emulated::machine.minor;
  int driver = emulated::machine.driver;
  size_t memory = emulated::machine.memory;
  ~MachineChange() {
    emulated::machine.devices = devices;
    emulated::machine.major = major;
    emulated::machine.minor = minor;
    emulated::machine.driver = driver;
    emulated::machine.memory = memory;
    emulated::machine.deferred_copies = false;
  }
};

void test_code() {
  current = "code for a card";
  const std::string all = "75-real 80-real 86-real 89-real 90-real 90-virtual";
  for (const int capability : {75, 80, 86, 87, 89, 90}) expect(has_code_for(all, capability, false), std::to_string(capability));
  expect(!has_code_for(all, 70, true), "before the first");
  expect(!has_code_for(all, 120, false) && has_code_for(all, 120, true), "after the last: what the driver can compile");
  expect(!has_code_for("89-real", 86, true) && !has_code_for("89-real", 90, true), "another one's");
  expect(has_code_for("80", 86, false) && has_code_for("80", 90, true) && !has_code_for("80", 90, false), "both kinds");
  expect(has_code_for("90a-real", 90, false) && !has_code_for("100a-real", 103, true), "one card's alone");
  expect(has_code_for("native", 86, false), "what this machine has");
}

void test_faults() {
  current = "faults";
  check(cudaSuccess);
  expect_error("OUT_OF_MEMORY", "no memory left", [] { check(cudaErrorMemoryAllocation); });
  expect_error("DEVICE_FAILED", "invalid argument", [] { check(cudaErrorInvalidValue); });
  expect_error("DEVICE_LOST", "illegal memory access", [] { check(cudaErrorIllegalAddress); });
}

void test_driver() {
  current = "driver";
  expect(driver_release("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
                        "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n") == "550.54.15",
         "the release of the closed kernel module");
  expect(driver_release("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (root@host)\n") ==
             "580.65.06",
         "the release of the open kernel module");
  expect(driver_release("").empty() && driver_release("no release here").empty(), "no release");
  expect(driver_problem({0, ""}) == "no NVIDIA driver found", "no driver");
  expect(driver_problem({12040, "550.54.15"}) == "driver 550 found, 580 needed", "an old driver is named");
  expect(driver_problem({12040, ""}) == "a driver for CUDA 12.4 found, driver 580 needed", "an old driver without a release");
  expect(driver_problem({13000, "580.65.06"}).empty() && driver_problem({14010, ""}).empty(), "a driver that is recent enough");
  expect(driver_problem({13000, "550.54.15"}).empty(), "an old kernel module under a compatible libcuda");
  expect(driver_problem({0, "580.65.06"}).find("NVIDIA_DRIVER_CAPABILITIES") != std::string::npos, "a driver without libcuda");
}

void test_probe() {
  current = "probe";
  const MachineChange change;
  emulated::machine.memory = 5000;
  Probe found = probe();
  expect(found.cards.size() == 1 && found.reason.empty(), "one card");
  expect(found.cards[0].name == "Emulated 0" && found.cards[0].major == 8 && found.cards[0].total_bytes == 5000 &&
             found.cards[0].free_bytes == 5000,
         "its properties");

  emulated::machine.major = 7, emulated::machine.minor = 5;
  expect(probe().cards.size() == 1, "compute capability 7.5 is enough");
  emulated::machine.minor = 0;
  expect(probe().cards.empty() && probe().reason == "Emulated 0 has compute capability 7.0, 7.5 is needed", "7.0 is not");
  expect_error("ENGINE_UNAVAILABLE", "compute capability 7.0", [] { choose_card(probe(), -1); });
  emulated::machine.devices = 0;
  expect(probe().reason == "the NVIDIA driver shows no GPU", "no card");
  emulated::machine.driver = 0;
  // A machine that has a kernel module without libcuda says so; others have no driver at all.
  expect(!probe().reason.empty() && probe().cards.empty(), "no driver");
}

void test_choice() {
  current = "choice of a card";
  Probe three;
  for (int i = 0; i < 3; ++i) {
    Card card;
    card.index = i == 2 ? 4 : i;
    card.name = "Card " + std::to_string(card.index);
    card.free_bytes = i == 1 ? 20 : 10;
    three.cards.push_back(card);
  }
  expect(choose_card(three, -1).index == 1, "the one with the most free memory");
  expect(choose_card(three, 4).index == 4, "the one that is asked for");
  three.cards[0].free_bytes = 20;
  expect(choose_card(three, -1).index == 0, "the first among equals");
  expect_error("ENGINE_UNAVAILABLE", "GPU 3 cannot be used; there are 0 (Card 0), 1 (Card 1), 4 (Card 4)",
               [&] { choose_card(three, 3); });
}

void test_memory() {
  current = "memory";
  const MachineChange change;
  emulated::machine.memory = 4000000;
  Gpu gpu(choose_card(probe(), 0));
  {
    const auto first = gpu.allocate(1500000);
    expect(first->bytes == 1500000 && gpu.free_bytes() == 2500000, "memory is counted");
    expect_error("OUT_OF_MEMORY", "3.00 MB are needed on the GPU, 2.50 MB of 4.00 MB are free", [&] { gpu.allocate(3000000); });
    expect(gpu.allocate(2500000)->data != nullptr, "what fits is given after a refusal");
    expect(gpu.releases() == 1, "what was given back is counted");
  }
  expect(gpu.free_bytes() == 4000000 && gpu.releases() == 2, "everything is given back");
  expect(gpu.allocate(0)->data != nullptr, "an allocation of nothing has an address");

  std::unique_ptr<Memory> survivor;
  {
    Gpu other(choose_card(probe(), 0));
    survivor = other.allocate(100);
  }
  survivor.reset();
  expect(gpu.free_bytes() == 4000000, "memory may outlive its Gpu");
}

void test_copies() {
  current = "copies";
  const MachineChange change;
  emulated::machine.deferred_copies = true;
  Gpu gpu(choose_card(probe(), 0));
  // The 64 KB beside which downloads go another way, and sizes around the megabyte of a chunk.
  for (const size_t size : {size_t{0}, size_t{1}, size_t{255}, size_t{65536}, size_t{65537}, size_t{1} << 20, (size_t{1} << 20) + 1, size_t{5000011}}) {
    const auto a = gpu.allocate(size), b = gpu.allocate(size);
    const Bytes original = random_bytes(size);
    Bytes source = original, result(size);
    gpu.upload(a->data, source.data(), size);
    for (unsigned char& byte : source) byte = 0;  // may change at once
    gpu.copy(b->data, a->data, size);
    gpu.clear(a->data, size);
    gpu.download(result.data(), b->data, size);
    expect(result == original, "upload, copy, download of " + std::to_string(size));
    gpu.download(result.data(), a->data, size);
    expect(result == Bytes(size, 0), "clear of " + std::to_string(size));
  }

  // More small uploads than the chunks hold, none waited for.
  constexpr size_t rows = 3000, width = 1999;
  const auto table = gpu.allocate(rows * width);
  const Bytes original = random_bytes(rows * width);
  Bytes staging(width), result(rows * width);
  for (size_t row = 0; row < rows; ++row) {
    std::memcpy(staging.data(), original.data() + row * width, width);
    gpu.upload(static_cast<unsigned char*>(table->data) + row * width, staging.data(), width);
  }
  gpu.download(result.data(), table->data, result.size());
  expect(result == original, "many small uploads");
}

void test_large_uploads() {
  current = "large uploads";
  const MachineChange change;
  emulated::machine.deferred_copies = true;
  Gpu gpu(choose_card(probe(), 0));
  PinnedRing ring(gpu.stream(), 5, 4096);
  for (const int threads : {0, 1, 2, 3, 5, 9}) {
    for (const size_t size : {size_t{0}, size_t{1}, size_t{4096}, size_t{4097}, size_t{5 * 4096}, size_t{300001}}) {
      const auto memory = gpu.allocate(size);
      const Bytes original = random_bytes(size);
      Bytes source = original, result(size);
      ring.upload_large(memory->data, source.data(), size, threads);
      for (unsigned char& byte : source) byte = 0;
      gpu.download(result.data(), memory->data, size);
      expect(result == original, std::to_string(size) + " bytes by " + std::to_string(threads) + " threads");
    }
  }

  // Small ones before and after share the ring.
  const auto memory = gpu.allocate(3 * 5000);
  const Bytes original = random_bytes(3 * 5000);
  Bytes result(original.size());
  auto* to = static_cast<unsigned char*>(memory->data);
  ring.upload(to, original.data(), 100);
  ring.upload_large(to + 100, original.data() + 100, 14000, 1);
  ring.upload(to + 14100, original.data() + 14100, 900);
  gpu.download(result.data(), memory->data, result.size());
  expect(result == original, "small and large ones in one ring");

  // Conversion on the way: offsets are those of the chunks.
  std::vector<uint16_t> wide(10000), narrow(10000);
  for (size_t i = 0; i < wide.size(); ++i) wide[i] = static_cast<uint16_t>(i);
  const auto converted = gpu.allocate(wide.size() * 2);
  ring.upload_filled(converted->data, wide.size() * 2, 4, [&](void* chunk, size_t offset, size_t bytes) {
    for (size_t i = 0; i < bytes / 2; ++i) static_cast<uint16_t*>(chunk)[i] = static_cast<uint16_t>(wide[offset / 2 + i] ^ 0x8000u);
  });
  gpu.download(narrow.data(), converted->data, narrow.size() * 2);
  bool same = true;
  for (size_t i = 0; i < wide.size(); ++i) same = same && narrow[i] == (wide[i] ^ 0x8000u);
  expect(same, "conversion while uploading");

  bool thrown = false;
  try {
    ring.upload_filled(converted->data, 20000, 3, [](void*, size_t offset, size_t) {
      if (offset >= 8192) throw std::runtime_error("cannot be read");
    });
  } catch (const std::runtime_error& error) {
    thrown = std::string(error.what()) == "cannot be read";
  }
  expect(thrown, "a failure of a thread is the caller's");
  ring.upload_large(converted->data, original.data(), 10000, 3);
  gpu.download(result.data(), converted->data, 10000);
  expect(std::memcmp(result.data(), original.data(), 10000) == 0, "and the ring works on");
}

__global__ void add_to(float* values, int count, float amount) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) values[i] += amount;
}

void test_recordings() {
  current = "recordings";
  const MachineChange change;
  Gpu gpu(choose_card(probe(), 0));
  constexpr int count = 70;
  const auto a = gpu.allocate(count * 4), b = gpu.allocate(count * 4);
  auto* values = static_cast<float*>(a->data);
  auto* copy = static_cast<float*>(b->data);
  const auto value = [&](const float* from) {
    float all[count];
    gpu.download(all, from, sizeof all);
    bool same = true;
    for (const float one : all) same = same && one == all[0];
    return same ? all[0] : -1.0f;
  };
  int runs = 0;
  const auto body = [&](float amount) {
    return [&, amount] {
      ++runs;
      launch(add_to, Grid{3}, dim3(32), 0, gpu.stream(), values, count, amount);
      gpu.copy(copy, values, count * 4);
      launch(add_to, Grid{3}, dim3(32), 0, gpu.stream(), values, count, 100.0f);
    };
  };

  gpu.clear(values, count * 4);
  {
    GraphCache graphs(gpu);
    graphs.replay({1, 2}, body(1));
    expect(runs == 1 && value(values) == 101 && value(copy) == 1, "runs as it is the first time");
    graphs.replay({1, 2}, body(1));
    expect(runs == 2 && value(values) == 202 && value(copy) == 102, "is recorded and launched the second time");
    graphs.replay({1, 2}, body(1));
    expect(runs == 2 && value(values) == 303 && value(copy) == 203, "is replayed from then on");
    graphs.replay({1, 2, 0}, body(2));
    expect(runs == 3 && value(values) == 405 && value(copy) == 305, "another key is another body");
    expect(graphs.size() == 2, "two keys");

    // An exception: nothing of the recording is done, and the stream is as before.
    int attempts = 0;
    const auto failing = [&] {
      body(1)();
      if (++attempts == 2) throw std::runtime_error("from the body");
    };
    graphs.replay({9}, failing);
    const float before = value(values);
    bool thrown = false;
    try {
      graphs.replay({9}, failing);
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    expect(thrown && !gpu.recording() && value(values) == before, "an exception ends the recording, nothing is launched");
    graphs.replay({9}, failing);
    expect(attempts == 3 && value(values) == before + 101, "it is recorded at the next time");

    // What cannot be recorded is refused. The first time everything is allowed.
    const auto uploading = [&] { gpu.upload(values, "abcd", 4); };
    graphs.replay({10}, uploading);
    bool refused = false;
    try {
      graphs.replay({10}, uploading);
    } catch (const std::logic_error&) {
      refused = true;
    }
    expect(refused && !gpu.recording(), "an upload cannot be recorded");
    bool failed = false;
    std::unique_ptr<Memory> kept;
    const auto keeping = [&] { kept = gpu.allocate(10); };
    graphs.replay({11}, keeping);
    try {
      graphs.replay({11}, keeping);
    } catch (const EngineError& error) {
      failed = std::string(error.code()) == "DEVICE_FAILED";
    }
    expect(failed && !gpu.recording(), "nor an allocation");
  }

  // Memory that is given back ends the recordings.
  {
    GraphCache graphs(gpu);
    for (int i = 0; i < 3; ++i) graphs.replay({1}, body(1));
    const int before = runs;
    gpu.allocate(10);
    graphs.replay({1}, body(1));
    expect(runs == before + 1 && graphs.size() == 1, "what was recorded before a release is not replayed");
    for (int i = 0; i < 5; ++i) graphs.replay({1}, body(1));
    expect(runs == before + 2, "and is recorded again");
    graphs.clear();
    expect(graphs.size() == 0, "clear");
  }

  // The least recently used one goes.
  {
    GraphCache graphs(gpu, 3);
    for (int round = 0; round < 2; ++round) {
      for (int64_t key = 0; key < 3; ++key) graphs.replay({key}, body(1));
    }
    graphs.replay({0}, body(1));
    graphs.replay({3}, body(1));  // in place of 1
    const int before = runs;
    graphs.replay({0}, body(1));
    graphs.replay({2}, body(1));
    expect(runs == before && graphs.size() == 3, "those used last are kept");
    graphs.replay({1}, body(1));
    expect(runs == before + 1 && graphs.size() == 3, "the one not used for longest is gone");
  }
}

}  // namespace

int main() {
  test_code();
  test_faults();
  test_driver();
  test_probe();
  test_choice();
  test_memory();
  test_copies();
  test_large_uploads();
  test_recordings();
  return report();
}
