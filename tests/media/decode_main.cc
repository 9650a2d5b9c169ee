// Decodes a file and writes what came out, for tests/media/test_files.py:
//
//   media_decode image FILE OUT      pixels, [height, width, 3] u8
//   media_decode sound FILE OUT      samples, f32
//   media_decode video FILE OUT [FRAMES|FPSfps|all]   frames' pixels one behind the other
//
// On standard output a line of JSON about it. On an error its kind and message, and exit code 1.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "media/image_file.h"
#include "media/sound_file.h"
#include "media/video_file.h"

namespace culet {
namespace {

template <typename T>
void Write(std::ofstream& out, const std::vector<T>& values) {
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(T)));
}

OrderedJson Decode(const std::string& kind, MediaSource source, const char* out_path,
                   const std::string& option) {
  std::ofstream out(out_path, std::ios::binary);
  OrderedJson about;
  if (kind == "image") {
    const RgbImage image = LoadImage(source);
    about["size"] = {image.size.height, image.size.width};
    Write(out, image.pixels);
  } else if (kind == "sound") {
    const Sound sound = LoadSound(source);
    about["samples"] = sound.samples.size();
    about["rate"] = sound.source_rate;
    about["channels"] = sound.channels;
    Write(out, sound.samples);
  } else {
    VideoSettings settings;
    if (option == "all") {
      settings.num_frames.reset();
    } else if (option.ends_with("fps")) {
      settings.num_frames.reset();
      settings.fps = std::atof(option.c_str());
    } else if (!option.empty()) {
      settings.num_frames = std::atoi(option.c_str());
    }
    const Clip clip = LoadClip(source, settings, /*with_sound=*/true);
    about["total"] = clip.total_frames;
    about["seconds"] = clip.seconds;
    if (clip.rate) about["rate"] = *clip.rate;
    about["index"] = OrderedJson::array();
    about["times"] = OrderedJson::array();
    for (const ClipFrame& frame : clip.frames) {
      about["index"].push_back(frame.index);
      about["times"].push_back(frame.seconds);
      about["size"] = {frame.image.size.height, frame.image.size.width};
      Write(out, frame.image.pixels);
    }
    if (clip.sound) about["sound"] = clip.sound->samples.size();
  }
  return about;
}

}  // namespace
}  // namespace culet

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  try {
    const culet::OrderedJson about =
        culet::Decode(argv[1], culet::MediaSource::Open(argv[2]), argv[3], argc > 4 ? argv[4] : "");
    std::cout << about.dump() << "\n";
  } catch (const culet::Error& error) {
    std::cout << culet::ErrorKindName(error.kind()) << ": " << error.what() << "\n";
    return 1;
  }
  return 0;
}
