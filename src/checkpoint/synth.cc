#include "checkpoint/synth.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "checkpoint/config.h"
#include "checkpoint/media_tensors.h"
#include "checkpoint/published.h"
#include "checkpoint/quantize_checkpoint.h"
#include "checkpoint/quantize_recipe.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/shards.h"
#include "checkpoint/tensor_table.h"

namespace culet {
namespace {

namespace fs = std::filesystem;

// Matrices are pieces of one block of normal values, each from another place in it: writing then
// costs no arithmetic, and no engine can gain from the repetition (a block is far larger than L2).
constexpr std::uint64_t kBlockValues = std::uint64_t{8} << 20;  // 16 MB
constexpr std::uint64_t kSmallBlockValues = 65536;              // for tiny models
constexpr std::uint64_t kBlockPieces = 4;
constexpr double kMatrixDeviation = 0.02;
constexpr double kNormDeviation = 0.1;
constexpr float kBound = 20.0f;  // of clipped linears
// Of integer weights: their range is 2.8 deviations in int4, 4 in int8.
constexpr double kInt4Deviation = 2.5;
constexpr double kInt8Deviation = 127 / 4.0;
constexpr std::uint64_t kProgressBytes = 64'000'000;
constexpr std::uint64_t kMaxTokenizerBytes = 256 << 20;

// Normal values from a seed.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t Next() { return NextRandom(&state_); }
  double Normal() {
    // Box and Muller give two at a time.
    if (std::isnan(spare_)) {
      const double radius = std::sqrt(-2.0 * std::log(Uniform()));
      const double angle = 2.0 * std::numbers::pi * Uniform();
      spare_ = radius * std::sin(angle);
      return radius * std::cos(angle);
    }
    return std::exchange(spare_, std::nan(""));
  }

 private:
  // In (0, 1].
  double Uniform() { return UnitInterval(Next()) + 0x1p-53; }

  std::uint64_t state_;
  double spare_ = std::nan("");
};

std::uint64_t Bf16Bytes(const ExpectedTensor& tensor) {
  std::uint64_t bytes = DTypeBytes(DType::kBF16);
  for (const std::int64_t size : tensor.shape) bytes *= static_cast<std::uint64_t>(size);
  return bytes;
}

// A tensor as it is written.
struct Planned {
  ExpectedTensor tensor;
  std::string name;     // in the file
  WeightLayout layout;  // kDense: bf16

  bool dense() const { return layout.format == WeightFormat::kDense; }
  std::uint64_t data_bytes() const {
    return dense() ? Bf16Bytes(tensor) : static_cast<std::uint64_t>(layout.data_bytes());
  }
  std::uint64_t bytes() const {
    return data_bytes() + (dense() ? 0 : 2 * static_cast<std::uint64_t>(layout.scales()));
  }
};

std::vector<Planned> Plan(const ModelConfig& config, const std::optional<QuantizeRecipe>& recipe) {
  std::vector<Planned> all;
  const auto add = [&](const ExpectedTensor& tensor, std::string name) {
    Planned planned{tensor, std::move(name), {}};
    planned.layout.format = WeightFormat::kDense;
    std::string reason;
    if (recipe) {
      planned.layout = PlanLayout(config, *recipe, tensor, Bf16Bytes(tensor), &reason);
    }
    all.push_back(std::move(planned));
  };
  for (const ExpectedTensor& tensor : ExpectedTensors(config)) {
    add(tensor, FullTensorName(config, tensor.name));
  }
  for (const auto& media : {VisionTensors(config), AudioTensors(config)}) {
    for (const ExpectedTensor& tensor : media) {
      add(tensor, MediaTensorNames(config, tensor.name).front());
    }
  }
  // Those that fill whole cache lines come first, so that theirs begin at one.
  if (recipe) {
    std::stable_partition(all.begin(), all.end(), [](const Planned& planned) {
      return FillsLines(planned.layout, planned.data_bytes());
    });
  }
  return all;
}

// Around what the values of a vector lie. Scores have no 1/√d, so weights of 1 on q and k would
// make attention of random weights a hard choice of one key.
double Center(const ExpectedTensor& tensor) {
  const bool sharp =
      tensor.name.ends_with("q_norm.weight") || tensor.name.ends_with("k_norm.weight");
  return sharp ? std::pow(static_cast<double>(tensor.shape[0]), -0.25) : 1.0;
}

// Removes what was written, or would have been, unless told that all is well.
class Written {
 public:
  ~Written() {
    if (keep_) return;
    std::error_code ignored;
    for (const fs::path& path : paths_) fs::remove(path, ignored);
    if (!made_folder_.empty()) fs::remove(made_folder_, ignored);
  }
  void MadeFolder(const fs::path& folder) { made_folder_ = folder; }
  void Add(fs::path path) { paths_.push_back(std::move(path)); }
  void Keep() { keep_ = true; }

