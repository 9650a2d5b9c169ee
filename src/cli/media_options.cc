#include "cli/media_options.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"

namespace culet::cli {

void MediaArguments::AddFiles(CLI::App& app) {
  AddMixed(app,
           {{"--image", "FILE", "A picture of the message; may be repeated"},
            {"--audio", "FILE", "A sound of the message; may be repeated"},
            {"--video", "FILE",
             "A video of the message; may be repeated. Media stand\nbefore the text, in the order "
             "given, or where the text\nhas <image>, <audio> or <video>, one for each"}},
           &files);
}

void MediaArguments::AddPreparation(CLI::App& app) {
  AddNumber(app, "--image-tokens", &image_tokens,
            "Most tokens of a picture: 70, 140, 280, 560 or 1120", "N");
  AddNumber(app, "--video-tokens", &video_tokens, "Most tokens of a frame of a video, likewise",
            "N");
  AddNumber(app, "--video-frames", &video_frames, "Frames of each video, evenly spaced", "N");
  AddNumber(app, "--video-fps", &video_fps, "Or so many frames a second of it", "N");
  AddFlag(app, "--no-video-sound", &no_video_sound, "Do not hear the sound of videos");
  AddText(app, "--resize", &resize, "RULE",
          "How pictures are resized: as pillow or torchvision does");
}

Media OpenMedia(MediaKind kind, const std::string& path, const std::string& place) {
  if (FileSystem::Real().Exists(path)) return Media::File(kind, path);
  throw Error(ErrorKind::kNotFound, place + " " + path + ": no such file");
}

std::vector<Media> MediaArguments::ToMedia() const {
  std::vector<Media> media;
  for (const auto& [option, path] : files) {
    const MediaKind kind = option == "--image"   ? MediaKind::kImage
                           : option == "--audio" ? MediaKind::kAudio
                                                 : MediaKind::kVideo;
    media.push_back(OpenMedia(kind, path, option));
  }
  return media;
}

MediaOptions MediaArguments::ToMediaOptions() const {
  MediaOptions options;
  options.image_tokens = image_tokens;
  options.video_tokens = video_tokens;
  options.video_frames = video_frames;
  options.video_fps = video_fps;
  options.video_sound = !no_video_sound;
  options.resize_as_torchvision = resize == "torchvision";
  if (resize != "pillow" && resize != "torchvision") {
    throw Error(ErrorKind::kInvalidArgument,
                "--resize is \"" + resize + "\"; pillow or torchvision is expected");
  }
  return options;
}

void MediaArguments::MakeRoom(LoadOptions* options) const {
  options->image_tokens = std::max(image_tokens, video_tokens);  // none is less than any
}

}  // namespace culet::cli
