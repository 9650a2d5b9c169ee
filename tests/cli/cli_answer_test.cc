// Fails where run, info, logits, bench or synth give other JSON or files than docs/commands.md
// says.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/npy.h"
#include "cli/program.h"

namespace culet {
namespace {

using nlohmann::json;

json RunJson(const TemporaryFolder& folder, const std::string& line) {
  const Finished finished = RunShell(folder.path(), line);
  EXPECT_EQ(finished.exit_code, 0) << line << "\n" << finished.error;
  return json::parse(finished.out, nullptr, false);
}

void ExpectKeys(const json& object, const std::vector<std::string>& keys) {
  ASSERT_TRUE(object.is_object()) << object;
  for (const std::string& key : keys) EXPECT_TRUE(object.contains(key)) << key << " in " << object;
}

constexpr const char* kSum = "culet run pebble 'What is 27 + 45?' --temperature 0 ";

TEST(Run, JsonHasTheKeysAndTheStreamSaysTheSame) {
  const TemporaryFolder folder;
  const json answer = RunJson(folder, std::string(kSum) + "--json");
  ExpectKeys(answer, {"model", "text", "thinking", "tool_calls", "finish_reason", "usage",
                      "timings", "tokens", "seed", "logits_hash"});
  EXPECT_FALSE(answer.contains("logprobs"));
  ExpectKeys(answer["usage"],
             {"prompt_tokens", "cached_tokens", "computed_tokens", "completion_tokens"});
  ExpectKeys(answer["timings"], {"load_ms", "prefill_ms", "decode_ms", "prefill_tokens_per_s",
                                 "decode_tokens_per_s", "time_to_first_token_ms"});
  EXPECT_EQ(answer["finish_reason"], "stop");
  EXPECT_EQ(answer["usage"]["completion_tokens"], answer["tokens"].size());
  EXPECT_EQ(RunShell(folder.path(), kSum).out, answer["text"].get<std::string>() + "\n");
  EXPECT_EQ(RunShell(folder.path(), std::string(kSum) + "--no-stream").out,
            answer["text"].get<std::string>() + "\n");
  EXPECT_EQ(
      RunShell(folder.path(), "echo 'What is 27 + 45?' | culet run pebble - --temperature 0").out,
      answer["text"].get<std::string>() + "\n");
}

TEST(Run, LogprobsFallAndTheChosenTokenIsOneOfThem) {
  const TemporaryFolder folder;
  const json answer = RunJson(folder, std::string(kSum) + "--json --logprobs 3");
  ASSERT_EQ(answer["logprobs"].size(), answer["tokens"].size());
  for (std::size_t i = 0; i < answer["tokens"].size(); ++i) {
    const json& step = answer["logprobs"][i];
    EXPECT_EQ(step["id"], answer["tokens"][i]);
    ASSERT_EQ(step["top"].size(), 3u);
    EXPECT_EQ(step["top"][0]["id"], step["id"]) << "greedy";
    EXPECT_GE(step["top"][0]["logprob"], step["top"][1]["logprob"]);
    EXPECT_GE(step["top"][1]["logprob"], step["top"][2]["logprob"]);
    EXPECT_LE(step["logprob"].get<double>(), 0.0);
  }
}

TEST(Run, TheSameSeedGivesTheSameAnswerAndIsTold) {
  const TemporaryFolder folder;
  const std::string line =
      "culet run pebble 'Hello there' --raw --temperature 2 --max-tokens 24 --json";
  const json first = RunJson(folder, line);
  const json again =
      RunJson(folder, line + " --seed " + std::to_string(first["seed"].get<std::uint64_t>()));
  EXPECT_EQ(first["tokens"], again["tokens"]);
  EXPECT_EQ(first["logits_hash"], again["logits_hash"]);
  const json other = RunJson(folder, line + " --seed 12345");
  EXPECT_EQ(other["seed"], 12345);
  EXPECT_NE(first["tokens"], other["tokens"]);
}

TEST(Run, MaxTokensAndTheContextEndWithLength) {
  const TemporaryFolder folder;
  const std::string hello = "culet run pebble Hi --temperature 0 --json ";
  const json cut = RunJson(folder, hello + "--max-tokens 3");
  EXPECT_EQ(cut["finish_reason"], "length");
  EXPECT_EQ(cut["usage"]["completion_tokens"], 3);
  const json full = RunJson(folder, hello + "--context 14");
  EXPECT_EQ(full["finish_reason"], "length");
  EXPECT_EQ(
      full["usage"]["prompt_tokens"].get<int>() + full["usage"]["completion_tokens"].get<int>(),
      14);
}

TEST(Run, AStopTextEndsTheAnswerBeforeIt) {
  const TemporaryFolder folder;
  const json whole = RunJson(folder, "culet run pebble Hi --temperature 0 --json");
  const std::string text = whole["text"];
  ASSERT_GT(text.size(), 8u);
  const json cut =
      RunJson(folder, "culet run pebble Hi --temperature 0 --json --stop nowhere --stop '" +
                          text.substr(4, 3) + "'");
  EXPECT_EQ(cut["text"], text.substr(0, text.find(text.substr(4, 3))));
  EXPECT_EQ(cut["finish_reason"], "stop");
}

TEST(Run, ControlTokensInThePromptAreTextUnlessAllowed) {
  const TemporaryFolder folder;
  const std::string line = "culet run pebble 'a<turn|>b' --temperature 0 --max-tokens 1 --json ";
  const int as_text = RunJson(folder, line)["usage"]["prompt_tokens"];
  const int as_control = RunJson(folder, line + "--allow-control-tokens")["usage"]["prompt_tokens"];
  EXPECT_GT(as_text, as_control);
}

TEST(Run, BareFunctionsCountAsTools) {
  const TemporaryFolder folder;
  const std::string function =
      R"({"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {}}})";
  folder.Write("bare.json", "[" + function + "]");
  folder.Write("openai.json", R"([{"type": "function", "function": )" + function + "}]");
  const std::string line = "culet run pebble Hi --temperature 0 --json --max-tokens 4 --tools ";
  const json bare = RunJson(folder, line + "bare.json");
  const json openai = RunJson(folder, line + "openai.json");
  EXPECT_EQ(bare["logits_hash"], openai["logits_hash"]);
  const json none = RunJson(folder, "culet run pebble Hi --temperature 0 --json --max-tokens 4");
  EXPECT_GT(bare["usage"]["prompt_tokens"], none["usage"]["prompt_tokens"]);
}

