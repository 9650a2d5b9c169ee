#include "media/sound_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "media/demuxer.h"
#include "media/libav.h"
#include "media/mel.h"

extern "C" {
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
}

namespace culet {
namespace {

constexpr std::int64_t kMaxRate = 768'000;
constexpr std::int64_t kMinRate = 1'000;
// A header and what is there may differ by what encoders add and cut at both ends.
constexpr double kSlackSeconds = 0.25;
constexpr double kSlackShare = 0.01;

// Samples in floating point may go beyond 1 a little; what is further off is no sound, and a filter
// over it may reach infinity.
constexpr float kLoudest = 1e6F;

std::string SecondsText(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f s", seconds);
  return text;
}

// Mean of the channels of `count` samples, as the type's full range is −1 … 1.
template <typename T>
void AddMean(const AVFrame& frame, bool planar, double zero, double scale,
             std::vector<float>* mono) {
  const int channels = frame.ch_layout.nb_channels;
  for (int i = 0; i < frame.nb_samples; ++i) {
    double sum = 0.0;
    for (int c = 0; c < channels; ++c) {
      const std::uint8_t* plane = planar ? frame.extended_data[c] : frame.extended_data[0];
      T value;
      std::memcpy(&value,
                  plane + sizeof(T) * static_cast<std::size_t>(planar ? i : i * channels + c),
                  sizeof(T));
      sum += (static_cast<double>(value) - zero) * scale;
    }
    mono->push_back(static_cast<float>(sum / channels));
  }
}

// False for a format that libav does not have today.
bool MixDown(const AVFrame& frame, std::vector<float>* mono) {
  const auto format = static_cast<AVSampleFormat>(frame.format);
  const bool planar = av_sample_fmt_is_planar(format) != 0;
  switch (av_get_packed_sample_fmt(format)) {
    case AV_SAMPLE_FMT_U8: AddMean<std::uint8_t>(frame, planar, 128.0, 0x1p-7, mono); return true;
    case AV_SAMPLE_FMT_S16: AddMean<std::int16_t>(frame, planar, 0.0, 0x1p-15, mono); return true;
    case AV_SAMPLE_FMT_S32: AddMean<std::int32_t>(frame, planar, 0.0, 0x1p-31, mono); return true;
    case AV_SAMPLE_FMT_S64: AddMean<std::int64_t>(frame, planar, 0.0, 0x1p-63, mono); return true;
    case AV_SAMPLE_FMT_FLT: AddMean<float>(frame, planar, 0.0, 1.0, mono); return true;
    case AV_SAMPLE_FMT_DBL: AddMean<double>(frame, planar, 0.0, 1.0, mono); return true;
    default: return false;
  }
}

// Mono samples of any rate → 16 kHz.
class Resampler {
 public:
  explicit Resampler(std::int64_t rate) {
    if (rate == kSampleRate) return;
    if (!Open(rate, SWR_ENGINE_SOXR) && !Open(rate, SWR_ENGINE_SWR)) throw std::bad_alloc();
  }
  ~Resampler() { swr_free(&context_); }
  Resampler(const Resampler&) = delete;
  Resampler& operator=(const Resampler&) = delete;

  void Add(const std::vector<float>& mono, std::vector<float>* out) {
    if (context_ == nullptr) {
      out->insert(out->end(), mono.begin(), mono.end());
      return;
    }
    Convert(mono.data(), static_cast<int>(mono.size()), out);
  }

  void Finish(std::vector<float>* out) {
    if (context_ == nullptr) return;
    while (Convert(nullptr, 0, out) > 0) {
    }
  }

 private:
  bool Open(std::int64_t rate, SwrEngine engine) {
    AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;  // FFmpeg 5.1 takes no const
    swr_free(&context_);
    if (swr_alloc_set_opts2(&context_, &mono, AV_SAMPLE_FMT_FLT, kSampleRate, &mono,
                            AV_SAMPLE_FMT_FLT, static_cast<int>(rate), 0, nullptr) < 0) {
      throw std::bad_alloc();
    }
    av_opt_set_int(context_, "resampler", engine, 0);
    if (engine == SWR_ENGINE_SWR) {  // its own defaults are for speed
      av_opt_set_int(context_, "filter_size", 64, 0);
      av_opt_set_double(context_, "cutoff", 0.97, 0);
    }
    return swr_init(context_) >= 0;
  }

