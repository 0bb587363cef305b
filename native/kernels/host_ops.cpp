#include "host_ops.h"

#include <algorithm>
#include <cstring>

#include "available_memory.h"

namespace llama {
namespace {

class HostMemory final : public Memory {
 public:
  explicit HostMemory(size_t size) : buffer_(size) {
    data = buffer_.data();
    bytes = size;
  }

 private:
  AlignedBuffer buffer_;
};

class MappedTable final : public EmbeddingTable {
 public:
  explicit MappedTable(std::shared_ptr<void> owner) : owner_(std::move(owner)) {}

 private:
  std::shared_ptr<void> owner_;
};

class TermTable final : public LoraTable {
 public:
  std::vector<std::vector<LoraTerm<float>>> terms;
};

int64_t rank_of(const std::vector<LoraTerm<float>>& terms) {
  int64_t rank = 0;
  for (const LoraTerm<float>& term : terms) rank += term.rank;
  return rank;
}

// Whether the terms' A follow one another in memory: one [rank, in] matrix.
bool is_stacked(const std::vector<LoraTerm<float>>& terms) {
  for (size_t i = 1; i < terms.size(); ++i) {
    if (terms[i].a != terms[i - 1].a + terms[i - 1].rank * terms[i - 1].in) return false;
  }
  return true;
}

}  // namespace

std::unique_ptr<Memory> HostOps::allocate(size_t bytes) { return std::make_unique<HostMemory>(bytes); }

int64_t HostOps::available() const { return available_memory(); }

void HostOps::upload(void* to, const void* from, size_t bytes) { copy(to, from, bytes); }
void HostOps::download(void* to, const void* from, size_t bytes) { copy(to, from, bytes); }
void HostOps::copy(void* to, const void* from, size_t bytes) {
  if (bytes > 0 && to != from) std::memcpy(to, from, bytes);
}
void HostOps::clear(void* to, size_t bytes) {
  if (bytes > 0) std::memset(to, 0, bytes);
}

std::unique_ptr<LoraTable> HostOps::make_lora_table(const std::vector<std::vector<LoraTerm<float>>>& terms) {
  auto table = std::make_unique<TermTable>();
  table->terms = terms;
  return table;
}

void HostOps::plan_lora(const std::vector<LoraSpan>& spans, int64_t) { lora_spans_ = spans; }

void HostOps::lora(int place, const float* x, int64_t ldx, int64_t, float* y, int64_t ldy) {
  for (const LoraSpan& span : lora_spans_) {
    const auto& terms = static_cast<const TermTable*>(span.table)->terms[static_cast<size_t>(place)];
    if (terms.empty()) continue;
    const int64_t rank = rank_of(terms), in = terms.front().in;
    u_.reserve(static_cast<size_t>(span.count * rank) * sizeof(float));
    auto* u = static_cast<float*>(u_.data());
    const float* rows = x + span.row * ldx;
    const bool stacked = is_stacked(terms);
    if (stacked) matmul_nt(rows, ldx, terms.front().a, in, u, rank, span.count, rank, in, 1, 0);
    int64_t column = 0;
    for (const LoraTerm<float>& term : terms) {
      if (!stacked) matmul_nt(rows, ldx, term.a, in, u + column, rank, span.count, term.rank, in, 1, 0);
      matmul_nt(u + column, rank, term.b, term.rank, y + span.row * ldy + term.column, ldy, span.count, term.out,
                term.rank, term.scale, 1);
      column += term.rank;
    }
  }
}

std::unique_ptr<EmbeddingTable> HostOps::make_embedding(const MatrixSource& source, std::shared_ptr<void> owner) {
  auto table = std::make_unique<MappedTable>(std::move(owner));
  table->source = source;
  return table;
}

void HostOps::cast(const float* x, int64_t ldx, float* y, int64_t ldy, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    std::memcpy(y + row * ldy, x + row * ldx, static_cast<size_t>(width) * sizeof(float));
  }
}

void HostOps::gather_rows(const float* from, const int32_t* rows, int64_t count, int64_t width, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to + i * width, from + rows[i] * width, static_cast<size_t>(width) * sizeof(float));
  }
}

void HostOps::scatter_rows(const float* from, const int32_t* rows, int64_t count, int64_t width, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to + rows[i] * width, from + i * width, static_cast<size_t>(width) * sizeof(float));
  }
}

CacheLimit HostOps::limit_caches(int layers, int kv_heads, int head_dim, StorageType type, int64_t bytes) {
  CacheLimit limit{0, cache_page_tokens(), 0};
  limit.page_bytes = static_cast<int64_t>(make_cache(layers, kv_heads, head_dim, limit.page_tokens, type)->bytes());
  // A quarter stays for adapters, work buffers and what else runs here.
  limit.pages = (bytes > 0 ? bytes : available() / 4 * 3) / limit.page_bytes;
  return limit;
}

void HostOps::attention(const AttentionShape& shape, int layer, const Rotary& rotary, float* qkv, int64_t ldqkv, int64_t tokens, float* o, int64_t ldo) {
  float* k = qkv + int64_t{shape.heads} * shape.head_dim;
  float* v = k + int64_t{shape.kv_heads} * shape.head_dim;
  rope(shape, rotary, qkv, ldqkv, tokens, qkv, ldqkv);
  attend(shape, layer, spans_, qkv, ldqkv, k, v, ldqkv, o, ldo);
}

// Enough rows for an efficient product, few enough that a chunk's logits stay near the caches (16 MB at 32,000 words).
int64_t HostOps::head_rows(int64_t vocab) const { return std::clamp<int64_t>((int64_t{4} << 20) / vocab, 16, 256); }

void HostOps::cross_entropy(float* logits, int64_t ld, int64_t rows, int64_t vocab, const int32_t* targets, float gradient_scale, float* gradient, int64_t ldg, double* loss) {
  *loss += cross_entropy_in_place(logits, ld, rows, vocab, targets, gradient_scale);
  if (gradient != nullptr && gradient != logits) cast(logits, ld, gradient, ldg, rows, vocab);
}

std::vector<int32_t> HostOps::sample(float* logits, int64_t vocab, const std::vector<Draw>& draws) {
  std::vector<int32_t> drawn(draws.size(), -1);
  pool().parallel_for(static_cast<int64_t>(draws.size()), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const Draw& draw = draws[static_cast<size_t>(i)];
      drawn[static_cast<size_t>(i)] = llama::sample(logits + i * vocab, vocab, *draw.history, *draw.sampling);
    }
  });
  return drawn;
}

}  // namespace llama
