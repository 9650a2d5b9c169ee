// Cases of attention: one sequence, pages in falling order, a window that cuts blocks.
#include "bounds.h"
#include "ops/attention.h"
#include "ops/checkops/cases.h"
#include "ops/values.h"

namespace culet {
namespace {

class AttentionCase : public Case {
 public:
  AttentionCase(DType dtype, std::int64_t rows, std::int64_t context, std::int64_t window,
                std::int64_t group, std::int64_t kv_heads, std::int64_t head_dim,
                std::uint64_t seed)
      : dtype_(dtype),
        rows_(rows),
        heads_(group * kv_heads),
        kv_heads_(kv_heads),
        head_dim_(head_dim),
        random_(seed),
        q_(RandomFloats(random_, rows * heads_ * head_dim)) {
    const std::int64_t pages = (context + kPageTokens - 1) / kPageTokens;
    for (std::int64_t page = 0; page < pages; ++page) {
      table_.push_back(static_cast<std::int32_t>(pages - 1 - page));
    }
    const std::int64_t elements = pages * kv_heads * kPageTokens * head_dim;
    k_ = KvRows(dtype, head_dim, RandomFloats(random_, elements));
    v_ = KvRows(dtype, head_dim, RandomFloats(random_, elements));
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t position = context - rows + row;
      positions_.push_back(static_cast<std::int32_t>(position));
      visible_.push_back(
          {static_cast<std::int32_t>(std::max<std::int64_t>(0, position + 1 - window)),
           static_cast<std::int32_t>(position + 1)});
    }
    sequences_.assign(positions_.size(), 0);
    // |q|, |k| ≤ 1: Σ|q·k| ≤ head_dim; |v| ≤ 1.
    keys_ = std::min(context, window);
    bounds.assign(q_.size(), 2 * Bound(0));
  }

  double MoreAt(CpuLevel level) const override {
    return Bound(AttentionSplit(level, dtype_, head_dim_)) - Bound(0);
  }

  std::string Text() const override {
    return std::string(DTypeName(dtype_)) + " rows " + std::to_string(rows_) + " keys to " +
           std::to_string(visible_.back().end) + " from " + std::to_string(visible_.back().begin) +
           " heads " + std::to_string(heads_) + "/" + std::to_string(kv_heads_) + " head_dim " +
           std::to_string(head_dim_);
  }
  void Run(Context& ctx, std::vector<float>& out) const override {
    BatchPlan plan;
    plan.rows = rows_;
    plan.positions = positions_;
    plan.sequences = sequences_;
    plan.kinds[0] = {visible_, table_, static_cast<std::int64_t>(table_.size()), {}, {}};
    const KvLayer cache{dtype_, const_cast<std::byte*>(k_.data()),
                        const_cast<std::byte*>(v_.data()), kv_heads_, head_dim_};
    const View<const float, 3>::Extents extents = {rows_, heads_, head_dim_};
    Attention(ctx, {q_.data(), extents}, cache, plan, 0, {out.data(), extents});
  }

 private:
  double Bound(double split) const {
    return AttentionBound(keys_, head_dim_, static_cast<double>(head_dim_), 1, split);
  }

  DType dtype_;
  std::int64_t keys_ = 0;
  std::int64_t rows_, heads_, kv_heads_, head_dim_;
  Random random_;
  std::vector<float> q_;
  std::vector<std::byte> k_, v_;
  std::vector<std::int32_t> table_, positions_, sequences_;
  std::vector<KeyRange> visible_;
};

}  // namespace

std::vector<Check> AttentionChecks() {
  Check check;
  check.name = "attention_block";
  check.level = [](const CpuKernels& table) { return table.attention_block.level; };
  check.cases = [](std::uint64_t seed) {
    std::vector<std::unique_ptr<Case>> cases;
    Random random(seed);
    for (const std::int64_t head_dim : {2, 8, 12, 16, 20, 34, 64, 256, 512}) {
      for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
        for (const std::int64_t context : {1, 65, 300, 700}) {
          cases.push_back(std::make_unique<AttentionCase>(
              dtype, 1 + random.Below(std::min<std::int64_t>(context, 9)), context,
              1 + random.Below(context), 1 + random.Below(9), 1 + random.Below(3), head_dim,
              random.Bits()));
        }
      }
    }
    return cases;
  };
  check.timed = [](std::uint64_t seed) -> std::unique_ptr<Case> {
    return std::make_unique<AttentionCase>(DType::kBF16, 32, 512, 512, 8, 1, 256, seed);
  };
  Check merge = check;
  merge.name = "attention_merge";
  merge.level = [](const CpuKernels& table) { return table.attention_merge.level; };
  return {check, merge};
}

}  // namespace culet
