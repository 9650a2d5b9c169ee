#include "runtime/kv_cache.h"

#include <algorithm>
#include <string>

#include "base/checked.h"
#include "base/error.h"

namespace culet {
namespace {

std::int64_t PagesFor(std::int64_t positions) {
  return (positions + kPageTokens - 1) / kPageTokens;
}

std::uint64_t PageBytes(const LayerConfig& layer, DType dtype) {
  return static_cast<std::uint64_t>(layer.kv_heads * layer.head_dim * kPageTokens) *
         DTypeBytes(dtype);
}

// Twice this, and a sum of two such sizes, still fit into 63 bits.
constexpr std::uint64_t kMaxKvBytes = std::uint64_t{1} << 60;

// Every buffer starts on its own cache line.
std::uint64_t Aligned(std::uint64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

DType DefaultKvDType(const ModelConfig& config, DType weights) {
  std::int64_t elements = 0;  // of one position
  for (const LayerConfig& layer : config.layers) {
    if (layer.owns_kv) elements += 2 * layer.kv_heads * layer.head_dim;
  }
  const bool small = elements * static_cast<std::int64_t>(sizeof(float)) <= kSmallKvBytes;
  return weights != DType::kBF16 || small ? DType::kF32 : DType::kBF16;
}

std::int64_t KvPlan::PagesPerSequence(const ModelConfig& config, LayerKind kind) const {
  const std::int64_t all = PagesFor(context);
  if (kind == LayerKind::kFull) return all;
  // +1: the window may begin inside a page.
  const std::int64_t needed = PagesFor(config.window - 1 + chunk) + 1 + PagesFor(rewind_tokens);
  return std::min(all, needed);
}

std::uint64_t KvPlan::Bytes(const ModelConfig& config) const {
  std::uint64_t bytes = 0;
  for (const LayerConfig& layer : config.layers) {
    if (!layer.owns_kv) continue;
    const std::uint64_t pages =
        static_cast<std::uint64_t>(PagesPerSequence(config, layer.kind) * sequences);
    // A config at all its limits, with many long sequences, asks for more than 64 bits can count.
    const std::optional<std::uint64_t> half = CheckedMul(pages, PageBytes(layer, dtype));
    if (!half || *half > kMaxKvBytes || bytes > kMaxKvBytes) {
      throw Error(ErrorKind::kResource, "the KV of " + std::to_string(sequences) +
                                            " sequences of " + std::to_string(context) +
                                            " positions has more bytes than any machine; a smaller "
                                            "context needs less");
    }
    bytes += 2 * Aligned(*half);
  }
  return bytes;
}

PagePool::PagePool(std::int64_t pages) : references_(static_cast<std::size_t>(pages), 0) {
  // Taken from the back: low numbers first, so that a short answer touches little memory.
  for (std::int64_t page = pages - 1; page >= 0; --page) {
    free_.push_back(static_cast<std::int32_t>(page));
  }
}

std::int32_t PagePool::Take() {
  CULET_DCHECK(!free_.empty());
  const std::int32_t page = free_.back();
  free_.pop_back();
  references_[page] = 1;
  return page;
}

void PagePool::AddReference(std::int32_t page) {
  CULET_DCHECK(references_[page] > 0);
  ++references_[page];
}

void PagePool::Release(std::int32_t page) {
  CULET_DCHECK(references_[page] > 0);
  if (--references_[page] == 0) free_.push_back(page);
}

KvCache::KvCache(const ModelConfig& config, const KvPlan& plan)
    : window_(config.window),
      plan_(plan),
      memory_(plan.Bytes(config)),
      table_stride_(PagesFor(plan.context)),
      sequences_(static_cast<std::size_t>(plan.sequences)) {
  for (const LayerKind kind : {LayerKind::kSliding, LayerKind::kFull}) {
    pools_.emplace_back(plan.PagesPerSequence(config, kind) * plan.sequences);
    tables_[static_cast<int>(kind)].assign(static_cast<std::size_t>(table_stride_ * plan.sequences),
                                           -1);
  }
  std::byte* next = memory_.data();
  for (const LayerConfig& layer : config.layers) {
    if (!layer.owns_kv) {
      layers_.push_back(layers_[layer.kv_source]);
      continue;
    }
    const std::uint64_t pages =
        static_cast<std::uint64_t>(plan.PagesPerSequence(config, layer.kind) * plan.sequences);
    const std::uint64_t bytes = Aligned(pages * PageBytes(layer, plan.dtype));
    layers_.push_back({plan.dtype, next, next + bytes, layer.kv_heads, layer.head_dim});
    next += 2 * bytes;
  }
}

int KvCache::AddSequence() {
  for (std::size_t index = 0; index < sequences_.size(); ++index) {
    if (sequences_[index].taken) continue;
    sequences_[index].taken = true;
    return static_cast<int>(index);
  }
  throw Error(ErrorKind::kResource,
              "all " + std::to_string(sequences_.size()) +
                  " sequences of this model are in use; end a session, or load "
                  "it with more sequences");
}

void KvCache::RemoveSequence(int sequence) {
  Rewind(sequence, 0);
  sequences_[sequence].taken = false;
}

std::int32_t* KvCache::Table(LayerKind kind, int sequence) {
  return tables_[static_cast<int>(kind)].data() + sequence * table_stride_;
}

std::span<const std::int32_t> KvCache::page_table(LayerKind kind) const {
  return tables_[static_cast<int>(kind)];
}

// The first page that the window of the row at position `length` reaches.
std::int64_t KvCache::FirstNeededPage(std::int64_t length) const {
  return std::max<std::int64_t>(0, length - window_ + 1) / kPageTokens;
}

void KvCache::Extend(int sequence, std::int64_t count) {
  Sequence& state = sequences_[sequence];
  CULET_DCHECK(state.taken && count >= 0 && count <= plan_.chunk);
  const std::int64_t new_length = state.length + count;
  if (new_length > plan_.context) {
    throw Error(ErrorKind::kResource,
                std::to_string(new_length) + " positions do not fit the context of " +
                    std::to_string(plan_.context) + "; a larger context makes room");
  }
  for (std::int64_t page = PagesFor(state.length); page < PagesFor(new_length); ++page) {
    // The plan gives every sequence its full share of both pools: neither can run dry.
    Table(LayerKind::kFull, sequence)[page] = pools_[static_cast<int>(LayerKind::kFull)].Take();
    Table(LayerKind::kSliding, sequence)[page] = TakeSlidingPage();
  }
  state.length = new_length;
}

std::int32_t KvCache::TakeSlidingPage() {
  PagePool& pool = pools_[static_cast<int>(LayerKind::kSliding)];
  while (pool.empty()) {
    if (DropOldSlidingPage() || DropOldestPin()) continue;
    throw Error(ErrorKind::kInternal, "no page is left for a sliding layer, against the plan");
  }
  return pool.Take();
}

// Takes the oldest page behind its window out of the table that has most of them.
bool KvCache::DropOldSlidingPage() {
  int victim = -1;
  std::int64_t most = 0;
  for (std::size_t index = 0; index < sequences_.size(); ++index) {
    const Sequence& state = sequences_[index];
    const std::int64_t spare = FirstNeededPage(state.length) - state.first_sliding_page;
    if (state.taken && spare > most) {
      most = spare;
      victim = static_cast<int>(index);
    }
  }
  if (victim < 0) return false;
  const std::int64_t page = sequences_[victim].first_sliding_page++;
  ReleasePages(LayerKind::kSliding, victim, page, page + 1);
  return true;
}

bool KvCache::DropOldestPin() {
  Sequence* oldest = nullptr;
  for (Sequence& state : sequences_) {
    if (state.pins.empty()) continue;
    if (oldest == nullptr || state.pins.front().serial < oldest->pins.front().serial) {
      oldest = &state;
    }
  }
  if (oldest == nullptr) return false;
  ReleasePin(oldest->pins.front());
  oldest->pins.pop_front();
  return true;
}

void KvCache::ReleasePages(LayerKind kind, int sequence, std::int64_t first, std::int64_t last) {
  for (std::int64_t page = first; page < last; ++page) {
    std::int32_t& entry = Table(kind, sequence)[page];
    if (entry >= 0) pools_[static_cast<int>(kind)].Release(entry);
    entry = -1;
  }
}

void KvCache::ReleasePin(const PinnedPages& pin) {
  for (const std::int32_t page : pin.pages) {
    pools_[static_cast<int>(LayerKind::kSliding)].Release(page);
  }
}

void KvCache::Pin(int sequence) {
  Sequence& state = sequences_[sequence];
  if (!state.pins.empty() && state.pins.back().position == state.length) return;
  PinnedPages pin;
  pin.serial = ++pins_made_;
  pin.position = state.length;
  pin.first_page = FirstNeededPage(state.length);
  for (std::int64_t page = pin.first_page; page < PagesFor(state.length); ++page) {
    const std::int32_t entry = Table(LayerKind::kSliding, sequence)[page];
    pools_[static_cast<int>(LayerKind::kSliding)].AddReference(entry);
    pin.pages.push_back(entry);
  }
  state.pins.push_back(std::move(pin));
}

std::int64_t KvCache::Rewind(int sequence, std::int64_t position) {
  Sequence& state = sequences_[sequence];
  if (position >= state.length) return state.length;
  // A pin beyond `position` will be overwritten by what comes next; a pin at it stays good.
  while (!state.pins.empty() && state.pins.back().position > position) {
    ReleasePin(state.pins.back());
    state.pins.pop_back();
  }
  std::int64_t kept = position;
  const PinnedPages* pin = nullptr;
  if (FirstNeededPage(position) < state.first_sliding_page) {
    pin = state.pins.empty() ? nullptr : &state.pins.back();
    kept = pin == nullptr ? 0 : pin->position;
  }
  ReleasePages(LayerKind::kFull, sequence, PagesFor(kept), PagesFor(state.length));
  if (pin == nullptr) {
    ReleasePages(LayerKind::kSliding, sequence, PagesFor(kept), PagesFor(state.length));
    if (kept == 0) state.first_sliding_page = 0;
  } else {
    ReleasePages(LayerKind::kSliding, sequence, 0, PagesFor(state.length));
    for (std::size_t index = 0; index < pin->pages.size(); ++index) {
      pools_[static_cast<int>(LayerKind::kSliding)].AddReference(pin->pages[index]);
      Table(LayerKind::kSliding, sequence)[pin->first_page + static_cast<std::int64_t>(index)] =
          pin->pages[index];
    }
    state.first_sliding_page = pin->first_page;
  }
  state.length = kept;
  return kept;
}

std::int64_t KvCache::used_pages(LayerKind kind) const {
  return pools_[static_cast<int>(kind)].used_pages();
}

}  // namespace culet
