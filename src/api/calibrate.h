// What a model's matrices are multiplied with: column weights for quantising.
#pragma once

#include <functional>
#include <vector>

#include "checkpoint/quantize_checkpoint.h"
#include "culet/model.h"

namespace culet {

// The mean square of each column of what every matrix of `model` is multiplied with, over the
// tokens of `windows`, by name in the file. Nobody else is answered meanwhile. `on_row(done)`
// counts tokens; what it throws ends the calibration.
ColumnWeights Calibrate(Model& model, const std::vector<std::vector<TokenId>>& windows,
                        const std::function<void(std::int64_t done)>& on_row);

}  // namespace culet
