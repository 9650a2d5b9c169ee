// Fails where a picture that is given to a conversation stands elsewhere than it was put, cannot be
// taken back, or is taken for words, and where words are taken for a picture.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "api/media_model.h"
#include "cli/program.h"

namespace culet {
namespace {

using nlohmann::json;
using testing::Bmp;
using testing::Wav;

// The folder "sees" has the model; each test works beside it.
class ChatMedia : public ::testing::Test {
 protected:
  ChatMedia() {
    testing::WriteMediaModel(folder_.path() / "sees");
    folder_.Write("a.bmp", Bmp(96, 96, 1));
    folder_.Write("my cat's.bmp", Bmp(96, 96, 2));
    folder_.Write("word.wav", Wav(8000));
    folder_.Write("notes.txt", "no picture\n");
  }

  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }

  // Content of the messages of users in a saved conversation, media as "[type name]".
  std::vector<std::string> Saved(const std::string& name) const {
    std::vector<std::string> contents;
    const json talk = json::parse(folder_.Read(name));
    for (const json& message : talk["messages"]) {
      if (message["role"] != "user") continue;
      if (message["content"].is_string()) {
        contents.push_back(message["content"]);
        continue;
      }
      contents.emplace_back();
      for (const json& part : message["content"]) {
        const std::string type = part["type"];
        contents.back() +=
            type == "text"
                ? std::string(part["text"])
                : "[" + type + " " +
                      std::filesystem::path(std::string(part["path"])).filename().string() + "]";
      }
    }
    return contents;
  }

