// The interface's structs as JSON text, and options from it: for whoever has no C++ structs. The
// command's --json, the C interface (culet.h) and other languages all speak this.
//
// Keys are the fields' names. Numbers and units are the fields'. Text that is not UTF-8 has U+FFFD
// in its place. Threads: every function may be called from any thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "culet/embed.h"
#include "culet/export.h"
#include "culet/generate.h"
#include "culet/hub.h"
#include "culet/machine.h"
#include "culet/model.h"
#include "culet/text.h"

namespace culet {

// Each gives one object on one line. `unused` of a ModelInfo is a list of {"tensor", "reason"}.
CULET_EXPORT std::string ToJson(const ModelInfo& info);
CULET_EXPORT std::string ToJson(const ModelDefaults& defaults);
CULET_EXPORT std::string ToJson(const ModelStatistics& statistics);
CULET_EXPORT std::string ToJson(const MachineInfo& machine);
// {"name": …, "arguments": {…}}: the arguments' numbers stay as the model wrote them.
CULET_EXPORT std::string ToJson(const CalledTool& call);
// {"thinking", "content", "tool_calls"}
CULET_EXPORT std::string ToJson(const ParsedAnswer& answer);
// {"text", "thinking", "tool_calls", "finish_reason", "usage", "timings", "tokens", "logprobs"
// where there are any, "seed", "logits_hash"}. `usage` has the four counts of tokens; `timings`
// milliseconds and tokens/s, and in front what of `more_timings` a caller measured besides.
CULET_EXPORT std::string ToJson(
    const GenerateResult& result,
    const std::vector<std::pair<std::string, double>>& more_timings = {});

// Options from one object: a key that is absent or null leaves the default, one that no field is
// called by is refused. `place` names the text in messages ("the options"). Empty text: defaults.
// Throws Error(kInvalidArgument); whether the values can be is seen where they are used.
//
// `kv` is "auto", "f32", "bf16" or "int8"; `overrides` an object of dotted keys of config.json and
// values.
CULET_EXPORT LoadOptions ParseLoadOptions(std::string_view json, const std::string& place);
// `stop` is a text or a list of texts. on_prefill has no place in JSON.
CULET_EXPORT GenerateOptions ParseGenerateOptions(std::string_view json, const std::string& place);
CULET_EXPORT TextProcessor::Options ParseTextOptions(std::string_view json,
                                                     const std::string& place);
// `pooling` is "mean" or "last".
CULET_EXPORT EmbedOptions ParseEmbedOptions(std::string_view json, const std::string& place);
// `offline` and `connections`.
CULET_EXPORT PullSettings ParsePullSettings(std::string_view json, const std::string& place);

}  // namespace culet
