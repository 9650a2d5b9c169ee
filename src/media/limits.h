// How much of a stranger's file is taken.
#pragma once

#include <cstdint>

namespace culet {

// Checked on headers, before anything is decoded, and again while it is where a header does not
// tell. What is beyond is refused with Error(kResource).
struct MediaLimits {
  std::uint64_t image_bytes = std::uint64_t{256} << 20;
  std::int64_t image_pixels = 100'000'000;  // takes 3 bytes a pixel, up to 7 while it is decoded
  std::uint64_t stream_bytes = std::uint64_t{8} << 30;  // of a sound or clip; read piece by piece
  double audio_seconds = 1800.0;                        // takes 64 kB a second
  double video_seconds = 7200.0;
  std::int64_t video_frames = 1'000'000;  // in the clip: 8 bytes each
  std::int64_t frame_pixels = 36'000'000;
  std::int64_t shown_frames = 4096;  // chosen ones: their resized pixels stay in memory
};

}  // namespace culet
