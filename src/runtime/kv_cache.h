// KV in pages: one pool for each kind of layer, a table of pages for each sequence.
//
// A page holds kPageTokens positions of every layer of its kind that owns KV. Full-attention layers
// keep all pages. Sliding layers need only the pages that the window of the next rows reaches;
// older ones stay as long as memory allows, so that going back is cheap, and are taken for new rows
// when the pool runs out, oldest first.
//
//   window 8, pages of 4, 14 positions stored, next row is 14:   window of 14 is 7 … 14
//   pages      [0][1][2][3]
//   needed         1  2  3       page 0 may be taken
//
// Complete pages may be published to a cache of prefixes: other sequences with the same beginning
// take them over (prefix_cache.h). Rows are equal bit for bit whoever computed them, so sharing
// changes no result. A published page is never written to: going on inside one takes a copy.
//
// Threads: one caller at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "checkpoint/config.h"
#include "model/buffers.h"
#include "ops/types.h"
#include "runtime/page_pool.h"
#include "runtime/prefix_cache.h"

namespace culet {

// The number format of the cache where nobody asks for one: f32 for checkpoints that are not bf16,
// and for models so small that f32 costs nothing (at most kSmallKvBytes a position): there every
// rounding shows, and an expert chosen by a hair may flip. Else bf16, half the bytes.
inline constexpr std::int64_t kSmallKvBytes = 8192;
DType DefaultKvDType(const ModelConfig& config, DType weights);

// What the pools are sized for.
struct KvPlan {
  DType dtype = DType::kBF16;
  std::int64_t context = 0;  // positions of one sequence
  std::int64_t chunk = 1;    // most rows that one step adds to a sequence
  std::int64_t sequences = 1;
  std::int64_t rewind_tokens = 0;  // sliding layers: positions kept behind the window if possible
  // Positions that the full-attention layers hold over all sequences; 0: sequences · context. Less
  // than that can run dry: then whoever schedules takes pages back from a sequence.
  std::int64_t pool_tokens = 0;
  // Sliding layers: positions kept besides for prefixes that other sequences may share.
  std::int64_t prefix_tokens = 0;

  // The most rows of one sequence that a step has room for whatever the others do: each of them may
  // have a row in it. A picture that is read in both directions may not have more.
  std::int64_t MostTogether() const { return chunk - sequences + 1; }
  // A chunk with room for so many.
  void MakeRoomFor(std::int64_t together) { chunk = std::max(chunk, together + sequences - 1); }

  // Pages that one sequence may need, by kind.
  std::int64_t PagesPerSequence(const ModelConfig& config, LayerKind kind) const;
  // Pages of a kind's pool.
  std::int64_t PoolPages(const ModelConfig& config, LayerKind kind) const;
  // Throws Error(kResource) where it is more than any machine has.
  std::uint64_t Bytes(const ModelConfig& config) const;
};

// How many positions one sequence grows by.
struct Growth {
  int sequence = 0;
  std::int64_t count = 0;
};

class KvCache {
 public:
  KvCache(const ModelConfig& config, const KvPlan& plan);

  std::int64_t FreeSequences() const;
  // A free sequence number, or Error(kResource) where all are taken.
  int AddSequence();
  void RemoveSequence(int sequence);

  std::int64_t length(int sequence) const { return sequences_[sequence].length; }

  // Whether the pool of full-attention pages has room for all of these at once, prefixes that
  // nobody uses given up.
  bool Fits(std::span<const Growth> growth) const;
  // Makes room for positions length … length + count − 1 and counts them as stored. Throws
  // Error(kResource) with the numbers where they do not fit the context or the pool; then nothing
  // has changed. `count` at most plan.chunk.
  void Extend(int sequence, std::int64_t count);

  // Forgets positions from `position` on and returns what is left: `position` itself, or less where
  // the sliding pages that its window needs are gone; those in between must be computed again.
  std::int64_t Rewind(int sequence, std::int64_t position);

  // Keeps the pages that a Rewind to the present length needs, as long as memory allows (pins are
  // dropped oldest first when the pool runs out).
  void Pin(int sequence);

  // Offers the complete pages of a sequence to others; `tokens` are those that it stands for. Pages
  // that an earlier sequence published are taken in place of its own.
  void Publish(int sequence, std::span<const std::int32_t> tokens);
  // Gives a sequence, which must stand for a beginning of `tokens`, the published pages that they
  // begin with where those are more than its own; all but the last token at most. Returns the
  // sequence's length.
  std::int64_t Adopt(int sequence, std::span<const std::int32_t> tokens);
  // A later sequence may go on from here: the published pages at its end are given up last.
  void MarkEnd(int sequence);

  // For a step: by layer (a sharing layer has its source's), and the page tables by kind.
  std::span<const KvLayer> layers() const { return layers_; }
  std::span<const std::int32_t> page_table(LayerKind kind) const;
  std::int64_t table_stride() const { return table_stride_; }

  std::uint64_t bytes() const { return memory_.size(); }
  const KvPlan& plan() const { return plan_; }
  // Pages in use by tables and pins, for tests and statistics.
  std::int64_t used_pages(LayerKind kind) const;
  // Full pages that are free or would be if they had to.
  std::int64_t available_pages() const;

 private:
  struct PinnedPages {
    std::uint64_t serial = 0;  // rises with every pin: the lowest is the oldest
    std::int64_t position = 0;
    std::int64_t first_page = 0;      // index of pages.front() in the table
    std::vector<std::int32_t> pages;  // sliding kind
  };
  struct Sequence {
    bool taken = false;
    std::int64_t length = 0;
    // Where the last step's rows began: until the next one their windows are needed, though the
    // step's other sequences may be looking for pages when `length` counts them already.
    std::int64_t step_begin = 0;
    std::int64_t first_sliding_page = 0;  // pages before this one were given back
    std::deque<PinnedPages> pins;         // rising position
    std::vector<int> published;           // entries of the prefix cache, page after page
  };

  std::int32_t* Table(LayerKind kind, int sequence);
  const std::int32_t* Table(LayerKind kind, int sequence) const;
  PagePool& Pool(LayerKind kind) { return pools_[static_cast<std::size_t>(kind)]; }
  const PagePool& Pool(LayerKind kind) const { return pools_[static_cast<std::size_t>(kind)]; }
  std::int64_t FirstNeededPage(std::int64_t length) const;
  std::vector<int> FindChain(std::span<const std::int32_t> tokens);
  void MarkEnd(std::span<const int> chain);
  bool WritesIntoPublishedPage(LayerKind kind, int sequence) const;
  std::int32_t TakePage(LayerKind kind);
  std::int32_t TakeSlidingPage();
  void ReplaceByCopy(LayerKind kind, int sequence);
  void UsePublished(LayerKind kind, int sequence, std::int64_t page, std::int32_t published);
  bool DropOldSlidingPage();
  bool DropOldestPin();
  void ReleasePages(LayerKind kind, int sequence, std::int64_t first, std::int64_t last);
  void ReleasePin(const PinnedPages& pin);

  std::int64_t window_;
  KvPlan plan_;
  Buffer memory_;
  std::vector<KvLayer> layers_;
  std::vector<KvLayer> own_layers_[kLayerKinds];  // those that own KV, by kind
  std::vector<PagePool> pools_;                   // by kind
  PrefixCache prefixes_;
  std::vector<std::int32_t> tables_[kLayerKinds];  // [sequences, table_stride]
  std::int64_t table_stride_;
  std::vector<Sequence> sequences_;
  std::uint64_t pins_made_ = 0;
};

}  // namespace culet
