#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/checked.h"
#include "base/config_fields.h"
#include "base/error.h"
#include "base/json.h"

namespace culet {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
// The limit of the format's own reader; 26B-A4B's header has 80 kB.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::size_t kMaxTensors = 262144;
constexpr std::size_t kMaxRank = 16;
// Data of files that culet writes starts at a multiple of this: a cache line, and any dtype's size.
constexpr std::uint64_t kDataAlignment = 64;

[[noreturn]] void ThrowCorrupt(const std::filesystem::path& path, const std::string& what) {
  throw Error(ErrorKind::kCorrupt, path.string() + ": " + what);
}

// A shape as it stands in the header, whatever it is.
std::string FoundShape(const Json& shape) { return JsonExcerpt(shape, 120); }

// Where a tensor's bytes are, from the start of the data.
struct Extent {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  const std::string* name = nullptr;
};

// One entry of the header, as it stands there.
class EntryReader {
 public:
  EntryReader(const std::filesystem::path& path, const std::string& name, const Json& entry)
      : path_(path), name_(name), entry_(entry) {
    if (!entry.is_object()) Refuse("is " + JsonTypeName(entry) + "; expected an object");
    for (const auto& [key, value] : entry.items()) {
      if (key != "dtype" && key != "shape" && key != "data_offsets") {
        Refuse("has the member " + DisplayName(key) +
               "; expected dtype, shape and data_offsets alone");
      }
    }
  }

  DType ReadDType() const {
    const Json& value = Member("dtype");
    if (!value.is_string()) Refuse("has dtype " + JsonExcerpt(value) + "; expected a name");
    const std::optional<DType> dtype = DTypeFromName(value.get_ref<const std::string&>());
    if (!dtype) {
      throw Error(
          ErrorKind::kUnsupported,
          Place() + " has dtype " + JsonExcerpt(value) +
              "; culet reads F32, BF16 and F16, and knows the other whole-byte types of the "
              "format. Use the unquantised checkpoint");
    }
    return *dtype;
  }

  std::vector<std::int64_t> ReadShape() const {
    const Json& value = Member("shape");
    if (!value.is_array() || value.size() > kMaxRank) {
      Refuse("has shape " + FoundShape(value) + "; expected an array of at most " +
             std::to_string(kMaxRank) + " sizes");
    }
    std::vector<std::int64_t> shape;
    for (const Json& size : value) {
      const std::optional<std::int64_t> number = JsonInt(size, 0, INT64_MAX);
      if (!number) Refuse("has shape " + FoundShape(value) + "; expected whole sizes from 0");
      shape.push_back(*number);
    }
    return shape;
  }

  Extent ReadOffsets(std::uint64_t data_bytes) const {
    const Json& value = Member("data_offsets");
    Extent extent;
    extent.name = &name_;
    if (!value.is_array() || value.size() != 2) {
      Refuse("has data_offsets " + JsonExcerpt(value) + "; expected [begin, end]");
    }
    const std::optional<std::int64_t> begin = JsonInt(value[0], 0, INT64_MAX);
    const std::optional<std::int64_t> end = JsonInt(value[1], 0, INT64_MAX);
    if (!begin || !end || *begin > *end) {
      Refuse("has data_offsets " + JsonExcerpt(value) + "; expected 0 <= begin <= end");
    }
    extent.begin = static_cast<std::uint64_t>(*begin);
    extent.end = static_cast<std::uint64_t>(*end);
    if (extent.end > data_bytes) {
      Refuse("has data_offsets " + JsonExcerpt(value) + ", past the end of the file, which has " +
             std::to_string(data_bytes) +
             " bytes of data. The file was cut off or is damaged; download it again");
    }
    return extent;
  }

  [[noreturn]] void Refuse(const std::string& what) const {
    throw Error(ErrorKind::kCorrupt, Place() + " " + what);
  }

 private:
  std::string Place() const { return path_.string() + ": tensor " + DisplayName(name_); }
  const Json& Member(const char* key) const {
    const auto found = entry_.find(key);
    if (found == entry_.end()) Refuse(std::string("has no ") + key);
    return *found;
  }

