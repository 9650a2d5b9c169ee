// If this fails, a file is half written or left behind, or an error does not name it.
#include "base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <set>

#include "base/error.h"

namespace culet {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "culet-file-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::set<std::string> Names() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      names.insert(entry.path().filename().string());
    }
    return names;
  }

  FileSystem& files_ = FileSystem::Real();
  fs::path folder_;
};

ErrorKind KindOf(const std::function<void()>& body, std::string* message) {
  try {
    body();
  } catch (const Error& error) {
    *message = error.what();
    return error.kind();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorKind::kInternal;
}

TEST_F(FileTest, WhatIsWrittenAtomicallyIsReadAndMappedBack) {
  std::string content = "first\n";
  content += std::string(100'000, '\0') + "last";
  files_.WriteFileAtomically(folder_ / "a", content);
  EXPECT_EQ(files_.ReadFile(folder_ / "a", 1 << 20), content);
  const MappedFile map = files_.Map(folder_ / "a");
  ASSERT_EQ(map.size(), content.size());
  EXPECT_EQ(std::memcmp(map.bytes().data(), content.data(), content.size()), 0);
  EXPECT_EQ(Names(), std::set<std::string>{"a"});
}

TEST_F(FileTest, WithoutCommitTheOldFileStaysAndNothingIsLeft) {
  files_.WriteFileAtomically(folder_ / "a", "old");
  {
    AtomicFile file(folder_ / "a");
    file.Write(std::string_view("new and half"));
  }
  EXPECT_EQ(files_.ReadFile(folder_ / "a", 100), "old");
  EXPECT_EQ(Names(), std::set<std::string>{"a"});
}

TEST_F(FileTest, AWrittenFileHasTheRightsThatTheUserAsksFor) {
  const mode_t before = ::umask(022);
  files_.WriteFileAtomically(folder_ / "a", "x");
  ::umask(before);
  struct stat status {};
  ASSERT_EQ(::stat((folder_ / "a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0644u);
}

TEST_F(FileTest, APlaceThatCannotBeWrittenIsNamed) {
  std::string message;
  EXPECT_EQ(KindOf([&] { files_.WriteFileAtomically(folder_ / "none" / "a", "x"); }, &message),
            ErrorKind::kNotFound);
  EXPECT_THAT(message, HasSubstr("none/a: cannot write"));
  // A folder stands where the file should go: the write succeeds, the rename does not.
  fs::create_directory(folder_ / "taken");
  files_.WriteFileAtomically(folder_ / "taken" / "x", "x");
  EXPECT_EQ(KindOf([&] { files_.WriteFileAtomically(folder_ / "taken", "x"); }, &message),
            ErrorKind::kIo);
  EXPECT_EQ(Names(), std::set<std::string>{"taken"});
}

TEST_F(FileTest, WhatIsMissingOrAFolderOrTooLongIsNamed) {
  std::string message;
  EXPECT_EQ(KindOf([&] { files_.ReadFile(folder_ / "none", 10); }, &message), ErrorKind::kNotFound);
  EXPECT_THAT(message, HasSubstr("none"));
  EXPECT_EQ(KindOf([&] { files_.Map(folder_ / "none"); }, &message), ErrorKind::kNotFound);
  EXPECT_EQ(KindOf([&] { files_.Map(folder_); }, &message), ErrorKind::kIo);
  EXPECT_THAT(message, HasSubstr("is a folder"));
  files_.WriteFileAtomically(folder_ / "long", "0123456789");
  EXPECT_EQ(files_.ReadFile(folder_ / "long", 10), "0123456789");
  EXPECT_EQ(KindOf([&] { files_.ReadFile(folder_ / "long", 9); }, &message), ErrorKind::kCorrupt);
  EXPECT_THAT(message, HasSubstr("10 bytes; at most 9"));
}

TEST_F(FileTest, AnEmptyFileMapsToNothingAndAMapMoves) {
  files_.WriteFileAtomically(folder_ / "empty", "");
  EXPECT_TRUE(files_.Map(folder_ / "empty").bytes().empty());
  files_.WriteFileAtomically(folder_ / "a", "abc");
  MappedFile first = files_.Map(folder_ / "a");
  MappedFile second = std::move(first);
  EXPECT_EQ(second.size(), 3u);
  first = std::move(second);
  EXPECT_EQ(first.size(), 3u);
  // Hints beyond the end are only hints.
  first.WillNeed(0, 1 << 20);
  first.DontNeed(2, UINT64_MAX);
  first.RandomAccess(5, 1);
}

TEST_F(FileTest, FilesOfUnknownLengthAreReadToTheirEnd) {
  EXPECT_FALSE(files_.ReadFile("/proc/self/status", 1 << 20).empty());
}

}  // namespace
}  // namespace culet
