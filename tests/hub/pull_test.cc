// If this fails, a broken line, a full disk, a Ctrl-C or a second pull leaves a model that is not
// what the hub has.
#include <atomic>
#include <fstream>
#include <random>
#include <thread>

#include "hub/cache_scan.h"
#include "hub/verify.h"
#include "pull_fixture.h"

namespace culet::hub {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Kind = TransportError::Kind;

TEST_F(PullTest, FetchesWhatAModelNeedsAndNothingElse) {
  const PullResult result = Run();
  ExpectWhole(result);
  EXPECT_EQ(result.files, 3u);
  EXPECT_EQ(result.fetched_bytes, result.bytes);
  EXPECT_THAT(clock_.sleeps(), IsEmpty());
  EXPECT_TRUE(fs::exists(Folder() / ".no_exist" / hub_.commit / "chat_template.jinja"));
}

TEST_F(PullTest, ASecondPullAsksForTheListAlone) {
  Run();
  const std::size_t before = hub_.requests().size();
  EXPECT_EQ(Run().fetched_bytes, 0u);
  EXPECT_EQ(hub_.requests().size(), before + 1);
}

TEST_F(PullTest, ShardsAreThoseOfTheIndex) {
  hub_.files.erase("model.safetensors");
  hub_.files["model-00001-of-00002.safetensors"] = Noise(20'000, 3);
  hub_.files["model-00002-of-00002.safetensors"] = Noise(20'000, 4);
  hub_.files["model.safetensors.index.json"] =
      R"({"weight_map":{"a":"model-00002-of-00002.safetensors","b":"model-00001-of-00002.safetensors"}})";
  ExpectWhole(Run());
}

TEST_F(PullTest, ACutConnectionIsGoneOnFromWhereItBroke) {
  std::atomic<int> cuts = 0;
  hub_.fault = [&](const HttpRequest& request, Reply* reply) {
    if (request.url.ends_with("model.safetensors") && cuts < 12) {
      ++cuts;
      reply->cut_after = 5000;
    }
  };
  ExpectWhole(Run());
  EXPECT_EQ(cuts, 12);
  std::uint64_t asked = 0;
  for (const HttpRequest& request : hub_.requests()) {
    for (const auto& [name, value] : request.headers) asked += name == "Range" ? 1 : 0;
  }
  EXPECT_GE(asked, 12u);
}

TEST_F(PullTest, AnotherProcessGoesOnWhereOneGaveUp) {
  options_.fetch.connections = 1;
  int pieces = 0;
  hub_.fault = [&](const HttpRequest& request, Reply* reply) {
    if (!request.url.ends_with("model.safetensors")) return;
    if (++pieces == 1) return;
    if (pieces == 2) reply->cut_after = 4000;
    if (pieces > 2) reply->error = Kind::kStalled;
  };
  EXPECT_THAT(Failure(ErrorKind::kIo), HasSubstr("what has come is kept"));
  ExpectNothingFalse();
  hub_.fault = nullptr;
  const PullResult result = Run();
  ExpectWhole(result);
  EXPECT_EQ(result.fetched_bytes, 80'000u);
}

TEST_F(PullTest, AServerThatIgnoresRangesGivesTheWholeAtOnce) {
  hub_.ranges = false;
  ExpectWhole(Run());
}

TEST_F(PullTest, AServerThatIgnoresRangesIsAskedAnewAfterACut) {
  hub_.ranges = false;
  int cuts = 0;
  hub_.fault = [&](const HttpRequest& request, Reply* reply) {
    if (request.url.ends_with("model.safetensors") && reply->status == 200 && cuts < 3) {
      ++cuts;
      reply->cut_after = 70'000;
    }
  };
  ExpectWhole(Run());
}

TEST_F(PullTest, NothingIsWrittenBeforeTheAnswerYes) {
  std::uint64_t said = 0;
  options_.confirm = [&](const PullPlan& plan) {
    said = plan.missing_bytes;
    return false;
  };
  EXPECT_THROW(Run(), Cancelled);
  EXPECT_GT(said, 103'000u);
  EXPECT_FALSE(fs::exists(settings_.cache));
}

class SmallDisk : public FileSystem {
 public:
  std::uint64_t FreeBytes(const fs::path&) override { return 1000; }
};

TEST_F(PullTest, ADiskThatIsTooSmallIsRefusedBefore) {
  SmallDisk disk;
  files_ = &disk;
  EXPECT_THAT(Failure(ErrorKind::kResource), HasSubstr("are free there"));
  EXPECT_FALSE(fs::exists(settings_.cache));
}

TEST_F(PullTest, CancellingLeavesAStateToGoOnFrom) {
  std::atomic<bool> cancel = false;
  options_.cancelled = [&] { return cancel.load(); };
  int pieces = 0;
  hub_.fault = [&](const HttpRequest& request, Reply*) {
    if (request.url.ends_with("model.safetensors") && ++pieces == 4) cancel = true;
  };
  EXPECT_THROW(Run(), Cancelled);
  ExpectNothingFalse();
  cancel = false;
  hub_.fault = nullptr;
  ExpectWhole(Run());
}

TEST_F(PullTest, TwoPullsTakeTurnsAndFetchOnce) {
  std::vector<std::thread> threads;
  std::atomic<std::uint64_t> fetched = 0;
  const World world = {settings_, FileSystem::Real(), hub_, Clock::Real()};
  PullOptions options;
  options.fetch = options_.fetch;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] { fetched += Pull(world, reference_, options).fetched_bytes; });
  }
  for (std::thread& thread : threads) thread.join();
  const PullResult result = Run();
  ExpectWhole(result);
  EXPECT_EQ(fetched, result.bytes);
}

TEST_F(PullTest, WithoutLinksTheFilesThemselvesLieInTheSnapshot) {
  settings_.no_links = true;
  const PullResult result = Run();
  EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(result.folder / "model.safetensors")));
  EXPECT_EQ(Run().fetched_bytes, 0u);
  EXPECT_TRUE(FindSnapshot(FileSystem::Real(), settings_.cache, reference_)->missing.empty());
}

