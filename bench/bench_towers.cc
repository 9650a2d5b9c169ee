// Times the media encoders at published sizes with random weights in bf16, by stage, and compares
// the multiply-adds of each with the machine's limit, measured before and after in the same minute.
//
//   bench_towers [--threads N] [--size e2b|31b|12b] [--tokens N] [--seconds N] [--reps N]
//                [--clock wall|cpu]
//
// `--tokens`: the budget of an image, whose sides are near 4 : 3. `--seconds`: of the sound.
// `--clock cpu` counts the time that the process was given, for busy machines; exact for one thread
// only.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/cpu_features.h"
#include "base/error.h"
#include "checkpoint/config.h"
#include "clock.h"
#include "model/media_encoder.h"
#include "ops/dense_attention.h"
#include "ops/machine_limits.h"
#include "ops/matmul.h"

namespace culet {
namespace {

struct Options {
  int threads = DefaultThreads();
  std::string size = "e2b";
  std::int64_t tokens = 280;
  std::int64_t seconds = 30;
  int reps = 3;
  bool cpu_clock = false;
};

// Published sizes; of the text model only its width matters.
ModelConfig ConfigOf(const std::string& size) {
  ModelConfig config;
  VisionConfig vision;
  if (size == "12b") {
    config.hidden = 3840;
    vision.kind = EncoderKind::kProjection;
    vision.mm_embed_dim = 3840;
    vision.mm_posemb_size = 1120;
    AudioConfig audio;
    audio.kind = EncoderKind::kProjection;
    audio.audio_embed_dim = 640;
    config.audio = audio;
  } else if (size == "e2b" || size == "31b") {
    const bool small = size == "e2b";
    config.hidden = small ? 1536 : 5376;
    vision.hidden = small ? 768 : 1152;
    vision.intermediate = small ? 3072 : 4304;
    vision.layers = small ? 16 : 27;
    vision.heads = vision.kv_heads = small ? 12 : 16;
    vision.head_dim = small ? 64 : 72;
    vision.position_embedding_size = 10240;
    vision.use_clipped_linears = small;
    vision.standardize = !small;
  } else {
    throw Error(ErrorKind::kInvalidArgument, "--size: " + size + "; there are e2b, 31b and 12b");
  }
  if (size == "e2b") {
    AudioConfig audio;
    audio.hidden = 1024;
    audio.layers = 12;
    audio.heads = 8;
    audio.conv_channels[0] = 128;
    audio.conv_channels[1] = 32;
    audio.conv_kernel_size = 5;
    audio.attention_chunk_size = 12;
    audio.attention_context_left = 13;
    audio.output_proj_dims = 1536;
    config.audio = audio;
  }
  config.vision = vision;
  return config;
}

// Hands out random weights: all matrices begin in one block, at places that differ.
class Weights {
 public:
  explicit Weights(const ModelConfig& config) : bits_(std::size_t{256} << 20), ones_(1 << 16, 1) {
    // Random bits in the range of bf16 weights near ± 0.01.
    std::uint32_t state = 1;
    for (std::uint16_t& weight : bits_) {
      state = state * 1664525u + 1013904223u;
      weight = static_cast<std::uint16_t>(0x3c00u | (state >> 24) | ((state >> 8) & 0x8000u));
    }
    if (config.vision) FillVision(*config.vision, config.hidden);
    if (config.audio) FillAudio(*config.audio, config.hidden);
  }

  VisionWeights vision;
  AudioWeights audio;

 private:
  Matrix Take(std::int64_t rows, std::int64_t cols) {
    const auto count = static_cast<std::size_t>(rows * cols);
    if (next_ + count > bits_.size()) next_ = 0;
    const Matrix matrix{DType::kBF16, bits_.data() + next_, rows, cols};
    next_ += count;
    return matrix;
  }
  Vector Ones(std::int64_t count) const {
    return Vector(ones_).first(static_cast<std::size_t>(count));
  }
  ClippedLinear Linear(std::int64_t rows, std::int64_t cols, bool clipped) {
    ClippedLinear linear;
    linear.w = Take(rows, cols);
    if (clipped) {
      linear.input_min = linear.output_min = -20;
      linear.input_max = linear.output_max = 20;
    }
    return linear;
  }

