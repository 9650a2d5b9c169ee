// If this fails, `info` plans other memory than the model takes, or `bench` compares with wrong
// bytes.
#include "checkpoint/sizes.h"

#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/published.h"
#include "checkpoint/tiny_model.h"

namespace culet {
namespace {

constexpr double kMib = 1024.0 * 1024.0;

ModelConfig Published(const std::string& size) {
  return ParseModelConfig(Json(PublishedTextConfig(size)), size);
}

// Rounded to a tenth of a million, as the table of the model family gives it.
double Millions(std::uint64_t value) { return std::round(static_cast<double>(value) / 1e5) / 10; }

struct Row {
  const char* size;
  std::map<std::string, double> parts;  // millions of parameters
  double total, per_token, gigabytes_per_token, row_kilobytes;
};

// docs of the model family, section "sizes".
const Row kRows[] = {
    {"e2b",
     {{"embedding", 402.7},
      {"per-layer embedding", 2348.8},
      {"per-layer projection", 41.3},
      {"attention", 278.4},
      {"mlp", 1557.1},
      {"norms", 0.3}},
     4628.6,
     2279.8,
     4.560,
     21.0},
    {"e4b",
     {{"embedding", 671.1},
      {"per-layer embedding", 2818.6},
      {"per-layer projection", 82.6},
      {"attention", 587.2},
      {"mlp", 3303.0},
      {"norms", 0.6}},
     7463.0,
     4644.4,
     9.289,
     26.6},
    {"12b",
     {{"embedding", 1006.6}, {"attention", 2406.5}, {"mlp", 8493.5}, {"norms", 0.8}},
     11907.4,
     11907.4,
     23.815,
     7.7},
    {"26b-a4b",
     {{"embedding", 738.2},
      {"attention", 1110.2},
      {"mlp", 535.3},
      {"experts", 22838.0},
      {"router", 10.9},
      {"norms", 0.6}},
     25233.1,
     3822.5,
     7.645,
     5.6},
    {"31b",
     {{"embedding", 1409.3}, {"attention", 8477.7}, {"mlp", 20809.0}, {"norms", 1.3}},
     30697.3,
     30697.3,
     61.395,
     10.8},
};

TEST(Sizes, PartsOfEveryPublishedSizeAreThoseOfTheTable) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.size);
    std::uint64_t total = 0;
    std::map<std::string, double> parts;
    for (const PartWeight& part : SizesByPart(Published(row.size), DType::kBF16)) {
      EXPECT_EQ(part.bytes, 2 * part.parameters);
      parts[part.part] = Millions(part.parameters);
      total += part.parameters;
    }
    EXPECT_EQ(parts, row.parts);
    EXPECT_EQ(Millions(total), row.total);
  }
}

TEST(Sizes, ReadsPerTokenAreThoseOfTheTable) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.size);
    const DecodeReads reads = ReadsPerToken(Published(row.size), DType::kBF16);
    EXPECT_EQ(Millions(reads.parameters), row.per_token);
    EXPECT_NEAR(static_cast<double>(reads.weight_bytes) / 1e9, row.gigabytes_per_token, 0.00051);
    EXPECT_NEAR(static_cast<double>(reads.row_bytes) / 1e3, row.row_kilobytes, 0.051);
  }
}

struct KvRow {
  const char* size;
  int sliding_layers;
  std::uint64_t sliding_bytes;
  int full_layers;
  std::uint64_t full_bytes;
  double sliding_mib, at_4096, at_32768, at_131072, at_262144;
};

const KvRow kKvRows[] = {
    {"e2b", 12, 1024, 3, 2048, 6, 30, 198, 774, 0},
    {"e4b", 20, 2048, 4, 4096, 20, 84, 532, 2068, 0},
    {"12b", 40, 8192, 8, 1280, 320, 360, 640, 1600, 2880},
    {"26b-a4b", 25, 8192, 5, 2560, 200, 250, 600, 1800, 3400},
    {"31b", 50, 16384, 10, 5120, 800, 1000, 2400, 7200, 13600},
};

TEST(Sizes, KvBytesAreThoseOfTheTable) {
  for (const KvRow& row : kKvRows) {
    SCOPED_TRACE(row.size);
    const ModelConfig config = Published(row.size);
    const KvSize size = KvSizeAt(config, 4096, DType::kBF16);
    const int sliding = static_cast<int>(LayerKind::kSliding);
    const int full = static_cast<int>(LayerKind::kFull);
    EXPECT_EQ(size.layers[sliding], row.sliding_layers);
    EXPECT_EQ(size.layers[full], row.full_layers);
    const auto layers = [](int count) { return static_cast<std::uint64_t>(count); };
    EXPECT_EQ(size.bytes_per_token[sliding], layers(row.sliding_layers) * row.sliding_bytes);
    EXPECT_EQ(size.bytes_per_token[full], layers(row.full_layers) * row.full_bytes);
    EXPECT_EQ(static_cast<double>(size.bytes[sliding]) / kMib, row.sliding_mib);
    const auto total = [&](std::int64_t context) {
      return static_cast<double>(KvSizeAt(config, context, DType::kBF16).total()) / kMib;
    };
    EXPECT_EQ(total(4096), row.at_4096);
    EXPECT_EQ(total(32768), row.at_32768);
    EXPECT_EQ(total(131072), row.at_131072);
    if (row.at_262144 > 0) {
      EXPECT_EQ(total(262144), row.at_262144);
    }
  }
}

TEST(Sizes, ShortContextsHoldOnlyTheirTokens) {
  const KvSize size = KvSizeAt(Published("e2b"), 100, DType::kBF16);
  EXPECT_EQ(size.total(), 100u * (12 * 1024 + 3 * 2048));
}

// 28 sliding and 7 full layers read, 12 and 3 hold.
TEST(Sizes, EveryReaderOfASharedCacheCounts) {
  const KvSize size = KvSizeAt(Published("e2b"), 4096, DType::kBF16);
  EXPECT_EQ(size.read_bytes, 28u * 1024 * 512 + 7u * 2048 * 4096);
}

TEST(Sizes, AnOpenCheckpointCountsItsOwnDtypesAndHead) {
  using namespace ::culet::testing;
  TemporaryFolder folder;
  const Json config = TinyTextConfig();
  TinyTensors tensors = TensorsOf(ParseModelConfig(config, "config.json"));
  tensors["lm_head.weight"] = MakeTensor({40, 24}, 99);  // differs: used beside the embedding
  TinyTensor& norm = tensors["model.norm.weight"];
  norm.dtype = DType::kBF16;
  norm.data.resize(norm.data.size() / 2);
  WriteModel(folder.path(), config, tensors);
  const Checkpoint checkpoint = Checkpoint::Open(FileSystem::Real(), folder.path());
  std::uint64_t bytes = 0;
  for (const PartWeight& part : SizesByPart(checkpoint)) bytes += part.bytes;
  std::uint64_t stored = 0;
  for (const auto& [name, tensor] : tensors) stored += tensor.data.size();
  EXPECT_EQ(bytes, stored);
  const DecodeReads reads = ReadsPerToken(checkpoint);
  const std::uint64_t tables = 4 * (40 * 24 + 40 * 4 * 6);
  EXPECT_EQ(reads.weight_bytes, stored - tables);
  EXPECT_EQ(reads.row_bytes, 4u * (24 + 4 * 6));
}

}  // namespace
}  // namespace culet
