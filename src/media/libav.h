// What every use of libav shares: owners, silence, errors. Only sources of this folder include it.
//
// Works with FFmpeg 5.1 (Debian 12) and 6.1 (Ubuntu 24.04). Decoders run on the caller's thread.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
}

#include <memory>
#include <string>

namespace culet::av {

struct Free {
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
  void operator()(AVCodecContext* context) const { avcodec_free_context(&context); }
};
using FramePtr = std::unique_ptr<AVFrame, Free>;
using PacketPtr = std::unique_ptr<AVPacket, Free>;
using DecoderPtr = std::unique_ptr<AVCodecContext, Free>;

// Throw std::bad_alloc.
FramePtr NewFrame();
PacketPtr NewPacket();

// While one lives, libav's log of this thread is dropped; other threads', and that of other users
// of libav in the process, goes where it went. Everything here that calls libav holds one.
class Silence {
 public:
  Silence();
  ~Silence();
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
};

// "Invalid data found when processing input".
std::string ErrorText(int code);

// A decoder that works on one thread, refuses frames of more than `max_pixels`, and is not open
// yet. Null where this build of libav has none.
DecoderPtr NewDecoder(AVCodecID codec, std::int64_t max_pixels);

}  // namespace culet::av
