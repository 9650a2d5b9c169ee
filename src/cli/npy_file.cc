#include "cli/npy_file.h"

#include <bit>
#include <string>

namespace culet::cli {
namespace {

// numpy/lib/format.py, version 1.0: magic, version, header length (2 bytes, little endian), header
// as a Python literal, padded with spaces so that the data begins at a multiple of 64, newline
// last.
std::string Header(std::int64_t rows, std::int64_t columns) {
  std::string literal = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                        std::to_string(rows) + ", " + std::to_string(columns) + "), }";
  constexpr std::size_t kPreamble = 10;
  while ((kPreamble + literal.size() + 1) % 64 != 0) literal += ' ';
  literal += '\n';
  std::string header = "\x93NUMPY";
  header += '\x01';
  header += '\x00';
  header += static_cast<char>(literal.size() & 0xff);
  header += static_cast<char>(literal.size() >> 8);
  return header + literal;
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "values are written as they lie");

NpyFile::NpyFile(const std::filesystem::path& path, std::int64_t rows, std::int64_t columns)
    : file_(path) {
  file_.Write(Header(rows, columns));
}

void NpyFile::Write(std::span<const float> values) { file_.Write(std::as_bytes(values)); }

}  // namespace culet::cli
