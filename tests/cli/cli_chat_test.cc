// Fails where a conversation forgets, computes again what it has, or cannot be edited and stopped.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "cli/program.h"

namespace culet {
namespace {

using nlohmann::json;

constexpr const char* kChat = "culet chat pebble --temperature 0 ";

Finished Chat(const TemporaryFolder& folder, const std::string& input,
              const std::string& options = "") {
  return RunShell(folder.path(), kChat + options, input);
}

struct Stats {
  int prompt = -1, kept = -1, computed = -1, again = -1;
};

// Of every /stats in the output.
std::vector<Stats> AllStats(const std::string& out) {
  static const std::regex line(
      R"(prompt +(\d+) tokens: (\d+) kept, (\d+) computed, (\d+) of them again)");
  std::vector<Stats> all;
  for (std::sregex_iterator match(out.begin(), out.end(), line), end; match != end; ++match) {
    all.push_back({std::stoi((*match)[1]), std::stoi((*match)[2]), std::stoi((*match)[3]),
                   std::stoi((*match)[4])});
  }
  return all;
}

TEST(Chat, AnswersALineATurnAndPrintsNoPromptInAPipe) {
  const TemporaryFolder folder;
  const Finished chat = Chat(folder, "What is 27 + 45?\nWhat is 3 + 4?\n");
  EXPECT_EQ(chat.exit_code, 0) << chat.error;
  EXPECT_EQ(chat.out.find(">>>"), std::string::npos);
  EXPECT_EQ(std::count(chat.out.begin(), chat.out.end(), '\n'), 2) << chat.out;
  EXPECT_EQ(RunShell(folder.path(), "culet run pebble 'What is 27 + 45?' --temperature 0").out,
            chat.out.substr(0, chat.out.find('\n') + 1));
}

TEST(Chat, ATurnComputesOnlyItsNewTokens) {
  const TemporaryFolder folder;
  const Finished chat =
      Chat(folder, "Hi\n/stats\nWhat is 3 + 4?\n/stats\nWhat is 8 - 2?\n/stats\n");
  const std::vector<Stats> stats = AllStats(chat.out);
  ASSERT_EQ(stats.size(), 3u) << chat.out;
  EXPECT_EQ(stats[0].kept, 0);
  for (std::size_t turn = 1; turn < 3; ++turn) {
    // The whole of the turn before stays; new are the end of its answer and the new message.
    EXPECT_GE(stats[turn].kept, stats[turn - 1].prompt);
    EXPECT_LE(stats[turn].computed, 22);
    EXPECT_EQ(stats[turn].kept + stats[turn].computed, stats[turn].prompt);
    EXPECT_EQ(stats[turn].again, 0);
  }
}

// Seeds whose hot answers are split otherwise than the tokenizer would split them. Kernels round
// differently from machine to machine, so one or two may say something else there.
TEST(Chat, WhatTheModelWroteKeepsItsTokens) {
  const TemporaryFolder folder;
  int kept = 0;
  for (const char* seed : {"86", "103", "108", "190", "194"}) {
    const Finished chat = RunShell(
        folder.path(),
        std::string("culet chat pebble --temperature 6 --top-k 60 --max-tokens 16 --seed ") + seed,
        "Tell me.\n/stats\nMore.\n/stats\n");
    const std::vector<Stats> stats = AllStats(chat.out);
    ASSERT_EQ(stats.size(), 2u) << chat.out << chat.error;
    kept += stats[1].kept >= stats[0].prompt + 15 ? 1 : 0;
  }
  EXPECT_GE(kept, 3);
}

TEST(Chat, UndoGoesBackWithoutComputingAgain) {
  const TemporaryFolder folder;
  const Finished chat = Chat(folder,
                             "Hi\nWhat is 3 + 4?\n/stats\n/undo\nWhat is 3 + "
                             "4?\n/stats\n/undo\n/undo\n/undo\nHi\n/stats\n");
  const std::vector<Stats> stats = AllStats(chat.out);
  ASSERT_EQ(stats.size(), 3u) << chat.out;
  EXPECT_EQ(stats[1].prompt, stats[0].prompt);
  EXPECT_EQ(stats[1].computed, 1) << "only the last token, for its logits";
  EXPECT_EQ(stats[2].computed, 1);
  EXPECT_NE(chat.out.find("there is no turn to forget"), std::string::npos);
}

TEST(Chat, AThoughtThatIsDroppedCostsOnlyTheAnswer) {
  const TemporaryFolder folder;
  const Finished chat =
      Chat(folder, "What is 2 + 3 + 4?\n/stats\nWhat is 3 + 4?\n/stats\n", "--think");
  const std::vector<Stats> stats = AllStats(chat.out);
  ASSERT_EQ(stats.size(), 2u) << chat.out;
  EXPECT_GE(stats[1].kept, stats[0].prompt) << "the prompt before the thought stays";
  EXPECT_EQ(stats[1].again, 0);
}

TEST(Chat, TheSystemPromptThinkingAndResetHold) {
  const TemporaryFolder folder;
  const Finished chat =
      Chat(folder,
           "/system\n/system Answer with one word.\n/system\n/think\n/think on\n/think\n"
           "/think maybe\n/system \"\"\n/reset\n/bogus\n/stat\n/stats\n");
  EXPECT_EQ(chat.exit_code, 0);
  EXPECT_EQ(chat.out,
            "no system prompt\nsystem prompt: Answer with one word.\nsystem prompt: Answer with "
            "one word.\n"
            "thinking is off\nthinking is on\nthinking is on\nno system prompt\n"
            "the conversation is forgotten\nno turn yet\n");
  EXPECT_EQ(chat.error,
            "culet: /think is on or off, not \"maybe\"\nculet: there is no command /bogus; /help "
            "lists them\n"
            "culet: there is no command /stat; did you mean /stats?\n");
}

TEST(Chat, SavesAndGoesOnWithWhatWasSaved) {
  const TemporaryFolder folder;
  const Finished saved =
      Chat(folder, "/system Be kind.\nWhat is 3 + 4?\n/save talk.json\nHi\n/stats\n");
  const json talk = json::parse(folder.Read("talk.json"));
  EXPECT_EQ(talk["system"], "Be kind.");
  ASSERT_EQ(talk["messages"].size(), 2u);
  EXPECT_EQ(talk["messages"][0]["role"], "user");
  EXPECT_EQ(talk["messages"][1]["role"], "assistant");
  const Finished loaded = Chat(folder, "/load talk.json\nHi\n/stats\n");
  ASSERT_EQ(AllStats(loaded.out).size(), 1u) << loaded.out << loaded.error;
  EXPECT_EQ(AllStats(loaded.out)[0].prompt, AllStats(saved.out)[0].prompt);
  const Finished started = Chat(folder, "Hi\n/stats\n", "--load talk.json");
  EXPECT_EQ(AllStats(started.out)[0].prompt, AllStats(saved.out)[0].prompt);
  const Finished refused = Chat(folder, "/load no.json\n/save no/such.json\nHi\n");
  EXPECT_EQ(refused.exit_code, 0) << "only the command fails";
  EXPECT_NE(refused.error.find("no.json"), std::string::npos);
  EXPECT_NE(refused.error.find("no/such.json"), std::string::npos);
}

TEST(Chat, StatsAreOfTheLastTurnThatIsNotUndone) {
  const TemporaryFolder folder;
  const Finished chat = Chat(folder,
                             "Hi\n/stats\nWhat is 3 + 4?\n/undo\n/stats\n/undo\n/stats\nHi\n"
                             "/reset\n/stats\n");
  const std::vector<Stats> stats = AllStats(chat.out);
  ASSERT_EQ(stats.size(), 2u) << chat.out;
  EXPECT_EQ(stats[1].prompt, stats[0].prompt);
  EXPECT_EQ(stats[1].computed, stats[0].computed);
  std::size_t none = 0;
  for (std::size_t at = 0; (at = chat.out.find("no turn yet", at)) != std::string::npos; ++at) {
    ++none;
  }
  EXPECT_EQ(none, 2u) << chat.out;
}

TEST(Chat, ToolsAreSavedAndComeBack) {
  const TemporaryFolder folder;
  folder.Write("tools.json", R"([{"name": "weather", "description": "d"}])");
  const Finished with =
      Chat(folder, "Hi\n/save talk.json\nHi\n/stats\n", "--max-tokens 3 --tools tools.json");
  const json talk = json::parse(folder.Read("talk.json"));
  ASSERT_EQ(talk["tools"].size(), 1u) << talk;
  EXPECT_EQ(talk["tools"][0]["function"]["name"], "weather");
  const Finished loaded = Chat(folder, "/load talk.json\nHi\n/stats\n", "--max-tokens 3");
  ASSERT_EQ(AllStats(loaded.out).size(), 1u) << loaded.out << loaded.error;
  EXPECT_EQ(AllStats(loaded.out)[0].prompt, AllStats(with.out)[0].prompt);
  const Finished without = Chat(folder, "Hi\n/save bare.json\n", "--max-tokens 3");
  EXPECT_FALSE(json::parse(folder.Read("bare.json")).contains("tools"));
}

// What no template could render must not become the conversation.
TEST(Chat, ALoadThatIsRefusedNamesTheMessageAndChangesNothing) {
  const TemporaryFolder folder;
  const std::pair<std::string, std::string> refused[] = {
      {R"([{"role": "user", "content": "a"}, {"role": "assistent", "content": "b"}])",
       "messages[1].role is \"assistent\""},
      {R"([{"role": "user", "content": "a"}, {"content": "b"}])", "messages[1] has no role"},
      {R"([{"role": "user", "content": "a"}, 7])", "messages[1] has no role"},
      {R"([{"role": "user", "content": {"a": 1}}])", "messages[0].content"},
      {R"({"system": "s", "messages": [{"role": "user", "content": [3]}]})",
       "messages[0].content[0]"},
      {R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}])",
       "messages[0].tool_calls[0].function.arguments"},
      {R"([{"role": "user", "content": [{"type": "image", "url": "x"}]}])",
       "has the member \"url\""},
      {R"({"tools": [{"description": "d"}], "messages": []})", "tool 0 has no function name"},
      {R"({"tools": 5, "messages": []})", "tools are an integer"},
      {R"({"think": 5, "messages": []})", "think is an integer"},
      {R"({"messages": {}})", "the messages are an object"},
  };
  std::string input = "/system Be kind.\n";
  int number = 0;
  for (const auto& [text, message] : refused) {
    const std::string name = "c" + std::to_string(number++) + ".json";
    folder.Write(name, text);
    input += "/load " + name + "\n";
  }
  input += "/save talk.json\n";
  const Finished chat = Chat(folder, input);
  EXPECT_EQ(chat.exit_code, 0);
  std::istringstream lines(chat.error);
  number = 0;
  for (const auto& [text, message] : refused) {
    std::string line;
    std::getline(lines, line);
    EXPECT_EQ(line.find("culet: c" + std::to_string(number++) + ".json: "), 0u) << line;
    EXPECT_NE(line.find(message), std::string::npos) << text << "\n" << line;
  }
  const json talk = json::parse(folder.Read("talk.json"));
  EXPECT_EQ(talk["system"], "Be kind.");
  EXPECT_TRUE(talk["messages"].empty());
}

