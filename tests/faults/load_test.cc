// If this fails, a call that the system or the allocator refused while a model is loaded or answers
// crashes the program, leaves something behind, or comes out as something else than a culet::Error.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <optional>

#include "checkpoint/tiny_model.h"
#include "culet/culet.h"
#include "faults/faults.h"

namespace culet {
namespace {

using faults::Call;

// Allocations that fail one by one before samples are taken of the rest.
constexpr std::uint64_t kFirst = 2000;
constexpr std::uint64_t kSample = 100;

// A model of a few kilobytes with the tokenizer and template of the demo model.
class Faults : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new culet::testing::TemporaryFolder();
    const std::filesystem::path pebble =
        std::filesystem::path(CULET_SOURCE_DIR) / "models" / "pebble";
    for (const char* name : {"tokenizer.json", "chat_template.jinja", "generation_config.json"}) {
      std::filesystem::copy_file(pebble / name, folder_->path() / name);
    }
    Json config = testing::TinyTextConfig();
    const auto vocab = TextProcessor::Open(pebble)->vocab_size();
    config["vocab_size"] = vocab;
    config["vocab_size_per_layer_input"] = vocab;
    testing::WriteModel(folder_->path(), config);
    path_ = new std::filesystem::path(folder_->path());
    load_ = new LoadOptions();
    load_->threads = 2;
    load_->context = 96;
    load_->chunk = 16;
    generate_ = new GenerateOptions();
    generate_->temperature = 0;
    generate_->max_tokens = 4;
    generate_->logprobs = 2;
    generate_->ignore_stop_tokens = true;
  }
  static void TearDownTestSuite() {
    delete generate_;
    delete load_;
    delete path_;
    delete folder_;
  }

  static Prompt Render(const Model& model) {
    static const std::string request =
        R"({"messages":[{"role":"user","content":"hello"}],"add_generation_prompt":true})";
    static const std::string place = "test";
    return model.text().RenderTokens(request, place);
  }
  static GenerateResult Ask(Session& session) {
    return session.Generate(Render(session.model()), *generate_);
  }
  static GenerateResult LoadAndAsk() {
    Session session(Model::Load(*path_, *load_));
    return Ask(session);
  }

  // All but the answer, which the model's own thread computes.
  static GenerateResult LoadAndRender() {
    const std::shared_ptr<Model> model = Model::Load(*path_, *load_);
    GenerateResult result;
    result.tokens = Render(*model).tokens;
    return result;
  }

  static culet::testing::TemporaryFolder* folder_;
  static std::filesystem::path* path_;
  static LoadOptions* load_;
  static GenerateOptions* generate_;
};
culet::testing::TemporaryFolder* Faults::folder_;
std::filesystem::path* Faults::path_;
LoadOptions* Faults::load_;
GenerateOptions* Faults::generate_;

// What `body` gives while the n-th call fails; nothing where it ends in a culet::Error. Any other
// exception is the test's failure.
std::optional<GenerateResult> With(Call call, std::uint64_t n, bool and_all_after,
                                   const std::function<GenerateResult()>& body) {
  std::optional<GenerateResult> result;
  faults::Arm(call, n, and_all_after);
  try {
    result = body();
  } catch (const Error& error) {
    faults::Disarm();
    EXPECT_STRNE(error.what(), "");
    return std::nullopt;
  } catch (const std::exception& error) {
    faults::Disarm();
    ADD_FAILURE() << faults::CallName(call) << " number " << n << ": " << error.what();
    return std::nullopt;
  }
  faults::Disarm();
  return result;
}

std::uint64_t Count(Call call, const std::function<GenerateResult()>& body) {
  faults::Arm(call, UINT64_MAX);
  body();
  return faults::Disarm();
}

// Runs `body` once for each number. What is held afterwards is what was held before, and an answer
// that came in spite of the fault is the right one. Returns how many ended in an error.
std::size_t FailEach(Call call, const std::vector<std::uint64_t>& numbers, bool and_all_after,
                     const std::function<GenerateResult()>& body) {
  const GenerateResult expected = body();
  body();  // whatever is made once is made by now
  const faults::Held before = faults::HeldNow();
  std::size_t failed = 0;
  for (const std::uint64_t n : numbers) {
    {
      const std::optional<GenerateResult> result = With(call, n, and_all_after, body);
      failed += result ? 0 : 1;
      if (result &&
          (result->logits_hash != expected.logits_hash || result->tokens != expected.tokens)) {
        ADD_FAILURE() << faults::CallName(call) << " number " << n << " changed the answer";
      }
    }
    const faults::Held after = faults::HeldNow();
    if (after == before) continue;
    ADD_FAILURE() << faults::CallName(call) << " number " << n << " of a load failed, and now "
                  << faults::ToText(after) << " are held; before it were "
                  << faults::ToText(before);
    break;
  }
  return failed;
}

