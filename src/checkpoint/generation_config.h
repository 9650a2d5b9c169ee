// generation_config.json → how a model wants to be sampled and where its answers end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"

namespace culet {

// Initial values are those of a model without the file: greedy, as transformers has it, with the
// stop tokens that every published Gemma 4 names (<eos>, <turn|>, <|tool_response>). A file with
// do_sample and no top_k means 50, which transformers fills in.
struct GenerationConfig {
  std::vector<std::int32_t> stop_tokens = {1, 106, 50};  // eos_token_id
  std::vector<std::int32_t> suppress_tokens;             // never generated
  std::int32_t largest_token = -1;                       // of the ids that the file itself names
  std::vector<std::string> stop_strings;
  bool do_sample = false;
  double temperature = 1.0;
  std::int64_t top_k = 0;  // 0: off
  double top_p = 1.0;      // 1: off
  double min_p = 0.0;      // 0: off
  double repetition_penalty = 1.0;
  std::int64_t max_new_tokens = 0;  // 0: the file gives none
};

// A missing file gives the defaults. Throws Error naming file, field, found, expected; a field that
// would change what is generated and that culet does not do (beams, typical_p, …) is refused by
// name unless it has the value that turns it off, and so is a field that culet does not know.
GenerationConfig LoadGenerationConfig(FileSystem& files, const std::filesystem::path& path);
GenerationConfig ParseGenerationConfig(const Json& json, const std::string& place);

}  // namespace culet