TEST_F(PullTest, ANewCommitSharesBlobsAndOldOnesCanBeRemoved) {
  Run();
  const std::string old = hub_.commit;
  hub_.commit = std::string(39, 'c') + "1";
  hub_.files["config.json"] = R"({"model_type":"newer"})";
  const PullResult result = Run();
  EXPECT_LT(result.fetched_bytes, 100u);
  const auto scanned = ScanCache(FileSystem::Real(), settings_.cache);
  ASSERT_EQ(scanned.size(), 1u);
  EXPECT_EQ(scanned[0].repository, "google/tiny");
  EXPECT_EQ(scanned[0].revisions.size(), 2u);

  CacheFolder(FileSystem::Real(), settings_.cache, "google/tiny").WriteReference("refs/v1", old);
  const Removal removal =
      PlanRemoval(FileSystem::Real(), settings_.cache, {"google/tiny", "refs/v1"}, true);
  EXPECT_LT(removal.bytes, 100u);
  Remove(FileSystem::Real(), removal);
  EXPECT_FALSE(fs::exists(Folder() / "snapshots" / old));
  EXPECT_FALSE(fs::exists(Folder() / "refs/refs/v1"));
  ExpectWhole(result);
  Remove(FileSystem::Real(),
         PlanRemoval(FileSystem::Real(), settings_.cache, {"google/tiny", "main"}, false));
  EXPECT_FALSE(fs::exists(Folder()));
}

TEST_F(PullTest, VerifyFindsAByteThatChanged) {
  const PullResult result = Run();
  const auto wrong = [&] {
    std::vector<std::string> names;
    for (const VerifiedFile& file :
         VerifyFolder(FileSystem::Real(), result.folder, nullptr, [](const auto&, auto, auto) {})) {
      if (!file.right()) names.push_back(file.name);
    }
    return names;
  };
  EXPECT_THAT(wrong(), IsEmpty());
  std::fstream(result.folder / "model.safetensors", std::ios::in | std::ios::out).write("x", 1);
  EXPECT_THAT(wrong(), ElementsAre("model.safetensors"));
}

// Whatever goes wrong at random, the end is the model or an error, never something in between.
TEST_F(PullTest, RandomFaultsEndInTheModelOrAnError) {
#ifdef __SANITIZE_THREAD__
  constexpr unsigned kRuns = 60;  // each takes ten times as long
#else
  constexpr unsigned kRuns = 600;
#endif
  for (unsigned seed = 0; seed < kRuns; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::filesystem::remove_all(settings_.cache);
    hub_.store = seed % 2 == 0 ? "" : "https://store.example";
    hub_.ranges = seed % 5 != 0;
    int faults = static_cast<int>(random() % 30);
    hub_.fault = [&](const HttpRequest& request, Reply* reply) {
      if (faults == 0 || random() % 3 != 0) return;
      --faults;
      switch (random() % 7) {
        case 0: reply->error = static_cast<Kind>(random() % 6); break;
        case 1: *reply = {503, {}, "", {}, {}}; break;
        case 2: *reply = {429, {{"retry-after", "1"}}, "", {}, {}}; break;
        case 3: reply->cut_after = random() % (reply->body.size() + 1); break;
        case 4:
          // Nothing says what the list itself must be: TLS keeps it from being changed.
          if (request.url.find("/api/") != std::string::npos) break;
          if (!reply->body.empty()) reply->body[random() % reply->body.size()] ^= 4;
          break;
        case 5: reply->headers["content-length"] = std::to_string(random() % 100); break;
        default: reply->body.resize(random() % (reply->body.size() + 1)); break;
      }
    };
    bool done = false;
    for (int attempt = 0; attempt < 40 && !done; ++attempt) {
      try {
        ExpectWhole(Run());
        done = true;
      } catch (const Error&) {
        ExpectNothingFalse();
      }
    }
    EXPECT_TRUE(done);
  }
}

}  // namespace
}  // namespace culet::hub
