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
// Threads: one caller at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "checkpoint/config.h"
#include "model/buffers.h"
#include "ops/types.h"

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

  // Pages that one sequence may need, by kind.
  std::int64_t PagesPerSequence(const ModelConfig& config, LayerKind kind) const;
  // Throws Error(kResource) where it is more than any machine has.
  std::uint64_t Bytes(const ModelConfig& config) const;
};

// Page numbers of one pool with reference counts: a page may stand in a table and in a pin.
class PagePool {
 public:
  explicit PagePool(std::int64_t pages);
  bool empty() const { return free_.empty(); }
  std::int64_t used_pages() const {
    return static_cast<std::int64_t>(references_.size() - free_.size());
  }
  std::int32_t Take();  // count 1; the pool must not be empty
  void AddReference(std::int32_t page);
  void Release(std::int32_t page);  // free again at count 0

 private:
  std::vector<std::int32_t> free_;
  std::vector<std::int32_t> references_;
};

class KvCache {
 public:
  KvCache(const ModelConfig& config, const KvPlan& plan);

  // A free sequence number, or Error(kResource) where all are taken.
  int AddSequence();
  void RemoveSequence(int sequence);

  std::int64_t length(int sequence) const { return sequences_[sequence].length; }

  // Makes room for positions length … length + count − 1 and counts them as stored. Throws
  // Error(kResource) with the numbers where they do not fit the context; then nothing has changed.
  // `count` at most plan.chunk.
  void Extend(int sequence, std::int64_t count);

  // Forgets positions from `position` on and returns what is left: `position` itself, or less where
  // the sliding pages that its window needs are gone; those in between must be computed again.
  std::int64_t Rewind(int sequence, std::int64_t position);

  // Keeps the pages that a Rewind to the present length needs, as long as memory allows (pins are
  // dropped oldest first when the pool runs out).
  void Pin(int sequence);

  // For a step: by layer (a sharing layer has its source's), and the page tables by kind.
  std::span<const KvLayer> layers() const { return layers_; }
  std::span<const std::int32_t> page_table(LayerKind kind) const;
  std::int64_t table_stride() const { return table_stride_; }

  std::uint64_t bytes() const { return memory_.size(); }
  const KvPlan& plan() const { return plan_; }
  // Pages in use by tables and pins, for tests and statistics.
  std::int64_t used_pages(LayerKind kind) const;

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
    std::int64_t first_sliding_page = 0;  // pages before this one were given back
    std::deque<PinnedPages> pins;         // rising position
  };

  std::int32_t* Table(LayerKind kind, int sequence);
  std::int64_t FirstNeededPage(std::int64_t length) const;
  std::int32_t TakeSlidingPage();
  bool DropOldSlidingPage();
  bool DropOldestPin();
  void ReleasePages(LayerKind kind, int sequence, std::int64_t first, std::int64_t last);
  void ReleasePin(const PinnedPages& pin);

  std::int64_t window_;
  KvPlan plan_;
  Buffer memory_;
  std::vector<KvLayer> layers_;
  std::vector<PagePool> pools_;                    // by kind
  std::vector<std::int32_t> tables_[kLayerKinds];  // [sequences, table_stride]
  std::int64_t table_stride_;
  std::vector<Sequence> sequences_;
  std::uint64_t pins_made_ = 0;
};

}  // namespace culet
