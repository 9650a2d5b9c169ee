// Times of pictures on their way into a model, by stage.
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "api/boundary.h"
#include "api/media_impl.h"
#include "api/model_impl.h"
#include "api/prompt_media.h"
#include "api/soft_prompt.h"
#include "base/error.h"
#include "culet/tools.h"

namespace culet {
namespace {

using Clock = std::chrono::steady_clock;

// Milliseconds since `*start`, which moves to now.
double Lap(Clock::time_point* start) {
  const Clock::time_point now = Clock::now();
  return std::chrono::duration<double, std::milli>(now - std::exchange(*start, now)).count();
}

}  // namespace

ImageTimes MeasureImages(Model& model, const Media& image, std::int64_t count,
                         const MediaOptions& options) try {
  if (count < 1 || image.kind() != MediaKind::kImage || !image.impl()->image.pixels.empty()) {
    throw Error(ErrorKind::kInvalidArgument,
                image.name() + ", " + std::to_string(count) +
                    " times: files of pictures are measured, once or more often");
  }
  const Model::Impl& impl = model.impl();
  const ModelConfig& config = impl.checkpoint->config();
  const MediaPreparer preparer(impl.checkpoint->folder(), nullptr);
  const ImageSettings settings = preparer.ImageSettingsOf(options);
  ImageTimes times;
  std::vector<std::shared_ptr<const PromptMedia>> pictures;
  std::vector<SoftInput> inputs;
  Clock::time_point start = Clock::now();
  for (std::int64_t index = 0; index < count; ++index) {
    const RgbImage pixels = preparer.DecodeImage(image);
    times.decode_ms += Lap(&start);
    pictures.push_back(preparer.Picture(image, ResizeToBudget(pixels, settings), settings,
                                        config.media_tokens.image));
    inputs.push_back(ToSoftInput(*pictures.back()));
    times.prepare_ms += Lap(&start);
    times.tokens += pictures.back()->count;
    times.patches += inputs.back().grid.units();
    times.tower_macs += VisionEncoder::Work(config, inputs.back().grid).tower();
  }
  for (SoftInput& input : inputs) {
    input.rows = [rows = input.rows, &start, &times] {
      start = Clock::now();
      std::vector<float> cut = rows();
      times.prepare_ms += Lap(&start);
      return cut;
    };
  }
  const double peak_before = impl.encoders->PeakGflops();
  const auto last_layer = static_cast<int>(VisionEncoder::Layers(config));
  const EncoderTap tap = [&](int layer, View<const float, 2>) {
    if (layer == last_layer) times.tower_ms += Lap(&start);
  };
  for (std::span<const SoftInput> left = inputs; !left.empty();) {
    const std::size_t together = MediaEncoders::Together(left);
    impl.encoders->EncodeAnew(left.first(together), tap);
    times.soft_ms += Lap(&start);
    left = left.subspan(together);
  }
  times.peak_gflops = (peak_before + impl.encoders->PeakGflops()) / 2;
  return times;
} catch (...) {
  RethrowAsError();
}

}  // namespace culet
