#include "media/mel.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <numbers>

#include "base/error.h"

namespace culet {
namespace {

constexpr std::int64_t kFrame = 320;  // samples
constexpr std::int64_t kLeftPadding = kFrame / 2;
constexpr std::size_t kFft = 512;
constexpr std::size_t kHalf = kFft / 2;
constexpr std::size_t kBins = kHalf + 1;
constexpr double kFloor = 0.001;
constexpr double kMaxFrequency = 8000.0;

double MelToHertz(double mel) { return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0); }
double HertzToMel(double hertz) { return 2595.0 * std::log10(1.0 + hertz / 700.0); }

// The transform of 512 real numbers by one of 256 complex ones: even samples as real parts, odd
// ones as imaginary parts, taken apart afterwards.
class RealFft {
 public:
  RealFft() {
    for (std::size_t i = 0; i < kHalf; ++i) {
      const double angle = -2.0 * std::numbers::pi * static_cast<double>(i) / kFft;
      turns_[i] = {std::cos(angle), std::sin(angle)};
      std::size_t reversed = 0;
      for (std::size_t bit = 1; bit < kHalf; bit *= 2) {
        reversed = 2 * reversed + ((i & bit) != 0 ? 1 : 0);
      }
      reversed_[i] = reversed;
    }
  }

  void Magnitudes(const std::array<double, kFft>& in, std::array<double, kBins>* out) const {
    std::array<std::complex<double>, kHalf> z;
    for (std::size_t i = 0; i < kHalf; ++i) z[reversed_[i]] = {in[2 * i], in[2 * i + 1]};
    for (std::size_t half = 1; half < kHalf; half *= 2) {
      const std::size_t stride = kHalf / half;  // of turns_, which go around in 512 steps
      for (std::size_t block = 0; block < kHalf; block += 2 * half) {
        for (std::size_t i = 0; i < half; ++i) {
          const std::complex<double> even = z[block + i];
          const std::complex<double> odd = Product(z[block + half + i], turns_[i * stride]);
          z[block + i] = even + odd;
          z[block + half + i] = even - odd;
        }
      }
    }
    for (std::size_t k = 0; k <= kHalf; ++k) {
      const std::complex<double> a = z[k % kHalf];
      const std::complex<double> b = std::conj(z[(kHalf - k) % kHalf]);
      const std::complex<double> even = 0.5 * (a + b);
      const std::complex<double> odd = Product({0.0, -0.5}, a - b);
      const std::complex<double> turn = k < kHalf ? turns_[k] : std::complex<double>(-1.0, 0.0);
      const std::complex<double> sum = even + Product(odd, turn);
      (*out)[k] = std::sqrt(sum.real() * sum.real() + sum.imag() * sum.imag());
    }
  }

 private:
  // std's own looks for infinities.
  static std::complex<double> Product(std::complex<double> a, std::complex<double> b) {
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
  }

  std::array<std::complex<double>, kHalf> turns_;
  std::array<std::size_t, kHalf> reversed_{};
};

// Triangles between points that are equally spaced in mel, over the bins that they touch.
class FilterBank {
 public:
  FilterBank() {
    std::array<double, kMelBins + 2> points{};
    const double top = HertzToMel(kMaxFrequency);
    for (std::size_t i = 0; i < points.size(); ++i) {
      points[i] = MelToHertz(top * static_cast<double>(i) / (kMelBins + 1));
    }
    for (std::size_t m = 0; m < filters_.size(); ++m) {
      for (std::size_t k = 0; k < kBins; ++k) {
        const double frequency = kMaxFrequency * static_cast<double>(k) / kHalf;
        const double rising = (frequency - points[m]) / (points[m + 1] - points[m]);
        const double falling = (points[m + 2] - frequency) / (points[m + 2] - points[m + 1]);
        const double weight = std::max(0.0, std::min(rising, falling));
        if (weight == 0.0) continue;
        if (filters_[m].weights.empty()) filters_[m].first = k;
        filters_[m].weights.push_back(weight);
      }
    }
  }

  // [128]. The first filter touches no bin: always ln 0.001.
  void LogMel(const std::array<double, kBins>& magnitudes, float* out) const {
    for (const Filter& filter : filters_) {
      double sum = 0.0;
      for (std::size_t i = 0; i < filter.weights.size(); ++i) {
        sum += filter.weights[i] * magnitudes[filter.first + i];
      }
      *out++ = static_cast<float>(std::log(sum + kFloor));
    }
  }

 private:
  struct Filter {
    std::size_t first = 0;
    std::vector<double> weights;
  };
  std::array<Filter, kMelBins> filters_;
};

std::array<float, kFrame> PeriodicHann() {
  std::array<float, kFrame> window{};
  for (std::size_t n = 0; n < window.size(); ++n) {
    const double turn = 2.0 * std::numbers::pi * static_cast<double>(n) / kFrame;
    window[n] = static_cast<float>(0.5 - 0.5 * std::cos(turn));
  }
  return window;
}

}  // namespace

std::int64_t MelFrames(std::int64_t samples) {
  const std::int64_t heard = std::min(samples, kMelMaxSamples);
  return heard <= kLeftPadding ? 0 : (heard - kLeftPadding + kMelHop - 1) / kMelHop;
}

std::int64_t MelSoftTokens(std::int64_t samples) { return (MelFrames(samples) + 3) / 4; }

MelFeatures Mel(std::span<const float> samples, const std::string& place) {
  static const RealFft fft;
  static const FilterBank bank;
  static const std::array<float, kFrame> window = PeriodicHann();
  const std::int64_t count = static_cast<std::int64_t>(samples.size());
  MelFeatures features;
  features.frames = MelFrames(count);
  if (features.frames == 0) {
    throw Error(ErrorKind::kInvalidArgument,
                place + ": the sound has " + std::to_string(count) +
                    " samples at 16 kHz; one that a model can hear has more than " +
                    std::to_string(kLeftPadding) + " (10 ms)");
  }
  features.samples_cut = std::max<std::int64_t>(0, count - kMelMaxSamples);
  features.values.resize(static_cast<std::size_t>(features.frames * kMelBins));
  std::array<double, kFft> frame{};  // zeros behind the window's end
  std::array<double, kBins> magnitudes{};
  for (std::int64_t t = 0; t < features.frames; ++t) {
    for (std::int64_t n = 0; n < kFrame; ++n) {
      const std::int64_t at = t * kMelHop + n - kLeftPadding;
      // The product is float, as the reference's.
      const float value =
          at < 0 ? 0.0F
                 : samples[static_cast<std::size_t>(at)] * window[static_cast<std::size_t>(n)];
      frame[static_cast<std::size_t>(n)] = static_cast<double>(value);
    }
    fft.Magnitudes(frame, &magnitudes);
    bank.LogMel(magnitudes, features.values.data() + t * kMelBins);
  }
  return features;
}

std::int64_t SampleBlockCount(std::int64_t samples) {
  return (samples + kSamplesPerBlock - 1) / kSamplesPerBlock;
}

SampleBlocks CutSampleBlocks(std::span<const float> samples, const std::string& place) {
  if (samples.empty()) {
    throw Error(ErrorKind::kInvalidArgument,
                place + ": the sound has no samples; one that a model can hear has some");
  }
  SampleBlocks blocks;
  blocks.steps = SampleBlockCount(static_cast<std::int64_t>(samples.size()));
  blocks.values.assign(samples.begin(), samples.end());
  blocks.values.resize(static_cast<std::size_t>(blocks.steps * kSamplesPerBlock));
  return blocks;
}

}  // namespace culet
