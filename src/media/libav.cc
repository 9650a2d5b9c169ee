#include "media/libav.h"

#include <cstdarg>
#include <mutex>
#include <new>

namespace culet::av {
namespace {

thread_local int silences = 0;

void Log(void* context, int level, const char* format, va_list arguments) {
  if (silences == 0) av_log_default_callback(context, level, format, arguments);
}

}  // namespace

FramePtr NewFrame() {
  FramePtr frame(av_frame_alloc());
  if (!frame) throw std::bad_alloc();
  return frame;
}

PacketPtr NewPacket() {
  PacketPtr packet(av_packet_alloc());
  if (!packet) throw std::bad_alloc();
  return packet;
}

Silence::Silence() {
  static std::once_flag once;
  std::call_once(once, [] { av_log_set_callback(Log); });
  ++silences;
}

Silence::~Silence() { --silences; }

std::string ErrorText(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = "";
  if (av_strerror(code, text, sizeof text) < 0) return "error " + std::to_string(code);
  return text;
}

DecoderPtr NewDecoder(AVCodecID codec, std::int64_t max_pixels) {
  const AVCodec* decoder = avcodec_find_decoder(codec);
  if (decoder == nullptr) return nullptr;
  DecoderPtr context(avcodec_alloc_context3(decoder));
  if (!context) throw std::bad_alloc();
  context->thread_count = 1;
  context->max_pixels = max_pixels;
  return context;
}

}  // namespace culet::av