 private:
  bool keep_ = false;
  std::vector<fs::path> paths_;
  fs::path made_folder_;
};

void RefuseModelFolder(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_directory(folder, error)) {
    throw Error(ErrorKind::kInvalidArgument,
                folder.string() + ": is a file; expected a folder, or a name that is free");
  }
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name != "config.json" && name != "generation_config.json" && name != "tokenizer.json" &&
        !name.ends_with(".safetensors") && !name.ends_with(".safetensors.index.json")) {
      continue;
    }
    throw Error(ErrorKind::kInvalidArgument,
                folder.string() + ": has " + name +
                    " already and nothing is overwritten; name another folder or empty this one");
  }
}

class Filler {
 public:
  Filler(const SynthOptions& options, std::uint64_t total) : options_(options), total_(total) {
    Random random(options.seed);
    block_.resize(std::clamp(total / 2, kSmallBlockValues, kBlockValues));
    for (std::uint16_t& value : block_) {
      value = F32ToBf16(static_cast<float>(kMatrixDeviation * random.Normal()));
    }
  }

  void Fill(const Planned& planned, SafetensorsWriter* writer) {
    if (planned.dense()) {
      FillDense(planned.tensor, writer);
    } else {
      FillIntegers(planned, writer);
    }
  }

 private:
  void FillDense(const ExpectedTensor& tensor, SafetensorsWriter* writer) {
    // A tensor's values depend on its name and the seed, never on what stands before it.
    Random random(options_.seed ^ HashBytes(std::as_bytes(std::span(tensor.name))));
    std::uint64_t left = Bf16Bytes(tensor) / 2;
    if (tensor.shape.empty()) {
      const float bound = tensor.name.ends_with("_min") ? -kBound : kBound;
      const std::uint16_t value = F32ToBf16(bound);
      Append(std::span(&value, 1), writer);
      return;
    }
    if (tensor.shape.size() == 1) {
      std::vector<std::uint16_t> values(left);
      for (std::uint16_t& value : values) {
        const double factor = 1.0 + kNormDeviation * random.Normal();
        value = F32ToBf16(static_cast<float>(Center(tensor) * factor));
      }
      Append(std::span<const std::uint16_t>(values), writer);
      return;
    }
    AppendPieces(std::span<const std::uint16_t>(block_), left, &random, writer);
  }

  void FillIntegers(const Planned& planned, SafetensorsWriter* writer) {
    Random random(options_.seed ^ HashBytes(std::as_bytes(std::span(planned.tensor.name))));
    const bool int4 = IsInt4(planned.layout.format);
    std::vector<std::uint8_t>& integers = int4 ? int4_ : int8_;
    if (integers.empty()) MakeIntegers(int4, &integers);
    AppendPieces(std::span<const std::uint8_t>(integers), planned.data_bytes(), &random, writer);
    std::vector<std::uint16_t> scales(static_cast<std::size_t>(planned.layout.scales()));
    const double scale = kMatrixDeviation / (int4 ? kInt4Deviation : kInt8Deviation);
    for (std::uint16_t& value : scales) {
      value = F32ToBf16(static_cast<float>(scale * (1.0 + kNormDeviation * random.Normal())));
    }
    Append(std::span<const std::uint16_t>(scales), writer);
  }

  // Padding is among them: zeros of x and dropped outputs meet it.
  void MakeIntegers(bool int4, std::vector<std::uint8_t>* integers) const {
    Random random(options_.seed + (int4 ? 4 : 8));
    const double deviation = int4 ? kInt4Deviation : kInt8Deviation;
    const double most = int4 ? 7 : 127;
    const auto next = [&] {
      return static_cast<int>(std::clamp(std::round(deviation * random.Normal()), -most, most));
    };
    integers->resize(block_.size());
    for (std::uint8_t& byte : *integers) {
      if (int4) {
        const int low = next();
        byte = static_cast<std::uint8_t>((low + 8) | (next() + 8) << 4);
      } else {
        byte = static_cast<std::uint8_t>(next());
      }
    }
  }

