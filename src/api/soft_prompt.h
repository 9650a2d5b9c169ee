// A prompt as the engine takes it: soft tokens in place of the placeholders of its media.
#pragma once

#include <cstdint>
#include <vector>

#include "api/prompt_media.h"
#include "culet/model.h"
#include "culet/text.h"
#include "runtime/media_encoders.h"
#include "runtime/soft_tokens.h"

namespace culet {

struct SoftPrompt {
  std::vector<std::int32_t> tokens;  // soft tokens have ids below zero
  SoftBlocks blocks;
};

// Encodes what is not known yet, on this thread. Throws Error: kUnsupported where the model lacks
// the encoder, kInvalidArgument where placeholders and media do not fit each other, kResource; and
// EncodingStopped.
SoftPrompt Soften(const Model& model, const Prompt& prompt, const EncodeProgress& progress = {});

SoftInput ToSoftInput(const PromptMedia& medium);

}  // namespace culet
