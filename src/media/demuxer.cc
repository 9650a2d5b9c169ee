#include "media/demuxer.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <iterator>
#include <new>
#include <utility>

#include "media/byte_reader.h"
#include "media/content.h"

extern "C" {
#include <libavutil/opt.h>
}

namespace culet {
namespace {

constexpr int kBufferBytes = 64 << 10;
constexpr unsigned kMaxStreams = 64;

// The containers that culet reads. Each is asked for by name, so that no other demuxer of libav
// (playlists, devices, scripts, lists of files) ever sees a byte.
struct Container {
  ContentFormat format;
  const char* demuxer;
};
constexpr Container kContainers[] = {
    {ContentFormat::kWav, "wav"},   {ContentFormat::kAiff, "aiff"},
    {ContentFormat::kFlac, "flac"}, {ContentFormat::kOgg, "ogg"},
    {ContentFormat::kMp3, "mp3"},   {ContentFormat::kAac, "aac"},
    {ContentFormat::kMp4, "mov"},   {ContentFormat::kMatroska, "matroska"},
    {ContentFormat::kAvi, "avi"},
};

// Decoders that may see a stranger's data, of the hundreds that libav has.
constexpr AVCodecID kCodecs[] = {
    AV_CODEC_ID_AAC,          AV_CODEC_ID_AC3,        AV_CODEC_ID_ALAC,
    AV_CODEC_ID_EAC3,         AV_CODEC_ID_FLAC,       AV_CODEC_ID_MP1,
    AV_CODEC_ID_MP2,          AV_CODEC_ID_MP3,        AV_CODEC_ID_OPUS,
    AV_CODEC_ID_VORBIS,       AV_CODEC_ID_SPEEX,      AV_CODEC_ID_PCM_U8,
    AV_CODEC_ID_PCM_S8,       AV_CODEC_ID_PCM_S16LE,  AV_CODEC_ID_PCM_S16BE,
    AV_CODEC_ID_PCM_S24LE,    AV_CODEC_ID_PCM_S24BE,  AV_CODEC_ID_PCM_S32LE,
    AV_CODEC_ID_PCM_S32BE,    AV_CODEC_ID_PCM_F32LE,  AV_CODEC_ID_PCM_F32BE,
    AV_CODEC_ID_PCM_F64LE,    AV_CODEC_ID_PCM_F64BE,  AV_CODEC_ID_PCM_ALAW,
    AV_CODEC_ID_PCM_MULAW,    AV_CODEC_ID_ADPCM_MS,   AV_CODEC_ID_ADPCM_IMA_WAV,
    AV_CODEC_ID_ADPCM_IMA_QT, AV_CODEC_ID_H264,       AV_CODEC_ID_HEVC,
    AV_CODEC_ID_VP8,          AV_CODEC_ID_VP9,        AV_CODEC_ID_AV1,
    AV_CODEC_ID_MPEG4,        AV_CODEC_ID_MPEG1VIDEO, AV_CODEC_ID_MPEG2VIDEO,
    AV_CODEC_ID_MJPEG,        AV_CODEC_ID_THEORA,     AV_CODEC_ID_H263,
    AV_CODEC_ID_RAWVIDEO,     AV_CODEC_ID_PNG,
};

bool IsKnown(AVCodecID codec) {
  return std::find(std::begin(kCodecs), std::end(kCodecs), codec) != std::end(kCodecs);
}

// Names of those decoders, for libav's own look at streams before it knows them.
const std::string& KnownDecoders() {
  static const std::string names = [] {
    std::string list;
    void* state = nullptr;
    while (const AVCodec* codec = av_codec_iterate(&state)) {
      if (av_codec_is_decoder(codec) == 0 || !IsKnown(codec->id)) continue;
      list += list.empty() ? "" : ",";
      list += codec->name;
    }
    return list;
  }();
  return names;
}

// libavformat takes what is there of a WAV for the whole. Programs that do not know the length when
// they begin write 0, or as many as fit.
void RequireWholeRiff(MediaSource& source) {
  const std::vector<std::byte> head = source.Head(8);
  const std::uint64_t said = ByteReader(head).Little(4, 4);
  if (said == 0 || said >= 0xffffff00 || said + 8 <= source.size() + 1) return;
  source.Refuse(ErrorKind::kCorrupt, "has " + std::to_string(source.size()) +
                                         " bytes, but its header says " + std::to_string(said + 8) +
                                         ": it is cut off or damaged");
}

// Some containers name other files (QuickTime's references, for one). They are not opened.
int OpenNothing(AVFormatContext* /*context*/, AVIOContext** /*io*/, const char* /*url*/,
                int /*flags*/, AVDictionary** /*options*/) {
  return AVERROR(EPERM);
}

}  // namespace

// What libav reads from. Its callbacks are C's: an exception waits here until libav has returned.
struct Demuxer::Input {
  MediaSource* source = nullptr;
  std::uint64_t offset = 0;
  std::exception_ptr thrown;
  AVIOContext* io = nullptr;
  AVFormatContext* format = nullptr;

