#include "api/prompt_media.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "api/media_impl.h"
#include "base/error.h"
#include "hub/hash.h"
#include "media/image_file.h"
#include "media/mel.h"
#include "media/sound_file.h"
#include "media/source.h"
#include "media/target_size.h"
#include "media/video_file.h"
#include "media/video_frames.h"

namespace culet {
namespace {

template <typename T>
std::string Sha256(std::span<const T> values) {
  return hub::HashText(hub::HashKind::kSha256,
                       {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
}

// What decides how a medium is prepared, as a key.
std::string KeyOf(const std::filesystem::path& folder, const MediaOptions& options) {
  const auto number = [](const auto& value) {
    return value ? std::to_string(*value) : std::string("-");
  };
  return folder.string() + '\n' + number(options.image_tokens) + ' ' +
         number(options.video_tokens) + ' ' + number(options.video_frames) + ' ' +
         number(options.video_fps) + ' ' + std::to_string(options.video_sound) + ' ' +
         std::to_string(options.resize_as_torchvision);
}

MediaSource SourceOf(const Media::Impl& medium) {
  if (!medium.path.empty()) return MediaSource::Open(medium.path);
  return MediaSource::Of(std::as_bytes(std::span(medium.content)), medium.name);
}

ResizeRule ResizeRuleOf(const MediaOptions& options) {
  return options.resize_as_torchvision ? ResizeRule::kTorchvision : ResizeRule::kPillow;
}

void CheckOptions(const MediaOptions& options) {
  if (options.image_tokens) {
    RequireSoftTokenBudget("MediaOptions::image_tokens", *options.image_tokens);
  }
  if (options.video_tokens) {
    RequireSoftTokenBudget("MediaOptions::video_tokens", *options.video_tokens);
  }
  if (options.video_frames && options.video_fps) {
    throw Error(ErrorKind::kInvalidArgument,
                "MediaOptions::video_frames and MediaOptions::video_fps are both given; either "
                "says how many frames of a video are seen");
  }
  if (options.video_frames && *options.video_frames < 1) {
    throw Error(ErrorKind::kInvalidArgument, "MediaOptions::video_frames is " +
                                                 std::to_string(*options.video_frames) +
                                                 "; it must be 1 or more");
  }
  if (options.video_fps && !(*options.video_fps > 0 && std::isfinite(*options.video_fps))) {
    throw Error(ErrorKind::kInvalidArgument, "MediaOptions::video_fps is " +
                                                 std::to_string(*options.video_fps) +
                                                 "; it must be more than 0");
  }
}

}  // namespace

MediaPreparer::MediaPreparer(const std::filesystem::path& folder, const Tokenizer* tokenizer)
    : folder_(folder),
      tokenizer_(tokenizer),
      config_(LoadModelConfig(FileSystem::Real(), folder / "config.json")),
      processor_(LoadProcessorConfig(FileSystem::Real(), folder)) {
  if (!config_.vision) return;
  const PatchSizes sizes = {config_.vision->patch_size, config_.vision->pooling_kernel_size};
  const PatchSizes& processed = processor_.image.sizes;
  FileSystem& files = FileSystem::Real();
  const bool said = files.Exists(folder / "processor_config.json") ||
                    files.Exists(folder / "preprocessor_config.json");
  if (said && (processed.patch_size != sizes.patch_size ||
               processed.pooling_kernel_size != sizes.pooling_kernel_size)) {
    throw Error(ErrorKind::kCorrupt,
                (folder / "processor_config.json").string() + ": patches of " +
                    std::to_string(processed.patch_size) + " pixels, pooled by " +
                    std::to_string(processed.pooling_kernel_size) +
                    "; vision_config in config.json has " + std::to_string(sizes.patch_size) +
                    " and " + std::to_string(sizes.pooling_kernel_size) +
                    ". They are of different models");
  }
  processor_.image.sizes = processor_.video.frame.sizes = sizes;
}

std::shared_ptr<const PreparedMedia> MediaPreparer::Prepare(const Media& medium,
                                                            const MediaOptions& of_prompt) const {
  const MediaOptions& options = medium.options() != nullptr ? *medium.options() : of_prompt;
  CheckOptions(options);
  Media::Impl& impl = *medium.impl();
  const std::string key = KeyOf(folder_, options);
  const std::lock_guard lock(impl.mutex);
  std::shared_ptr<const PreparedMedia>& prepared = impl.prepared[key];
  if (prepared) return prepared;
  PreparedMedia made;
  switch (medium.kind()) {
    case MediaKind::kImage: made = PrepareImage(medium, options); break;
    case MediaKind::kAudio: made = PrepareAudio(medium); break;
    case MediaKind::kVideo: made = PrepareVideo(medium, options); break;
  }
  made.kind = medium.kind();
  prepared = std::make_shared<const PreparedMedia>(std::move(made));
  return prepared;
}

void MediaPreparer::NeedVision(const Media& medium) const {
  if (config_.vision) return;
  throw Error(ErrorKind::kUnsupported,
              medium.name() + ": the model in " + folder_.string() + " takes no " +
                  std::string(MediaKindName(medium.kind())) + "s: " +
                  (config_.vision_error.empty()
                       ? "its config.json has no vision_config. Leave it out, or take a model "
                         "that sees"
                       : config_.vision_error));
}

void MediaPreparer::NeedAudio(const Media& medium) const {
  if (config_.audio) return;
  throw Error(ErrorKind::kUnsupported,
              medium.name() + ": the model in " + folder_.string() + " takes no sound: " +
                  (config_.audio_error.empty()
                       ? "its config.json has no audio_config (E2B, E4B and 12B have one). Leave "
                         "it out, or take a model that hears"
                       : config_.audio_error));
}

std::string MediaPreparer::TokenText(std::int64_t id, const char* field) const {
  if (tokenizer_ == nullptr) return "";
  if (id >= 0 && id < tokenizer_->vocab_size()) {
    return std::string(tokenizer_->TokenText(static_cast<TokenId>(id)));
  }
  throw Error(ErrorKind::kCorrupt,
              (folder_ / "config.json").string() + ": " + field + " is " + std::to_string(id) +
                  "; the tokenizer has no such token, which stands for media in a prompt. Take "
                  "config and tokenizer of one model");
}

// `<|image>` and as many placeholders as there are soft tokens, and `<image|>`.
std::string MediaPreparer::Wrapped(const PromptMedia& block, std::int64_t begin,
                                   const char* begin_field, std::int64_t end,
                                   const char* end_field) const {
  std::string text = TokenText(begin, begin_field);
  const std::string placeholder = TokenText(block.placeholder, "the placeholder");
  for (std::int64_t index = 0; index < block.count; ++index) text += placeholder;
  return text + TokenText(end, end_field);
}

std::shared_ptr<const PromptMedia> MediaPreparer::Picture(const Media& medium, RgbImage image,
                                                          const ImageSettings& settings,
                                                          std::int64_t placeholder) const {
  auto block = std::make_shared<PromptMedia>();
  block->name = medium.name();
  block->visual = true;
  block->placeholder = static_cast<TokenId>(placeholder);
  block->settings = settings;
  block->patch_kind =
      config_.vision->kind == EncoderKind::kTower ? PatchKind::kPatches : PatchKind::kBlocks;
  block->image = std::move(image);
  const std::int64_t side = settings.sizes.token_side();
  block->count = (block->image.size.height / side) * (block->image.size.width / side);
  block->key = "picture " + std::to_string(placeholder) + ' ' +
               std::to_string(block->image.size.height) + ' ' +
               std::to_string(settings.do_normalize) + ' ' +
               Sha256(std::span<const std::uint8_t>(block->image.pixels));
  return block;
}

RgbImage MediaPreparer::DecodeImage(const Media& medium) const {
  NeedVision(medium);
  MediaSource source = SourceOf(*medium.impl());
  return LoadImage(source);
}

ImageSettings MediaPreparer::ImageSettingsOf(const MediaOptions& options) const {
  CheckOptions(options);
  ImageSettings settings = processor_.image;
  settings.max_soft_tokens = options.image_tokens.value_or(settings.max_soft_tokens);
  settings.resize = ResizeRuleOf(options);
  return settings;
}

PreparedMedia MediaPreparer::PrepareImage(const Media& medium, const MediaOptions& options) const {
  NeedVision(medium);
  const ImageSettings settings = ImageSettingsOf(options);
  const RgbImage& given = medium.impl()->image;
  PreparedMedia prepared;
  const MediaTokens& tokens = config_.media_tokens;
  TokenText(tokens.image, "image_token_id");
  prepared.blocks.push_back(Picture(medium,
                                    given.pixels.empty()
                                        ? ResizeToBudget(DecodeImage(medium), settings)
                                        : ResizeToBudget(given, settings),
                                    settings, tokens.image));
  prepared.text =
      Wrapped(*prepared.blocks.front(), tokens.boi, "boi_token_id", tokens.eoi, "eoi_token_id");
  return prepared;
}

std::shared_ptr<const PromptMedia> MediaPreparer::Sound(const std::string& name,
                                                        std::span<const float> samples) const {
  const AudioConfig& audio = *config_.audio;
  auto block = std::make_shared<PromptMedia>();
  block->name = name;
  block->placeholder = static_cast<TokenId>(config_.media_tokens.audio);
  if (audio.kind == EncoderKind::kTower) {
    if (audio.mel_bins() != kMelBins) {
      throw Error(ErrorKind::kUnsupported,
                  name + ": the model in " + folder_.string() + " hears " +
                      std::to_string(audio.mel_bins()) + " mel bins; culet makes " +
                      std::to_string(kMelBins) +
                      " of a sound, as Gemma 4's published models have them");
    }
    MelFeatures mel = Mel(samples, name);
    block->count = MelSoftTokens(static_cast<std::int64_t>(samples.size()) - mel.samples_cut);
    block->sound = std::move(mel.values);
    block->sound_width = kMelBins;
  } else {
    SampleBlocks blocks = CutSampleBlocks(samples, name);
    block->count = blocks.steps;
    block->sound = std::move(blocks.values);
    block->sound_width = kSamplesPerBlock;
  }
  block->key = "sound " + std::to_string(block->placeholder) + ' ' +
               Sha256(std::span<const float>(block->sound));
  return block;
}

PreparedMedia MediaPreparer::PrepareAudio(const Media& medium) const {
  NeedAudio(medium);
  const Media::Impl& impl = *medium.impl();
  std::vector<float> samples = impl.samples;
  if (samples.empty()) {
    MediaSource source = SourceOf(impl);
    samples = LoadSound(source).samples;
  }
  PreparedMedia prepared;
  AddSound(medium.name(), samples, &prepared);
  if (prepared.blocks.size() > 1) {
    prepared.warnings.push_back(
        medium.name() + ": the model hears 30 s of one sound; it is given as " +
        std::to_string(prepared.blocks.size()) + " sounds, one behind the other");
  }
  return prepared;
}

void MediaPreparer::AddSound(const std::string& name, std::span<const float> samples,
                             PreparedMedia* prepared) const {
  const MediaTokens& tokens = config_.media_tokens;
  const std::size_t piece = config_.audio->kind == EncoderKind::kTower
                                ? static_cast<std::size_t>(kMelMaxSamples)
                                : samples.size();
  for (std::size_t begin = 0; begin < samples.size(); begin += piece) {
    const auto part = samples.subspan(begin, std::min(piece, samples.size() - begin));
    // What is left behind the last whole piece may be too little for a frame.
    if (begin > 0 && static_cast<std::int64_t>(part.size()) <= kMelHop) break;
    const auto block = Sound(name, part);
    prepared->text += Wrapped(*block, tokens.boa, "boa_token_id", tokens.eoa, "eoa_token_id");
    prepared->blocks.push_back(block);
  }
}

// Frames with the time before each, joined by spaces (Gemma4Processor.replace_video_token), and
// behind them the sound, in pieces as long as the model hears.
PreparedMedia MediaPreparer::PrepareVideo(const Media& medium, const MediaOptions& options) const {
  NeedVision(medium);
  VideoSettings settings = processor_.video;
  settings.frame.max_soft_tokens = options.video_tokens.value_or(settings.frame.max_soft_tokens);
  settings.frame.resize = ResizeRuleOf(options);
  if (options.video_frames || options.video_fps) {
    settings.num_frames = options.video_frames;
    settings.fps = options.video_fps;
  }
  MediaSource source = SourceOf(*medium.impl());
  Clip clip = LoadClip(source, settings, options.video_sound && config_.audio.has_value());
  const MediaTokens& tokens = config_.media_tokens;
  PreparedMedia prepared;
  for (ClipFrame& frame : clip.frames) {
    const auto block = Picture(medium, std::move(frame.image), settings.frame, tokens.video);
    if (!prepared.text.empty()) prepared.text += ' ';
    prepared.text += TimestampText(frame.seconds) + ' ' +
                     Wrapped(*block, tokens.boi, "boi_token_id", tokens.eoi, "eoi_token_id");
    prepared.blocks.push_back(block);
  }
  if (!clip.sound) return prepared;
  // Less than a frame of sound is none.
  if (static_cast<std::int64_t>(clip.sound->samples.size()) > kMelHop) {
    AddSound(medium.name() + " (sound)", clip.sound->samples, &prepared);
  }
  return prepared;
}

}  // namespace culet