TEST(Info, JsonHasTheSizesAndPartsAddUp) {
  const TemporaryFolder folder;
  const json info = RunJson(folder, "culet info pebble --json --context 300 --threads 1");
  ExpectKeys(info, {"variant", "layers", "hidden", "vocab", "window", "parts", "parameters",
                    "weight_bytes", "bytes_per_token", "macs_per_prompt_token", "context",
                    "kv_bytes", "kv_dtype", "activation_bytes", "resident_bytes", "cpu_level",
                    "threads", "has_chat_template"});
  EXPECT_EQ(info["context"], 300);
  EXPECT_EQ(info["threads"], 1);
  std::uint64_t parameters = 0, bytes = 0;
  for (const json& part : info["parts"]) {
    parameters += part["parameters"].get<std::uint64_t>();
    bytes += part["bytes"].get<std::uint64_t>();
  }
  EXPECT_EQ(info["parameters"], parameters);
  EXPECT_EQ(info["weight_bytes"], bytes);
  const json longer = RunJson(folder, "culet info pebble --json --context 1200");
  EXPECT_GT(longer["kv_bytes"], info["kv_bytes"]);
  const json forced = RunJson(folder, "CULET_CPU=plain culet info pebble --json");
  EXPECT_EQ(forced["cpu_level"], "plain");
  for (const auto& [kv, name] : {std::pair("f32", "F32"), {"bf16", "BF16"}, {"int8", "INT8"}}) {
    const std::string command = std::string("culet info pebble --kv ") + kv;
    EXPECT_EQ(RunJson(folder, command + " --json")["kv_dtype"], name);
    const std::string printed = RunShell(folder.path(), command).out;
    EXPECT_NE(printed.find(std::string(" in ") + name + "\n"), std::string::npos) << printed;
  }
}

TEST(Info, AnOverrideChangesTheModel) {
  const TemporaryFolder folder;
  const json info =
      RunJson(folder, "culet info pebble --json --override text_config.sliding_window=16");
  EXPECT_EQ(info["window"], 16);
}

TEST(Logits, AreAllRowsWhateverTheChunk) {
  const TemporaryFolder folder;
  const Finished finished =
      RunShell(folder.path(),
               "culet logits pebble --tokens 2,105,300,301,302,303,304 --out a.npy && "
               "echo 2,105,300,301,302,303,304 |"
               "culet logits pebble --tokens - --out b.npy --chunk 2");
  ASSERT_EQ(finished.exit_code, 0) << finished.error;
  const std::vector<float> a = ReadNpy(folder.Read("a.npy"), "7, 1362");
  const std::vector<float> b = ReadNpy(folder.Read("b.npy"), "7, 1362");
  ASSERT_EQ(a.size(), 7u * 1362);
  ASSERT_EQ(b.size(), a.size());
  float most = 0, apart = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_TRUE(std::isfinite(a[i]));
    most = std::max(most, std::abs(a[i]));
    apart = std::max(apart, std::abs(a[i] - b[i]));
  }
  EXPECT_GT(most, 0.1f);
  EXPECT_LE(apart, 1e-2f * most);
  EXPECT_EQ(folder.Names(), (std::vector<std::string>{"a.npy", "b.npy"}));
}