  // `left` values, as pieces of `block` that begin anywhere in it.
  template <typename Value>
  void AppendPieces(std::span<const Value> block, std::uint64_t left, Random* random,
                    SafetensorsWriter* writer) {
    while (left > 0) {
      const std::size_t count = std::min<std::uint64_t>(left, block.size() / kBlockPieces);
      const std::size_t start = random->Next() % (block.size() - count + 1);
      Append(block.subspan(start, count), writer);
      left -= count;
    }
  }

  template <typename Value>
  void Append(std::span<const Value> values, SafetensorsWriter* writer) {
    writer->Append(std::as_bytes(values));
    done_ += values.size_bytes();
    if (options_.progress && (done_ - reported_ >= kProgressBytes || done_ == total_)) {
      reported_ = done_;
      options_.progress(done_, total_);
    }
  }

  const SynthOptions& options_;
  std::uint64_t total_;
  std::uint64_t done_ = 0;
  std::uint64_t reported_ = 0;
  std::vector<std::uint16_t> block_;
  std::vector<std::uint8_t> int4_, int8_;  // likewise; made where they are needed
};

}  // namespace

void SynthesizeConfig(const OrderedJson& config_json, const OrderedJson& generation_config_json,
                      const fs::path& folder, const SynthOptions& options) {
  FileSystem& files = FileSystem::Real();
  const fs::path config_path = folder / "config.json";
  const ModelConfig config = ParseModelConfig(Json(config_json), config_path.string());
  std::optional<QuantizeRecipe> recipe;
  if (!options.to.empty()) recipe = MakeRecipe(options.to, 0, {});
  const std::vector<Planned> tensors = Plan(config, recipe);
  std::uint64_t total = 0;
  for (const Planned& tensor : tensors) total += tensor.bytes();
  // Read before anything is written: a wrong name costs no minutes then.
  std::string tokenizer;
  if (!options.tokenizer_file.empty()) {
    tokenizer = files.ReadFile(options.tokenizer_file, kMaxTokenizerBytes);
  }
  RefuseModelFolder(folder);

  Written written;
  std::error_code error;
  // Noted before it is made: then nothing can fail in between that would leave it behind.
  if (!fs::exists(folder, error)) written.MadeFolder(folder);
  fs::create_directories(folder, error);
  if (error) {
    throw Error(ErrorKind::kIo, folder.string() + ": cannot make the folder: " + error.message());
  }
  CheckSpace(folder, total);
  std::vector<std::uint64_t> sizes;
  for (const Planned& tensor : tensors) sizes.push_back(tensor.bytes());
  const std::vector<Shard> shards = DivideIntoShards(sizes, options.shard_bytes);
  OrderedJson index;
  index["metadata"]["total_size"] = total;
  Filler filler(options, total);
  for (std::size_t number = 0; number < shards.size(); ++number) {
    const std::string file = ShardName(number, shards.size());
    std::vector<SafetensorsWriter::Entry> entries;
    for (std::size_t i = shards[number].begin; i < shards[number].end; ++i) {
      const auto& [tensor, name, layout] = tensors[i];
      AddEntries(name, layout, DType::kBF16, tensor.shape, &entries);
    }
    for (const auto& entry : entries) index["weight_map"][entry.name] = file;
    written.Add(folder / file);
    SafetensorsWriter writer(folder / file, entries, {{"format", "pt"}});
    for (std::size_t i = shards[number].begin; i < shards[number].end; ++i) {
      filler.Fill(tensors[i], &writer);
    }
    writer.Finish();
  }
  const auto write = [&](const char* name, std::string_view content) {
    written.Add(folder / name);
    files.WriteFileAtomically(folder / name, content);
  };
  if (shards.size() > 1) write("model.safetensors.index.json", index.dump(2) + "\n");
  if (!tokenizer.empty()) write("tokenizer.json", tokenizer);
  write("generation_config.json", generation_config_json.dump(2) + "\n");
  // Last: a folder without it is not taken for a model.
  OrderedJson written_config = config_json;
  if (recipe) {
    written_config["quantization_config"] = DescribeRecipe(DType::kBF16, *recipe, false);
  }
  write("config.json", written_config.dump(2) + "\n");
  written.Keep();
}

void SynthesizeCheckpoint(const std::string& size, const fs::path& folder,
                          const SynthOptions& options) {
  SynthesizeConfig(options.media ? PublishedConfig(size) : PublishedTextConfig(size),
                   PublishedGenerationConfig(size), folder, options);
}

}  // namespace culet