  void FillVision(const VisionConfig& config, std::int64_t text_hidden) {
    vision.embed = Take(text_hidden, config.output_width());
    if (config.kind == EncoderKind::kProjection) {
      const LayerNormWeights block = {Ones(config.unit_width()), Ones(config.unit_width())};
      const LayerNormWeights norm = {Ones(config.mm_embed_dim), Ones(config.mm_embed_dim)};
      vision.block_norm = block;
      vision.dense = Take(config.mm_embed_dim, config.unit_width());
      vision.dense_bias = Ones(config.mm_embed_dim);
      vision.dense_norm = vision.position_norm = norm;
      vision.block_positions = Take(2 * config.mm_posemb_size, config.mm_embed_dim);
      return;
    }
    const std::int64_t queries = config.heads * config.head_dim;
    const std::int64_t keys = config.kv_heads * config.head_dim;
    const bool clipped = config.use_clipped_linears;
    vision.input = Take(config.hidden, config.unit_width());
    vision.positions = Take(2 * config.position_embedding_size, config.hidden);
    vision.std_bias = vision.std_scale = Ones(config.hidden);
    for (std::int64_t layer = 0; layer < config.layers; ++layer) {
      VisionLayerWeights weights;
      weights.input_norm = weights.post_attention_norm = Ones(config.hidden);
      weights.pre_feedforward_norm = weights.post_feedforward_norm = Ones(config.hidden);
      weights.q_norm = weights.k_norm = Ones(config.head_dim);
      weights.q = Linear(queries, config.hidden, clipped);
      weights.k = Linear(keys, config.hidden, clipped);
      weights.v = Linear(keys, config.hidden, clipped);
      weights.o = Linear(config.hidden, queries, clipped);
      weights.gate = Linear(config.intermediate, config.hidden, clipped);
      weights.up = Linear(config.intermediate, config.hidden, clipped);
      weights.down = Linear(config.hidden, config.intermediate, clipped);
      vision.layers.push_back(weights);
    }
  }

  AudioFeedForwardWeights FeedForward(std::int64_t hidden) {
    return {Ones(hidden), Ones(hidden), Linear(4 * hidden, hidden, true),
            Linear(hidden, 4 * hidden, true)};
  }

  void FillAudio(const AudioConfig& config, std::int64_t text_hidden) {
    audio.embed = Take(text_hidden, config.output_width());
    if (config.kind == EncoderKind::kProjection) return;
    const std::int64_t n = config.hidden;
    audio.conv[0] = Take(config.conv_channels[0], 9);
    audio.conv[1] = Take(config.conv_channels[1], config.conv_channels[0] * 9);
    audio.conv_norm[0] = Ones(config.conv_channels[0]);
    audio.conv_norm[1] = Ones(config.conv_channels[1]);
    audio.input = Take(n, config.subsampled_bins() * config.conv_channels[1]);
    audio.output = Take(config.output_proj_dims, n);
    audio.output_bias = Ones(config.output_proj_dims);
    for (std::int64_t layer = 0; layer < config.layers; ++layer) {
      AudioLayerWeights weights;
      weights.feed_forward1 = FeedForward(n);
      weights.feed_forward2 = FeedForward(n);
      weights.pre_attention_norm = weights.post_attention_norm = weights.out_norm = Ones(n);
      weights.conv_pre_norm = weights.conv_norm = Ones(n);
      weights.q = Linear(n, n, true);
      weights.k = Linear(n, n, true);
      weights.v = Linear(n, n, true);
      weights.post = Linear(n, n, true);
      weights.relative_k = Take(n, n);
      weights.per_dim_scale = Ones(config.head_dim());
      weights.conv_start = Linear(2 * n, n, true);
      weights.conv_end = Linear(n, n, true);
      weights.depthwise = Ones(n * config.conv_kernel_size);
      audio.layers.push_back(weights);
    }
  }

