// If this fails, an exception leaves a function of the C interface where memory runs out, or what
// the function had made by then is lost.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "culet.h"
#include "faults/faults.h"

namespace culet {
namespace {

using faults::Call;

// Every kind of call that hands something out, but answers, which the model's own thread computes.
// `record` is for after the fault: it allocates.
template <typename Record>
void LoadAndRender(const std::string& path, const Record& record) {
  culet_error* error = nullptr;
  culet_model* model = nullptr;
  culet_prompt* prompt = nullptr;
  culet_session* session = nullptr;
  char* json = nullptr;
  char* text = nullptr;
  size_t count = 0;
  const culet_message messages[] = {{"user", "hello"}};
  culet_model_load(path.c_str(), R"({"threads": 1, "context": 64, "chunk": 16})", &model, &error);
  if (!error) culet_model_info(model, &json, &error);
  if (!error) culet_text_chat(culet_model_text(model), messages, 1, false, &prompt, &error);
  const int32_t* tokens = culet_prompt_tokens(prompt, &count);
  if (!error) culet_text_decode(culet_model_text(model), tokens, count, &text, nullptr, &error);
  if (!error) culet_session_new(model, &session, &error);
  if (!error) culet_session_append(session, tokens, count, nullptr, nullptr, &error);
  record(error, text);
  culet_session_free(session);
  culet_prompt_free(prompt);
  culet_free(text);
  culet_free(json);
  culet_model_free(model);
  culet_error_free(error);
}

TEST(CInterface, EveryAllocationMayFail) {
  const std::string path = std::filesystem::path(CULET_SOURCE_DIR) / "models" / "pebble";
  std::string expected;
  for (int i = 0; i < 2; ++i) {  // whatever is made once is made by then
    LoadAndRender(path, [&](const culet_error* error, const char* text) {
      ASSERT_EQ(error, nullptr) << culet_error_message(error);
      expected = text;
    });
  }
  faults::Arm(Call::kNew, UINT64_MAX);
  LoadAndRender(path, [](const culet_error*, const char*) {});
  const std::uint64_t total = faults::Disarm();
  ASSERT_GT(total, 100u);
  const std::vector<std::uint64_t> numbers = faults::Numbers(total, 300, 200);
  const faults::Held before = faults::HeldNow();
  std::size_t failed = 0;
  for (const std::uint64_t n : numbers) {
    for (const bool and_all_after : {false, true}) {
      faults::Arm(Call::kNew, n, and_all_after);
      LoadAndRender(path, [&](const culet_error* error, const char* text) {
        faults::Disarm();
        if (error == nullptr) {
          EXPECT_EQ(text, expected) << n;
          return;
        }
        ++failed;
        EXPECT_EQ(culet_error_status(error), CULET_RESOURCE) << n << culet_error_message(error);
        EXPECT_NE(std::strstr(culet_error_message(error), "memory"), nullptr) << n;
      });
    }
    const faults::Held after = faults::HeldNow();
    ASSERT_TRUE(after == before) << n << ": " << faults::ToText(after)
                                 << " are held; before it were " << faults::ToText(before);
  }
  EXPECT_GE(failed, 2 * numbers.size() * 19 / 20);
}

}  // namespace
}  // namespace culet
