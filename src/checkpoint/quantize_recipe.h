// Which tensor of a model gets which integer format: a recipe by class of tensor. A class is a part
// of the tensor table ("attention", "mlp", "per-layer embedding", …).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/weight_format.h"
#include "checkpoint/checkpoint.h"

namespace culet {

// kKeep: as it stands in the checkpoint, 16 bits as a rule.
enum class QuantBits : std::uint8_t { kKeep, kInt8, kInt4 };

struct QuantizeRecipe {
  std::string name;                       // "int8", "int4"
  std::int64_t group = 0;                 // most columns that share a scale in int4
  std::map<std::string, QuantBits> bits;  // by class; what is not named is kept

  bool has_int4() const;
};

// The most columns that share an int8 scale: the largest of 128, 64 and 32 that divides a row.
inline constexpr std::int64_t kInt8Group = 128;

// Classes that may be quantised, in the order of the tensor table.
const std::vector<std::string>& QuantizableClasses();
// "bf16" (kKeep), "int8", "int4".
std::string_view QuantBitsName(QuantBits bits);

// The recipe "int8" or "int4" with `group` 32, 64 or 128 (0: 32; int8 takes none) and other bits
// for some classes: names with spaces or with dashes, values by name, "" for "bf16". Throws
// Error(kInvalidArgument) for what there is not, and for fewer bits than a class bears.
QuantizeRecipe MakeRecipe(const std::string& name, std::int64_t group,
                          const std::vector<std::pair<std::string, std::string>>& keep);

// What becomes of one tensor of a checkpoint.
struct PlannedTensor {
  const TensorView* source = nullptr;  // of the checkpoint
  std::string part;                    // class; "vision tower" and so on beyond the text model
  WeightLayout layout;                 // kDense: copied as it is
  std::string reason;                  // why it is dense although its class is not; empty else

  bool dense() const { return layout.format == WeightFormat::kDense; }
  // What it takes in the copy, scales included.
  std::uint64_t bytes() const {
    if (dense()) return source->bytes.size();
    return static_cast<std::uint64_t>(layout.data_bytes() + 2 * layout.scales());
  }
};

// How the weight `tensor` (name, shape and part), of `dense_bytes` where it is dense, lies by that
// recipe. kDense with a *reason where it stays as it is although its class does not.
WeightLayout PlanLayout(const ModelConfig& config, const QuantizeRecipe& recipe,
                        const ExpectedTensor& tensor, std::uint64_t dense_bytes,
                        std::string* reason);

// Every tensor that a quantised copy has, in the order of the table of tensors; those of media
// encoders last. What the text decoder has no use for is left out.
std::vector<PlannedTensor> PlanQuantization(const Checkpoint& checkpoint,
                                            const QuantizeRecipe& recipe);

}  // namespace culet
