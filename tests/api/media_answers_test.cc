// Fails where a picture or sound of one request holds up the answers of others, where its encoding
// cannot be stopped, or where what is wrong with it is not said by its name.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <optional>
#include <thread>

#include "api/media_model.h"
#include "checkpoint/tiny_model.h"
#include "culet/culet.h"

namespace culet {
namespace {

using testing::Bmp;
using testing::ErrorOf;
using testing::TemporaryFolder;
using testing::Wav;

class MediaAnswers : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    testing::WriteMediaModel(folder_->path() / "causal");
    testing::WriteMediaModel(folder_->path() / "both", {.both_ways = true});
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::shared_ptr<Model> Load(const char* name = "causal", LoadOptions options = {}) {
    options.threads = 2;
    if (options.context == 0) options.context = 2048;
    return Model::Load(folder_->path() / name, options);
  }
  static Media Picture(int seed) {
    return Media::Bytes(MediaKind::kImage, Bmp(96, 96, seed), "cat.bmp");
  }
  static Prompt Ask(const Model& model, const std::string& text, std::vector<Media> media = {},
                    std::optional<std::int64_t> image_tokens = 70) {
    MediaOptions options;
    options.image_tokens = image_tokens;
    return model.text().RawPrompt(text, media, options);
  }
  static GenerateOptions Few() {
    GenerateOptions options;
    options.temperature = 0;
    options.max_tokens = 4;
    options.ignore_stop_tokens = true;
    return options;
  }

  static TemporaryFolder* folder_;
};
TemporaryFolder* MediaAnswers::folder_ = nullptr;

// Between two layers of one encoding another answer begins, gets all of its tokens, and ends.
TEST_F(MediaAnswers, OthersAreAnsweredWhileAPictureIsEncoded) {
  const std::shared_ptr<Model> model = Load();
  GenerateOptions options = Few();
  int between = 0;
  options.on_media = [&](std::int64_t done, std::int64_t total) {
    if (done == 0 || done == total) return true;
    Answer other = Start(model, Ask(*model, "hello"), Few());
    for (int waits = 0; !other.ended() && waits < 300; ++waits) other.NextWithin(0.1);
    EXPECT_TRUE(other.ended()) << "the encoding holds the model";
    if (!other.ended()) return false;
    EXPECT_EQ(other.Wait().tokens.size(), 4u);
    ++between;
    return true;
  };
  const GenerateResult result =
      Generate(model, Ask(*model, "What?", {Picture(1), Picture(2)}), options);
  EXPECT_EQ(result.tokens.size(), 4u);
  EXPECT_EQ(between, 2) << "three layers have two gaps";
}

TEST_F(MediaAnswers, AnEncodingThatIsStoppedIsACancelledAnswer) {
  const std::shared_ptr<Model> model = Load();
  Session session(model);
  const GenerateResult before = session.Generate(Ask(*model, "hello"), Few());
  const std::vector<TokenId> known(session.tokens().begin(), session.tokens().end());
  const Prompt prompt = Ask(*model, "What?", {Picture(3)});
  GenerateOptions options = Few();
  int asked = 0;
  options.on_media = [&](std::int64_t done, std::int64_t) {
    ++asked;
    return done == 0;
  };
  for (const bool in_session : {true, false}) {
    asked = 0;
    const GenerateResult stopped =
        in_session ? session.Generate(prompt, options) : Start(model, prompt, options).Wait();
    EXPECT_EQ(stopped.finish_reason, FinishReason::kCancelled);
    EXPECT_TRUE(stopped.tokens.empty());
    EXPECT_LE(asked, 4) << "asked on after it was told to stop";
  }
  EXPECT_EQ(std::vector<TokenId>(session.tokens().begin(), session.tokens().end()), known);
  // The way in which a command stops an answer stops an encoding too.
  int looks = 0;
  const GenerateResult stopped = session.Generate(prompt, Few(), {}, [&] { return ++looks >= 2; });
  EXPECT_EQ(stopped.finish_reason, FinishReason::kCancelled);
  EXPECT_LE(looks, 4);
  options = Few();
  options.timeout_s = 1e-9;
  EXPECT_EQ(Generate(model, prompt, options).finish_reason, FinishReason::kTimeout);
  EXPECT_EQ(session.Generate(prompt, Few()).tokens.size(), 4u);
}

TEST_F(MediaAnswers, ProgressRisesToTheWholeAndKnownMediaHaveNone) {
  const std::shared_ptr<Model> model = Load();
  const Media sound = Media::Bytes(MediaKind::kAudio, Wav(8000), "word.wav");
  const Prompt prompt = Ask(*model, "What?", {Picture(4), sound, Picture(5), Picture(4)});
  GenerateOptions options = Few();
  std::vector<std::int64_t> steps;
  std::int64_t whole = 0;
  options.on_media = [&](std::int64_t done, std::int64_t total) {
    steps.push_back(done);
    whole = total;
    return true;
  };
  Generate(model, prompt, options);
  ASSERT_FALSE(steps.empty());
  EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end()));
  EXPECT_EQ(steps.front(), 0);
  EXPECT_EQ(steps.back(), whole) << "the picture that stands there twice counts once";
  steps.clear();
  Generate(model, prompt, options);
  EXPECT_TRUE(steps.empty()) << "encoded again";
}

