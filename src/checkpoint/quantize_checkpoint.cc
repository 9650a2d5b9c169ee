#include "checkpoint/quantize_checkpoint.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "checkpoint/quantize.h"
#include "checkpoint/quantized_tensors.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/shards.h"

namespace culet {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxFileBytes = 256 << 20;
// Of the source, between two looks at the clock and at who wants to stop; a multiple of a tile.
constexpr std::uint64_t kPieceBytes = 32 << 20;

// What belongs to a model besides config.json and weights.
constexpr const char* kCopied[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "generation_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "README.md",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
};

const char* TorchName(DType dtype) {
  switch (dtype) {
    case DType::kBF16: return "bfloat16";
    case DType::kF16: return "float16";
    default: return "float32";
  }
}

// Counts bytes of the source, and lets go of those that were read.
class SourceReader {
 public:
  SourceReader(std::uint64_t total, const QuantizeWriteOptions& options)
      : total_(total), options_(options) {}

  void WasRead(const TensorView& tensor, std::uint64_t offset, std::uint64_t bytes) {
    tensor.file->DontNeed(tensor.file_offset + offset, bytes);
    done_ += bytes;
    if (options_.progress) options_.progress(done_, total_);
  }

 private:
  std::uint64_t total_, done_ = 0;
  const QuantizeWriteOptions& options_;
};

void CopyDense(const TensorView& tensor, SafetensorsWriter* writer, SourceReader* reader) {
  for (std::uint64_t begin = 0; begin < tensor.bytes.size(); begin += kPieceBytes) {
    const std::uint64_t count = std::min(kPieceBytes, tensor.bytes.size() - begin);
    writer->Append(tensor.bytes.subspan(begin, count));
    reader->WasRead(tensor, begin, count);
  }
}

[[noreturn]] void RefuseBadWeight(const TensorView& tensor, const BadWeight& bad) {
  throw Error(ErrorKind::kCorrupt,
              tensor.file->path().string() + ": tensor " + tensor.name + " has " +
                  std::to_string(bad.value) + " in row " + std::to_string(bad.row) + ", column " +
                  std::to_string(bad.col) + "; a finite number is expected. The file is damaged");
}

void WriteQuantizedTensor(const PlannedTensor& tensor, std::span<const float> column_weights,
                          ThreadPool& pool, SafetensorsWriter* writer, SourceReader* reader) {
  const TensorView& source = *tensor.source;
  const WeightLayout& layout = tensor.layout;
  const std::uint64_t row_bytes = static_cast<std::uint64_t>(layout.k) * DTypeBytes(source.dtype);
  // A whole number of tiles a thread.
  const std::int64_t unit = kTileOutputs * pool.threads();
  const std::int64_t rows =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(kPieceBytes / row_bytes) / unit) * unit;
  std::vector<std::uint8_t> data;
  std::vector<std::uint16_t> scales(static_cast<std::size_t>(layout.scales()));
  std::size_t scales_done = 0;
  for (std::int64_t begin = 0; begin < layout.n; begin += rows) {
    QuantizeRows piece;
    piece.dtype = source.dtype;
    piece.begin = begin;
    piece.count = std::min(rows, layout.n - begin);
    piece.column_weights = column_weights;
    const std::uint64_t offset = static_cast<std::uint64_t>(begin) * row_bytes;
    piece.values = source.bytes.data() + offset;
    data.resize(static_cast<std::size_t>(QuantizedBytes(layout, piece.count)));
    const auto count = static_cast<std::size_t>(QuantizedScales(layout, piece.count));
    const std::optional<BadWeight> bad =
        Quantize(layout, piece, pool, data, std::span(scales).subspan(scales_done, count));
    if (bad) RefuseBadWeight(source, *bad);
    scales_done += count;
    writer->Append(std::as_bytes(std::span(data)));
    reader->WasRead(source, offset, static_cast<std::uint64_t>(piece.count) * row_bytes);
  }
  writer->Append(std::as_bytes(std::span(scales)));
}

void CopyFiles(const fs::path& from, const fs::path& to) {
  FileSystem& files = FileSystem::Real();
  for (const char* name : kCopied) {
    if (!files.Exists(from / name) || files.IsDirectory(from / name)) continue;
    files.WriteFileAtomically(to / name, files.ReadFile(from / name, kMaxFileBytes));
  }
}

}  // namespace

std::span<const char* const> CompanionFiles() { return kCopied; }

