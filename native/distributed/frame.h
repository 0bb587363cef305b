// The messages between ranks over TCP: a head of fixed size, then `count` values where the kind has any. Nobody
// reserves memory for what a head says: both sides know the size of what comes next.
#pragma once
#include <cstdint>
#include <type_traits>

namespace llama {

enum class FrameKind : uint32_t {
  hello,       // a rank to rank 0: rank and size
  welcome,     // rank 0's answer
  other_size,  // rank 0's answer to a rank of another group; size: rank 0's own
  taken,       // rank 0's answer where this rank is there already
  floats,
  doubles,
  bytes,
  lost,  // rank 0 to the others: rank has gone
};

struct Frame {
  // Another protocol, version or byte order has another first word.
  static constexpr uint32_t expected_magic = 0x4c4c5231;  // "LLR1"

  uint32_t magic = expected_magic;
  FrameKind kind{};
  int32_t rank = 0;
  int32_t size = 0;
  int64_t count = 0;
};
static_assert(sizeof(Frame) == 24 && std::is_trivially_copyable_v<Frame>);

}  // namespace llama
