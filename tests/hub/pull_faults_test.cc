// If this fails, one call to the system that goes wrong during a pull crashes it, or leaves
// something that looks whole and is not, or that the next pull cannot go on from.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>

#include "base/error.h"
#include "fake_hub.h"
#include "hub/pull.h"

namespace culet::hub {
namespace {

namespace fs = std::filesystem;

// The n-th call fails, as the system would; all others are real.
class FaultyFiles : public FileSystem {
 public:
  explicit FaultyFiles(int fail_at, bool forever) : fail_at_(fail_at), forever_(forever) {}
  int calls() const { return calls_; }

  std::string ReadFile(const fs::path& path, std::uint64_t max_bytes) override {
    Count("read", path);
    return FileSystem::ReadFile(path, max_bytes);
  }
  void WriteFileAtomically(const fs::path& path, std::string_view content) override {
    Count("write", path);
    FileSystem::WriteFileAtomically(path, content);
  }
  std::unique_ptr<RandomFile> Open(const fs::path& path, OpenMode mode) override {
    Count("open", path);
    return std::make_unique<File>(this, path, FileSystem::Open(path, mode));
  }
  FileStatus Status(const fs::path& path, bool follow) override {
    Count("look at", path);
    return FileSystem::Status(path, follow);
  }
  void CreateFolders(const fs::path& folder) override {
    Count("create", folder);
    FileSystem::CreateFolders(folder);
  }
  bool CreateLink(const fs::path& target, const fs::path& link) override {
    Count("link", link);
    return FileSystem::CreateLink(target, link);
  }
  fs::path ReadLink(const fs::path& link) override {
    Count("read the link", link);
    return FileSystem::ReadLink(link);
  }
  void Rename(const fs::path& from, const fs::path& to) override {
    Count("rename", to);
    FileSystem::Rename(from, to);
  }
  void Remove(const fs::path& path) override {
    Count("delete", path);
    FileSystem::Remove(path);
  }
  std::uint64_t FreeBytes(const fs::path& path) override {
    Count("read the free space of", path);
    return FileSystem::FreeBytes(path);
  }

 private:
  class File : public RandomFile {
   public:
    File(FaultyFiles* owner, fs::path path, std::unique_ptr<RandomFile> real)
        : owner_(owner), path_(std::move(path)), real_(std::move(real)) {}
    std::uint64_t Size() override {
      owner_->Count("read the size of", path_);
      return real_->Size();
    }
    std::size_t ReadAt(std::uint64_t offset, std::span<std::byte> into) override {
      owner_->Count("read", path_);
      return real_->ReadAt(offset, into);
    }
    void WriteAt(std::uint64_t offset, std::span<const std::byte> bytes) override {
      owner_->Count("write", path_);
      real_->WriteAt(offset, bytes);
    }
    void Resize(std::uint64_t bytes) override {
      owner_->Count("change the size of", path_);
      real_->Resize(bytes);
    }
    void Sync() override {
      owner_->Count("write", path_);
      real_->Sync();
    }
    bool TryLock() override {
      owner_->Count("lock", path_);
      return real_->TryLock();
    }

   private:
    FaultyFiles* owner_;
    fs::path path_;
    std::unique_ptr<RandomFile> real_;
  };

  void Count(const char* action, const fs::path& path) {
    const int call = calls_++;
    if (call != fail_at_ && !(forever_ && call > fail_at_ && fail_at_ >= 0)) return;
    ThrowFileError(action, path, call % 3 == 0 ? ENOSPC : call % 3 == 1 ? EIO : EACCES);
  }

  const int fail_at_;
  const bool forever_;
  std::atomic<int> calls_ = 0;
};

class PullFaultsTest : public testing::Test {
 protected:
  PullFaultsTest() {
    settings_.cache = folder_.path() / "hub";
    settings_.endpoint = "https://hub.example";
    hub_.files = {{"config.json", "{}"},
                  {"tokenizer.json", Noise(2000, 1)},
                  {"model-1.safetensors", Noise(9000, 2)},
                  {"model-2.safetensors", Noise(100, 3)},
                  {"model.safetensors.index.json",
                   R"({"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}})"}};
    options_.fetch.piece_bytes = 4000;
    options_.fetch.connections = 2;
  }