  int Convert(const float* in, int count, std::vector<float>* out) {
    const int room = std::max(swr_get_out_samples(context_, count), 0) + 4096;
    const std::size_t before = out->size();
    out->resize(before + static_cast<std::size_t>(room));
    auto* to = reinterpret_cast<std::uint8_t*>(out->data() + before);
    const auto* from = reinterpret_cast<const std::uint8_t*>(in);
    const int made = swr_convert(context_, &to, room, in == nullptr ? nullptr : &from, count);
    out->resize(before + static_cast<std::size_t>(std::max(made, 0)));
    if (made < 0) throw std::bad_alloc();
    return made;
  }

  SwrContext* context_ = nullptr;
};

// One stream, decoded from its beginning to its end.
class SoundDecoder {
 public:
  SoundDecoder(Demuxer& demuxer, const AVStream& stream, const MediaLimits& limits)
      : demuxer_(demuxer), stream_(stream), limits_(limits) {
    expected_s_ = demuxer.StreamSeconds(stream);
    if (expected_s_ > limits.audio_seconds) RefuseLength("lasts " + SecondsText(expected_s_));
    decoder_ = demuxer.OpenDecoder(stream, limits.frame_pixels);
  }

  Sound Decode() {
    const av::Silence silence;
    const av::PacketPtr packet = av::NewPacket();
    while (demuxer_.Read(stream_, packet.get())) {
      ++packets_;
      if ((packet->flags & AV_PKT_FLAG_CORRUPT) != 0) ++damaged_;
      Send(packet.get());  // also what an edit list cuts: decoders begin with it, and drop it
                           // themselves
    }
    Send(nullptr);
    if (resampler_) resampler_->Finish(&sound_.samples);
    Check();
    return std::move(sound_);
  }

 private:
  void Send(const AVPacket* packet) {
    int code = avcodec_send_packet(decoder_.get(), packet);
    if (code == AVERROR(ENOMEM)) demuxer_.source().RefuseMemory();
    if (code < 0 && code != AVERROR_EOF) ++damaged_;
    for (;;) {
      code = avcodec_receive_frame(decoder_.get(), frame_.get());
      if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return;
      if (code == AVERROR(ENOMEM)) demuxer_.source().RefuseMemory();
      if (code < 0) {
        ++damaged_;
        return;
      }
      Take(*frame_);
    }
  }

  void Take(const AVFrame& frame) {
    if (!resampler_) {
      sound_.source_rate = frame.sample_rate;
      sound_.channels = frame.ch_layout.nb_channels;
      if (frame.sample_rate < kMinRate || frame.sample_rate > kMaxRate) {
        Refuse(ErrorKind::kUnsupported, "has " + std::to_string(frame.sample_rate) +
                                            " samples a second; from " + std::to_string(kMinRate) +
                                            " to " + std::to_string(kMaxRate) + " are read");
      }
      resampler_ = std::make_unique<Resampler>(sound_.source_rate);
    }
    if (frame.sample_rate != sound_.source_rate || frame.ch_layout.nb_channels < 1) {
      Refuse(ErrorKind::kUnsupported,
             "changes from " + std::to_string(sound_.source_rate) + " samples a second to " +
                 std::to_string(frame.sample_rate) + " on its way; convert it to one rate");
    }
    mono_.clear();
    if (!MixDown(frame, &mono_)) {
      Refuse(ErrorKind::kUnsupported, "has samples of a kind that culet does not read");
    }
    source_samples_ += static_cast<std::int64_t>(mono_.size());
    for (const float sample : mono_) {
      if (!(std::fabs(sample) <= kLoudest)) {  // written so that NaN is refused too
        Refuse(ErrorKind::kCorrupt, "has a sample of " + std::to_string(sample) +
                                        " within its first " + SecondsText(Seconds()) +
                                        "; samples from −1 to 1 are expected");
      }
    }
    // The header may not have told, or not the truth.
    if (Seconds() > limits_.audio_seconds) RefuseLength("goes on");
    resampler_->Add(mono_, &sound_.samples);
  }

