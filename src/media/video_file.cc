#include "media/video_file.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <utility>

#include "media/demuxer.h"
#include "media/frame_pixels.h"
#include "media/image_patches.h"
#include "media/libav.h"
#include "media/orientation.h"
#include "media/video_frames.h"

extern "C" {
#include <libavutil/display.h>
}

namespace culet {
namespace {

constexpr double kUnknownRate = 24.0;  // what the reference assumes

std::string SecondsText(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f s", seconds);
  return text;
}

// The matrix that a player applies, as the orientation of a picture. Only turns by whole quarters
// and flips exist there.
int OrientationOf(const AVStream& stream) {
  const std::int32_t* matrix = nullptr;
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
  const AVPacketSideData* data =
      av_packet_side_data_get(stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data,
                              AV_PKT_DATA_DISPLAYMATRIX);
  if (data != nullptr && data->size >= 36) {
    matrix = reinterpret_cast<const std::int32_t*>(data->data);
  }
#else
  std::size_t size = 0;
  const std::uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  if (data != nullptr && size >= 36) matrix = reinterpret_cast<const std::int32_t*>(data);
#endif
  if (matrix == nullptr) return kUpright;
  // x' = a·x + c·y, y' = b·x + d·y, in fixed point.
  const std::int32_t a = matrix[0], b = matrix[1], c = matrix[3], d = matrix[4];
  const auto size_of = [](std::int32_t value) { return std::llabs(static_cast<long long>(value)); };
  if (size_of(a) + size_of(d) >= size_of(b) + size_of(c)) {
    if (a >= 0) return d >= 0 ? 1 : 4;
    return d >= 0 ? 2 : 3;
  }
  if (b >= 0) return c >= 0 ? 5 : 6;
  return c >= 0 ? 8 : 7;
}

// When each frame of a clip is shown, found without decoding.
struct FrameTimes {
  std::vector<std::int64_t> stamps;  // ascending, in the stream's time base
  std::vector<std::int64_t> keys;    // those that decoding can begin at, ascending
  std::int64_t end = 0;              // when the last goes
  // Not every packet has a time: frames are then counted, from the beginning.
  bool counted = false;
};

class ClipReader {
 public:
  ClipReader(MediaSource& source, const VideoSettings& settings, const MediaLimits& limits)
      : source_(source), settings_(settings), limits_(limits), demuxer_(source, "video") {
    stream_ = demuxer_.Best(AVMEDIA_TYPE_VIDEO);
    if (stream_ == nullptr) {
      Refuse(ErrorKind::kUnsupported, "has no pictures in it; a video is expected");
    }
    const double seconds = std::max(demuxer_.StreamSeconds(*stream_), demuxer_.ContainerSeconds());
    if (seconds > limits.video_seconds) RefuseLength("lasts " + SecondsText(seconds));
    RequireFrameSize(stream_->codecpar->width, stream_->codecpar->height);
  }

  Clip Read() {
    const av::Silence silence;
    Scan();
    Clip clip;
    clip.total_frames = static_cast<std::int64_t>(times_.stamps.size());
    const std::vector<std::int64_t> chosen = Choose(&clip);
    if (static_cast<std::int64_t>(chosen.size()) > limits_.shown_frames) {
      Refuse(ErrorKind::kResource, "would be shown as " + std::to_string(chosen.size()) +
                                       " frames; at most " + std::to_string(limits_.shown_frames) +
                                       " are. Ask for fewer");
    }
    decoder_ = demuxer_.OpenDecoder(*stream_, limits_.frame_pixels);
    orientation_ = OrientationOf(*stream_);
    for (const std::int64_t index : chosen) {
      clip.frames.push_back({index, SecondsOf(index, clip), Picture(index)});
      if (clip.frames.back().image.size != clip.frames.front().image.size) {
        Refuse(ErrorKind::kUnsupported, "changes the size of its frames at " +
                                            SecondsText(clip.frames.back().seconds) +
                                            "; convert it to one size");
      }
    }
    return clip;
  }

  // Of the first frame, on the clock of the file.
  double StartSeconds() const {
    return times_.counted ? 0.0 : static_cast<double>(times_.stamps.front()) * Tick();
  }

 private:
  double Tick() const { return av_q2d(stream_->time_base); }