  TemporaryFolder folder_;
  const std::vector<std::string> arguments_ = {"chat",         "sees", "--temperature",  "0",
                                               "--max-tokens", "2",    "--image-tokens", "70",
                                               "--threads",    "2"};
};

TEST_F(ChatMedia, MarkersSayWhereAPictureStands) {
  const Finished chat =
      RunShell(folder_.path(),
               "culet chat sees --temperature 0 --max-tokens 2 --image-tokens 70 --threads 2",
               "/image a.bmp\n/audio word.wav\nIs <image> loud?\n"
               "/image a.bmp\n/image my cat's.bmp\n/remove 1\nWhat?\n"
               "/image a.bmp\nIs <image> like <image>?\n/remove\n/remove\nIs <image> a word?\n"
               "Look at " +
                   Path("a.bmp") + "\n/save talk.json\n");
  EXPECT_EQ(chat.exit_code, 0) << chat.error;
  const std::vector<std::string> expected = {"[audio word.wav]Is [image a.bmp] loud?",
                                             "[image my cat's.bmp]What?", "Is <image> a word?",
                                             "Look at " + Path("a.bmp")};
  EXPECT_EQ(Saved("talk.json"), expected) << chat.out << chat.error;
  EXPECT_NE(chat.error.find("2 markers <image> for 1"), std::string::npos) << chat.error;
  EXPECT_NE(chat.out.find("image a.bmp goes with the next message: 66 tokens"), std::string::npos)
      << chat.out;
  EXPECT_NE(chat.out.find("a.bmp stays out; 1 left"), std::string::npos) << chat.out;
  EXPECT_NE(chat.out.find("a.bmp stays out; 0 left"), std::string::npos) << chat.out;
  EXPECT_NE(chat.out.find("no picture, sound or video waits"), std::string::npos) << chat.out;
}

TEST_F(ChatMedia, APathThatIsDroppedIsTheMedium) {
  if (!HasTerminals()) GTEST_SKIP() << "this system gives no pseudo-terminals: mount /dev/pts";
  TerminalProgram chat(folder_.path(), arguments_);
  const auto say = [&](const std::string& line, const std::string& answer) {
    EXPECT_TRUE(chat.WaitForEditor(">>> ")) << chat.shown();
    chat.Type(line + "\r");
    EXPECT_TRUE(chat.WaitFor(answer)) << line << "\n" << chat.shown();
  };
  const std::string quoted = "'" + (folder_.path() / "my cat'\\''s.bmp").string() + "'";
  std::string url = "file://" + Path("my%20cat%27s.bmp");
  // By itself: for the next message, and it can be taken back.
  say(quoted, "cat's.bmp goes with the next message: 66 tokens");
  say("/remove", "stays out; 0 left");
  say(Path("my cat's.bmp") + " ", "cat's.bmp goes with the next message");
  say("/remove", "stays out; 0 left");
  say(url + " " + Path("word.wav"), "word.wav goes with the next message");
  say("What?", "\n");
  // In a message: at its place, and what is no medium stays text.
  say("/image a.bmp", "goes with the next message");
  say("Is \"" + Path("my cat's.bmp") +
          "\" like ./a.bmp, or `./a.bmp`? See ./notes.txt, ./none.bmp.",
      "image ./a.bmp: 66 tokens");
  // An apostrophe and a lone quotation mark open no quotation.
  say("What's 5\" in (./a.bmp)?", "image ./a.bmp: 66 tokens");
  say("/" + Path("a.bmp") + " is a path", "\n");
  say(Path("notes.txt"), "notes.txt is no picture, sound or video");
  say("/save talk.json", "saved");
  EXPECT_TRUE(chat.WaitForEditor(">>> "));
  chat.Type("\x04");
  EXPECT_EQ(chat.WaitForEnd(), 0);
  const std::vector<std::string> expected = {
      "[image my cat's.bmp][audio word.wav]What?",
      "[image a.bmp]Is [image my cat's.bmp] like [image a.bmp], or `./a.bmp`? See ./notes.txt, "
      "./none.bmp.",
      "What's 5\" in ([image a.bmp])?", Path("a.bmp") + " is a path"};
  EXPECT_EQ(Saved("talk.json"), expected) << chat.shown();
}

TEST_F(ChatMedia, CtrlCStopsAnEncoding) {
  if (!HasTerminals()) GTEST_SKIP() << "this system gives no pseudo-terminals: mount /dev/pts";
  testing::WriteMediaModel(folder_.path() / "slow",
                           {.vision_hidden = 96, .vision_intermediate = 256, .vision_layers = 200});
  std::vector<std::string> arguments = {"run",   "slow",           "What?", "--image",
                                        "a.bmp", "--image-tokens", "70",    "--threads",
                                        "1",     "--max-tokens",   "2"};
  ::setenv("CULET_CPU", "plain", 1);
  TerminalProgram run(folder_.path(), arguments);
  ::unsetenv("CULET_CPU");
  ASSERT_TRUE(run.WaitFor("(pictures and sounds are encoded)")) << run.shown();
  run.Type("\x03");
  EXPECT_EQ(run.WaitForEnd(), 130) << run.shown();
}

TEST_F(ChatMedia, BenchShowsTheStagesOfAPicture) {
  const Finished bench = RunShell(
      folder_.path(),
      "culet bench sees --prefill 0 --decode 0 --repeat 2 --threads 1 --image a.bmp --images 1,3 "
      "--image-tokens 70,140 --json");
  ASSERT_EQ(bench.exit_code, 0) << bench.error;
  const json images = json::parse(bench.out)["images"];
  ASSERT_EQ(images.size(), 4u);
  for (const json& run : images) {
    const double sum = run["decode_ms"].get<double>() + run["prepare_ms"].get<double>() +
                       run["tower_ms"].get<double>() + run["soft_ms"].get<double>();
    EXPECT_NEAR(run["ms"].get<double>(), sum, 0.5 * sum);  // medians of each
    EXPECT_EQ(run["patches"].get<int>(), 9 * run["tokens"].get<int>());
    EXPECT_GT(run["ratio_to_peak"], 0.0);
    EXPECT_LT(run["ratio_to_peak"], 1.5);
  }
  EXPECT_EQ(images[0]["tokens"], 64);
  EXPECT_EQ(images[2]["tokens"], 121);
  EXPECT_EQ(images[0]["tower_multiply_adds"], images[1]["tower_multiply_adds"]);
}

}  // namespace
}  // namespace culet
