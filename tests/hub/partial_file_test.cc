// If this fails, a download that goes on after a cut takes bytes for fetched that are not.
#include "hub/partial_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "fake_hub.h"

namespace culet::hub {
namespace {

namespace fs = std::filesystem;
using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST(RangeSet, JoinsWhatTouchesAndOverlaps) {
  RangeSet set;
  set.Add(10, 20);
  set.Add(30, 40);
  set.Add(5, 5);
  EXPECT_EQ(set.ranges(), (Ranges{{10, 20}, {30, 40}}));
  set.Add(20, 30);
  EXPECT_EQ(set.ranges(), (Ranges{{10, 40}}));
  set.Add(0, 100);
  EXPECT_EQ(set.ranges(), (Ranges{{0, 100}}));
  EXPECT_TRUE(set.Covers(100));
  EXPECT_FALSE(set.Covers(101));
}

TEST(RangeSet, MissingPartsAreCutToSize) {
  RangeSet set;
  set.Add(10, 20);
  set.Add(95, 100);
  EXPECT_EQ(set.Missing(120, 50), (Ranges{{0, 10}, {20, 70}, {70, 95}, {100, 120}}));
  set.RemoveFrom(15);
  EXPECT_EQ(set.ranges(), (Ranges{{10, 15}}));
  EXPECT_EQ(RangeSet().Missing(0, 10), Ranges());
}

class PartialFileTest : public testing::Test {
 protected:
  std::uint64_t Have(std::uint64_t bytes) {
    return PartialFile(FileSystem::Real(), blob_, bytes).have();
  }
  fs::path Data() const { return blob_.string() + ".culet.incomplete"; }
  fs::path List() const { return blob_.string() + ".culet.ranges"; }

  TemporaryFolder folder_;
  fs::path blob_ = folder_.path() / std::string(64, 'a');
};

TEST_F(PartialFileTest, GoesOnFromWhatWasClaimedAndNotFromWhatWasNot) {
  {
    PartialFile file(FileSystem::Real(), blob_, 100);
    file.Write(10, Bytes("0123456789"));
    file.Claim();
    file.Write(50, Bytes("lost"));
  }
  EXPECT_EQ(PartialFile::BytesThere(FileSystem::Real(), blob_, 100), 10u);
  PartialFile file(FileSystem::Real(), blob_, 100);
  EXPECT_EQ(file.ranges().ranges(), (Ranges{{10, 20}}));
}

TEST_F(PartialFileTest, AListThatDoesNotFitIsNotBelieved) {
  const auto plant = [&](const std::string& list, std::size_t bytes) {
    std::ofstream(Data()) << std::string(bytes, 'x');
    std::ofstream(List()) << list;
  };
  const std::string good = R"({"version":1,"bytes":100,"ranges":[[0,40]]})";
  plant(good, 40);
  EXPECT_EQ(Have(100), 40u);
  plant(good, 39);  // the data was cut
  EXPECT_EQ(Have(100), 0u);
  plant(good, 40);  // another length is wanted
  EXPECT_EQ(Have(90), 0u);
  for (const char* list :
       {"", "{", "[]", "{}", R"({"version":2,"bytes":100,"ranges":[[0,40]]})",
        R"({"version":1,"bytes":100,"ranges":[[0,140]]})",
        R"({"version":1,"bytes":100,"ranges":[[-4,40]]})",
        R"({"version":1,"bytes":100,"ranges":[[40,4]]})",
        R"({"version":1,"bytes":100,"ranges":[["0","40"]]})",
        R"({"version":1,"bytes":100,"ranges":{"a":1}})", R"({"version":1,"bytes":"100"})"}) {
    plant(list, 40);
    EXPECT_EQ(Have(100), 0u) << list;
  }
}

TEST_F(PartialFileTest, ABeginningOfTheHubsOwnClientIsTakenOver) {
  std::ofstream(blob_.string() + ".incomplete") << "begun";
  PartialFile file(FileSystem::Real(), blob_, 100);
  EXPECT_EQ(file.ranges().ranges(), (Ranges{{0, 5}}));
  EXPECT_FALSE(fs::exists(blob_.string() + ".incomplete"));
}

TEST_F(PartialFileTest, FinishLeavesTheBlobAlone) {
  PartialFile file(FileSystem::Real(), blob_, 4);
  file.Write(0, Bytes("done"));
  file.Claim();
  file.Finish();
  EXPECT_TRUE(fs::exists(blob_));
  EXPECT_FALSE(fs::exists(Data()));
  EXPECT_FALSE(fs::exists(List()));
}

// Writing the list fails while `full`.
class FullDisk : public FileSystem {
 public:
  void WriteFileAtomically(const fs::path& path, std::string_view content) override {
    if (full-- > 0) throw Error(ErrorKind::kResource, path.string() + ": planted full disk");
    FileSystem::WriteFileAtomically(path, content);
  }
  int full = 0;
};

TEST_F(PartialFileTest, AFullDiskStillLeavesAStateToGoOnFrom) {
  FullDisk disk;
  const std::string data(3 << 20, 'x');
  {
    PartialFile file(disk, blob_, 4 << 20);
    file.Write(0, Bytes(data));
    disk.full = 1;
    file.ClaimLast();
  }
  EXPECT_EQ(Have(4 << 20), 2u << 20);
  EXPECT_EQ(fs::file_size(Data()), 2u << 20);
}

}  // namespace
}  // namespace culet::hub