  void Scan() {
    const av::PacketPtr packet = av::NewPacket();
    bool damaged = false;
    std::int64_t packets = 0;
    while (demuxer_.Read(*stream_, packet.get())) {
      if (++packets > limits_.video_frames) {
        Refuse(ErrorKind::kResource, "has more than " + std::to_string(limits_.video_frames) +
                                         " frames. Cut it, or raise the limit");
      }
      damaged = damaged || (packet->flags & AV_PKT_FLAG_CORRUPT) != 0;
      if ((packet->flags & AV_PKT_FLAG_DISCARD) != 0) continue;
      if (packet->pts == AV_NOPTS_VALUE) times_.counted = true;
      times_.stamps.push_back(packet->pts);
      if ((packet->flags & AV_PKT_FLAG_KEY) != 0) times_.keys.push_back(packet->pts);
      times_.end = std::max(times_.end, packet->pts + std::max<std::int64_t>(packet->duration, 0));
    }
    if (times_.stamps.empty()) {
      Refuse(ErrorKind::kCorrupt, "has no frame in it: it is cut off or damaged");
    }
    // An index at the beginning, as MP4 has it, knows how many there should be.
    if (damaged || (stream_->nb_frames > 0 && packets < stream_->nb_frames)) {
      Refuse(ErrorKind::kCorrupt, "ends in its frame " + std::to_string(packets) + " of " +
                                      std::to_string(stream_->nb_frames) +
                                      ": it is cut off or damaged");
    }
    if (times_.counted) {
      for (std::size_t i = 0; i < times_.stamps.size(); ++i) {
        times_.stamps[i] = static_cast<std::int64_t>(i);
      }
      times_.keys.assign(1, 0);
      return;
    }
    std::sort(times_.stamps.begin(), times_.stamps.end());
    std::sort(times_.keys.begin(), times_.keys.end());
    // Differences of times that a file names may not even fit into 64 bits.
    std::int64_t length = 0;
    if (__builtin_sub_overflow(times_.end, times_.stamps.front(), &length)) {
      Refuse(ErrorKind::kCorrupt, "has frames at times that cannot be: it is damaged");
    }
    const double seconds = static_cast<double>(length) * Tick();
    if (seconds > limits_.video_seconds) RefuseLength("has frames over " + SecondsText(seconds));
    demuxer_.RequireWhole();
  }

  // Sets the clip's rate and length too.
  std::vector<std::int64_t> Choose(Clip* clip) const {
    const std::int64_t total = clip->total_frames;
    const double own_rate = av_q2d(stream_->avg_frame_rate);
    if (times_.counted) {
      clip->rate = own_rate > 0.0 ? own_rate : kUnknownRate;
      clip->seconds = static_cast<double>(total) / *clip->rate;
    } else {
      std::vector<double> times;
      times.reserve(times_.stamps.size());
      for (const std::int64_t stamp : times_.stamps) {
        times.push_back(static_cast<double>(stamp - times_.stamps.front()) * Tick());
      }
      clip->rate = ConstantRate(times, 1.001 * Tick());
      // The rate that the file names, where it is that one, has no rounding in it.
      if (clip->rate && own_rate > 0.0 &&
          std::fabs(times.back() - static_cast<double>(total - 1) / own_rate) <= 1.001 * Tick()) {
        clip->rate = own_rate;
      }
      if (total == 1) clip->rate = own_rate > 0.0 ? own_rate : kUnknownRate;
      const double end = static_cast<double>(times_.end - times_.stamps.front()) * Tick();
      clip->seconds =
          clip->rate ? static_cast<double>(total) / *clip->rate : std::max(end, times.back());
      if (!clip->rate) {
        const std::int64_t wanted =
            settings_.fps ? std::max<std::int64_t>(
                                1, static_cast<std::int64_t>(std::min(
                                       clip->seconds * *settings_.fps, static_cast<double>(total))))
                          : settings_.num_frames.value_or(total);
        return ChooseFramesByTime(times, clip->seconds, wanted);
      }
    }
    const std::int64_t wanted = settings_.fps ? FramesAtRate(total, *clip->rate, *settings_.fps)
                                              : settings_.num_frames.value_or(total);
    return ChooseFrames(total, wanted);
  }

  double SecondsOf(std::int64_t index, const Clip& clip) const {
    if (clip.rate) return static_cast<double>(index) / *clip.rate;
    const std::size_t at = static_cast<std::size_t>(index);
    return static_cast<double>(times_.stamps[at] - times_.stamps.front()) * Tick();
  }

  RgbImage Picture(std::int64_t index) {
    const std::int64_t stamp = times_.stamps[static_cast<std::size_t>(index)];
    const AVFrame* frame = Show(stamp);
    if (frame == nullptr) {
      Refuse(ErrorKind::kCorrupt,
             "its frame " + std::to_string(index) + " cannot be decoded: it is cut off or damaged");
    }
    RequireFrameSize(frame->width, frame->height);
    RgbImage image;
    if (av::IsGreyOrRgb(frame->format)) {
      image = av::GreyOrRgb(*frame);
    } else if (!converter_.Convert(*frame, &image)) {
      Refuse(ErrorKind::kUnsupported,
             "has pixels of a kind that culet does not turn into colours; convert it");
    }
    return ResizeToBudget(Upright(std::move(image), orientation_), settings_.frame);
  }

  // The frame that is on the screen at `stamp`, which is its own: some packets bring no frame of
  // their own, and then the one before stays. Null where there is none, or where damage hid it.
  const AVFrame* Show(std::int64_t stamp) {
    auto key = std::upper_bound(times_.keys.begin(), times_.keys.end(), stamp);
    // Going on is cheaper than going back, unless a key frame stands between.
    const bool go_on = begun_ && shown_ <= stamp &&
                       (key == times_.keys.begin() || *(key - 1) <= shown_ || times_.counted);
    if (go_on && Advance(stamp)) return Current(stamp);
    // Containers order by when frames are decoded: a step may lead behind the frame. Then one
    // further back, and at last from the beginning.
    for (int tries = 0; tries < 3; ++tries) {
      if (key != times_.keys.begin()) --key;
      const bool from_start = tries == 2 || key == times_.keys.begin();
      Begin(from_start || key == times_.keys.end() ? times_.stamps.front() : *key);
      if (Advance(stamp)) return Current(stamp);
      if (from_start) break;
    }
    return nullptr;
  }

