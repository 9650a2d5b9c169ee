// If this fails, culet doctor says wrongly which kernels run, or why.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/kernel_levels.h"

namespace culet::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

MachineInfo X86(const std::string& level) {
  MachineInfo machine;
  machine.levels = {
      {"plain", true, true}, {"avx2", true, true}, {"avx512", false, true}, {"amx", false, true}};
  machine.level = level;
  return machine;
}
MachineInfo Arm(const std::string& level) {
  MachineInfo machine;
  machine.levels = {{"plain", true, true}, {"neon", true, false}};
  machine.level = level;
  return machine;
}

TEST(KernelLevels, WhatIsUsedAndWhyAndWhatIsNotThere) {
  EXPECT_EQ(KernelLevelsText(X86("avx2")),
            "plain, avx2 (used: the best of this CPU), avx512 (not on this CPU), amx (not on this "
            "CPU, or not granted by its system)");
  EXPECT_THAT(KernelLevelsAdvice(X86("avx2")), IsEmpty());
}

TEST(KernelLevels, OneThatNeverRanOnRealHardwareIsNotUsedAndSaysSo) {
  EXPECT_EQ(KernelLevelsText(Arm("plain")),
            "plain (used: the best that has run on real hardware), neon (never run on real "
            "hardware)");
  EXPECT_THAT(KernelLevelsAdvice(Arm("plain")), ElementsAre(HasSubstr("CULET_CPU=neon takes")));
}

TEST(KernelLevels, AForcedOneIsNamedWithWhoForcesIt) {
  MachineInfo machine = Arm("neon");
  machine.level_forced = true;
  EXPECT_EQ(KernelLevelsText(machine),
            "plain, neon (used: CULET_CPU says so; never run on real hardware)");
  EXPECT_THAT(KernelLevelsAdvice(machine), ElementsAre(HasSubstr("check what comes out")));
  machine = X86("plain");
  machine.level_forced = true;
  EXPECT_THAT(KernelLevelsAdvice(machine), ElementsAre(HasSubstr("unset it")));
}

TEST(KernelLevels, ACpuWithoutAvx2IsToldThatItIsSlow) {
  MachineInfo machine = X86("plain");
  machine.levels[1].available = false;
  EXPECT_THAT(KernelLevelsAdvice(machine), ElementsAre(HasSubstr("no AVX2")));
}

}  // namespace
}  // namespace culet::cli
