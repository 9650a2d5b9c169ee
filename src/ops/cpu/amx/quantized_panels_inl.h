// Rows of x in int8 as tiles take them (ops/cpu/quantized_rows.h says what they are). Included
// after panels_inl.h.

// The operand: rows in panels, values [panels][steps][tiles][16 rows][a tile's columns], then
// scales [panels][groups][16]. A step is what an exact sum runs over: kBlocks blocks, half of a
// tile or kTiles whole ones.
template <int kBlocks>
class Panels {
 public:
  static constexpr std::int64_t kStep = kBlocks * kQuantBlock;
  static constexpr std::int64_t kTileColumns = std::min<std::int64_t>(kStep, 64);
  static constexpr int kTiles = kStep / kTileColumns;
  static constexpr std::int64_t kGroupSteps = kScaleColumns / kStep;  // that share a scale

  Panels(const std::byte* operand, std::int64_t rows, std::int64_t k)
      : steps_(Steps(k)),
        values_(reinterpret_cast<std::int8_t*>(const_cast<std::byte*>(operand))),
        scales_(reinterpret_cast<float*>(values_ + Padded(rows, kPanelRows) * steps_ * kStep)) {}

  static std::size_t Bytes(std::int64_t rows, std::int64_t k) {
    return static_cast<std::size_t>(Padded(rows, kPanelRows)) *
           (static_cast<std::size_t>(Steps(k) * kStep) +
            static_cast<std::size_t>(Groups(Steps(k))) * sizeof(float));
  }

  std::int64_t steps() const { return steps_; }
  std::int64_t groups() const { return Groups(steps_); }
  // The tiles of a step.
  CULET_INLINE std::int8_t* values(std::int64_t panel, std::int64_t step) const {
    return values_ + (panel * steps_ + step) * kPanelRows * kStep;
  }
  // Of the rows of a panel, in the group that `step` is in.
  CULET_INLINE float* scales(std::int64_t panel, std::int64_t step) const {
    return scales_ + (panel * groups() + step / kGroupSteps) * kPanelRows;
  }
  // kScaleColumns columns from those of `step` on.
  CULET_INLINE void Store(std::int64_t row, std::int64_t step, const std::int8_t* q,
                          float scale) const {
    const std::int64_t panel = row / kPanelRows;
    scales(panel, step)[row % kPanelRows] = scale;
    std::int8_t* to = values(panel, step) + row % kPanelRows * kTileColumns;
    const std::int64_t tiles = std::min(kGroupSteps, steps_ - step) * kTiles;
    for (std::int64_t t = 0; t < tiles; ++t) {
      std::memcpy(to + t * kPanelRows * kTileColumns, q + t * kTileColumns, kTileColumns);
    }
  }

 private:
  static std::int64_t Steps(std::int64_t k) { return Padded(k, kStep) / kStep; }
  static std::int64_t Groups(std::int64_t steps) {
    return Padded(steps, kGroupSteps) / kGroupSteps;
  }

  std::int64_t steps_;
  std::int8_t* values_;
  float* scales_;
};
