#include "cli/bench_images.h"

#include <fmt/format.h>

#include <cstddef>

#include "cli/interrupt.h"
#include "cli/media_options.h"
#include "culet/tools.h"

namespace culet::cli {
namespace {

// Runs of one number of pictures.
struct Samples {
  std::vector<double> all, decode, prepare, tower, soft, ratios;
};

ImagesResult Measure(const std::shared_ptr<Model>& model, const Media& image, std::int64_t count,
                     const MediaOptions& options, int repeats, const std::function<void()>& step) {
  Samples samples;
  ImageTimes times;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    step();
    times = MeasureImages(*model, image, count, options);
    const auto each = static_cast<double>(count);
    samples.decode.push_back(times.decode_ms / each);
    samples.prepare.push_back(times.prepare_ms / each);
    samples.tower.push_back(times.tower_ms / each);
    samples.soft.push_back(times.soft_ms / each);
    samples.all.push_back((times.decode_ms + times.prepare_ms + times.tower_ms + times.soft_ms) /
                          each);
    samples.ratios.push_back(2 * static_cast<double>(times.tower_macs) / (times.tower_ms / 1000) /
                             (times.peak_gflops * 1e9));
  }
  ImagesResult result;
  result.images = count;
  result.tokens = times.tokens / count;
  result.patches = times.patches / count;
  result.ms = SpreadOf(samples.all);
  result.decode_ms = SpreadOf(samples.decode).median;
  result.prepare_ms = SpreadOf(samples.prepare).median;
  result.tower_ms = SpreadOf(samples.tower).median;
  result.soft_ms = SpreadOf(samples.soft).median;
  result.tower_macs = static_cast<double>(times.tower_macs) / static_cast<double>(count);
  result.ratio_to_peak = SpreadOf(samples.ratios);
  return result;
}

}  // namespace

std::vector<MediaOptions> ImagesPlan::Options() const {
  if (budgets.empty()) return {MediaOptions()};
  std::vector<MediaOptions> options(budgets.size());
  for (std::size_t index = 0; index < budgets.size(); ++index) {
    options[index].image_tokens = budgets[index];
  }
  return options;
}

void WarmUpImages(const std::shared_ptr<Model>& model, const ImagesPlan& plan) {
  const Media image = OpenMedia(MediaKind::kImage, plan.file, "--image");
  for (const MediaOptions& options : plan.Options()) {
    for (const std::int64_t count : plan.counts) {
      if (InterruptGuard::Pending()) throw Interrupted();
      MeasureImages(*model, image, count, options);
    }
  }
}

std::vector<ImagesResult> RunImages(const std::shared_ptr<Model>& model, const ImagesPlan& plan,
                                    const std::function<void(int, int)>& on_step) {
  const Media image = OpenMedia(MediaKind::kImage, plan.file, "--image");
  const std::vector<MediaOptions> all_options = plan.Options();
  const int total = static_cast<int>(plan.counts.size() * all_options.size()) * plan.repeats;
  int done = 0;
  const auto step = [&] {
    if (InterruptGuard::Pending()) throw Interrupted();
    on_step(done++, total);
  };
  std::vector<ImagesResult> results;
  for (const MediaOptions& options : all_options) {
    for (const std::int64_t count : plan.counts) {
      results.push_back(Measure(model, image, count, options, plan.repeats, step));
    }
  }
  return results;
}

OrderedJson ImagesJson(const std::vector<ImagesResult>& results) {
  OrderedJson images = OrderedJson::array();
  for (const ImagesResult& run : results) {
    OrderedJson item = {{"images", run.images}, {"tokens", run.tokens}, {"patches", run.patches}};
    AddSpread(&item, "ms", run.ms);
    item["decode_ms"] = run.decode_ms;
    item["prepare_ms"] = run.prepare_ms;
    item["tower_ms"] = run.tower_ms;
    item["soft_ms"] = run.soft_ms;
    item["tower_multiply_adds"] = run.tower_macs;
    AddSpread(&item, "ratio_to_peak", run.ratio_to_peak);
    images.push_back(item);
  }
  return images;
}

std::string ImagesText(const std::vector<ImagesResult>& results) {
  std::string text = fmt::format("\n{:<8} {:>7} {:>8} {:>10} {:>10} {:>10} {:>10} {:>10}   {}\n",
                                 "images", "tokens", "patches", "ms each", "decode", "prepare",
                                 "tower", "soft", "tower of the limit");
  for (const ImagesResult& run : results) {
    text += fmt::format(
        "{:<8} {:>7} {:>8} {:>10.1f} {:>10.1f} {:>10.1f} {:>10.1f} {:>10.1f}   {:.1f}% of the "
        "multiply-adds ({:.1f}% to {:.1f}%)\n",
        run.images, run.tokens, run.patches, run.ms.median, run.decode_ms, run.prepare_ms,
        run.tower_ms, run.soft_ms, 100 * run.ratio_to_peak.median, 100 * run.ratio_to_peak.min,
        100 * run.ratio_to_peak.max);
  }
  return text;
}

}  // namespace culet::cli