TEST_F(MediaAnswers, AGridThatTheModelHasNoPositionsForNamesTheMedium) {
  const std::shared_ptr<Model> model = Load();
  const Media wide = Media::Bytes(MediaKind::kImage, Bmp(900, 3, 6), "wide.bmp");
  const Prompt prompt = Ask(*model, "What?", {Picture(6), wide}, 280);
  const std::string message =
      ErrorOf(ErrorKind::kInvalidArgument, [&] { Generate(model, prompt, Few()); });
  EXPECT_EQ(message.find("wide.bmp: an image of "), 0u) << message;
  EXPECT_NE(message.find("up to 200"), std::string::npos) << message;
}

// So many tokens, and a row of every other answer beside them, are more than the default step.
TEST_F(MediaAnswers, AModelHasRoomForThePicturesThatItIsLoadedFor) {
  const std::string message = ErrorOf(ErrorKind::kResource, [] {
    const std::shared_ptr<Model> model = Load("both");
    Generate(model, Ask(*model, "What?", {Picture(7)}, 560), Few());
  });
  EXPECT_NE(message.find("LoadOptions::image_tokens"), std::string::npos) << message;
  LoadOptions options;
  options.image_tokens = 560;
  for (const int sequences : {0, 1, 7}) {
    options.sequences = sequences;
    const std::shared_ptr<Model> model = Load("both", options);
    EXPECT_GE(model->info().chunk, 560 + model->info().sequences - 1);
    EXPECT_EQ(Generate(model, Ask(*model, "What?", {Picture(7)}, 560), Few()).tokens.size(), 4u);
  }
  EXPECT_EQ(Load("causal", options)->info().chunk, 512) << "it may be cut there";
}

TEST_F(MediaAnswers, ALongSoundIsHeardInPieces) {
  const std::shared_ptr<Model> model = Load();
  const auto sound = [&](double seconds) {
    return Media::Bytes(MediaKind::kAudio, Wav(static_cast<std::int64_t>(16000 * seconds)),
                        "s.wav");
  };
  const Prompt half = Ask(*model, "", {sound(30)});
  EXPECT_EQ(half.media.size(), 1u);
  EXPECT_TRUE(half.warnings.empty());
  const Prompt whole = Ask(*model, "", {sound(75)});
  EXPECT_EQ(whole.media.size(), 3u);
  ASSERT_EQ(whole.warnings.size(), 1u);
  EXPECT_NE(whole.warnings.front().find("s.wav"), std::string::npos);
  // Twice 30 s and once 15 s, each in its own marks; <bos> once.
  EXPECT_EQ(whole.tokens.size() - 1, 2 * (half.tokens.size() - 1) + 375 + 2);
  EXPECT_EQ(Ask(*model, "", {sound(30.005)}).media.size(), 1u) << "less than a frame is left over";
  EXPECT_EQ(Generate(model, whole, Few()).tokens.size(), 4u);
}

}  // namespace
}  // namespace culet
