// If this fails, CULET_CPU does not do what it says, or a level runs kernels that it should not.
#include <algorithm>

#include "ops/cpu/kernels.h"
#include "ops/testing.h"

namespace culet {
namespace {

class ForcedLevel : public testing::TestWithParam<CpuLevel> {
 protected:
  void TearDown() override { unsetenv("CULET_CPU"); }
};
INSTANTIATE_TEST_SUITE_P(Levels, ForcedLevel, testing::ValuesIn(AvailableLevels()), LevelTestName);

// The highest of `levels`, which rise, that `level` includes.
CpuLevel HighestUpTo(CpuLevel level, std::initializer_list<CpuLevel> levels) {
  CpuLevel highest = CpuLevel::kPlain;
  for (const CpuLevel own : levels) highest = own <= level ? own : highest;
  return highest;
}

TEST_P(ForcedLevel, IsTheOneThatRuns) {
  setenv("CULET_CPU", std::string(CpuLevelName(GetParam())).c_str(), 1);
  const Context ctx(1);
  EXPECT_EQ(ctx.level(), GetParam());
  const CpuKernels& kernels = ctx.kernels();
  EXPECT_EQ(kernels.level, GetParam());
  // Levels that have their own products.
  using enum CpuLevel;
  EXPECT_EQ(kernels.matmul_bf16.level,
            HighestUpTo(GetParam(), {kPlain, kNeon, kAvx2, kAvx512, kAvx512Bf16, kAmx}));
  EXPECT_EQ(kernels.matmul_int8.level,
            HighestUpTo(GetParam(), {kPlain, kNeon, kAvx2, kAvx512Vnni, kAmx}));
  EXPECT_EQ(kernels.matmul_int4.level, kernels.matmul_int8.level);
  EXPECT_EQ(kernels.matmul_bf16_exact.level,
            HighestUpTo(GetParam(), {kPlain, kNeon, kAvx2, kAvx512, kAmx}));
  EXPECT_EQ(kernels.matmul_f32.level, std::min(GetParam(), CpuLevel::kAvx512));
  EXPECT_EQ(kernels.matmul_f16.level, std::min(GetParam(), CpuLevel::kAvx512));
  EXPECT_EQ(kernels.attention_block.level,
            HighestUpTo(GetParam(), {kPlain, kNeon, kAvx2, kAvx512, kAmx}));
  EXPECT_EQ(kernels.dense_attention_block.level, std::min(GetParam(), CpuLevel::kAvx512));
  EXPECT_EQ(kernels.layer_norm.level, std::min(GetParam(), CpuLevel::kAvx512));
  EXPECT_EQ(kernels.gelu_mul.level, std::min(GetParam(), CpuLevel::kAvx512));
}

TEST_P(ForcedLevel, HasEveryKernelOfTheTable) {
  const CpuKernels& kernels = KernelsOf(GetParam());
  for (const MatMulKernel* kernel :
       {&kernels.matmul_f32, &kernels.matmul_bf16, &kernels.matmul_bf16_exact, &kernels.matmul_f16,
        &kernels.matmul_int8, &kernels.matmul_int4}) {
    EXPECT_NE(kernel->run, nullptr);
    EXPECT_NE(kernel->pack, nullptr);
    EXPECT_NE(kernel->operand_bytes, nullptr);
    EXPECT_LE(kernel->level, GetParam());
  }
  EXPECT_NE(kernels.attention_block.run, nullptr);
  EXPECT_NE(kernels.attention_merge.run, nullptr);
  EXPECT_NE(kernels.widen.run, nullptr);
  EXPECT_NE(kernels.rms_norm.run, nullptr);
  EXPECT_NE(kernels.add_norm.run, nullptr);
  EXPECT_NE(kernels.rope.run, nullptr);
  EXPECT_NE(kernels.gelu_mul.run, nullptr);
  EXPECT_NE(kernels.scale.run, nullptr);
  EXPECT_NE(kernels.add.run, nullptr);
  EXPECT_NE(kernels.soft_cap.run, nullptr);
  EXPECT_NE(kernels.narrow.run, nullptr);
  EXPECT_NE(kernels.add_scaled.run, nullptr);
  EXPECT_NE(kernels.clamp.run, nullptr);
  EXPECT_NE(kernels.layer_norm.run, nullptr);
  EXPECT_NE(kernels.standardize.run, nullptr);
  EXPECT_NE(kernels.silu.run, nullptr);
  EXPECT_NE(kernels.glu.run, nullptr);
  EXPECT_NE(kernels.mul_add.run, nullptr);
  EXPECT_NE(kernels.dot.run, nullptr);
  EXPECT_NE(kernels.dense_attention_block.run, nullptr);
}

std::string MessageOf(const char* level) {
  setenv("CULET_CPU", level, 1);
  try {
    const Context ctx(1);
  } catch (const Error& error) {
    unsetenv("CULET_CPU");
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    return error.what();
  }
  unsetenv("CULET_CPU");
  return "";
}

TEST(Level, AnUnknownNameIsRefusedWithTheNamesThatThereAre) {
  const std::string message = MessageOf("sse9");
  EXPECT_THAT(message, testing::HasSubstr("CULET_CPU is \"sse9\""));
  EXPECT_THAT(message, testing::HasSubstr("plain"));
}

TEST(Level, OneThatThisMachineOrCuletLacksIsRefusedByName) {
  const std::vector<CpuLevel> levels = AvailableLevels();
  if (levels.back() == CpuLevel::kAmx) GTEST_SKIP() << "this machine has every level";
  const std::string message = MessageOf("amx");
  EXPECT_THAT(message, testing::HasSubstr("CULET_CPU asks for kernels of level \"amx\""));
  EXPECT_THAT(message, testing::HasSubstr(std::string(CpuLevelName(levels.back()))));
}

TEST(Level, OneOfAnotherArchitectureIsRefused) {
#if defined(__aarch64__)
  EXPECT_THAT(MessageOf("avx2"), testing::HasSubstr("has plain, neon"));
#else
  EXPECT_THAT(MessageOf("neon"), testing::HasSubstr("level \"neon\"; this CPU"));
#endif
}

TEST(Level, WithoutTheVariableTheHighestThatHasRunOnRealHardwareIsChosen) {
  unsetenv("CULET_CPU");
  CpuLevel highest = CpuLevel::kPlain;
  for (const CpuLevel level : AvailableLevels()) {
    // Only under an emulator so far.
    if (level != CpuLevel::kNeon) highest = level;
  }
  EXPECT_EQ(Context(1).level(), highest);
}

TEST(Level, OneThatNeverRanOnRealHardwareIsNotProven) {
  EXPECT_TRUE(IsProven(CpuLevel::kPlain));
  EXPECT_FALSE(IsProven(CpuLevel::kNeon));
#if defined(__x86_64__)
  EXPECT_TRUE(IsProven(CpuLevel::kAmx));
#else
  EXPECT_FALSE(IsProven(CpuLevel::kAmx));  // not even built
#endif
}

}  // namespace
}  // namespace culet
