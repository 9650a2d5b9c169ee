// Models with integer weights, made of models without: half or a third of the bytes, and so about
// twice or three times the tokens a second, for an error that is measured and said.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "culet/export.h"
#include "culet/find.h"

namespace culet {

// What the quality report says of classes of tensors: kAuto gives each class its own figures where
// the source has at most 2 GB (a copy with that class alone quantised is made and removed again).
enum class QuantizeReport { kAuto, kNone, kWhole, kClasses };

struct QuantizeOptions {
  std::string to = "int8";  // "int8" or "int4"
  // int4: the most columns that share a scale, 32, 64 or 128; 0: 32. Where nothing is int4, none.
  std::int64_t group = 0;
  // Other bits for classes of tensors ("embedding", "per-layer embedding", "per-layer projection",
  // "attention", "mlp", "experts", "head"): "bf16" (as in the source), "int8" or "int4".
  std::vector<std::pair<std::string, std::string>> keep;
  // A text whose activations weigh the error of each column in int4; empty: all count alike. Where
  // nothing is int4, none.
  std::string calibration;
  QuantizeReport report = QuantizeReport::kAuto;
  // What the report is measured on; empty: a passage of culet's own. kNone takes neither it nor
  // `force`.
  std::string report_text;
  bool force = false;  // write what lies beyond the bounds too
  int threads = 0;     // 0: the CPUs that this process may use
  // Called on the caller's thread, several times a second; `what` is the stage ("quantising",
  // "calibrating", "measuring"; of QuantizedCopy also "waiting for another process"). What it
  // throws ends the call, and nothing is left behind.
  std::function<void(std::string_view what, double done, double total)> on_progress;
};

// A report beyond these is refused, unless forced.
inline constexpr double kMostQuantizeKl = 0.1;          // mean, nats a token
inline constexpr double kLeastQuantizeAgreement = 0.9;  // of first choices

// How far a model is from the one that it was made of, over the tokens of a text.
struct QuantizeQuality {
  double mean_kl = 0, p99_kl = 0;  // KL(source ‖ quantised), nats a token
  double top1_agreement = 0;       // how often both have the same likeliest token, 0 to 1
  double perplexity = 0, source_perplexity = 0;
};

struct QuantizedClass {
  std::string part;    // "mlp"
  std::string format;  // "int4, groups of 32", "as it was"
  std::uint64_t parameters = 0, source_bytes = 0, bytes = 0;
  std::optional<QuantizeQuality> quality;  // with this class alone quantised
};

struct QuantizeResult {
  std::filesystem::path folder;
  std::uint64_t source_bytes = 0, bytes = 0;  // of all tensors
  std::vector<QuantizedClass> classes;        // of the text model
  std::optional<QuantizeQuality> quality;     // nothing where no report was made
  std::int64_t report_tokens = 0;
  std::vector<std::string> notes;  // tensors that stayed as they were, and why; …
};

// Writes the model of `path`, in f32, bf16 or f16, with integer weights to `folder`: made if it is
// not there, else it must be empty. Everything that belongs to the model is in it, and the report
// as quantization.json and in README.md. Throws Error: kInvalidArgument (options, `folder`),
// kUnsupported (quantised already; beyond the bounds, with the numbers), kResource (disk, checked
// first; memory), kNotFound, kCorrupt, kIo; then nothing is left behind. Any thread.
CULET_EXPORT QuantizeResult QuantizeModel(const std::filesystem::path& path,
                                          const std::filesystem::path& folder,
                                          const QuantizeOptions& options = {});

// The folder of a copy of `path` in "int8" or "int4", in the cache ($CULET_CACHE, else
// $XDG_CACHE_HOME/culet, else ~/.cache/culet). It is made where it is not there or the model's
// files have changed since, without a report, and kept until it is removed. What processes that are
// no more have begun there and left is removed. Of `options` on_progress and threads count. Throws
// as QuantizeModel. Any thread; two calls for one model wait for each other, across processes too.
CULET_EXPORT std::filesystem::path QuantizedCopy(const std::filesystem::path& path,
                                                 const std::string& to,
                                                 const QuantizeOptions& options = {});
// Whether it is there already.
CULET_EXPORT bool HasQuantizedCopy(const std::filesystem::path& path, const std::string& to);

// A copy in the cache, or what is left of one.
struct CachedCopy {
  enum class State {
    kCurrent,     // the next use takes it
    kChanged,     // files of the model have changed since: the next use makes it anew
    kGone,        // the model is where it was no more
    kUnfinished,  // left by a process that was ended while it made or removed it
  };
  State state = State::kCurrent;
  // The path of the model; of one in the cache of the hub its name, "owner/name", with "@commit"
  // where that is not its main branch as last fetched. Of an unfinished one the last part of its
  // path, or nothing.
  std::string model;
  std::filesystem::path source;  // where the model lies, or lay; empty: unfinished, and not known
  std::string to;                // "int8"
  std::filesystem::path folder;  // of the copy
  std::uint64_t bytes = 0;       // on the disk
};

// "current", "changed", "gone", "unfinished".
CULET_EXPORT std::string_view CachedCopyStateName(CachedCopy::State state);

// The copies that the cache holds, sorted by model; none where there is no cache. What is being
// made just now is not among them. Throws Error(kIo) where the cache cannot be read. Any thread.
CULET_EXPORT std::vector<CachedCopy> QuantizedCopies();
// Of the model that `name` means alone: what FindModel finds by it, or the model or the folder of a
// copy as QuantizedCopies names them, or a model of the hub, which need not be there any more.
// Throws Error as FindModel where nothing is there by that name.
CULET_EXPORT std::vector<CachedCopy> QuantizedCopiesOf(const std::string& name,
                                                       const FindOptions& options = {});

// Removes a copy by its `folder`; what processes that are no more have left in the cache goes with
// it. Who has it open keeps its files until it closes them. Gives the bytes that become free.
// Throws Error: kNotFound (no such copy), kInvalidArgument (`folder` is none of the cache),
// kResource (a process is making it just now), kIo; a cut in the middle leaves nothing that the
// next use would take for whole. Any thread.
CULET_EXPORT std::uint64_t RemoveQuantizedCopy(const std::filesystem::path& folder);

}  // namespace culet