TEST(Chat, SeveralLinesAreOneMessage) {
  const TemporaryFolder folder;
  Chat(folder, "one \\\ntwo\n\"\"\"three\nfour\"\"\"\n//five\n/save talk.json\n", "--max-tokens 1");
  const json talk = json::parse(folder.Read("talk.json"));
  std::vector<std::string> texts;
  for (const json& message : talk["messages"]) {
    if (message["role"] == "user") texts.push_back(message["content"]);
  }
  EXPECT_EQ(texts, (std::vector<std::string>{"one \ntwo", "three\nfour", "/five"}));
}

TEST(Chat, ATurnThatDoesNotFitIsRefusedAndForgotten) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 200; ++i) text += "word ";
  const Finished chat = Chat(folder, text + "\nWhat is 3 + 4?\n", "--context 100");
  EXPECT_EQ(chat.exit_code, 0);
  EXPECT_NE(chat.error.find("the context of 100"), std::string::npos) << chat.error;
  EXPECT_EQ(RunShell(folder.path(), "culet run pebble 'What is 3 + 4?' --temperature 0").out,
            chat.out);
}

TEST(ChatOnATerminal, LinesCanBeEditedAndComeBackFromHistory) {
  if (!HasTerminals()) GTEST_SKIP() << "this system gives no pseudo-terminals: mount /dev/pts";
  const TemporaryFolder folder;
  {
    TerminalProgram chat(folder.path(),
                         {"chat", "pebble", "--temperature", "0", "--max-tokens", "8"});
    ASSERT_TRUE(chat.WaitForEditor(">>> ")) << chat.shown();
    // Left arrow, backspace: "/sysXtem" loses its X; then é is typed and taken back.
    chat.Type(
        "/sysXtem\x1b[D\x1b[D\x1b[D\x7f"
        "\x05 Say \xc3\xa9\x7fyes.\r");
    ASSERT_TRUE(chat.WaitFor("system prompt: Say yes.")) << chat.shown();
    ASSERT_TRUE(chat.WaitForEditor(">>> "));
    chat.Type("\x1b[A\r");  // up: the same line again
    ASSERT_TRUE(chat.WaitFor("system prompt: Say yes.")) << chat.shown();
    ASSERT_TRUE(chat.WaitForEditor(">>> "));
    chat.Type("\x04");  // Ctrl-D
    EXPECT_EQ(chat.WaitForEnd(), 0);
  }
  TerminalProgram chat(folder.path(), {"chat", "pebble"});
  ASSERT_TRUE(chat.WaitForEditor(">>> "));
  chat.Type("\x1b[A\r");  // the history outlives the program
  EXPECT_TRUE(chat.WaitFor("system prompt: Say yes.")) << chat.shown();
}

