// A .safetensors file: what is accepted lies inside the file, without overlap, and fits its shape.
#include "base/dtype.h"
#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "fuzz/fuzz.h"
#include "fuzz/memory_files.h"

namespace culet::fuzz {

void FuzzOne(std::string_view input) {
  MemoryFiles files;
  files.Add("m/a.safetensors", input);
  try {
    const SafetensorsFile file = SafetensorsFile::Open(files, "m/a.safetensors");
    std::uint64_t bytes = 0;
    std::uint64_t sum = 0;
    for (const auto& [name, tensor] : file.tensors()) {
      Require(tensor.name == name && tensor.file != nullptr, "a tensor knows its name and file");
      Require(tensor.elements() >= 0, "a size does not overflow");
      Require(static_cast<std::uint64_t>(tensor.elements()) ==
                  tensor.bytes.size() / DTypeBytes(tensor.dtype),
              "bytes and shape agree");
      Require(tensor.file_offset <= input.size() &&
                  tensor.bytes.size() <= input.size() - tensor.file_offset,
              "a tensor lies inside the file");
      bytes += tensor.bytes.size();
      for (const std::byte byte : tensor.bytes) sum += std::to_integer<std::uint64_t>(byte);
    }
    // Each byte after the header belongs to one tensor.
    std::uint64_t header = 0;
    for (int i = 7; i >= 0; --i) {
      header = header << 8 | static_cast<unsigned char>(input[static_cast<std::size_t>(i)]);
    }
    Require(bytes == input.size() - 8 - header, "the tensors cover the data exactly");
    Require(sum <= 255 * bytes, "every byte can be read");
  } catch (const Error&) {
  }
}

}  // namespace culet::fuzz
