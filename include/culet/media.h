// Pictures, sounds and videos of a message. What a model does not take is refused by name, never
// passed over: a text-only model refuses all of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "culet/export.h"

namespace culet {

enum class MediaKind { kImage, kAudio, kVideo };
// "image", "audio", "video". Lives for ever. Any thread.
CULET_EXPORT std::string_view MediaKindName(MediaKind kind);

// How media become soft tokens. What is unset comes from the model's processor_config.json.
struct MediaOptions {
  std::optional<std::int64_t> image_tokens;  // most a picture has: 70, 140, 280, 560 or 1120
  std::optional<std::int64_t> video_tokens;  // the same of each frame of a video
  std::optional<std::int64_t> video_frames;  // so many frames of each video, evenly spaced
  std::optional<double> video_fps;           // or so many a second of it
  // Whether a video's sound is heard too, behind its frames, where the model hears.
  bool video_sound = true;
  // Pictures as torchvision resizes them, not as Pillow does: up to 2 of 255 grey levels apart.
  bool resize_as_torchvision = false;
};

// One picture (JPEG, PNG, WebP, GIF, BMP, TIFF), sound (WAV, MP3, FLAC, OGG, M4A) or video (MP4,
// MKV, WebM, …). What it is, is told by its content, not its name. Nothing is read before it is
// needed for a prompt; then it is decoded once, and copies share that.
// Threads: const members, and copies of one medium, may be used from several threads at once.
class CULET_EXPORT Media {
 public:
  // A file, which must not change while the medium is in use.
  static Media File(MediaKind kind, std::filesystem::path path);
  // The content of such a file; `name` stands for it in messages.
  static Media Bytes(MediaKind kind, std::string content, std::string name = "");
  // A picture: 8-bit RGB [height, width, 3], rows from the top. Throws Error(kInvalidArgument)
  // where the sizes do not fit.
  static Media Pixels(std::span<const std::uint8_t> rgb, std::int64_t height, std::int64_t width,
                      std::string name = "");
  // A sound: mono at 16 kHz, in −1 … 1.
  static Media Samples(std::span<const float> samples, std::string name = "");

  // The same medium, prepared by these options whatever a prompt's are: what an earlier turn of a
  // conversation was shown stays what it was.
  Media With(const MediaOptions& options) const;
  const MediaOptions* options() const { return options_.get(); }  // null: the prompt's

  MediaKind kind() const;
  const std::string& name() const;  // of the file, or as given; for messages

  struct Impl;
  const std::shared_ptr<Impl>& impl() const { return impl_; }

 private:
  explicit Media(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
  std::shared_ptr<const MediaOptions> options_;
};

// What the file at `path` is, by its content; none: no picture, sound or video, or no file at all.
// Nothing is decoded. Throws Error(kIo). Any thread.
CULET_EXPORT std::optional<MediaKind> RecognizeMedia(const std::filesystem::path& path);

// What of a prompt stands for media: see Prompt::media.
struct PromptMedia;

}  // namespace culet