TEST(ChatOnATerminal, CtrlCStopsTheAnswerAndNotTheProgram) {
  if (!HasTerminals()) GTEST_SKIP() << "this system gives no pseudo-terminals: mount /dev/pts";
  const TemporaryFolder folder;
  TerminalProgram chat(folder.path(), {"chat", "pebble", "--temperature", "4", "--seed", "3"});
  ASSERT_TRUE(chat.WaitForEditor(">>> "));
  chat.Type("half a li\x03");
  ASSERT_TRUE(chat.WaitFor("/exit or Ctrl-D leaves")) << chat.shown();
  ASSERT_TRUE(chat.WaitForEditor(">>> "));
  chat.Type("/system\r");
  ASSERT_TRUE(chat.WaitFor("no system prompt")) << "the line before was dropped: " << chat.shown();
  ASSERT_TRUE(chat.WaitForEditor(">>> "));
  // Hot sampling runs on until the context is full, unless it is stopped.
  chat.Type("Tell me a story.\r");
  ASSERT_TRUE(chat.WaitFor("\n"));
  ASSERT_TRUE(chat.WaitFor("e")) << "an answer begins";
  chat.Type("\x03");
  ASSERT_TRUE(chat.WaitFor("(stopped)")) << chat.shown();
  ASSERT_TRUE(chat.WaitForEditor(">>> "));
  chat.Type("/stats\r");
  ASSERT_TRUE(chat.WaitFor("generated")) << chat.shown();
  chat.Type("/exit\r");
  EXPECT_EQ(chat.WaitForEnd(), 0);
}