  std::vector<std::uint16_t> bits_;
  std::vector<float> ones_;
  std::size_t next_ = 0;
};

// The largest grid of soft tokens within the budget whose sides are near 4 : 3.
ImageGrid GridOf(std::int64_t tokens) {
  ImageGrid best{1, 1};
  for (std::int64_t height = 1; height * height <= tokens; ++height) {
    const std::int64_t width = tokens / height;
    if (3 * width <= 5 * height && width * height >= best.units()) best = {width, height};
  }
  return best;
}

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        config_(ConfigOf(options.size)),
        weights_(config_),
        ctx_(options.threads) {}

  void Run() {
    std::printf("%s, %d threads, level %s, %s\n", CpuModelName().c_str(), options_.threads,
                std::string(CpuLevelName(ctx_.level())).c_str(), options_.size.c_str());
    Image();
    if (config_.audio) Sound();
  }

 private:
  void Image() {
    const VisionConfig& vision = *config_.vision;
    ImageGrid grid = GridOf(options_.tokens);
    const std::int64_t tokens = grid.units();
    if (vision.kind == EncoderKind::kTower) {
      grid = {grid.width * vision.pooling_kernel_size, grid.height * vision.pooling_kernel_size};
    }
    const std::int64_t units = grid.units();
    const auto encoder = VisionEncoder::Make(config_, weights_.vision, units);
    ctx_.Scratch(VisionEncoder::ScratchBytes(config_, units, options_.threads));
    const std::vector<float> pixels = Values(units * vision.unit_width());
    std::printf(
        "image of %ld soft tokens, %ld × %ld units, %.1f MiB of activations and scratch\n",
        static_cast<long>(tokens), static_cast<long>(grid.width), static_cast<long>(grid.height),
        static_cast<double>(VisionEncoder::ActivationBytes(config_, units) + ctx_.scratch_bytes()) /
            (1 << 20));
    const View<const float, 2> view(pixels.data(), {units, vision.unit_width()});
    const VisionWork work = VisionEncoder::Work(config_, grid);
    Time("  whole", work.all(), [&] { encoder->Forward(ctx_, view, {&grid, 1}); });
    if (vision.kind == EncoderKind::kTower) Stages(vision, work, units);
  }

  // The products and the attention of all layers by themselves.
  void Stages(const VisionConfig& vision, const VisionWork& work, std::int64_t units) {
    const std::int64_t queries = vision.heads * vision.head_dim;
    const std::int64_t widest = std::max(vision.intermediate, queries);
    const std::vector<float> x = Values(units * widest);
    std::vector<float> q = Values(units * queries), k = q, v = q, wide(x.size());
    const auto rows = [&](std::vector<float>& values, std::int64_t cols) {
      return View<float, 2>(values.data(), {units, cols});
    };
    const View<const float, 2> in(x.data(), {units, vision.hidden});
    const View<const float, 2> wide_in(x.data(), {units, vision.intermediate});
    Time("  q, k, v and o of all layers", work.linear, [&] {
      for (const VisionLayerWeights& layer : weights_.vision.layers) {
        MatMul(ctx_, in, layer.q.w, rows(wide, queries));
        MatMul(ctx_, in, layer.k.w, rows(wide, queries));
        MatMul(ctx_, in, layer.v.w, rows(wide, queries));
        MatMul(ctx_, View<const float, 2>(x.data(), {units, queries}), layer.o.w,
               rows(wide, vision.hidden));
      }
    });
    Time("  attention of all layers", work.attention, [&] {
      const View<float, 3>::Extents extents = {units, vision.heads, vision.head_dim};
      for (std::int64_t layer = 0; layer < vision.layers; ++layer) {
        DenseAttention(ctx_, View<float, 3>(q.data(), extents), View<float, 3>(k.data(), extents),
                       View<float, 3>(v.data(), extents), {&units, 1},
                       View<float, 3>(wide.data(), extents));
      }
    });
    Time("  gate, up and down of all layers", work.mlp, [&] {
      for (const VisionLayerWeights& layer : weights_.vision.layers) {
        MatMul(ctx_, in, layer.gate.w, rows(wide, vision.intermediate));
        MatMul(ctx_, in, layer.up.w, rows(wide, vision.intermediate));
        MatMul(ctx_, wide_in, layer.down.w, rows(wide, vision.hidden));
      }
    });
  }