  const std::filesystem::path& path_;
  const std::string& name_;
  const Json& entry_;
};

// elements × bytes of one; nothing on overflow.
std::optional<std::uint64_t> TensorBytes(DType dtype, const std::vector<std::int64_t>& shape) {
  // A zero among the sizes makes every product 0, whatever the others are.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  std::optional<std::uint64_t> bytes = DTypeBytes(dtype);
  for (const std::int64_t size : shape) {
    bytes = CheckedMul(*bytes, static_cast<std::uint64_t>(size));
    if (!bytes) return std::nullopt;
  }
  // Sizes and offsets are signed elsewhere.
  if (*bytes > static_cast<std::uint64_t>(INT64_MAX)) return std::nullopt;
  return bytes;
}

// Tensors must cover the data without gap or overlap: a gap hides bytes that nothing describes, and
// an overlap lets one tensor be read as two.
void CheckCover(const std::filesystem::path& path, std::vector<Extent> extents,
                std::uint64_t data_bytes) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  std::uint64_t covered = 0;
  const std::string* before = nullptr;
  for (const Extent& extent : extents) {
    if (extent.begin < covered) {
      ThrowCorrupt(path, "tensor " + DisplayName(*extent.name) + " begins at byte " +
                             std::to_string(extent.begin) + " of the data and overlaps tensor " +
                             DisplayName(*before) + ", which ends at " + std::to_string(covered));
    }
    if (extent.begin > covered) {
      ThrowCorrupt(path, "tensor " + DisplayName(*extent.name) + " begins at byte " +
                             std::to_string(extent.begin) + " of the data; expected " +
                             std::to_string(covered) + ": the bytes between belong to no tensor");
    }
    covered = extent.end;
    before = extent.name;
  }
  if (covered != data_bytes) {
    ThrowCorrupt(path, std::to_string(data_bytes - covered) +
                           " bytes follow the last tensor; expected the file to end there");
  }
}

std::map<std::string, std::string> ReadMetadata(const std::filesystem::path& path,
                                                const Json& value) {
  std::map<std::string, std::string> metadata;
  if (!value.is_object()) {
    ThrowCorrupt(path, "__metadata__ is " + JsonTypeName(value) + "; expected an object");
  }
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      ThrowCorrupt(path, "__metadata__." + DisplayName(key) + " is " + JsonTypeName(text) +
                             "; expected a string");
    }
    metadata.emplace(key, text.get<std::string>());
  }
  return metadata;
}

}  // namespace

