// The order in which many rows meet weights in tiles: panels of 16 rows of x, strips of weights of
// two tiles of outputs. Included after tile_inl.h.
//
// What lies where: of weights, the part of a strip that all panels pass is in the first-level
// cache, in the form that tiles have; a block of x (512 rows, 1.5 KB of each) and the sums of 256
// outputs with all its rows are in the second, on the stack; `out` is written once. From the third
// level x comes at 28 GB/s and would be waited for: 32 outputs at a time take it at 100.

inline constexpr std::int64_t kPanelRows = 16;  // of a tile
inline constexpr std::int64_t kOutputs = 16;    // of a tile
inline constexpr std::int64_t kSums = kOutputs * kPanelRows;
inline constexpr std::int64_t kStripOutputs = 2 * kOutputs;
inline constexpr std::int64_t kPassPanels = 32;
inline constexpr std::int64_t kBlockOutputs = 256;
inline constexpr std::int64_t kBlockRowBytes = 1536;

CULET_INLINE std::int64_t Padded(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

// Lines of memory that will be read next, brought to the second-level cache a few at a time.
class Fetcher {
 public:
  Fetcher() = default;
  // `runs` pieces of `bytes`, `stride` bytes apart, in `steps` steps.
  CULET_INLINE Fetcher(const void* first, std::int64_t bytes, std::int64_t stride,
                       std::int64_t runs, std::int64_t steps)
      : run_(reinterpret_cast<std::uintptr_t>(first)),
        stride_(stride),
        bytes_(bytes),
        runs_(runs),
        lines_(((bytes + 63) / 64 * runs + steps - 1) / steps) {}

  CULET_INLINE void Step() {
    for (std::int64_t line = 0; line < lines_ && runs_ > 0; ++line) {
      FetchLine(run_ + static_cast<std::uintptr_t>(at_));
      at_ += 64;
      if (at_ < bytes_) continue;
      at_ = 0;
      run_ += static_cast<std::uintptr_t>(stride_);
      --runs_;
    }
  }

 private:
  std::uintptr_t run_ = 0;
  std::int64_t stride_ = 0, bytes_ = 0, runs_ = 0, lines_ = 0, at_ = 0;
};

// Outputs [begin, end) of `rows` rows. Source has
//   kStepBytes  of a row of x, in one tile or two
//   kStripSteps  that a strip has at once
//   Make(n, end, step, count)  the strip of the outputs n …, before `end`
//   FetchesOf(panels, count)  how often Add steps its Fetcher
//   Ahead(n, end, step, count, over)  a Fetcher of what Make will read there, in so many steps
//   Add(first, last, step, count, acc, fetcher)  the strip times panels [first, last) of x, to acc
//       [panels][2 tiles][kSums]; in step 0 what is there counts as zero
//   Put(acc, strip_sums, rows, count, out, stride)  sums of a panel, a strip's so far from the one
//       before, to out[0 … rows, 0 … count)
template <typename Source>
class ManyRows {
 public:
  ManyRows(Source& source, std::int64_t rows, std::int64_t steps, float* out,
           std::int64_t out_stride)
      : source_(source), rows_(rows), steps_(steps), out_(out), out_stride_(out_stride) {}

  void Run(std::int64_t begin, std::int64_t end) {
    const std::int64_t panels = (rows_ + kPanelRows - 1) / kPanelRows;
    for (std::int64_t n = begin; n < end; n += kBlockOutputs) {
      const std::int64_t block_end = std::min(end, n + kBlockOutputs);
      for (std::int64_t panel = 0; panel < panels; panel += kPassPanels) {
        RunBlock(n, block_end, panel, std::min(panels, panel + kPassPanels));
      }
    }
  }

 private:
  // Outputs [begin, end) of the panels [first, last).
  void RunBlock(std::int64_t begin, std::int64_t end, std::int64_t first, std::int64_t last) {
    const std::int64_t strip_sums = (last - first) * 2 * kSums;
    for (std::int64_t step = 0; step < steps_; step += kBlockSteps) {
      const std::int64_t step_end = std::min(steps_, step + kBlockSteps);
      float* acc = acc_;
      for (std::int64_t n = begin; n < end; n += kStripOutputs, acc += strip_sums) {
        RunStrip(n, end, step, step_end, first, last, acc);
      }
    }
    for (std::int64_t panel = first; panel < last; ++panel) {
      const std::int64_t row = panel * kPanelRows;
      Source::Put(acc_ + (panel - first) * 2 * kSums, strip_sums, std::min(kPanelRows, rows_ - row),
                  end - begin, out_ + row * out_stride_ + begin, out_stride_);
    }
  }
  // Steps [begin, step_end) of the strip at n.
  void RunStrip(std::int64_t n, std::int64_t end, std::int64_t begin, std::int64_t step_end,
                std::int64_t first, std::int64_t last, float* acc) {
    for (std::int64_t step = begin; step < step_end; step += kStripSteps) {
      const std::int64_t count = std::min(kStripSteps, step_end - step);
      source_.Make(n, end, step, count);
      // What follows: more columns of these outputs, or the first of the next.
      const bool more = step + count < step_end;
      const std::int64_t next_n = more ? n : n + kStripOutputs;
      const std::int64_t next_step = more ? step + count : begin;
      Fetcher fetcher;
      if (next_n < end) {
        fetcher = source_.Ahead(next_n, end, next_step, std::min(kStripSteps, step_end - next_step),
                                Source::FetchesOf(last - first, count));
      }
      source_.Add(first, last, step, count, acc, fetcher);
    }
  }

  static constexpr std::int64_t kStripSteps = Source::kStripSteps;
  static constexpr std::int64_t kBlockSteps = kBlockRowBytes / Source::kStepBytes;
  static_assert(kBlockSteps % kStripSteps == 0);

  Source& source_;
  std::int64_t rows_, steps_;
  float* out_;
  std::int64_t out_stride_;
  // [strips][panels][2 tiles][kSums]: 512 KB of the stack, of 2 to 8 MB that threads have.
  alignas(64) float acc_[kBlockOutputs / kStripOutputs * kPassPanels * 2 * kSums];
};