  void Sound() {
    const AudioConfig& audio = *config_.audio;
    const bool tower = audio.kind == EncoderKind::kTower;
    const std::int64_t rows = options_.seconds * (tower ? 100 : 25);
    const std::int64_t cols = tower ? audio.mel_bins() : audio.audio_embed_dim;
    const auto encoder = AudioEncoder::Make(config_, weights_.audio, rows);
    ctx_.Scratch(AudioEncoder::ScratchBytes(config_, rows, options_.threads));
    const std::vector<float> input = Values(rows * cols);
    std::printf("sound of %ld s, %ld soft tokens, %.1f MiB of activations\n",
                static_cast<long>(options_.seconds),
                static_cast<long>(AudioEncoder::Tokens(config_, rows)),
                static_cast<double>(AudioEncoder::ActivationBytes(config_, rows)) / (1 << 20));
    Time("  whole", AudioEncoder::Products(config_, rows), [&] {
      encoder->Forward(ctx_, View<const float, 2>(input.data(), {rows, cols}));
    });
  }

  void Time(const char* name, std::uint64_t multiply_adds, const std::function<void()>& body) {
    const auto products = static_cast<double>(multiply_adds);
    body();
    std::vector<double> times, ratios;
    double before = Peak();
    for (int rep = 0; rep < options_.reps; ++rep) {
      const double seconds = Seconds(body);
      const double after = Peak();
      times.push_back(seconds);
      ratios.push_back(2 * products / seconds * 1e-9 / ((before + after) / 2));
      before = after;
    }
    const double time = Median(times);
    std::printf("%-34s %9.1f ms  %7.1f G multiply-adds/s, %3.0f%% of the limit\n", name, time * 1e3,
                products / time * 1e-9, 100 * Median(ratios));
    std::fflush(stdout);
  }

  double Seconds(const std::function<void()>& body) const {
    const clockid_t clock = options_.cpu_clock ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
    const double start = Now(clock);
    body();
    return (Now(clock) - start) / (options_.cpu_clock ? options_.threads : 1);
  }

  double Peak() {
    double rate = 0;
    const double start = Now(CLOCK_MONOTONIC);
    const double seconds = Seconds([&] { rate = MeasurePeakGflops(ctx_, DType::kBF16); });
    return options_.cpu_clock ? rate * (Now(CLOCK_MONOTONIC) - start) / seconds : rate;
  }

  static std::vector<float> Values(std::int64_t count) {
    std::vector<float> values(static_cast<std::size_t>(count));
    std::uint32_t state = 2;
    for (float& value : values) {
      state = state * 1664525u + 1013904223u;
      value = static_cast<float>(state >> 8) * 0x1p-24f;
    }
    return values;
  }

  Options options_;
  ModelConfig config_;
  Weights weights_;
  Context ctx_;
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const char* value = i + 1 < argc ? argv[++i] : nullptr;
    if (value == nullptr) throw Error(ErrorKind::kInvalidArgument, name + ": its value is missing");
    if (name == "--threads") {
      options.threads = std::max(1, std::atoi(value));
    } else if (name == "--size") {
      options.size = value;
    } else if (name == "--tokens") {
      options.tokens = std::max(1, std::atoi(value));
    } else if (name == "--seconds") {
      options.seconds = std::max(1, std::atoi(value));
    } else if (name == "--reps") {
      options.reps = std::max(1, std::atoi(value));
    } else if (name == "--clock") {
      options.cpu_clock = std::string(value) == "cpu";
    } else {
      throw Error(ErrorKind::kInvalidArgument, name +
                                                   ": not an option; there are --threads, --size, "
                                                   "--tokens, --seconds, --reps and --clock");
    }
  }
  return options;
}

}  // namespace
}  // namespace culet

int main(int argc, char** argv) {
  try {
    culet::Bench(culet::Parse(argc, argv)).Run();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_towers: %s\n", error.what());
    return 2;
  }
}