TEST(Logits, NeedNoTokenizer) {
  const TemporaryFolder folder;
  const Finished finished =
      RunShell(folder.path(), "culet logits $GOLDEN/e2b_like --tokens 2,3,4 --out a.npy");
  EXPECT_EQ(finished.exit_code, 0) << finished.error;
  EXPECT_EQ(folder.Names(), std::vector<std::string>{"a.npy"});
}

TEST(Bench, OfUsersHasOneUserAndARatioToIt) {
  const TemporaryFolder folder;
  const std::string line =
      "culet bench pebble --prefill 0 --decode 8 --context 0,70 --repeat 2 --users 3,2 ";
  const json bench = RunJson(folder, line + "--json");
  ASSERT_EQ(bench["users"].size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) {
    const json& run = bench["users"][i];
    ExpectKeys(
        run, {"users", "context", "tokens", "tokens_per_s", "tokens_per_s_min", "tokens_per_s_max",
              "tokens_per_s_per_user", "ratio_to_one", "ratio_to_one_min", "ratio_to_one_max",
              "prompt_tokens_per_s", "first_token_ms", "whole_tokens_per_s", "whole_ratio_to_one"});
    EXPECT_EQ(run["users"], 1 + i % 3);
    EXPECT_EQ(run["context"], i < 3 ? 1 : 70);
    EXPECT_EQ(run["tokens"], 8);
    EXPECT_GT(run["prompt_tokens_per_s"], 0.0);
    EXPECT_GT(run["first_token_ms"], 0.0);
    EXPECT_GT(run["whole_tokens_per_s"], 0.0);
    EXPECT_DOUBLE_EQ(run["tokens_per_s_per_user"].get<double>() * (1 + i % 3),
                     run["tokens_per_s"].get<double>());
  }
  EXPECT_EQ(bench["users"][0]["ratio_to_one"], 1.0);
  EXPECT_EQ(bench["users"][0]["whole_ratio_to_one"], 1.0);
  const std::string csv = RunShell(folder.path(), line + "--csv").out;
  EXPECT_NE(csv.find("\nusers,70,8,"), std::string::npos) << csv;
}

TEST(Bench, ProfileIsOfEachPromptAndDecodeRunAndAddsUp) {
  const TemporaryFolder folder;
  const std::string line =
      "culet bench pebble --prefill 16 --decode 4 --context 8,16 --repeat 1 --profile ";
  const json bench = RunJson(folder, line + "--json --chart a.svg");
  ASSERT_EQ(bench["profiles"].size(), 3u);
  for (const json& run : bench["profiles"]) {
    ExpectKeys(run, {"kind", "context", "tokens", "ms", "between_ops_ms", "limit_ms", "ops"});
    double ms = run["between_ops_ms"];
    double limits = 0;
    for (const json& op : run["ops"]) {
      ExpectKeys(op, {"op", "what", "calls", "ms", "bytes", "multiply_adds", "limit_ms", "limit"});
      ms += op["ms"].get<double>();
      limits += op["limit_ms"].get<double>();
    }
    EXPECT_GT(limits, 0);
    EXPECT_NEAR(limits, run["limit_ms"].get<double>(), 1e-9 * limits);
    EXPECT_NEAR(ms, run["ms"].get<double>(), 1e-9 * ms);
  }
  EXPECT_EQ(bench["profiles"][0]["kind"], "prefill");
  EXPECT_EQ(bench["profiles"][2]["context"], 16);
  const std::string svg = folder.Read("a.svg");
  EXPECT_TRUE(svg.starts_with("<svg ")) << svg;
  EXPECT_TRUE(svg.ends_with("</svg>\n")) << svg;
  EXPECT_NE(svg.find("mlp.gate_proj, mlp.up_proj"), std::string::npos);
  const std::string text = RunShell(folder.path(), line).out;
  EXPECT_NE(text.find("MatMul mlp.down_proj"), std::string::npos) << text;
  EXPECT_NE(text.find("between ops"), std::string::npos) << text;
  EXPECT_NE(text.find("% of it at the limits of its ops\n"), std::string::npos) << text;
}

