// Names of models of the Hugging Face hub: "owner/name", "owner/name@revision", "e2b".
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace culet::hub {

struct ModelReference {
  std::string repository;         // "google/gemma-4-E2B-it"
  std::string revision = "main";  // branch, tag or commit
  std::string Text() const;       // "google/gemma-4-E2B-it@v1"; without "@main"
};

// The published models that have a short name.
struct ShortName {
  std::string_view name;        // "e2b", "e2b-base"
  std::string_view repository;  // "google/gemma-4-E2B-it"
  std::string_view size;        // "e2b", as synth and the published configs know it
  bool base;                    // pre-trained only: completes text, has no chat template
  bool hears;                   // made for sound as well
};
std::span<const ShortName> ShortNames();

// The model that `name` may mean: a short name in any case, a published name without its owner
// ("gemma-4-E2B-it"), an id with its owner; each with "@revision". Nothing where it reads like
// none, and then `why` says what is wrong with it.
std::optional<ModelReference> ParseReference(const std::string& name, std::string* why);
// The same; throws Error(kInvalidArgument).
ModelReference RequireReference(const std::string& name);

// The rules of the hub's own client: ASCII letters, digits, '-', '_' and '.', no "--" or "..", at
// most 96 each, so that an id is a folder name of the cache and nothing else. "" or what is wrong.
std::string ProblemOfRepository(std::string_view repository);
// A revision becomes a path below refs/: as git has it, and never out of there. "" or what is
// wrong.
std::string ProblemOfRevision(std::string_view revision);
// 40 lower-case hexadecimal digits.
bool IsCommit(std::string_view text);
bool IsHex(std::string_view text, std::size_t digits);

}  // namespace culet::hub