  ~Input() {
    if (format != nullptr) avformat_close_input(&format);
    if (io != nullptr) {
      av_freep(&io->buffer);
      avio_context_free(&io);
    }
  }

  static int Read(void* self, std::uint8_t* buffer, int count) {
    Input& input = *static_cast<Input*>(self);
    try {
      const std::size_t got = input.source->ReadAt(
          input.offset,
          {reinterpret_cast<std::byte*>(buffer), static_cast<std::size_t>(std::max(count, 0))});
      input.offset += got;
      return got == 0 ? AVERROR_EOF : static_cast<int>(got);
    } catch (...) {
      input.thrown = std::current_exception();
      return AVERROR(EIO);
    }
  }

  static std::int64_t Seek(void* self, std::int64_t offset, int whence) {
    Input& input = *static_cast<Input*>(self);
    const std::int64_t size = static_cast<std::int64_t>(input.source->size());
    std::int64_t base = 0;
    switch (whence & ~AVSEEK_FORCE) {
      case AVSEEK_SIZE: return size;
      case SEEK_SET: break;
      case SEEK_CUR: base = static_cast<std::int64_t>(input.offset); break;
      case SEEK_END: base = size; break;
      default: return AVERROR(EINVAL);
    }
    std::int64_t target = 0;
    if (__builtin_add_overflow(base, offset, &target) || target < 0) return AVERROR(EINVAL);
    input.offset = static_cast<std::uint64_t>(target);
    return target;
  }

