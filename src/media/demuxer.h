// A sound or clip taken apart into packets by libav, which reads through a MediaSource and can open
// nothing by itself: no other file, no network, no playlist.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "media/libav.h"
#include "media/source.h"

namespace culet {

class Demuxer {
 public:
  // `source` outlives this. `what`: "sound" or "video". The container is told by content and must
  // be one of those that culet reads. Throws Error naming the source.
  Demuxer(MediaSource& source, const char* what);
  ~Demuxer();
  Demuxer(const Demuxer&) = delete;
  Demuxer& operator=(const Demuxer&) = delete;

  // The stream of that kind that a player would take; null where there is none.
  AVStream* Best(AVMediaType type);
  // How long headers say that the stream, and the whole, lasts; negative where they do not say.
  double StreamSeconds(const AVStream& stream) const;
  double ContainerSeconds() const;
  // Throws where the packets that were read up to the end, those of every stream, end well before
  // the container's header says: the file is cut off.
  void RequireWhole() const;

  // A decoder of `stream`, open. Throws where its codec is not one of those that culet takes.
  av::DecoderPtr OpenDecoder(const AVStream& stream, std::int64_t max_pixels);

  // The next packet of `stream`; false at the end. Packets of other streams are passed over.
  // Cost: reads the file from where it stands.
  bool Read(const AVStream& stream, AVPacket* packet);
  // To the last key frame at or before `timestamp` of `stream`, in its time base. False where the
  // container cannot.
  bool Seek(const AVStream& stream, std::int64_t timestamp);

  MediaSource& source() { return *source_; }

 private:
  struct Input;
  MediaSource* source_;
  std::string container_;  // for messages
  std::unique_ptr<Input> input_;
  double read_until_s_ = 0.0;  // the latest end of a packet
};

}  // namespace culet