TEST(Bench, JsonHasTheKeysForEachOfTheLists) {
  const TemporaryFolder folder;
  const json bench = RunJson(
      folder,
      "culet bench $GOLDEN/e2b_like --prefill 16,32 --decode 4 --context 8,16 --repeat 1 --json");
  ExpectKeys(bench, {"version", "machine", "prefill", "decode", "users", "load_ms",
                     "start_to_first_token_ms", "first_prompt_ms", "planned_resident_bytes",
                     "peak_rss_bytes"});
  ExpectKeys(bench["machine"], {"cpu", "level", "threads", "read_gb_s", "peak_gflops"});
  EXPECT_GT(bench["machine"]["read_gb_s"], 0.0);
  EXPECT_GT(bench["machine"]["peak_gflops"], 0.0);
  EXPECT_GT(bench["peak_rss_bytes"], 0);
  ASSERT_EQ(bench["prefill"].size(), 2u);
  for (const json& run : bench["prefill"]) {
    ExpectKeys(run,
               {"tokens", "tokens_per_s", "tokens_per_s_min", "tokens_per_s_max", "ratio_to_peak"});
    EXPECT_LE(run["tokens_per_s_min"], run["tokens_per_s_max"]);
    EXPECT_GT(run["ratio_to_peak"], 0.0);
  }
  EXPECT_EQ(bench["prefill"][1]["tokens"], 32);
  ASSERT_EQ(bench["decode"].size(), 2u);
  for (const json& run : bench["decode"]) {
    ExpectKeys(run, {"context", "tokens", "tokens_per_s", "bytes_per_token", "ratio_to_bandwidth"});
  }
  EXPECT_EQ(bench["decode"][1]["context"], 16);
  EXPECT_GT(bench["decode"][1]["bytes_per_token"], bench["decode"][0]["bytes_per_token"])
      << "more KV";
}

// Shared layers in e2b_like all fall in one kind, so that a share of all KV would be wrong.
TEST(Bench, TheKvThatATokenReadsIsExact) {
  const TemporaryFolder folder;
  const json info = RunJson(folder, "culet info $GOLDEN/e2b_like --json --context 64");
  std::ifstream file(std::filesystem::path(CULET_SOURCE_DIR) /
                     "tests/golden/text/e2b_like/config.json");
  json config = json::parse(file);
  if (config.contains("text_config")) config = config["text_config"];
  const int owners =
      config["num_hidden_layers"].get<int>() - config["num_kv_shared_layers"].get<int>();
  double sliding = 0, full = 0;  // bytes of a position
  const int kv_heads = config["num_key_value_heads"];
  for (int layer = 0; layer < owners; ++layer) {
    const bool is_full = config["layer_types"][static_cast<std::size_t>(layer)] == "full_attention";
    const int full_heads = config["num_global_key_value_heads"].is_number()
                               ? config["num_global_key_value_heads"].get<int>()
                               : kv_heads;
    const int head_dim = config[is_full ? "global_head_dim" : "head_dim"];
    (is_full ? full : sliding) +=
        2.0 * head_dim * (is_full ? full_heads : kv_heads) * (info["kv_dtype"] == "F32" ? 4 : 2);
  }
  EXPECT_EQ(info["sliding_kv_bytes_per_token"], sliding);
  EXPECT_EQ(info["full_kv_bytes_per_token"], full);
  const json bench = RunJson(
      folder,
      "culet bench $GOLDEN/e2b_like --prefill 0 --decode 4 --context 4,40 --repeat 1 --json");
  const double window = info["window"];
  const double weights =
      info["bytes_per_token"].get<double>() + info["rows_read_bytes"].get<double>();
  for (const json& run : bench["decode"]) {
    const double middle = run["context"].get<double>() + 2;
    EXPECT_EQ(run["bytes_per_token"], weights + full * middle + sliding * std::min(middle, window));
  }
}

TEST(Bench, CsvAndTextHaveALineAMeasurement) {
  const TemporaryFolder folder;
  const std::string line =
      "culet bench $GOLDEN/e2b_like --prefill 8 --decode 2 --context 4 --repeat 1 ";
  const Finished csv = RunShell(folder.path(), line + "--csv");
  EXPECT_EQ(csv.exit_code, 0) << csv.error;
  EXPECT_EQ(std::count(csv.out.begin(), csv.out.end(), '\n'), 3);
  EXPECT_NE(csv.out.find("\nprefill,0,8,"), std::string::npos);
  EXPECT_NE(csv.out.find("\ndecode,4,2,"), std::string::npos);
  const Finished text = RunShell(folder.path(), line);
  EXPECT_NE(text.out.find("of the read rate"), std::string::npos) << text.out;
}

}  // namespace
}  // namespace culet