std::int64_t TensorView::elements() const {
  // A zero makes the product 0 even where the product of the others would overflow.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

SafetensorsFile SafetensorsFile::Open(FileSystem& files, const std::filesystem::path& path) {
  SafetensorsFile result;
  result.file_ = std::make_unique<MappedFile>(files.Map(path));
  const std::span<const std::byte> bytes = result.file_->bytes();
  if (bytes.size() < kLengthBytes) {
    ThrowCorrupt(path, "has " + std::to_string(bytes.size()) +
                           " bytes; a safetensors file begins with the 8 bytes of its header's "
                           "length. The file was cut off; download it again");
  }
  std::uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) {
    header_bytes =
        header_bytes << 8 | std::to_integer<std::uint64_t>(bytes[static_cast<std::size_t>(i)]);
  }
  if (header_bytes > kMaxHeaderBytes) {
    ThrowCorrupt(path, "header length is " + std::to_string(header_bytes) +
                           " bytes; expected at most " + std::to_string(kMaxHeaderBytes) +
                           ". This is no safetensors file, or it is damaged");
  }
  if (header_bytes > bytes.size() - kLengthBytes) {
    ThrowCorrupt(path, "header length is " + std::to_string(header_bytes) + " bytes; only " +
                           std::to_string(bytes.size() - kLengthBytes) +
                           " follow. The file was cut off; download it again");
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes,
                              header_bytes);
  // Before parsing: 100 MB of small values would take gigabytes as a tree.
  const auto values = static_cast<std::size_t>(std::count(text.begin(), text.end(), ','));
  if (values > kMaxTensors * (kMaxRank + 8)) {
    ThrowCorrupt(path, "the header has more than " + std::to_string(values) +
                           " values; expected at most " + std::to_string(kMaxTensors) + " tensors");
  }
  const Json header = ParseJson(text, path.string() + " (header)");
  if (!header.is_object()) {
    ThrowCorrupt(path, "the header is " + JsonTypeName(header) + "; expected an object");
  }
  if (header.size() > kMaxTensors) {
    ThrowCorrupt(path, "the header lists " + std::to_string(header.size()) +
                           " tensors; expected at most " + std::to_string(kMaxTensors));
  }

  const std::uint64_t data_start = kLengthBytes + header_bytes;
  const std::uint64_t data_bytes = bytes.size() - data_start;
  std::vector<Extent> extents;
  for (const auto& item : header.items()) {
    const std::string& name = item.key();
    if (name == "__metadata__") {
      result.metadata_ = ReadMetadata(path, item.value());
      continue;
    }
    const EntryReader entry(path, name, item.value());
    TensorView tensor;
    tensor.name = name;
    tensor.dtype = entry.ReadDType();
    tensor.shape = entry.ReadShape();
    Extent extent = entry.ReadOffsets(data_bytes);
    const std::optional<std::uint64_t> expected = TensorBytes(tensor.dtype, tensor.shape);
    if (!expected || *expected != extent.end - extent.begin) {
      entry.Refuse("has " + std::to_string(extent.end - extent.begin) + " bytes; its shape " +
                   FoundShape(item.value()["shape"]) + " in " +
                   std::string(DTypeName(tensor.dtype)) + " needs " +
                   (expected ? std::to_string(*expected) : std::string("more than 2^63")));
    }
    tensor.file_offset = data_start + extent.begin;
    tensor.bytes = bytes.subspan(tensor.file_offset, *expected);
    tensor.file = result.file_.get();
    const auto [place, fresh] = result.tensors_.emplace(name, std::move(tensor));
    extent.name = &place->first;
    extents.push_back(extent);
  }
  CheckCover(path, std::move(extents), data_bytes);
  return result;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::span<const Entry> entries,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path) {
  // Ordered, so that the header lists tensors as they lie in the file.
  OrderedJson header = OrderedJson::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (const Entry& entry : entries) {
    const std::optional<std::uint64_t> bytes = TensorBytes(entry.dtype, entry.shape);
    const std::optional<std::uint64_t> end =
        bytes ? CheckedAdd(expected_bytes_, *bytes) : std::nullopt;
    if (!end || entry.name == "__metadata__" || header.contains(entry.name) ||
        expected_bytes_ % DTypeBytes(entry.dtype) != 0) {
      throw Error(ErrorKind::kInternal, path.string() + ": tensor " + DisplayName(entry.name) +
                                            " cannot be declared: its name stands twice, its size "
                                            "overflows, or it would lie misaligned");
    }
    // By their members: a list in braces loses memory where an allocation fails.
    OrderedJson& member = header[entry.name];
    member["dtype"] = DTypeName(entry.dtype);
    member["shape"] = entry.shape;
    member["data_offsets"] = std::vector<std::uint64_t>{expected_bytes_, *end};
    expected_bytes_ = *end;
  }
  std::string text = header.dump();
  const std::uint64_t used = (kLengthBytes + text.size()) % kDataAlignment;
  if (used != 0) text.append(kDataAlignment - used, ' ');
  std::byte length[kLengthBytes];
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length[i] = static_cast<std::byte>(text.size() >> (8 * i) & 0xff);
  }
  file_.Write(std::span<const std::byte>(length));
  file_.Write(std::string_view(text));
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::Append(std::span<const std::byte> bytes) {
  if (bytes.size() > expected_bytes_ - written_bytes_) {
    throw Error(ErrorKind::kInternal, "safetensors writer: more bytes appended than declared (" +
                                          std::to_string(expected_bytes_) + ")");
  }
  file_.Write(bytes);
  written_bytes_ += bytes.size();
}

void SafetensorsWriter::Finish() {
  if (written_bytes_ != expected_bytes_) {
    throw Error(ErrorKind::kInternal, "safetensors writer: " + std::to_string(written_bytes_) +
                                          " bytes appended of " + std::to_string(expected_bytes_) +
                                          " declared");
  }
  file_.Commit();
}

}  // namespace culet