bool FillsLines(const WeightLayout& layout, std::uint64_t dense_bytes) {
  constexpr std::uint64_t kLine = 64;
  if (layout.format == WeightFormat::kDense) return dense_bytes % kLine == 0;
  return static_cast<std::uint64_t>(layout.data_bytes()) % kLine == 0 &&
         2 * static_cast<std::uint64_t>(layout.scales()) % kLine == 0;
}

void AddEntries(const std::string& name, const WeightLayout& layout, DType dense,
                const std::vector<std::int64_t>& shape,
                std::vector<SafetensorsWriter::Entry>* entries) {
  if (layout.format == WeightFormat::kDense) {
    entries->push_back({name, dense, shape});
    return;
  }
  const DType dtype = IsInt4(layout.format) ? DType::kU8 : DType::kI8;
  entries->push_back({name, dtype, layout.data_shape()});
  entries->push_back({name + kScaleSuffix, DType::kBF16, layout.scale_shape()});
}

OrderedJson DescribeRecipe(DType source, const QuantizeRecipe& recipe, bool calibrated) {
  OrderedJson config;
  config["quant_method"] = "culet";
  config["version"] = kQuantizationVersion;
  config["source_dtype"] = TorchName(source);
  OrderedJson& how = config["recipe"];
  how["to"] = recipe.name;
  if (recipe.has_int4()) how["group"] = recipe.group;
  for (const std::string& part : QuantizableClasses()) {
    how["bits"][part] = std::string(QuantBitsName(recipe.bits.at(part)));
  }
  how["calibrated"] = calibrated;
  return config;
}

void WriteQuantized(const Checkpoint& checkpoint, const QuantizeRecipe& recipe,
                    const std::vector<PlannedTensor>& tensors, ThreadPool& pool,
                    const fs::path& folder, const QuantizeWriteOptions& options) {
  FileSystem& files = FileSystem::Real();
  const fs::path config_path = checkpoint.folder() / "config.json";
  OrderedJson config =
      ParseOrderedJson(files.ReadFile(config_path, kMaxFileBytes), config_path.string());
  std::vector<const PlannedTensor*> order;
  std::uint64_t source_bytes = 0, bytes = 0;
  for (const PlannedTensor& tensor : tensors) {
    order.push_back(&tensor);
    source_bytes += tensor.source->bytes.size();
    bytes += tensor.bytes();
  }
  CheckSpace(folder, bytes);
  std::stable_partition(order.begin(), order.end(), [](const PlannedTensor* tensor) {
    return FillsLines(tensor->layout, tensor->source->bytes.size());
  });
  std::vector<std::uint64_t> sizes;
  for (const PlannedTensor* tensor : order) sizes.push_back(tensor->bytes());
  const std::vector<Shard> shards = DivideIntoShards(sizes, options.shard_bytes);
  OrderedJson index;
  index["metadata"]["total_size"] = bytes;
  SourceReader reader(source_bytes, options);
  for (std::size_t number = 0; number < shards.size(); ++number) {
    const std::string file = ShardName(number, shards.size());
    const std::span<const PlannedTensor* const> shard =
        std::span(order).subspan(shards[number].begin, shards[number].end - shards[number].begin);
    std::vector<SafetensorsWriter::Entry> entries;
    for (const PlannedTensor* tensor : shard) {
      const TensorView& source = *tensor->source;
      AddEntries(source.name, tensor->layout, source.dtype, source.shape, &entries);
    }
    for (const auto& entry : entries) index["weight_map"][entry.name] = file;
    SafetensorsWriter writer(folder / file, entries, {{"format", "pt"}});
    for (const PlannedTensor* tensor : shard) {
      if (tensor->dense()) {
        CopyDense(*tensor->source, &writer, &reader);
        continue;
      }
      const auto weights = options.column_weights.find(tensor->source->name);
      const std::span<const float> of_columns = weights == options.column_weights.end()
                                                    ? std::span<const float>()
                                                    : std::span<const float>(weights->second);
      WriteQuantizedTensor(*tensor, of_columns, pool, &writer, &reader);
    }
    writer.Finish();
  }
  if (shards.size() > 1) {
    files.WriteFileAtomically(folder / "model.safetensors.index.json", index.dump(2) + "\n");
  }
  CopyFiles(checkpoint.folder(), folder);
  config["quantization_config"] =
      DescribeRecipe(checkpoint.main_dtype(), recipe, !options.column_weights.empty());
  files.WriteFileAtomically(folder / "config.json", config.dump(2) + "\n");
}

}  // namespace culet