  const AVFrame* Current(std::int64_t stamp) const {
    return shown_ == stamp || !damaged_ ? current_.get() : nullptr;
  }

  void Begin(std::int64_t stamp) {
    // The scan has left it at the end.
    if (!demuxer_.Seek(*stream_, stamp)) {
      Refuse(ErrorKind::kUnsupported,
             "its container cannot go back to its frames; convert it to MP4 or WebM");
    }
    avcodec_flush_buffers(decoder_.get());
    begun_ = true;
    ended_ = damaged_ = false;
    count_ = 0;
    current_ready_ = next_ready_ = false;
  }

  // Decodes until the next frame is later than `stamp`. True where a frame at or before it is
  // current.
  bool Advance(std::int64_t stamp) {
    for (;;) {
      if (next_ready_) {
        if (next_stamp_ > stamp) break;
        std::swap(current_, next_);
        shown_ = next_stamp_;
        current_ready_ = true;
        next_ready_ = false;
        if (shown_ == stamp) break;
      }
      if (!Decode()) break;
    }
    return current_ready_ && shown_ <= stamp;
  }

  // The next frame into next_. False at the end.
  bool Decode() {
    while (!ended_) {
      const int code = avcodec_receive_frame(decoder_.get(), next_.get());
      if (code == AVERROR(ENOMEM)) source_.RefuseMemory();
      if (code >= 0) {
        next_stamp_ = times_.counted ? count_ : next_->best_effort_timestamp;
        ++count_;
        if (next_stamp_ == AV_NOPTS_VALUE) continue;
        next_ready_ = true;
        return true;
      }
      if (code == AVERROR_EOF) {
        ended_ = true;
        break;
      }
      if (code != AVERROR(EAGAIN)) damaged_ = true;
      const bool more = demuxer_.Read(*stream_, packet_.get());
      const int sent = avcodec_send_packet(decoder_.get(), more ? packet_.get() : nullptr);
      if (sent == AVERROR(ENOMEM)) source_.RefuseMemory();
      if (more && sent < 0) damaged_ = true;
      // A decoder that neither gives nor takes has nothing more to say.
      if (!more && sent < 0) ended_ = true;
    }
    return false;
  }

  void RequireFrameSize(std::int64_t width, std::int64_t height) const {
    const std::string size = std::to_string(width) + " × " + std::to_string(height) + " pixels";
    if (width < 1 || height < 1) {
      Refuse(ErrorKind::kCorrupt, "has frames of " + size + ": it is cut off or damaged");
    }
    if (width > limits_.frame_pixels || height > limits_.frame_pixels ||
        width * height > limits_.frame_pixels) {
      Refuse(ErrorKind::kResource, "has frames of " + size + "; at most " +
                                       std::to_string(limits_.frame_pixels) +
                                       " pixels are decoded. Shrink it, or raise the limit");
    }
  }

  [[noreturn]] void Refuse(ErrorKind kind, const std::string& text) const {
    source_.Refuse(kind, text);
  }
  [[noreturn]] void RefuseLength(const std::string& text) const {
    Refuse(ErrorKind::kResource, text + "; a video of at most " +
                                     SecondsText(limits_.video_seconds) +
                                     " is read. Cut it, or raise the limit");
  }

  MediaSource& source_;
  const VideoSettings& settings_;
  const MediaLimits& limits_;
  Demuxer demuxer_;
  AVStream* stream_ = nullptr;
  int orientation_ = kUpright;
  FrameTimes times_;
  av::DecoderPtr decoder_;
  av::YuvToRgb converter_;
  av::PacketPtr packet_ = av::NewPacket();
  av::FramePtr current_ = av::NewFrame();  // on the screen at shown_
  av::FramePtr next_ = av::NewFrame();
  std::int64_t shown_ = 0;
  std::int64_t next_stamp_ = 0;
  std::int64_t count_ = 0;  // frames since Begin
  bool begun_ = false;
  bool ended_ = false;
  bool damaged_ = false;  // since Begin
  bool current_ready_ = false;
  bool next_ready_ = false;
};

}  // namespace

Clip LoadClip(MediaSource& source, const VideoSettings& settings, bool with_sound,
              const MediaLimits& limits) {
  source.RequireSize(limits.stream_bytes, "video");
  Clip clip;
  double start_s = 0.0;
  {
    ClipReader reader(source, settings, limits);
    clip = reader.Read();
    start_s = reader.StartSeconds();
  }
  if (with_sound) clip.sound = LoadSoundTrack(source, start_s, limits);
  return clip;
}

}  // namespace culet