TEST(RunOnATerminal, CtrlCEndsWith130) {
  if (!HasTerminals()) GTEST_SKIP() << "this system gives no pseudo-terminals: mount /dev/pts";
  const TemporaryFolder folder;
  TerminalProgram run(folder.path(),
                      {"run", "pebble", "Tell me a story.", "--temperature", "4", "--seed", "3"});
  ASSERT_TRUE(run.WaitFor("e")) << run.shown();
  run.Type("\x03");
  EXPECT_EQ(run.WaitForEnd(), 130) << run.shown();
}

TEST(RunOnATerminal, ALongPromptShowsHowMuchIsComputedAndThatGoesAway) {
  if (!HasTerminals()) GTEST_SKIP() << "this system gives no pseudo-terminals: mount /dev/pts";
  const TemporaryFolder folder;
  std::string prompt;
  for (int i = 0; i < 1600; ++i) prompt += "word ";
  ::setenv("CULET_CPU", "plain", 1);  // slow enough to see
  TerminalProgram run(folder.path(), {"run", "pebble", prompt, "--temperature", "0", "--max-tokens",
                                      "4", "--context", "4096", "--threads", "1"});
  ::unsetenv("CULET_CPU");
  EXPECT_EQ(run.WaitForEnd(), 0);
  static const std::regex line(R"(\rprompt? (\d+)% \((\d+) of (\d+) tokens, [\d.]+ tokens/s\))");
  const std::string shown = std::regex_replace(run.shown(), std::regex("\x1b\\[K"), "");
  std::vector<int> done;
  for (std::sregex_iterator match(shown.begin(), shown.end(), line), end; match != end; ++match) {
    done.push_back(std::stoi((*match)[2]));
    EXPECT_LT(done.back(), std::stoi((*match)[3]));
  }
  EXPECT_GE(done.size(), 2u) << run.shown();
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  // The last one is wiped out before the answer.
  const std::size_t last = run.shown().rfind("tokens/s)");
  ASSERT_NE(last, std::string::npos);
  EXPECT_EQ(run.shown().substr(last + 9, 4), "\r\x1b[K");
}

TEST(RunInAPipe, ALongPromptShowsNothing) {
  const TemporaryFolder folder;
  const Finished run =
      RunShell(folder.path(),
               "CULET_CPU=plain culet run pebble \"$(yes word | head -300)\" --temperature 0 "
               "--max-tokens 4 --context 4096 --threads 1");
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.error.find("tokens/s"), std::string::npos) << run.error;
}

TEST(RunOnATerminal, ThinkingIsDimmedThereAndAbsentInAPipe) {
  if (!HasTerminals()) GTEST_SKIP() << "this system gives no pseudo-terminals: mount /dev/pts";
  const TemporaryFolder folder;
  const std::vector<std::string> words = {"run",     "pebble",        "What is 2 + 3 + 4?",
                                          "--think", "--temperature", "0"};
  TerminalProgram run(folder.path(), words);
  EXPECT_EQ(run.WaitForEnd(), 0);
  EXPECT_NE(run.shown().find("\x1b[2m"), std::string::npos) << run.shown();
  const Finished piped =
      RunShell(folder.path(), "culet run pebble 'What is 2 + 3 + 4?' --think --temperature 0");
  EXPECT_EQ(piped.out.find('\x1b'), std::string::npos);
  EXPECT_EQ(std::count(piped.out.begin(), piped.out.end(), '\n'), 1) << piped.out;
}

}  // namespace
}  // namespace culet
