// Options of pictures, sounds and videos.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/command.h"
#include "culet/media.h"
#include "culet/model.h"

namespace culet::cli {

// Media of one message, and how media are prepared.
struct MediaArguments {
  std::vector<std::pair<std::string, std::string>> files;  // option, path; in the order given
  std::optional<std::int64_t> image_tokens;
  std::optional<std::int64_t> video_tokens;
  std::optional<std::int64_t> video_frames;
  std::optional<double> video_fps;
  bool no_video_sound = false;
  std::string resize = "pillow";

  void AddFiles(CLI::App& app);
  void AddPreparation(CLI::App& app);

  // Throws Error(kNotFound) for a file that is not there.
  std::vector<Media> ToMedia() const;
  // Throws Error(kInvalidArgument) naming the option.
  MediaOptions ToMediaOptions() const;
  // Room for the largest picture asked for.
  void MakeRoom(LoadOptions* options) const;
};

// Throws Error(kNotFound) where it is not there. `place`: the option.
Media OpenMedia(MediaKind kind, const std::string& path, const std::string& place);

}  // namespace culet::cli
