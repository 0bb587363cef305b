// Pages of keys and values: growth in slabs, limits, what comes back, and the plan's bounds.
#include "../../kernels/cuda/page_pool.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "../../kernels/cuda/attention_plan.h"
#include "../../kernels/engine_error.h"
#include "../expect.h"

namespace {

using namespace llama;
using namespace llama::cuda;

using checks::expect;

// The heap, up to a limit.
class HeapDevice final : public Device {
 public:
  size_t left = SIZE_MAX;
  int allocations = 0;

  std::unique_ptr<Memory> allocate(size_t bytes) override {
    if (bytes > left) throw EngineError("OUT_OF_MEMORY", "the device has no memory left");
    left -= bytes;
    ++allocations;
    return std::make_unique<Block>(*this, bytes);
  }
  int64_t available() const override { return static_cast<int64_t>(std::min<size_t>(left, INT64_MAX)); }
  void upload(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void download(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void copy(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void clear(void* to, size_t bytes) override { std::memset(to, 0, bytes); }

 private:
  struct Block final : Memory {
    HeapDevice& device;
    Block(HeapDevice& device_, size_t bytes_) : device(device_) {
      data = std::malloc(bytes_);
      bytes = bytes_;
    }
    ~Block() override {
      device.left += bytes;
      std::free(data);
    }
  };
};

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const EngineError& error) {
    return std::string(error.code()) + ": " + error.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void test_layout() {
  const PageLayout layout{3, 2, 6, 2};
  expect(layout.bytes() == size_t{3} * 2 * 2 * 32 * 8 * 2, "rows of 6 halves are filled up to 8");
  expect(page_row(6, 4) == 8 && page_row(8, 4) == 8 && page_row(100, 2) == 104 && page_row(128, 2) == 128, "page_row");
}

void test_growth_and_reuse() {
  HeapDevice device;
  const PageLayout layout{4, 8, 128, 2};  // 524,288 bytes: 128 pages in a slab
  PagePool pool(device, layout, size_t{1} << 30);
  expect(pool.max_pages() == 2048, "pages within the limit");
  std::set<void*> pages;
  for (int i = 0; i < 130; ++i) pages.insert(pool.take());
  expect(pages.size() == 130, "pages are distinct");
  expect(device.allocations == 2, "130 pages are two slabs");
  expect(pool.bytes_in_use() == 130 * layout.bytes() && pool.bytes_allocated() == 256 * layout.bytes(), "bytes");
  for (void* page : pages) std::memset(page, 1, layout.bytes());  // the sanitizer sees a page that leaves its slab
  for (void* page : pages) pool.give_back(page);
  expect(pool.bytes_in_use() == 0, "nothing is in use");
  for (int i = 0; i < 256; ++i) pool.take();
  expect(device.allocations == 2, "pages that came back are used first");
}

void test_large_pages() {
  HeapDevice device;
  PagePool pool(device, PageLayout{80, 8, 256, 4}, size_t{100} << 20);  // 42 MB a page: a slab each
  pool.take();
  pool.take();
  expect(device.allocations == 2, "a page that is most of a slab is a slab");
  expect(has(message_of([&] { pool.take(); }), "OUT_OF_MEMORY"), "the limit counts whole pages");
}

void test_limits() {
  HeapDevice device;
  const PageLayout layout{2, 2, 64, 2};
  PagePool pool(device, layout, 5 * layout.bytes() + 7);
  std::vector<void*> pages;
  for (int i = 0; i < 5; ++i) pages.push_back(pool.take());
  const std::string message = message_of([&] { pool.take(); });
  expect(has(message, "OUT_OF_MEMORY") && has(message, "LLAMA_CACHE_BYTES"), "a full pool names its limit: " + message);
  pool.give_back(pages[2]);
  expect(pool.take() == pages[2], "a page that came back can be taken again");

  // The device is full before the limit: smaller slabs as long as there is room.
  HeapDevice small;
  small.left = 3 * layout.bytes();
  PagePool squeezed(small, layout, size_t{1} << 30);
  for (int i = 0; i < 3; ++i) squeezed.take();
  const std::string full = message_of([&] { squeezed.take(); });
  expect(has(full, "OUT_OF_MEMORY") && has(full, "device has no memory left") && has(full, "fewer or shorter"),
         "a full device: " + full);
}

void test_cache() {
  HeapDevice device;
  const PageLayout layout{2, 2, 8, 4};
  const auto pool = std::make_shared<PagePool>(device, layout, 4 * layout.bytes());
  {
    PagedCache cache(pool, 70);
    expect(cache.bytes() == 0, "an empty cache holds nothing");
    cache.reserve(1);
    cache.reserve(32);
    expect(cache.pages().size() == 1, "32 positions are a page");
    void* first = cache.pages()[0];
    cache.reserve(33);
    cache.reserve(70);
    expect(cache.pages().size() == 3 && cache.pages()[0] == first, "70 positions are three pages, and none moves");
    cache.reserve(5);
    expect(cache.pages().size() == 3, "a cache does not shrink");
    bool refused = false;
    try {
      cache.reserve(71);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    expect(refused, "no more than its capacity");
    PagedCache other(pool, 100);
    expect(has(message_of([&] { other.reserve(64); }), "OUT_OF_MEMORY"), "two caches share the limit");
    expect(other.pages().size() == 1, "what was taken before the limit is kept");
  }
  expect(pool->bytes_in_use() == 0, "caches give their pages back");
  PagedCache again(pool, 128);
  again.reserve(128);
  expect(device.allocations == 1, "and others use them");
}

void test_bounds() {
  HeapDevice device;
  const auto pool = std::make_shared<PagePool>(device, PageLayout{1, 8, 8, 4}, size_t{1} << 30);
  PagedCache a(pool, 100000), b(pool, 100000);
  const auto splits = [&](int64_t position) { return bounds_of({{&a, 0, 1, position}}, 1).splits; };
  expect(splits(0) == 1 && splits(127) == 1 && splits(128) == 2, "a split is four pages");
  expect(splits(256) == 4 && splits(99999) == 32, "splits are counted in powers of two, and are 32 at most");
  const AttentionBounds decode = bounds_of({{&a, 0, 1, 40}, {&b, 1, 1, 300}}, 2);
  expect(decode.rows == 2 && decode.splits == 4 && decode.prefill_spans == 0 && decode.pages == 2 + 10,
         "bounds of a decode step");
  const AttentionBounds mixed = bounds_of({{&a, 0, 1, 40}, {&b, 1, 7, 300}}, 8);
  expect(mixed.splits == 1 && mixed.prefill_spans == 1 && mixed.prefill_rows == 7, "bounds of a mixed step");
  expect(is_decode({{&a, 0, 1, 40}, {&b, 1, 1, 300}}) && !is_decode({{&a, 0, 1, 40}, {&b, 1, 2, 300}}), "is_decode");

  // Where the block's parts lie does not depend on what changes between two steps of equal bounds.
  unsigned char memory[4096];
  AttentionBounds longer = decode;
  longer.pages += 5;
  expect(plan_view(memory, longer).pages == plan_view(memory, decode).pages, "pages do not move the plan");

  const AttentionBounds largest = largest_bounds(64, 1000, 8);
  for (int64_t rows = 1; rows <= 64; rows += 9) {
    std::vector<AttentionSpan> spans;
    for (int64_t i = 0; i < rows; ++i) spans.push_back({&a, i, 1, 1000 / rows * 32 - 1});
    const AttentionBounds bounds = bounds_of(spans, rows);
    expect(bounds.splits <= largest.splits && plan_bytes(bounds) <= plan_bytes(largest),
           "largest bounds hold for " + std::to_string(rows) + " rows");
  }
}

}  // namespace

int main() {
  test_layout();
  test_growth_and_reuse();
  test_large_pages();
  test_limits();
  test_cache();
  test_bounds();
  return checks::summary();
}