  double Seconds() const {
    return static_cast<double>(source_samples_) / static_cast<double>(sound_.source_rate);
  }

  void Check() const {
    if (source_samples_ == 0) {
      Refuse(ErrorKind::kCorrupt,
             "has a sound track without a sample in it: it is cut off or damaged");
    }
    if (damaged_ > 1 + packets_ / 100) {
      Refuse(ErrorKind::kCorrupt, "is damaged: " + std::to_string(damaged_) + " of " +
                                      std::to_string(packets_) +
                                      " packets of its sound cannot be decoded");
    }
    if (expected_s_ <= 0.0) demuxer_.RequireWhole();
    const double slack = kSlackSeconds + kSlackShare * std::max(expected_s_, 0.0);
    if (expected_s_ > 0.0 && Seconds() < expected_s_ - slack) {
      Refuse(ErrorKind::kCorrupt, "has sound of " + SecondsText(Seconds()) +
                                      ", but its header says " + SecondsText(expected_s_) +
                                      ": it is cut off or damaged");
    }
  }

  [[noreturn]] void Refuse(ErrorKind kind, const std::string& text) const {
    demuxer_.source().Refuse(kind, text);
  }
  [[noreturn]] void RefuseLength(const std::string& text) const {
    Refuse(ErrorKind::kResource, text + "; sound of at most " + SecondsText(limits_.audio_seconds) +
                                     " is read. Cut it, or raise the limit");
  }

  Demuxer& demuxer_;
  const AVStream& stream_;
  const MediaLimits& limits_;
  double expected_s_ = -1.0;
  av::DecoderPtr decoder_;
  av::FramePtr frame_ = av::NewFrame();
  std::unique_ptr<Resampler> resampler_;
  std::vector<float> mono_;
  std::int64_t source_samples_ = 0;
  std::int64_t packets_ = 0;
  std::int64_t damaged_ = 0;
  Sound sound_;
};

}  // namespace

Sound LoadSound(MediaSource& source, const MediaLimits& limits) {
  source.RequireSize(limits.stream_bytes, "sound");
  Demuxer demuxer(source, "sound");
  const AVStream* stream = demuxer.Best(AVMEDIA_TYPE_AUDIO);
  if (stream == nullptr) {
    source.Refuse(ErrorKind::kUnsupported, "has no sound track; a sound is expected");
  }
  return SoundDecoder(demuxer, *stream, limits).Decode();
}

std::optional<Sound> LoadSoundTrack(MediaSource& source, double start_s,
                                    const MediaLimits& limits) {
  Demuxer demuxer(source, "video");
  const AVStream* stream = demuxer.Best(AVMEDIA_TYPE_AUDIO);
  if (stream == nullptr) return std::nullopt;
  const double own_start_s =
      stream->start_time == AV_NOPTS_VALUE
          ? start_s
          : static_cast<double>(stream->start_time) * av_q2d(stream->time_base);
  Sound sound = SoundDecoder(demuxer, *stream, limits).Decode();
  // Never more than the clip's length: what is further off is a lie of the file.
  const double late_s =
      std::clamp(own_start_s - start_s, -limits.audio_seconds, limits.audio_seconds);
  const auto shift = static_cast<std::int64_t>(std::llround(late_s * kSampleRate));
  if (shift > 0) {
    sound.samples.insert(sound.samples.begin(), static_cast<std::size_t>(shift), 0.0F);
  } else {
    const std::int64_t count = static_cast<std::int64_t>(sound.samples.size());
    sound.samples.erase(sound.samples.begin(), sound.samples.begin() + std::min(-shift, count));
  }
  return sound;
}

}  // namespace culet
