// Fails where rotary angles depart from the reference's, above all far out in a long context.
#include <gtest/gtest.h>

#include <cmath>

#include "model/batch.h"
#include "model/golden.h"
#include "ops/rows.h"

namespace culet {
namespace {

using testing::Elements;

// inv_freq, cos and sin of the published sizes at positions up to 262143 (tools/reference).
SafetensorsFile PublishedRope() {
  return SafetensorsFile::Open(FileSystem::Real(),
                               testing::GoldenFolder().parent_path() / "rope" / "rope.safetensors");
}

void Check(const RopeConfig& rope, std::int64_t head_dim, const std::string& kind) {
  const SafetensorsFile golden = PublishedRope();
  const std::vector<float> frequencies = RopeFrequencies(rope, head_dim);
  const std::vector<float> reference = Elements<float>(golden.tensors().at(kind + ".inv_freq"));
  ASSERT_EQ(frequencies.size(), reference.size());
  for (std::size_t pair = 0; pair < reference.size(); ++pair) {
    // One ulp: the reference's f32 power is not correctly rounded.
    EXPECT_LE(std::abs(frequencies[pair] - reference[pair]),
              std::abs(std::nextafter(reference[pair], 2.0f) - reference[pair]))
        << kind << " pair " << pair;
  }
  const std::vector<std::int64_t> wide = Elements<std::int64_t>(golden.tensors().at("positions"));
  const std::vector<std::int32_t> positions(wide.begin(), wide.end());
  const std::int64_t rows = static_cast<std::int64_t>(positions.size());
  const std::int64_t pairs = head_dim / 2;
  std::vector<float> cos(static_cast<std::size_t>(rows * pairs));
  std::vector<float> sin(cos.size());
  for (const CpuLevel level : AvailableLevels()) {
    Context ctx(1, level);
    // With the reference's own frequencies: what is left is the product and the functions.
    RopeTables(ctx, positions, reference, View<float, 2>(cos.data(), {rows, pairs}),
               View<float, 2>(sin.data(), {rows, pairs}));
    const std::vector<float> golden_cos = Elements<float>(golden.tensors().at(kind + ".cos"));
    const std::vector<float> golden_sin = Elements<float>(golden.tensors().at(kind + ".sin"));
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t pair = 0; pair < pairs; ++pair) {
        const std::size_t at = static_cast<std::size_t>(row * pairs + pair);
        const std::size_t golden_at = static_cast<std::size_t>(row * head_dim + pair);
        ASSERT_NEAR(cos[at], golden_cos[golden_at], 1e-6) << kind << " position " << positions[row];
        ASSERT_NEAR(sin[at], golden_sin[golden_at], 1e-6) << kind << " position " << positions[row];
      }
    }
  }
}

TEST(Rope, SlidingLayersTurnAsTheReferenceUpToTheLongestContext) {
  RopeConfig rope;
  rope.theta = 10000.0;
  Check(rope, 256, "sliding_attention");
}

TEST(Rope, FullLayersTurnAQuarterOfTheirPairs) {
  RopeConfig rope;
  rope.proportional = true;
  rope.theta = 1000000.0;
  rope.partial_rotary_factor = 0.25;
  Check(rope, 512, "full_attention");
}

}  // namespace
}  // namespace culet
