// What a Media holds; shared by the files that read it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/boundary.h"
#include "culet/media.h"
#include "media/image.h"

namespace culet {

struct PreparedMedia;

struct CULET_HIDDEN Media::Impl {
  MediaKind kind = MediaKind::kImage;
  std::string name;
  // One of these.
  std::filesystem::path path;
  std::string content;  // of a file
  RgbImage image;
  std::vector<float> samples;

  std::mutex mutex;  // guards `prepared`
  // By what it was prepared for: the model's folder and the options.
  std::map<std::string, std::shared_ptr<const PreparedMedia>> prepared;
};

}  // namespace culet
