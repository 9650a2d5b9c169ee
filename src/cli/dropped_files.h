// Pictures, sounds and videos whose paths a terminal put into a line: pasted, or dropped on its
// window.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "culet/media.h"

namespace culet::cli {

struct DroppedFile {
  std::size_t begin = 0, end = 0;  // in the line, quotes included
  std::string path;                // as it is on the disk
  std::optional<MediaKind> kind;   // none: no medium
};

// The words of `line` that name a file that is there, as terminals write them: in quotes, with
// backslashes, or as a file:// URL; absolute, or from "~/", "./" or "../" on. A line that is one
// path as a whole may have bare spaces in it. A word in backticks is only text.
std::vector<DroppedFile> FindDroppedFiles(std::string_view line);

}  // namespace culet::cli
