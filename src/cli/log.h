// Lines on standard error.
#pragma once

#include <string>

#include "culet/model.h"
#include "culet/text.h"

namespace culet::cli {

// "culet: warning: …"
void Warn(const std::string& message);
// "culet: …"
void Note(const std::string& message);

// The plan as lines of key=value: variant, level, threads, bytes by kind, tensors left unused and
// why.
void PrintPlan(const ModelInfo& info);

// What a user should know of the model.
void PrintWarnings(const ModelInfo& info);
void PrintWarnings(const TextProcessor& text);

}  // namespace culet::cli
