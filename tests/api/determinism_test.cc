// Fails where an answer or its log-probabilities depend on company, chunks, threads, the room that
// there is, or what was computed before.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <thread>

#include "culet/culet.h"

namespace culet {
namespace {

using Change = std::function<void(LoadOptions*)>;

std::shared_ptr<Model> Load(KvType kv, const Change& change) {
  LoadOptions options;
  options.threads = 2;
  options.context = 512;
  options.kv = kv;
  if (change) change(&options);
  return Model::Load(std::filesystem::path(CULET_SOURCE_DIR) / "models" / "pebble", options);
}

// Prompts of unequal length that begin alike, so that some are taken over from others.
Prompt PromptNumber(const Model& model, int number) {
  std::string text = "Tom has a cup. ";
  for (int i = 0; i < 12; ++i) text += "Anna has " + std::to_string(i) + " pens. ";
  for (int i = 0; i < 5 * number; ++i) text += "It is " + std::to_string(i + number) + ". ";
  return model.text().RawPrompt(text);
}

GenerateOptions Options(int number) {
  GenerateOptions options;
  options.max_tokens = 12;
  options.temperature = number % 2 == 0 ? 0.0 : 1.5;
  options.repetition_penalty = 1.1;
  options.seed = static_cast<std::uint64_t>(number);
  options.ignore_stop_tokens = true;
  options.logprobs = 3;
  return options;
}

constexpr int kAnswers = 5;

std::vector<GenerateResult> OneByOne(const std::shared_ptr<Model>& model) {
  std::vector<GenerateResult> results;
  for (int number = 0; number < kAnswers; ++number) {
    results.push_back(Generate(model, PromptNumber(*model, number), Options(number)));
  }
  return results;
}

// The same, started together, while texts are embedded.
std::vector<GenerateResult> InCompany(const std::shared_ptr<Model>& model) {
  const std::vector<std::string> texts(20, "What is 27 + 45? What is 3 + 4?");
  std::thread embedder([&] { Embed(model, texts); });
  std::vector<Answer> answers;
  for (int number = kAnswers - 1; number >= 0; --number) {
    answers.push_back(Start(model, PromptNumber(*model, number), Options(number)));
  }
  std::vector<GenerateResult> results;
  for (int number = 0; number < kAnswers; ++number) {
    results.push_back(answers[static_cast<std::size_t>(kAnswers - 1 - number)].Wait());
  }
  embedder.join();
  return results;
}

void ExpectSame(const std::vector<GenerateResult>& got, const std::vector<GenerateResult>& want,
                const std::string& where) {
  for (std::size_t number = 0; number < want.size(); ++number) {
    const GenerateResult& a = got[number];
    const GenerateResult& b = want[number];
    EXPECT_EQ(a.tokens, b.tokens) << where << ", answer " << number;
    EXPECT_EQ(a.text, b.text) << where;
    EXPECT_EQ(a.logits_hash, b.logits_hash) << where << ", answer " << number;
    ASSERT_EQ(a.logprobs.size(), b.logprobs.size()) << where;
    for (std::size_t step = 0; step < a.logprobs.size(); ++step) {
      EXPECT_EQ(a.logprobs[step].chosen.logprob, b.logprobs[step].chosen.logprob) << where;
      for (std::size_t i = 0; i < a.logprobs[step].top.size(); ++i) {
        EXPECT_EQ(a.logprobs[step].top[i].id, b.logprobs[step].top[i].id) << where;
        EXPECT_EQ(a.logprobs[step].top[i].logprob, b.logprobs[step].top[i].logprob) << where;
      }
    }
  }
}

TEST(Determinism, AnAnswerIsTheSameBitForBitInEveryArrangement) {
  const std::vector<std::pair<std::string, Change>> arrangements = {
      {"as loaded", {}},
      {"one thread", [](LoadOptions* load) { load->threads = 1; }},
      {"three threads", [](LoadOptions* load) { load->threads = 3; }},
      {"chunks of 7", [](LoadOptions* load) { load->chunk = 7; }},
      {"two sequences", [](LoadOptions* load) { load->sequences = 2; }},
      {"a prompt row a step", [](LoadOptions* load) { load->prompt_rows_beside_decoding = 1; }},
      {"pages are taken back", [](LoadOptions* load) { load->pool_tokens = 512; }},
      {"no room for prefixes", [](LoadOptions* load) { load->prefix_tokens = 0; }},
      {"a long context", [](LoadOptions* load) { load->context = 2048; }},
  };
  for (const KvType kv : {KvType::kF32, KvType::kBf16, KvType::kInt8}) {
    const std::vector<GenerateResult> want =
        OneByOne(Load(kv, [](LoadOptions* load) { load->sequences = 1; }));
    for (const auto& [name, change] : arrangements) {
      const std::shared_ptr<Model> model = Load(kv, change);
      const std::string where = name + ", KV type " + std::to_string(static_cast<int>(kv));
      ExpectSame(InCompany(model), want, where);
      // Again: now beginnings are there that somebody computed.
      ExpectSame(OneByOne(model), want, where + ", the second time");
    }
  }
}

}  // namespace
}  // namespace culet