  void Rethrow() {
    if (thrown) std::rethrow_exception(std::exchange(thrown, nullptr));
  }
};

Demuxer::Demuxer(MediaSource& source, const char* what)
    : source_(&source), input_(std::make_unique<Input>()) {
  const av::Silence silence;
  const Content content = RecognizeContent(source.Head(kContentHead));
  const auto* container =
      std::find_if(std::begin(kContainers), std::end(kContainers),
                   [&](const Container& known) { return known.format == content.format; });
  if (container == std::end(kContainers)) {
    source.Refuse(ErrorKind::kUnsupported,
                  "is " + content.name + "; a " + what + " is expected: " +
                      (what == std::string("video")
                           ? "MP4, QuickTime, WebM, Matroska, AVI or Ogg"
                           : "WAV, MP3, FLAC, Ogg, M4A, AAC, AIFF, or the sound of an MP4, WebM, "
                             "Matroska or AVI file"));
  }
  container_ = content.name;
  if (content.format == ContentFormat::kWav) RequireWholeRiff(source);
  Input& input = *input_;
  input.source = &source;
  const AVInputFormat* demuxer = av_find_input_format(container->demuxer);
  if (demuxer == nullptr) {
    source.Refuse(ErrorKind::kUnsupported,
                  "is " + content.name + ", which the libavformat of this machine does not read");
  }
  auto* buffer = static_cast<unsigned char*>(av_malloc(kBufferBytes));
  if (buffer == nullptr) throw std::bad_alloc();
  input.io = avio_alloc_context(buffer, kBufferBytes, 0, &input, Input::Read, nullptr, Input::Seek);
  if (input.io == nullptr) {
    av_free(buffer);
    throw std::bad_alloc();
  }
  input.format = avformat_alloc_context();
  if (input.format == nullptr) throw std::bad_alloc();
  input.format->pb = input.io;
  input.format->flags |= AVFMT_FLAG_CUSTOM_IO;
  input.format->io_open = OpenNothing;
  input.format->max_streams = kMaxStreams;
  const char* const lists[][2] = {{"format_whitelist", demuxer->name},
                                  {"protocol_whitelist", "none"},
                                  {"codec_whitelist", KnownDecoders().c_str()}};
  for (const auto& [option, value] : lists) {
    if (av_opt_set(input.format, option, value, 0) < 0) throw std::bad_alloc();
  }
  // On failure it frees the context, but not what reads.
  int code = avformat_open_input(&input.format, "", demuxer, nullptr);
  if (code >= 0) code = avformat_find_stream_info(input.format, nullptr);
  input.Rethrow();
  if (code == AVERROR(ENOMEM)) source_->RefuseMemory();
  if (code < 0) {
    source.Refuse(ErrorKind::kCorrupt, "begins as " + content.name +
                                           ", but cannot be read as one (" + av::ErrorText(code) +
                                           "): it is cut off or damaged");
  }
}

Demuxer::~Demuxer() {
  const av::Silence silence;
  input_.reset();
}

AVStream* Demuxer::Best(AVMediaType type) {
  const av::Silence silence;
  const int index = av_find_best_stream(input_->format, type, -1, -1, nullptr, 0);
  if (index < 0) return nullptr;
  AVStream* stream = input_->format->streams[index];
  // A cover of an album is no video.
  if (type == AVMEDIA_TYPE_VIDEO && (stream->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0) {
    return nullptr;
  }
  return stream;
}

double Demuxer::StreamSeconds(const AVStream& stream) const {
  // A guess from the mean of some bits is no word of the header.
  if (input_->format->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE) return -1.0;
  if (stream.duration > 0) return static_cast<double>(stream.duration) * av_q2d(stream.time_base);
  return input_->format->nb_streams == 1 ? ContainerSeconds() : -1.0;
}

double Demuxer::ContainerSeconds() const {
  if (input_->format->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE ||
      input_->format->duration <= 0) {
    return -1.0;
  }
  return static_cast<double>(input_->format->duration) / AV_TIME_BASE;
}

void Demuxer::RequireWhole() const {
  const double expected_s = ContainerSeconds();
  const double start_s = input_->format->start_time == AV_NOPTS_VALUE
                             ? 0.0
                             : static_cast<double>(input_->format->start_time) / AV_TIME_BASE;
  const double read_s = read_until_s_ - start_s;
  if (expected_s <= 0.0 || read_s >= 0.95 * expected_s - 0.5) return;
  char text[100];
  std::snprintf(text, sizeof text, "ends after %.2f s, but its header says %.2f s", read_s,
                expected_s);
  source_->Refuse(ErrorKind::kCorrupt, text + std::string(": it is cut off or damaged"));
}

av::DecoderPtr Demuxer::OpenDecoder(const AVStream& stream, std::int64_t max_pixels) {
  const av::Silence silence;
  const AVCodecID codec = stream.codecpar->codec_id;
  av::DecoderPtr decoder = IsKnown(codec) ? av::NewDecoder(codec, max_pixels) : nullptr;
  if (!decoder) {
    source_->Refuse(
        ErrorKind::kUnsupported,
        "is " + container_ + " whose content is coded as " + std::string(avcodec_get_name(codec)) +
            ", which culet does not decode; convert it to one of H.264, HEVC, VP8, VP9, "
            "AV1, or for sound AAC, MP3, FLAC, Opus, Vorbis, PCM");
  }
  int code = avcodec_parameters_to_context(decoder.get(), stream.codecpar);
  if (code >= 0) {
    decoder->pkt_timebase = stream.time_base;
    code = avcodec_open2(decoder.get(), nullptr, nullptr);
  }
  if (code == AVERROR(ENOMEM)) source_->RefuseMemory();
  if (code < 0) {
    source_->Refuse(ErrorKind::kCorrupt, "its " + std::string(avcodec_get_name(codec)) +
                                             " stream cannot be decoded (" + av::ErrorText(code) +
                                             "): it is damaged");
  }
  return decoder;
}

bool Demuxer::Read(const AVStream& stream, AVPacket* packet) {
  const av::Silence silence;
  for (;;) {
    av_packet_unref(packet);
    const int code = av_read_frame(input_->format, packet);
    input_->Rethrow();
    if (code == AVERROR(ENOMEM)) source_->RefuseMemory();
    if (code == AVERROR(EAGAIN)) continue;
    // What stands behind damage is not looked for: whoever counts finds that something lacks.
    if (code < 0) return false;
    if (packet->pts != AV_NOPTS_VALUE) {
      const AVStream& own = *input_->format->streams[packet->stream_index];
      const double end = static_cast<double>(packet->pts) +
                         static_cast<double>(std::max<std::int64_t>(packet->duration, 0));
      read_until_s_ = std::max(read_until_s_, end * av_q2d(own.time_base));
    }
    if (packet->stream_index == stream.index) return true;
  }
}

bool Demuxer::Seek(const AVStream& stream, std::int64_t timestamp) {
  const av::Silence silence;
  const int code = av_seek_frame(input_->format, stream.index, timestamp, AVSEEK_FLAG_BACKWARD);
  input_->Rethrow();
  return code >= 0;
}

}  // namespace culet