TEST_F(Faults, EverySystemCallOfALoadMayFail) {
  for (const Call call : {Call::kOpen, Call::kStat, Call::kRead, Call::kMap}) {
    const std::uint64_t total = Count(call, LoadAndAsk);
    ASSERT_GT(total, 0u) << faults::CallName(call) << " was never made: it is not in our hands";
    const std::vector<std::uint64_t> numbers = faults::Numbers(total, 1000, 0);
    EXPECT_EQ(FailEach(call, numbers, false, LoadAndAsk), numbers.size()) << faults::CallName(call);
    EXPECT_EQ(FailEach(call, numbers, true, LoadAndAsk), numbers.size()) << faults::CallName(call);
  }
}

TEST_F(Faults, ShortReadsAndInterruptedOnesDoNotMatter) {
  for (const Call call : {Call::kReadSome, Call::kInterrupt}) {
    const std::vector<std::uint64_t> numbers = faults::Numbers(Count(call, LoadAndAsk), 1000, 0);
    ASSERT_FALSE(numbers.empty());
    EXPECT_EQ(FailEach(call, numbers, false, LoadAndAsk), 0u) << faults::CallName(call);
  }
}

TEST_F(Faults, ThreadsThatTheSystemDoesNotStartAreAnError) {
  const LoadOptions two = *load_;
  load_->threads = 4;
  // Three beside the caller's, and the one that steps the engine.
  ASSERT_EQ(Count(Call::kThread, LoadAndAsk), 4u);
  EXPECT_EQ(FailEach(Call::kThread, {1, 2, 3, 4}, false, LoadAndAsk), 4u);
  EXPECT_EQ(FailEach(Call::kThread, {1, 2, 3, 4}, true, LoadAndAsk), 4u);
  *load_ = two;
}

TEST_F(Faults, EveryAllocationOfALoadMayFail) {
  LoadAndRender();
  const std::uint64_t total = Count(Call::kNew, LoadAndRender);
  RecordProperty("allocations", static_cast<int>(total));
  const std::vector<std::uint64_t> numbers = faults::Numbers(total, kFirst, kSample);
  // A few are of things that a load can do without, such as the look at /proc/meminfo.
  EXPECT_GE(FailEach(Call::kNew, numbers, false, LoadAndRender), numbers.size() * 19 / 20);
}

TEST_F(Faults, MemoryMayRunOutForGood) {
  LoadAndRender();
  std::vector<std::uint64_t> numbers;
  for (const std::uint64_t n : faults::Numbers(Count(Call::kNew, LoadAndRender), kFirst, kSample)) {
    if (n % 11 == 1) numbers.push_back(n);
  }
  EXPECT_EQ(FailEach(Call::kNew, numbers, true, LoadAndRender), numbers.size());
}

TEST_F(Faults, PinnedPagesSurviveAnAllocationThatFailed) {
  load_->rewind_tokens = 32;
  const faults::Held before = faults::HeldNow();
  {
    Session session(Model::Load(*path_, *load_));
    const GenerateResult expected = Ask(session);
    for (std::uint64_t n = 1; n <= 4; ++n) {
      faults::Arm(Call::kNew, n);
      try {
        session.Rewind(session.tokens().size() - 1);
        session.Pin();
      } catch (const Error&) {
      }
      faults::Disarm();
      session.Reset();
      ASSERT_EQ(Ask(session).logits_hash, expected.logits_hash) << n;
    }
  }
  const faults::Held after = faults::HeldNow();
  EXPECT_EQ(faults::ToText(after), faults::ToText(before));
  load_->rewind_tokens = 0;
}

TEST_F(Faults, EveryAllocationOfADescriptionMayFail) {
  const auto describe = [] {
    Describe(*path_, *load_);
    return GenerateResult();
  };
  const std::vector<std::uint64_t> numbers = faults::Numbers(Count(Call::kNew, describe), 200, 50);
  FailEach(Call::kNew, numbers, false, describe);
}

}  // namespace
}  // namespace culet
