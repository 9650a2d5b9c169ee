// A pull from FakeHub into a folder of its own, and what must hold afterwards.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "fake_hub.h"
#include "hub/cache.h"
#include "hub/pull.h"

namespace culet::hub {

namespace fs = std::filesystem;

class PullTest : public testing::Test {
 protected:
  PullTest() {
    settings_.cache = folder_.path() / "hub";
    settings_.endpoint = "https://hub.example";
    hub_.files = {{"config.json", R"({"model_type":"tiny"})"},
                  {"tokenizer.json", Noise(3000, 1)},
                  {"README.md", "not wanted"},
                  {"pytorch_model.bin", "not wanted"},
                  {"model.safetensors", Noise(100'000, 2)}};
    options_.fetch.piece_bytes = 16'000;
    options_.notice = [this](const std::string& line) { notices_.push_back(line); };
  }

  PullResult Run() {
    const World world = {settings_, files_ != nullptr ? *files_ : FileSystem::Real(), hub_, clock_};
    return Pull(world, reference_, options_);
  }

  std::string Failure(ErrorKind kind) {
    try {
      Run();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }

  static std::string Read(const fs::path& path) {
    return FileSystem::Real().ReadFile(path, 1 << 30);
  }

  // What the cache holds is the hub's, and nothing is left over.
  void ExpectWhole(const PullResult& result) {
    for (const auto& [name, content] : hub_.files) {
      const fs::path path = result.folder / name;
      if (name == "README.md" || name.ends_with(".bin")) {
        EXPECT_FALSE(fs::exists(path)) << name;
        continue;
      }
      ASSERT_TRUE(fs::exists(path)) << name;
      EXPECT_EQ(Read(path), content) << name;
      EXPECT_EQ(fs::read_symlink(path), fs::path("../../blobs") / FakeHub::HashOf(name, content));
    }
    EXPECT_EQ(Read(Folder() / "refs/main"), hub_.commit);
    for (const auto& entry : fs::directory_iterator(Folder() / "blobs")) {
      EXPECT_TRUE(entry.path().extension().empty()) << entry.path();
    }
  }

  // Nothing under a blob's name that is not what the name says; nothing found as complete.
  void ExpectNothingFalse() {
    if (fs::exists(Folder() / "blobs")) {
      for (const auto& entry : fs::directory_iterator(Folder() / "blobs")) {
        const std::string name = entry.path().filename().string();
        if (name.find('.') != std::string::npos) continue;
        EXPECT_EQ(HashText(HashKindOf(name), Read(entry.path())), name);
      }
    }
    const auto found = FindSnapshot(FileSystem::Real(), settings_.cache, reference_);
    EXPECT_TRUE(!found || !found->missing.empty());
  }

  fs::path Folder() const { return settings_.cache / "models--google--tiny"; }

  std::size_t CountRequests(const std::string& part) const {
    std::size_t count = 0;
    for (const HttpRequest& request : hub_.requests()) {
      count += request.url.find(part) != std::string::npos ? 1 : 0;
    }
    return count;
  }

  TemporaryFolder folder_;
  FakeHub hub_;
  FakeClock clock_;
  Settings settings_;
  FileSystem* files_ = nullptr;
  ModelReference reference_ = {"google/tiny", "main"};
  PullOptions options_;
  std::vector<std::string> notices_;
};

}  // namespace culet::hub
