#include "runtime/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/checked.h"
#include "base/error.h"

namespace culet {
namespace {

std::int64_t PagesFor(std::int64_t positions) {
  return (positions + kPageTokens - 1) / kPageTokens;
}

// A layer that owns KV, without its memory.
KvLayer Shape(const ModelConfig& config, const LayerConfig& layer, DType dtype) {
  return {dtype, nullptr, nullptr, layer.kv_heads, layer.head_dim, config.kv_turning(layer, dtype)};
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

std::int64_t KvPlan::PoolPages(const ModelConfig& config, LayerKind kind) const {
  std::int64_t pages = PagesPerSequence(config, kind) * sequences;
  if (kind == LayerKind::kSliding) {
    pages += PagesFor(prefix_tokens);
  } else if (pool_tokens > 0) {
    pages = std::min(pages, PagesFor(std::max(pool_tokens, context)));
  }
  // +1: who goes on inside a published page has its copy and, for a moment, the page itself.
  return pages + 1;
}

std::uint64_t KvPlan::Bytes(const ModelConfig& config) const {
  std::uint64_t bytes = 0;
  for (const LayerConfig& layer : config.layers) {
    if (!layer.owns_kv) continue;
    const auto pages = static_cast<std::uint64_t>(PoolPages(config, layer.kind));
    // A config at all its limits, with many long sequences, asks for more than 64 bits can count.
    const KvLayer shape = Shape(config, layer, dtype);
    const std::optional<std::uint64_t> half = CheckedMul(pages, shape.page_bytes());
    if (!half || *half > kMaxKvBytes || bytes > kMaxKvBytes) {
      throw Error(ErrorKind::kResource, "the KV of " + std::to_string(sequences) +
                                            " sequences of " + std::to_string(context) +
                                            " positions has more bytes than any machine; a smaller "
                                            "context needs less");
    }
    bytes += (shape.turning > 0 ? 1 : 2) * Aligned(*half);
  }
  return bytes;
}

KvCache::KvCache(const ModelConfig& config, const KvPlan& plan)
    : window_(config.window),
      plan_(plan),
      memory_(plan.Bytes(config)),
      pools_{PagePool(plan.PoolPages(config, LayerKind::kSliding)),
             PagePool(plan.PoolPages(config, LayerKind::kFull))},
      prefixes_(pools_),
      table_stride_(PagesFor(plan.context)),
      sequences_(static_cast<std::size_t>(plan.sequences)) {
  for (const LayerKind kind : {LayerKind::kSliding, LayerKind::kFull}) {
    tables_[static_cast<int>(kind)].assign(static_cast<std::size_t>(table_stride_ * plan.sequences),
                                           -1);
  }
  std::byte* next = memory_.data();
  for (const LayerConfig& layer : config.layers) {
    if (!layer.owns_kv) {
      layers_.push_back(layers_[layer.kv_source]);
      continue;
    }
    const std::uint64_t pages = static_cast<std::uint64_t>(plan.PoolPages(config, layer.kind));
    KvLayer own = Shape(config, layer, plan.dtype);
    const std::uint64_t bytes = Aligned(pages * own.page_bytes());
    if (own.turning == 0) {
      own.k = next;
      next += bytes;
    }
    own.v = next;
    next += bytes;
    layers_.push_back(own);
    own_layers_[static_cast<int>(layer.kind)].push_back(own);
  }
}

std::int64_t KvCache::FreeSequences() const {
  return std::ranges::count_if(sequences_, [](const Sequence& state) { return !state.taken; });
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

const std::int32_t* KvCache::Table(LayerKind kind, int sequence) const {
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
  const Growth growth = {sequence, count};
  if (!Fits(std::span(&growth, 1))) {
    throw Error(ErrorKind::kResource, "no page of the KV cache is left for " +
                                          std::to_string(count) + " more positions; " +
                                          std::to_string(Pool(LayerKind::kFull).pages()) +
                                          " pages of " + std::to_string(kPageTokens) +
                                          " positions are shared by all sequences");
  }
  state.step_begin = state.length;
  if (count > 0) {
    for (const LayerKind kind : {LayerKind::kSliding, LayerKind::kFull}) {
      if (WritesIntoPublishedPage(kind, sequence)) ReplaceByCopy(kind, sequence);
    }
  }
  for (std::int64_t page = PagesFor(state.length); page < PagesFor(new_length); ++page) {
    Table(LayerKind::kFull, sequence)[page] = TakePage(LayerKind::kFull);
    Table(LayerKind::kSliding, sequence)[page] = TakePage(LayerKind::kSliding);
  }
  state.length = new_length;
}

bool KvCache::Fits(std::span<const Growth> growth) const {
  std::int64_t needed = 0;
  for (const auto& [sequence, count] : growth) {
    const std::int64_t length = sequences_[sequence].length;
    needed += PagesFor(length + count) - PagesFor(length);
    if (count > 0 && WritesIntoPublishedPage(LayerKind::kFull, sequence)) ++needed;
  }
  return needed <= Pool(LayerKind::kFull).free_pages() || needed <= available_pages();
}

std::int64_t KvCache::available_pages() const {
  return Pool(LayerKind::kFull).free_pages() + prefixes_.evictable_full_pages();
}

// Whether the next position lies inside a page that others may read as complete.
bool KvCache::WritesIntoPublishedPage(LayerKind kind, int sequence) const {
  const std::int64_t length = sequences_[sequence].length;
  if (length % kPageTokens == 0) return false;
  return prefixes_.holds(kind, Table(kind, sequence)[length / kPageTokens]);
}

// The page that the next position lies in, with what it holds, as the sequence's own.
void KvCache::ReplaceByCopy(LayerKind kind, int sequence) {
  std::int32_t& entry = Table(kind, sequence)[sequences_[sequence].length / kPageTokens];
  const std::int32_t copy = TakePage(kind);
  for (const KvLayer& layer : own_layers_[static_cast<int>(kind)]) {
    const std::size_t bytes = layer.page_bytes();
    for (void* values : {layer.k, layer.v}) {
      if (values == nullptr) continue;  // in the other's rows
      auto* pages = static_cast<std::byte*>(values);
      std::memcpy(pages + static_cast<std::size_t>(copy) * bytes,
                  pages + static_cast<std::size_t>(entry) * bytes, bytes);
    }
  }
  Pool(kind).Release(entry);
  entry = copy;
}

std::int32_t KvCache::TakePage(LayerKind kind) {
  if (kind == LayerKind::kSliding) return TakeSlidingPage();
  PagePool& pool = Pool(kind);
  if (pool.empty() && !prefixes_.EvictFullPage()) {
    throw Error(ErrorKind::kInternal, "no page is left for a full-attention layer");
  }
  return pool.Take();
}

std::int32_t KvCache::TakeSlidingPage() {
  PagePool& pool = Pool(LayerKind::kSliding);
  while (pool.empty()) {
    if (prefixes_.EvictSlidingPage(false) || DropOldSlidingPage() || DropOldestPin() ||
        prefixes_.EvictSlidingPage(true)) {
      continue;
    }
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
    const std::int64_t spare = FirstNeededPage(state.step_begin) - state.first_sliding_page;
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
    if (entry >= 0) Pool(kind).Release(entry);
    entry = -1;
  }
}

void KvCache::ReleasePin(const PinnedPages& pin) {
  for (const std::int32_t page : pin.pages) {
    Pool(LayerKind::kSliding).Release(page);
  }
}

void KvCache::Pin(int sequence) {
  Sequence& state = sequences_[sequence];
  if (!state.pins.empty() && state.pins.back().position == state.length) return;
  PinnedPages pin;
  pin.serial = ++pins_made_;
  pin.position = state.length;
  pin.first_page = FirstNeededPage(state.length);
  const std::int32_t* table = Table(LayerKind::kSliding, sequence);
  pin.pages.assign(table + pin.first_page, table + PagesFor(state.length));
  state.pins.push_back(std::move(pin));
  // Last, as nothing can fail any more that would leave them referred to by nobody.
  for (const std::int32_t page : state.pins.back().pages) {
    Pool(LayerKind::kSliding).AddReference(page);
  }
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
      Pool(LayerKind::kSliding).AddReference(pin->pages[index]);
      Table(LayerKind::kSliding, sequence)[pin->first_page + static_cast<std::int64_t>(index)] =
          pin->pages[index];
    }
    state.first_sliding_page = pin->first_page;
  }
  state.length = kept;
  state.step_begin = std::min(state.step_begin, kept);
  if (static_cast<std::int64_t>(state.published.size()) > kept / kPageTokens) {
    state.published.resize(static_cast<std::size_t>(kept / kPageTokens));
  }
  return kept;
}

// Puts a published page into the table in place of the sequence's own equal one.
void KvCache::UsePublished(LayerKind kind, int sequence, std::int64_t page,
                           std::int32_t published) {
  std::int32_t& entry = Table(kind, sequence)[page];
  if (entry == published || entry < 0) return;
  Pool(kind).AddReference(published);
  Pool(kind).Release(entry);
  entry = published;
}

void KvCache::Publish(int sequence, std::span<const std::int32_t> tokens) {
  Sequence& state = sequences_[sequence];
  const std::int64_t complete = state.length / kPageTokens;
  for (auto page = static_cast<std::int64_t>(state.published.size()); page < complete; ++page) {
    const int parent = page == 0 ? PrefixCache::kNone : state.published.back();
    const auto key = tokens.subspan(static_cast<std::size_t>(page * kPageTokens), kPageTokens);
    const std::int32_t sliding = Table(LayerKind::kSliding, sequence)[page];
    int entry = prefixes_.Find(parent, key);
    if (entry == PrefixCache::kNone) {
      entry = prefixes_.Add(parent, key, Table(LayerKind::kFull, sequence)[page], sliding);
    } else {
      UsePublished(LayerKind::kFull, sequence, page, prefixes_.page(entry, LayerKind::kFull));
      const std::int32_t theirs = prefixes_.page(entry, LayerKind::kSliding);
      if (theirs >= 0) {
        UsePublished(LayerKind::kSliding, sequence, page, theirs);
      } else if (sliding >= 0) {
        prefixes_.RestoreSlidingPage(entry, sliding);
      }
    }
    state.published.push_back(entry);
  }
}

// The published pages that `tokens` begin with, as far as one can go on behind them.
std::vector<int> KvCache::FindChain(std::span<const std::int32_t> tokens) {
  std::vector<int> chain;
  // The last token stays to be computed: its logits are wanted.
  for (std::size_t end = kPageTokens; end < tokens.size(); end += kPageTokens) {
    const int parent = chain.empty() ? PrefixCache::kNone : chain.back();
    const int entry = prefixes_.Find(parent, tokens.subspan(end - kPageTokens, kPageTokens));
    if (entry == PrefixCache::kNone) break;
    chain.push_back(entry);
  }
  prefixes_.Touch(chain);
  // Where two parted, the next one will part too: what that needs is kept from now on.
  MarkEnd(chain);
  auto has_window = [&](std::size_t pages) {
    const std::int64_t first = FirstNeededPage(static_cast<std::int64_t>(pages) * kPageTokens);
    return std::all_of(chain.begin() + first, chain.begin() + static_cast<std::ptrdiff_t>(pages),
                       [&](int entry) { return prefixes_.page(entry, LayerKind::kSliding) >= 0; });
  };
  while (!chain.empty() && !has_window(chain.size())) chain.pop_back();
  return chain;
}

std::int64_t KvCache::Adopt(int sequence, std::span<const std::int32_t> tokens) {
  Sequence& state = sequences_[sequence];
  CULET_DCHECK(state.taken);
  std::vector<int> chain = FindChain(tokens);
  if (static_cast<std::int64_t>(chain.size()) * kPageTokens <= state.length) return state.length;
  // These pages are the cache's as well and stay while this sequence lets go of its own.
  Rewind(sequence, 0);
  const auto pages = static_cast<std::int64_t>(chain.size());
  state.length = state.step_begin = pages * kPageTokens;
  state.first_sliding_page = FirstNeededPage(state.length);
  for (std::int64_t page = 0; page < pages; ++page) {
    for (const LayerKind kind : {LayerKind::kSliding, LayerKind::kFull}) {
      if (kind == LayerKind::kSliding && page < state.first_sliding_page) continue;
      const std::int32_t number = prefixes_.page(chain[static_cast<std::size_t>(page)], kind);
      Pool(kind).AddReference(number);
      Table(kind, sequence)[page] = number;
    }
  }
  state.published = std::move(chain);
  return state.length;
}

void KvCache::MarkEnd(int sequence) { MarkEnd(sequences_[sequence].published); }

void KvCache::MarkEnd(std::span<const int> chain) {
  const auto pages = static_cast<std::int64_t>(chain.size());
  for (std::int64_t page = FirstNeededPage(pages * kPageTokens); page < pages; ++page) {
    prefixes_.MarkEnd(chain[static_cast<std::size_t>(page)]);
  }
}

std::int64_t KvCache::used_pages(LayerKind kind) const { return Pool(kind).used_pages(); }

}  // namespace culet
