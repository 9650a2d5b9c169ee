// Sound → log-mel features (E2B, E4B) or blocks of samples (12B).
// Source: transformers, Gemma4AudioFeatureExtractor and Gemma4UnifiedAudioFeatureExtractor.
//
//   frame t: 320 samples from 160·t on of the sound behind 160 zeros, times a periodic Hann window
//   features[t, m] = ln(0.001 + Σ_k filter[m, k] · |FFT512(frame)[k]|)
//
// Only frames whose samples are all real are made, which the reference calls valid: nothing is
// padded, and nothing is lost by that.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace culet {

inline constexpr std::int64_t kSampleRate = 16000;  // of everything that is heard
inline constexpr std::int64_t kMelBins = 128;
inline constexpr std::int64_t kMelHop = 160;             // samples from frame to frame
inline constexpr std::int64_t kMelMaxSamples = 480'000;  // 30 s; what is behind is not heard
inline constexpr std::int64_t kSamplesPerBlock = 640;

struct MelFeatures {
  std::int64_t frames = 0;
  std::vector<float> values;  // [frames, 128]
  // Samples behind the first 30 s, which the model does not hear. Whoever shows the sound to a
  // user says so.
  std::int64_t samples_cut = 0;
};

// `samples`: mono at 16 kHz, in −1 … 1. `place` names the sound in messages. Throws
// Error(kInvalidArgument) where there are 160 samples (10 ms) or less, which make no frame.
// Within 3e-6 of the reference on noise and speech; on loud pure tones the reference's own FFT in
// float shows near the floor, up to 5e-4. Cost: some 10 µs a frame.
MelFeatures Mel(std::span<const float> samples, const std::string& place);

// Frames of so many samples, and soft tokens of so many frames (two halvings).
std::int64_t MelFrames(std::int64_t samples);
std::int64_t MelSoftTokens(std::int64_t samples);

struct SampleBlocks {
  std::int64_t steps = 0;     // each is a soft token
  std::vector<float> values;  // [steps, 640], zeros behind the last sample
};

// Nothing is cut. Throws Error(kInvalidArgument) where there is no sample.
SampleBlocks CutSampleBlocks(std::span<const float> samples, const std::string& place);
std::int64_t SampleBlockCount(std::int64_t samples);

}  // namespace culet
