#include "checkpoint/quantize_recipe.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "checkpoint/quantized_tensors.h"

namespace culet {
namespace {

struct ClassRow {
  const char* part;
  QuantBits int4;   // bits in the recipe int4; 8 in the recipe int8
  QuantBits least;  // fewer are refused
};

// Why so: docs/models.md, "Quantised models". The router and the norms are kept by every recipe:
// together they are a thousandth of a model.
constexpr ClassRow kClasses[] = {
    {"embedding", QuantBits::kInt8, QuantBits::kInt4},
    {"per-layer embedding", QuantBits::kInt4, QuantBits::kInt4},
    {"per-layer projection", QuantBits::kInt8, QuantBits::kInt8},
    {"attention", QuantBits::kInt4, QuantBits::kInt4},
    {"mlp", QuantBits::kInt4, QuantBits::kInt4},
    {"experts", QuantBits::kInt4, QuantBits::kInt4},
    {"head", QuantBits::kInt8, QuantBits::kInt4},
};

const ClassRow* FindClass(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  for (const ClassRow& row : kClasses) {
    std::string dashed = row.part;
    std::replace(dashed.begin(), dashed.end(), ' ', '-');
    if (name == row.part || name == dashed) return &row;
  }
  return nullptr;
}

std::string ClassNames() {
  std::string names;
  for (const ClassRow& row : kClasses) {
    std::string name = row.part;
    std::replace(name.begin(), name.end(), ' ', '-');
    names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

QuantBits ReadBits(const ClassRow& row, const std::string& text) {
  if (text.empty() || text == "bf16") return QuantBits::kKeep;
  if (text == "int8") return QuantBits::kInt8;
  if (text != "int4") {
    throw Error(ErrorKind::kInvalidArgument, std::string(row.part) + " is to be \"" + text +
                                                 "\"; bf16, int8 or int4 is expected");
  }
  if (row.least != QuantBits::kInt4) {
    throw Error(ErrorKind::kInvalidArgument,
                std::string(row.part) +
                    " is to be int4, which it does not bear: it is 1% of a model's bytes and "
                    "doubles the error; int8 and bf16 are possible");
  }
  return QuantBits::kInt4;
}

// The largest of `most` and its halves down to kQuantBlock that divides a padded row.
std::int64_t GroupOf(std::int64_t padded_k, std::int64_t most) {
  std::int64_t group = most;
  while (group > kQuantBlock && padded_k % group != 0) group /= 2;
  return group;
}

std::int64_t Product(const std::vector<std::int64_t>& shape) {
  std::int64_t product = 1;
  for (const std::int64_t size : shape) product *= size;
  return product;
}

}  // namespace

const std::vector<std::string>& QuantizableClasses() {
  static const std::vector<std::string> classes = [] {
    std::vector<std::string> names;
    for (const ClassRow& row : kClasses) names.emplace_back(row.part);
    return names;
  }();
  return classes;
}

std::string_view QuantBitsName(QuantBits bits) {
  switch (bits) {
    case QuantBits::kKeep: return "bf16";
    case QuantBits::kInt8: return "int8";
    case QuantBits::kInt4: return "int4";
  }
  return "";
}

bool QuantizeRecipe::has_int4() const {
  return std::ranges::any_of(bits,
                             [](const auto& entry) { return entry.second == QuantBits::kInt4; });
}

QuantizeRecipe MakeRecipe(const std::string& name, std::int64_t group,
                          const std::vector<std::pair<std::string, std::string>>& keep) {
  QuantizeRecipe recipe;
  recipe.name = name;
  if (name != "int8" && name != "int4") {
    throw Error(ErrorKind::kInvalidArgument,
                "the format is \"" + name + "\"; int8 or int4 is expected");
  }
  const bool int4 = name == "int4";
  if (group != 0 && group != 32 && group != 64 && group != 128) {
    throw Error(ErrorKind::kInvalidArgument,
                "the group is " + std::to_string(group) + "; 32, 64 or 128 is expected");
  }
  recipe.group = group == 0 ? kQuantBlock : group;
  for (const ClassRow& row : kClasses) recipe.bits[row.part] = int4 ? row.int4 : QuantBits::kInt8;
  std::set<std::string> named;
  for (const auto& [part, bits] : keep) {
    const ClassRow* row = FindClass(part);
    if (row == nullptr) {
      throw Error(ErrorKind::kInvalidArgument, "there is no class of tensors \"" + part +
                                                   "\" to keep; there are " + ClassNames() +
                                                   " (router and norms are always kept)");
    }
    if (!named.insert(row->part).second) {
      throw Error(ErrorKind::kInvalidArgument,
                  "the class \"" + part + "\" is to be kept in two ways; name it once");
    }
    recipe.bits[row->part] = ReadBits(*row, bits);
  }
  if (group != 0 && !recipe.has_int4()) {
    throw Error(ErrorKind::kInvalidArgument,
                "the group is " + std::to_string(group) +
                    ", which int8 does not take: its groups are the largest of 128, 64 and 32 "
                    "columns that divide a row");
  }
  return recipe;
}

WeightLayout PlanLayout(const ModelConfig& config, const QuantizeRecipe& recipe,
                        const ExpectedTensor& tensor, std::uint64_t dense_bytes,
                        std::string* reason) {
  WeightLayout dense;
  dense.format = WeightFormat::kDense;
  const auto found = recipe.bits.find(tensor.part);
  const QuantBits bits = found == recipe.bits.end() ? QuantBits::kKeep : found->second;
  if (bits == QuantBits::kKeep || tensor.shape.size() < 2) return dense;
  const bool int4 = bits == QuantBits::kInt4;
  const bool rows = IsLookupTable(tensor.name);
  WeightLayout layout;
  layout.k = tensor.shape.back();
  layout.n = Product(tensor.shape) / layout.k;
  layout.format = rows ? (int4 ? WeightFormat::kInt4Rows : WeightFormat::kInt8Rows)
                       : (int4 ? WeightFormat::kInt4Tiles : WeightFormat::kInt8Tiles);
  layout.group = GroupOf(layout.padded_k(), int4 ? recipe.group : kInt8Group);
  if (!rows && !CanBeTiled(config, tensor)) {
    *reason = "its parts are no multiple of " + std::to_string(kTileOutputs) + " rows";
    return dense;
  }
  if (static_cast<std::uint64_t>(layout.data_bytes() + 2 * layout.scales()) >= dense_bytes) {
    *reason = "padded it would not be smaller";
    return dense;
  }
  return layout;
}

std::vector<PlannedTensor> PlanQuantization(const Checkpoint& checkpoint,
                                            const QuantizeRecipe& recipe) {
  if (checkpoint.config().quantization || checkpoint.has_quantized()) {
    throw Error(ErrorKind::kUnsupported,
                checkpoint.folder().string() +
                    ": the model is quantised already; quantise the checkpoint that it was made "
                    "of");
  }
  std::map<std::string, std::string> parts;  // by name in the file
  for (const Checkpoint::Listing& listing : checkpoint.listings()) {
    parts.emplace(listing.name, listing.part);
  }
  std::vector<PlannedTensor> tensors;
  std::set<std::string> planned;  // short names
  const auto plan = [&](const std::string& short_name) {
    PlannedTensor tensor;
    tensor.source = &checkpoint.tensor(short_name);
    tensor.part = parts.at(tensor.source->name);
    ExpectedTensor expected;
    expected.name = short_name;
    expected.shape = tensor.source->shape;
    expected.part = tensor.part;
    tensor.layout = PlanLayout(checkpoint.config(), recipe, expected, tensor.source->bytes.size(),
                               &tensor.reason);
    tensors.push_back(std::move(tensor));
    planned.insert(short_name);
  };
  for (const ExpectedTensor& expected : ExpectedTensors(checkpoint.config())) plan(expected.name);
  // Media, and a head that is there although the config ties it to the embedding.
  for (const auto& [short_name, view] : checkpoint.tensors()) {
    if (planned.count(short_name) == 0) plan(short_name);
  }
  return tensors;
}

}  // namespace culet
