// `culet bench --image`: what a picture takes until it is rows of the text model, stage by stage.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/bench_measure.h"
#include "culet/media.h"
#include "culet/model.h"

namespace culet::cli {

struct ImagesPlan {
  std::string file;
  std::vector<std::int64_t> counts;   // pictures at once
  std::vector<std::int64_t> budgets;  // most tokens of each; empty: what the model's processor says
  int repeats = 5;

  // The budgets as options; one that says nothing where none is given.
  std::vector<MediaOptions> Options() const;
};

// Of one number of pictures and one budget; times are of one picture.
struct ImagesResult {
  std::int64_t images = 0;
  std::int64_t tokens = 0;                                          // soft tokens of a picture
  std::int64_t patches = 0;                                         // of a picture
  Spread ms;                                                        // all of it
  double decode_ms = 0, prepare_ms = 0, tower_ms = 0, soft_ms = 0;  // medians
  double tower_macs = 0;                                            // of a picture
  Spread ratio_to_peak;  // of the tower, to the machine's multiply-adds around the run
};

// Everything once, so that weights are there and the peak of memory is that of the model alone.
// Throws Error where the model or the file is not made for it.
void WarmUpImages(const std::shared_ptr<Model>& model, const ImagesPlan& plan);

// `on_step(done, total)` is called between runs. Throws Interrupted after Ctrl-C.
std::vector<ImagesResult> RunImages(const std::shared_ptr<Model>& model, const ImagesPlan& plan,
                                    const std::function<void(int, int)>& on_step);

OrderedJson ImagesJson(const std::vector<ImagesResult>& results);
std::string ImagesText(const std::vector<ImagesResult>& results);

}  // namespace culet::cli
