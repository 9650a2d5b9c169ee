// Fails where a picture, sound or video stands in another place of the prompt than its message
// says, or where one that has no place is passed over.
#include <gtest/gtest.h>

#include "api/prompt_media.h"
#include "base/error.h"

namespace culet {
namespace {

Media Named(MediaKind kind, const std::string& name) { return Media::File(kind, name); }
const MediaKind kImage = MediaKind::kImage;
const MediaKind kAudio = MediaKind::kAudio;
const MediaKind kVideo = MediaKind::kVideo;

// The parts as "[image]text[audio]", and the names of the media in their order.
std::string Shown(const OrderedJson& content, std::span<const Media> media) {
  if (content.is_string()) return content.get<std::string>();
  std::size_t next = 0;
  std::string text;
  for (const OrderedJson& part : content) {
    const std::string type = part.at("type");
    text += type == "text" ? part.at("text").get<std::string>()
                           : "[" + type + " " + media[next++].name() + "]";
  }
  EXPECT_EQ(next, media.size());
  return text;
}

std::string Placed(const std::string& text, const std::vector<Media>& media) {
  const OrderedJson content = ContentWithMedia(text, media, "here");
  return Shown(content, InOrderOf(content, media));
}

std::string ErrorOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(MediaParts, WithoutMarkersMediaStandBeforeTheTextInTheirOrder) {
  EXPECT_EQ(Placed("What?", {Named(kVideo, "v"), Named(kImage, "a"), Named(kImage, "b")}),
            "[video v][image a][image b]What?");
  EXPECT_EQ(Placed("", {Named(kAudio, "s")}), "[audio s]");
  EXPECT_EQ(Placed("What?", {}), "What?");
}

TEST(MediaParts, MarkersSayWhere) {
  EXPECT_EQ(Placed("Is <image> like <image>?", {Named(kImage, "a"), Named(kImage, "b")}),
            "Is [image a] like [image b]?");
  EXPECT_EQ(Placed("<audio> and <image>", {Named(kImage, "a"), Named(kAudio, "s")}),
            "[audio s] and [image a]");
  // Kinds without markers stand in front; markers of kinds that are not there are text.
  EXPECT_EQ(Placed("see <image> <video>", {Named(kAudio, "s"), Named(kImage, "a")}),
            "[audio s]see [image a] <video>");
}

TEST(MediaParts, AMarkerTooFewOrTooManyIsRefused) {
  EXPECT_NE(ErrorOf([] {
              Placed("<image>", {Named(kImage, "a"), Named(kImage, "b")});
            }).find("1 markers <image> for 2"),
            std::string::npos);
  EXPECT_NE(ErrorOf([] { Placed("<image><image>", {Named(kImage, "a")}); }), "");
}

OrderedJson Messages(const std::string& json) { return ParseOrderedJson(json, "test"); }

TEST(MediaParts, PartsWithAPathAndPartsThatWereGivenStandInTheOrderOfTheMessages) {
  OrderedJson messages = Messages(
      R"([{"role": "user", "content": [{"type": "image", "path": "a"}, {"type": "text", "text": "x"},
                                       {"type": "audio"}]},
          {"role": "assistant", "content": "y"},
          {"role": "user", "content": [{"type": "image"}, {"type": "image", "path": "c"}]}])");
  const std::vector<Media> given = {Named(kAudio, "s"), Named(kImage, "b")};
  std::vector<std::string> names;
  for (const Media& medium : TakeMedia(&messages, given, "test")) names.push_back(medium.name());
  EXPECT_EQ(names, (std::vector<std::string>{"a", "s", "b", "c"}));
  EXPECT_FALSE(messages[0]["content"][0].contains("path")) << "the template must not see it";
}

TEST(MediaParts, WhatIsGivenWithoutAPartBelongsToTheLastUser) {
  OrderedJson messages = Messages(
      R"([{"role": "user", "content": [{"type": "image", "path": "a"}]},
          {"role": "assistant", "content": "y"},
          {"role": "user", "content": "and <image>?"}, {"role": "assistant", "content": "z"}])");
  const std::vector<Media> given = {Named(kImage, "b")};
  const std::vector<Media> media = TakeMedia(&messages, given, "test");
  ASSERT_EQ(media.size(), 2u);
  EXPECT_EQ(media[1].name(), "b");
  EXPECT_EQ(Shown(messages[2]["content"], std::span(media).subspan(1)), "and [image b]?");
}

TEST(MediaParts, WhatHasNoPlaceIsRefusedByName) {
  const std::vector<Media> given = {Named(kImage, "b.png"), Named(kImage, "c.png")};
  OrderedJson one = Messages(R"([{"role": "user", "content": [{"type": "image"}]}])");
  EXPECT_NE(ErrorOf([&] { TakeMedia(&one, given, "test"); }).find("c.png"), std::string::npos);
  OrderedJson none = Messages(R"([{"role": "system", "content": "x"}])");
  EXPECT_NE(ErrorOf([&] { TakeMedia(&none, given, "test"); }).find("b.png"), std::string::npos);
  OrderedJson sound = Messages(R"([{"role": "user", "content": [{"type": "audio"}]}])");
  EXPECT_NE(ErrorOf([&] { TakeMedia(&sound, given, "test"); }), "");
  OrderedJson bare = Messages(R"([{"role": "user", "content": [{"type": "video"}]}])");
  EXPECT_NE(ErrorOf([&] { TakeMedia(&bare, {}, "test"); }).find("messages[0].content[0]"),
            std::string::npos);
  OrderedJson url =
      Messages(R"([{"role": "user", "content": [{"type": "image", "url": "http://x/y.png"}]}])");
  EXPECT_NE(ErrorOf([&] { TakeMedia(&url, {}, "test"); }).find("url"), std::string::npos);
}

TEST(MediaParts, PlaceholdersOfTheTemplateBecomeTheMediasText) {
  const auto prepared = [](MediaKind kind, const std::string& text) {
    PreparedMedia media;
    media.kind = kind;
    media.text = text;
    return std::make_shared<const PreparedMedia>(media);
  };
  const std::vector<PromptSegment> segments = {
      {"<bos><|image|>", true}, {"<|image|> typed", false}, {"<|audio|>\n", true}};
  const std::vector<std::shared_ptr<const PreparedMedia>> media = {prepared(kImage, "II"),
                                                                   prepared(kAudio, "A")};
  const std::vector<PromptSegment> expanded = ExpandMedia(segments, media, "test");
  ASSERT_EQ(expanded.size(), 3u);
  EXPECT_EQ(expanded[0].text, "<bos>II");
  EXPECT_EQ(expanded[1].text, "<|image|> typed") << "what a user typed is data";
  EXPECT_EQ(expanded[2].text, "A\n");
  EXPECT_NE(ErrorOf([&] { ExpandMedia(segments, std::span(media).first(1), "test"); }), "");
  const std::vector<std::shared_ptr<const PreparedMedia>> more = {media[0], media[1], media[0]};
  EXPECT_NE(ErrorOf([&] { ExpandMedia(segments, more, "test"); }), "");
}

}  // namespace
}  // namespace culet