  void PullWith(FileSystem& files) {
    const World world = {settings_, files, hub_, clock_};
    Pull(world, reference_, options_);
  }

  // Every blob is what its name says, and a snapshot that counts as complete has every byte.
  void ExpectNothingFalse() {
    FileSystem& files = FileSystem::Real();
    const CacheFolder folder(files, settings_.cache, reference_.repository);
    for (const std::string& name : files.List(folder.path() / "blobs")) {
      if (name.find('.') != std::string::npos) continue;
      const std::string content = files.ReadFile(folder.Blob(name), 1 << 20);
      EXPECT_EQ(HashText(HashKindOf(name), content), name);
    }
    const auto found = FindSnapshot(files, settings_.cache, reference_);
    if (!found || !found->missing.empty()) return;
    for (const auto& [name, content] : hub_.files) {
      EXPECT_EQ(files.ReadFile(found->folder / name, 1 << 20), content) << name;
    }
  }

  TemporaryFolder folder_;
  FakeHub hub_;
  FakeClock clock_;
  Settings settings_;
  ModelReference reference_ = {"google/tiny", "main"};
  PullOptions options_;
};

class PullFileFaultsTest : public PullFaultsTest, public testing::WithParamInterface<bool> {};

TEST_P(PullFileFaultsTest, EachCallToTheFileSystemMayFail) {
  const bool forever = GetParam();
  FaultyFiles counting(-1, false);
  PullWith(counting);
  int failed = 0;
  // Threads make the count differ a little from run to run.
  for (int n = 0; n < counting.calls() + 10; ++n) {
    SCOPED_TRACE(n);
    fs::remove_all(settings_.cache);
    FaultyFiles files(n, forever);
    try {
      PullWith(files);
    } catch (const Error& error) {
      ++failed;
      EXPECT_NE(std::string(error.what()).find(folder_.path().string()), std::string::npos)
          << "names no path: " << error.what();
    }
    ExpectNothingFalse();
    PullWith(FileSystem::Real());
    ExpectNothingFalse();
    const auto found = FindSnapshot(FileSystem::Real(), settings_.cache, reference_);
    ASSERT_TRUE(found.has_value());
    EXPECT_TRUE(found->missing.empty());
  }
  EXPECT_GT(failed, counting.calls() / 2);
}

INSTANTIATE_TEST_SUITE_P(OnceAndFromThenOn, PullFileFaultsTest, testing::Bool(),
                         [](const auto& mode) { return mode.param ? "FromThenOn" : "Once"; });

// The same for the network: the n-th exchange cannot connect, breaks, or breaks in its middle, and
// so does every one after it.
TEST_F(PullFaultsTest, EachExchangeMayFail) {
  PullWith(FileSystem::Real());
  const std::size_t exchanges = hub_.requests().size();
  for (const TransportError::Kind kind :
       {TransportError::Kind::kName, TransportError::Kind::kConnect, TransportError::Kind::kSecure,
        TransportError::Kind::kStalled, TransportError::Kind::kCut, TransportError::Kind::kOther}) {
    for (std::size_t n = 0; n < exchanges; ++n) {
      SCOPED_TRACE(n);
      fs::remove_all(settings_.cache);
      std::size_t count = 0;
      hub_.fault = [&](const HttpRequest&, Reply* reply) {
        if (count++ < n) return;
        if (kind == TransportError::Kind::kCut) {
          reply->cut_after = reply->body.size() / 2;
        } else {
          reply->error = kind;
        }
      };
      EXPECT_THROW(PullWith(FileSystem::Real()), Error);
      ExpectNothingFalse();
      hub_.fault = nullptr;
      PullWith(FileSystem::Real());
      ExpectNothingFalse();
    }
  }
}

}  // namespace
}  // namespace culet::hub
