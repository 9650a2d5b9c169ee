// Fails where seeing takes more memory than the plan says before anything is loaded, or so much
// less that the plan says nothing.
#include <gtest/gtest.h>
#include <jpeglib.h>
#include <stdio.h>  // jpeglib.h wants FILE

#include <fstream>

#include "api/media_model.h"
#include "checkpoint/tiny_model.h"
#include "culet/culet.h"
#include "runtime/media_encoders.h"

namespace culet {
namespace {

using testing::TemporaryFolder;

// A field of /proc/self/status in bytes.
std::int64_t Status(const std::string& field) {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with(field + ":")) return std::stoll(line.substr(field.size() + 1)) << 10;
  }
  return -1;
}

std::string Jpeg(unsigned width, unsigned height) {
  jpeg_compress_struct encoder;
  jpeg_error_mgr errors;
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&encoder, &bytes, &size);
  encoder.image_width = width;
  encoder.image_height = height;
  encoder.input_components = 3;
  encoder.in_color_space = JCS_RGB;
  jpeg_set_defaults(&encoder);
  jpeg_start_compress(&encoder, TRUE);
  std::vector<unsigned char> row(3 * std::size_t{width});
  while (encoder.next_scanline < height) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      row[i] = static_cast<unsigned char>(i / 7 + encoder.next_scanline / 3);
    }
    unsigned char* rows[] = {row.data()};
    jpeg_write_scanlines(&encoder, rows, 1);
  }
  jpeg_finish_compress(&encoder);
  jpeg_destroy_compress(&encoder);
  std::string text(reinterpret_cast<char*>(bytes), size);
  free(bytes);
  return text;
}

class Bytes {
 public:
  Bytes& Put(std::size_t value, int count) {
    for (int byte = 0; byte < count; ++byte) text_ += static_cast<char>(value >> (8 * byte));
    return *this;
  }
  Bytes& Text(const std::string& text) {
    text_ += text;
    return *this;
  }
  Bytes& Chunk(const std::string& name, const std::string& content) {
    return Text(name).Put(content.size(), 4).Text(content).Text(content.size() % 2 == 1 ? " " : "");
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// A clip with one frame a second, all of them alike, and a sound of 16 kHz.
std::string Avi(std::size_t width, std::size_t height, std::size_t seconds) {
  const std::string frame = Jpeg(static_cast<unsigned>(width), static_cast<unsigned>(height));
  const auto stream = [](const char* kind, const char* codec, std::size_t scale, std::size_t rate,
                         std::size_t length, std::size_t sample) {
    Bytes header;
    header.Text(kind).Text(codec).Put(0, 12).Put(scale, 4).Put(rate, 4).Put(0, 4).Put(length, 4);
    return header.Put(0, 4).Put(~std::size_t{0}, 4).Put(sample, 4).Put(0, 8).text();
  };
  Bytes main;
  main.Put(1000000, 4).Put(0, 4).Put(0, 4).Put(0x10, 4).Put(seconds, 4).Put(0, 4).Put(2, 4);
  main.Put(0, 4).Put(width, 4).Put(height, 4).Put(0, 16);
  Bytes picture;
  picture.Put(40, 4).Put(width, 4).Put(height, 4).Put(1, 2).Put(24, 2).Text("MJPG").Put(0, 20);
  Bytes sound;
  sound.Put(1, 2).Put(1, 2).Put(16000, 4).Put(32000, 4).Put(2, 2).Put(16, 2);
  Bytes video_list;
  video_list.Text("strl").Chunk("strh", stream("vids", "MJPG", 1, 1, seconds, 0));
  video_list.Chunk("strf", picture.text());
  Bytes sound_list;
  sound_list.Text("strl").Chunk(
      "strh", stream("auds", std::string(4, '\0').c_str(), 1, 16000, 16000 * seconds, 2));
  sound_list.Chunk("strf", sound.text());
  Bytes headers;
  headers.Text("hdrl").Chunk("avih", main.text()).Chunk("LIST", video_list.text());
  headers.Chunk("LIST", sound_list.text());
  const std::string second = testing::Wav(16000).substr(44);
  Bytes movie, index;
  movie.Text("movi");
  for (std::size_t at = 0; at < seconds; ++at) {
    index.Text("00dc").Put(0x10, 4).Put(movie.text().size(), 4).Put(frame.size(), 4);
    movie.Chunk("00dc", frame);
    index.Text("01wb").Put(0x10, 4).Put(movie.text().size(), 4).Put(second.size(), 4);
    movie.Chunk("01wb", second);
  }
  Bytes file;
  file.Text("AVI ").Chunk("LIST", headers.text()).Chunk("LIST", movie.text());
  return Bytes().Chunk("RIFF", file.Chunk("idx1", index.text()).text()).text();
}

TEST(MediaMemory, TheLargestPictureAndAMinuteOfVideoFitIntoThePlan) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "model";
  testing::WriteMediaModel(
      path,
      {.vision_hidden = 256, .vision_intermediate = 512, .vision_layers = 1, .positions = 400});
  testing::WriteText(folder.path() / "photo.jpg", Jpeg(4000, 3000));
  testing::WriteText(folder.path() / "minute.avi", Avi(1920, 1080, 60));
  LoadOptions load;
  load.threads = 1;
  load.context = 8192;
  const std::shared_ptr<Model> model = Model::Load(path, load);
  GenerateOptions one;
  one.max_tokens = 1;
  // What text takes is planned elsewhere: all of it is there before.
  Generate(model, model->text().RawPrompt(std::string(7000, 'e')), one);
  const std::int64_t before = Status("VmRSS");
  std::ofstream("/proc/self/clear_refs") << 5;  // VmHWM begins anew
  if (Status("VmHWM") > before + (std::int64_t{4} << 20)) GTEST_SKIP() << "no clear_refs here";
  MediaOptions options;
  options.image_tokens = 1120;
  const Media photo = Media::File(MediaKind::kImage, folder.path() / "photo.jpg");
  const Media minute = Media::File(MediaKind::kVideo, folder.path() / "minute.avi");
  const std::vector<Media> both = {photo, minute};
  const Prompt prompt = model->text().RawPrompt("", both, options);
  ASSERT_EQ(prompt.media.size(), 1u + 32u + 2u) << "a picture, frames, and the sound in two pieces";
  EXPECT_EQ(Generate(model, prompt, one).tokens.size(), 1u);
  const std::int64_t taken = Status("VmHWM") - before;
  const auto planned = static_cast<std::int64_t>(model->info().media_bytes);
  // So much may be kept of soft tokens, but not of these.
  const auto kept = static_cast<std::int64_t>(MediaEncoders::kKeptBytes);
  EXPECT_LE(taken, planned - kept + (std::int64_t{4} << 20)) << "4 MiB: what the heap rounds up";
  EXPECT_GE(taken, (planned - kept) / 2);
  std::printf("taken %.1f MiB, planned %.1f MiB beside %.1f MiB for soft tokens\n",
              static_cast<double>(taken) / (1 << 20),
              static_cast<double>(planned - kept) / (1 << 20),
              static_cast<double>(kept) / (1 << 20));
}

}  // namespace
}  // namespace culet
