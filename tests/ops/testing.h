// Shared by the tests of ops: buffers with guards, all levels and threads.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/view.h"
#include "ops/context.h"
#include "ops/values.h"

namespace culet {

// [rows, cols] floats with guards before, behind and between the rows; they are checked at the end.
class Guarded {
 public:
  Guarded(std::int64_t rows, std::int64_t cols, std::int64_t gap = 3)
      : rows_(rows),
        cols_(cols),
        stride_(cols + gap),
        values_(static_cast<std::size_t>(rows * stride_ + 2 * kMargin),
                std::bit_cast<float>(kMark)) {}
  ~Guarded() { Check(); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  View<float, 2> view() { return {values_.data() + kMargin, {rows_, cols_}, {stride_, 1}}; }
  float* row(std::int64_t index) { return values_.data() + kMargin + index * stride_; }
  std::vector<float> Dense() {
    std::vector<float> dense;
    for (std::int64_t r = 0; r < rows_; ++r) dense.insert(dense.end(), row(r), row(r) + cols_);
    return dense;
  }
  void Set(const std::vector<float>& dense) {
    for (std::int64_t r = 0; r < rows_; ++r) {
      std::copy_n(dense.begin() + r * cols_, cols_, row(r));
    }
  }
  void Check() {
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(values_.size()); ++i) {
      const std::int64_t inside = i - kMargin;
      if (inside >= 0 && inside < rows_ * stride_ && inside % stride_ < cols_) continue;
      ASSERT_EQ(std::bit_cast<std::uint32_t>(values_[static_cast<std::size_t>(i)]), kMark)
          << "a kernel wrote outside of [" << rows_ << ", " << cols_ << "], at element " << inside;
    }
  }

 private:
  static constexpr std::int64_t kMargin = 32;
  static constexpr std::uint32_t kMark = 0x7fc0cafe;  // a NaN: sums that read it show
  std::int64_t rows_;
  std::int64_t cols_;
  std::int64_t stride_;
  std::vector<float> values_;
};

inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// A test that runs once for every level that this machine has.
class OnEveryLevel : public testing::TestWithParam<CpuLevel> {
 protected:
  void SetUp() override { RecordProperty("seed", std::to_string(TestSeed())); }
  Context& ctx() {
    if (!context_) context_ = std::make_unique<Context>(1, GetParam());
    return *context_;
  }
  Context& two_threads() {
    if (!two_) two_ = std::make_unique<Context>(2, GetParam());
    return *two_;
  }

 private:
  std::unique_ptr<Context> context_;
  std::unique_ptr<Context> two_;
};

inline std::string LevelTestName(const testing::TestParamInfo<CpuLevel>& info) {
  return std::string(CpuLevelName(info.param));
}

#define CULET_ON_EVERY_LEVEL(suite) \
  INSTANTIATE_TEST_SUITE_P(Levels, suite, testing::ValuesIn(AvailableLevels()), LevelTestName)

}  // namespace culet
