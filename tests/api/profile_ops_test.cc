// Fails where a profile leaves work out or counts it twice, or goes on after it has ended.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <stdexcept>

#include "api/model_impl.h"
#include "culet/culet.h"
#include "culet/tools.h"

namespace culet {
namespace {

namespace fs = std::filesystem;

const fs::path kPebble = fs::path(CULET_SOURCE_DIR) / "models" / "pebble";
const fs::path kGolden = fs::path(CULET_SOURCE_DIR) / "tests" / "golden" / "text";

std::shared_ptr<Model> LoadModel(const fs::path& path) {
  LoadOptions options;
  options.threads = 2;
  options.context = 256;
  return Model::Load(path, options);
}

std::vector<TokenId> Tokens(std::int64_t count) {
  std::vector<TokenId> tokens;
  for (std::int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<TokenId>(3 + i));
  return tokens;
}

// Sums over the ops of a name.
std::map<std::string, OpTime> ByOp(const std::vector<OpTime>& times) {
  std::map<std::string, OpTime> sums;
  for (const OpTime& time : times) {
    OpTime& sum = sums[time.op];
    sum.calls += time.calls;
    sum.bytes += time.bytes;
    sum.multiply_adds += time.multiply_adds;
  }
  return sums;
}

// What `info` says of a token is counted from the config, the profile from what ran.
TEST(ProfileOps, TheProductsOfADecodedTokenAreTheMultiplyAddsThatInfoSays) {
  for (const fs::path& path : {kPebble, kGolden / "e2b_like", kGolden / "moe_26b_like"}) {
    const auto model = LoadModel(path);
    Session session(model);
    session.Append(Tokens(40));
    const auto sums = ByOp(ProfileOps(*model, [&] { session.Append(Tokens(1)); }));
    double multiply_adds = sums.at("MatMul").multiply_adds;
    if (sums.contains("Experts")) multiply_adds += sums.at("Experts").multiply_adds;
    EXPECT_EQ(multiply_adds, static_cast<double>(model->info().macs_per_decoded_token)) << path;
  }
}

TEST(ProfileOps, AttentionReadsTheVisiblePositionsOfEachLayer) {
  const auto model = LoadModel(kPebble);
  const ModelInfo& info = model->info();
  Session session(model);
  session.Append(Tokens(150));
  const std::vector<OpTime> times = ProfileOps(*model, [&] { session.Append(Tokens(1)); });
  const std::int64_t value_bytes = info.kv_dtype == "F32" ? 4 : 2;
  std::int64_t kinds = 0;
  for (const OpTime& time : times) {
    if (time.op != "Attention") continue;
    ++kinds;
    const bool full = time.what == "full";
    const std::int64_t layers = full ? info.full_layers : info.sliding_layers;
    const std::int64_t positions = full ? 151 : std::min<std::int64_t>(151, info.window);
    const std::int64_t heads = full ? info.full_kv_heads : info.sliding_kv_heads;
    const std::int64_t head_dim = full ? info.full_head_dim : info.sliding_head_dim;
    EXPECT_EQ(time.calls, layers) << time.what;
    EXPECT_EQ(time.bytes, 2 * layers * positions * heads * head_dim * value_bytes) << time.what;
    EXPECT_EQ(time.multiply_adds, 2 * layers * positions * info.heads * head_dim) << time.what;
    EXPECT_GT(time.peak_gflops, 0);
  }
  EXPECT_EQ(kinds, 2);
}

TEST(ProfileOps, WeightsAreNamedOverAllLayersAndTheLongestComesFirst) {
  const auto model = LoadModel(kPebble);
  Session session(model);
  const std::vector<OpTime> times = ProfileOps(*model, [&] { session.Append(Tokens(33)); });
  ASSERT_FALSE(times.empty());
  EXPECT_TRUE(std::ranges::is_sorted(times, std::ranges::greater(), &OpTime::ms));
  const auto named = [&](const std::string& what) {
    return std::ranges::find_if(
        times, [&](const OpTime& time) { return time.op == "MatMul" && time.what == what; });
  };
  for (const char* what : {"mlp.gate_proj, mlp.up_proj", "mlp.down_proj", "self_attn.q_proj",
                           "self_attn.k_proj, self_attn.v_proj", "self_attn.o_proj",
                           "per_layer_input_gate", "embed_tokens"}) {
    ASSERT_NE(named(what), times.end()) << what;
    EXPECT_GT(named(what)->ms, 0) << what;
  }
  EXPECT_EQ(named("mlp.down_proj")->calls, model->info().layers);
  EXPECT_EQ(named("embed_tokens")->calls, 1) << "the head, of one row";
}

TEST(ProfileOps, EndsWithItsWorkAlsoWhereThatThrows) {
  const auto model = LoadModel(kPebble);
  Session session(model);
  EXPECT_THROW(ProfileOps(*model, [] { throw std::runtime_error("enough"); }), std::runtime_error);
  EXPECT_TRUE(ProfileOps(*model, [] {}).empty());
  session.Append(Tokens(4));
  model->impl().thread->Exclusive(
      [](Engine& engine) { EXPECT_EQ(engine.context().profile(), nullptr); });
}

}  // namespace
}  // namespace culet
