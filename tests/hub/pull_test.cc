// If this fails, a broken line, a lying server or a second pull leaves a model that is not what the
// hub has, or the access token goes to somebody else.
#include "hub/pull.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <random>
#include <thread>

#include "base/error.h"
#include "fake_hub.h"
#include "hub/cache_scan.h"
#include "hub/lock.h"
#include "hub/verify.h"

namespace culet::hub {
namespace {

namespace fs = std::filesystem;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Kind = TransportError::Kind;

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

TEST_F(PullTest, AnIndexThatLeadsElsewhereIsRefused) {
  hub_.files.erase("model.safetensors");
  for (const char* shard :
       {"../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", ".x.safetensors", "x.bin"}) {
    hub_.files["model.safetensors.index.json"] = Json({{"weight_map", {{"a", shard}}}}).dump();
    EXPECT_THAT(Failure(ErrorKind::kCorrupt), HasSubstr("weight_map.a")) << shard;
  }
  hub_.files["model.safetensors.index.json"] = R"({"weight_map":{"a":"gone.safetensors"}})";
  EXPECT_THAT(Failure(ErrorKind::kCorrupt), HasSubstr("gone.safetensors"));
  EXPECT_FALSE(fs::exists(Folder()));
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

TEST_F(PullTest, WrongBytesAreThrownAwayAndFetchedOnceMore) {
  int wrong = 1;
  hub_.fault = [&](const HttpRequest& request, Reply* reply) {
    if (request.url.ends_with("tokenizer.json") && wrong-- > 0) reply->body[100] ^= 1;
  };
  ExpectWhole(Run());
  ASSERT_EQ(notices_.size(), 1u);
  EXPECT_THAT(notices_[0], HasSubstr("fetching it once more"));
}

TEST_F(PullTest, BytesThatStayWrongAreAnErrorAndNeverABlob) {
  hub_.fault = [&](const HttpRequest& request, Reply* reply) {
    if (request.url.ends_with("tokenizer.json")) reply->body[100] ^= 1;
  };
  EXPECT_THAT(Failure(ErrorKind::kCorrupt), HasSubstr("tokenizer.json: what came has the hash"));
  ExpectNothingFalse();
  EXPECT_EQ(CountRequests("tokenizer.json"), 2u);
}

TEST_F(PullTest, LiesAboutLengthAndRangeAreErrors) {
  hub_.fault = [](const HttpRequest& request, Reply* reply) {
    if (request.url.ends_with("tokenizer.json")) reply->headers["content-length"] = "77";
  };
  EXPECT_THAT(Failure(ErrorKind::kCorrupt), HasSubstr("the server gives 77 bytes"));
  hub_.fault = [](const HttpRequest& request, Reply* reply) {
    if (request.url.ends_with("tokenizer.json")) {
      reply->headers.erase("content-length");
      reply->body += "and more";
    }
  };
  ExpectWhole(Run());  // what came beyond the end was not taken, and the hash is right
  fs::remove_all(settings_.cache);
  hub_.fault = [](const HttpRequest& request, Reply* reply) {
    if (request.url.ends_with("tokenizer.json")) {
      reply->headers.erase("content-length");
      reply->body.resize(100);
    }
  };
  EXPECT_THAT(Failure(ErrorKind::kCorrupt), HasSubstr("the answer ends too early"));
  hub_.fault = [](const HttpRequest& request, Reply* reply) {
    if (request.url.ends_with("model.safetensors")) {
      reply->headers["content-range"] = "bytes 0-15999/9999999";
    }
  };
  EXPECT_THAT(Failure(ErrorKind::kCorrupt), HasSubstr("were asked for"));
  hub_.fault = [](const HttpRequest& request, Reply* reply) {
    std::string& range = reply->headers["content-range"];
    if (request.url.ends_with("model.safetensors")) range.replace(range.find('-') - 1, 1, "7");
  };
  EXPECT_THAT(Failure(ErrorKind::kCorrupt), HasSubstr("were asked for"));
  ExpectNothingFalse();
  hub_.fault = nullptr;
  ExpectWhole(Run());
}

TEST_F(PullTest, BackOffDoublesAndRetryAfterCounts) {
  int failures = 3;
  hub_.fault = [&](const HttpRequest& request, Reply* reply) {
    if (request.url.find("/api/") == std::string::npos || failures == 0) return;
    --failures;
    *reply = {failures == 1 ? 429 : 503, {}, "", {}, {}};
    if (failures == 1) reply->headers["retry-after"] = "7";
  };
  ExpectWhole(Run());
  EXPECT_THAT(clock_.sleeps(), ElementsAre(0.5, 7, 2));
}

TEST_F(PullTest, ARetryAfterDateCounts) {
  int failures = 1;
  hub_.fault = [&](const HttpRequest&, Reply* reply) {
    if (failures-- > 0)
      *reply = {503, {{"retry-after", "Fri, 15 Jan 2027 08:00:20 GMT"}}, "", {}, {}};
  };
  ExpectWhole(Run());
  EXPECT_THAT(clock_.sleeps(), ElementsAre(20));
}

TEST_F(PullTest, PatienceEnds) {
  hub_.fault = [](const HttpRequest&, Reply* reply) { *reply = {500, {}, "", {}, {}}; };
  EXPECT_THAT(Failure(ErrorKind::kIo), HasSubstr("500 (Internal Server Error) (5 tries)"));
  hub_.fault = [](const HttpRequest&, Reply* reply) {
    *reply = {429, {{"retry-after", "100000"}}, "", {}, {}};
  };
  EXPECT_THAT(Failure(ErrorKind::kIo), HasSubstr("asks to wait 100000 s"));
  hub_.fault = [](const HttpRequest&, Reply* reply) { reply->error = Kind::kName; };
  EXPECT_THAT(Failure(ErrorKind::kIo), HasSubstr("Is there a network?"));
  EXPECT_FALSE(fs::exists(Folder()));
}

TEST_F(PullTest, TheTokenGoesToTheHubAndNowhereElse) {
  settings_.token = "hf_secret";
  hub_.store = "https://store.example";
  ExpectWhole(Run());
  std::size_t with = 0;
  for (const HttpRequest& request : hub_.requests()) {
    bool sent = false;
    for (const auto& [name, value] : request.headers) {
      sent = sent || name == "Authorization" || value.find("hf_secret") != std::string::npos;
    }
    EXPECT_EQ(sent, request.url.starts_with("https://hub.example/")) << request.url;
    with += sent ? 1 : 0;
  }
  EXPECT_GT(with, 0u);
}

TEST_F(PullTest, RedirectsToElsewhereThanTheWebOrToPlainHttpAreNotFollowed) {
  settings_.token = "hf_secret";
  for (const char* location :
       {"http://hub.example/x", "http://store.example/x", "file:///etc/passwd", "gopher://x/"}) {
    hub_.fault = [&](const HttpRequest& request, Reply* reply) {
      if (request.url.find("/resolve/") != std::string::npos) {
        *reply = {302, {{"location", location}}, "", {}, {}};
      }
    };
    EXPECT_THAT(Failure(ErrorKind::kCorrupt), HasSubstr("redirects")) << location;
  }
  for (const HttpRequest& request : hub_.requests()) {
    EXPECT_TRUE(request.url.starts_with("https://hub.example/")) << request.url;
  }
}

TEST_F(PullTest, AnEndlessRoundOfRedirectsEnds) {
  hub_.fault = [](const HttpRequest& request, Reply* reply) {
    *reply = {302, {{"location", request.url}}, "", {}, {}};
  };
  EXPECT_THAT(Failure(ErrorKind::kIo), HasSubstr("redirects in a row"));
}

TEST_F(PullTest, ASignedAddressThatGrewOldIsAskedForAnew) {
  hub_.store = "https://store.example";
  int uses = 0;
  hub_.fault = [&](const HttpRequest& request, Reply* reply) {
    if (request.url.starts_with("https://store.example/blob/model") && ++uses % 3 == 0) {
      *reply = {403, {}, "expired", {}, {}};
    }
  };
  ExpectWhole(Run());
}

TEST_F(PullTest, RefusalsSayWhatToDo) {
  const auto refuse = [&](int status, std::map<std::string, std::string> headers) {
    hub_.fault = [=](const HttpRequest&, Reply* reply) { *reply = {status, headers, "", {}, {}}; };
  };
  refuse(401, {{"x-error-code", "RepoNotFound"}});
  EXPECT_THAT(Failure(ErrorKind::kNotFound), HasSubstr("no such model, or it is private"));
  refuse(404, {{"x-error-code", "RevisionNotFound"}});
  EXPECT_THAT(Failure(ErrorKind::kNotFound), HasSubstr("no such branch, tag or commit"));
  refuse(401, {{"x-error-code", "GatedRepo"}});
  EXPECT_THAT(Failure(ErrorKind::kIo),
              testing::AllOf(HasSubstr("Accept its licence at https://hub.example/google/tiny"),
                             HasSubstr("hf auth login")));
  settings_.token = "hf_secret";
  settings_.token_source = "HF_TOKEN";
  refuse(401, {{"x-error-message", "Invalid credentials in Authorization header"}});
  const std::string message = Failure(ErrorKind::kIo);
  EXPECT_THAT(message, HasSubstr("does not accept the access token of HF_TOKEN"));
  EXPECT_THAT(message, testing::Not(HasSubstr("hf_secret")));
  refuse(403, {{"x-error-code", "GatedRepo"}});
  EXPECT_THAT(Failure(ErrorKind::kIo), HasSubstr("the account of the token in HF_TOKEN"));
}

TEST_F(PullTest, AnswersThatNoHubGivesAreErrors) {
  const Json good = {{"sha", hub_.commit}, {"siblings", Json::array()}};
  for (const std::string& text :
       {std::string("<html>"), std::string("[]"), std::string("{}"),
        Json({{"sha", "../../x"}, {"siblings", Json::array()}}).dump(),
        Json({{"sha", hub_.commit}}).dump(),
        Json({{"sha", hub_.commit},
              {"siblings", {{{"rfilename", "config.json"}, {"size", 1}, {"blobId", "../x"}}}}})
            .dump()}) {
    hub_.fault = [&](const HttpRequest&, Reply* reply) { reply->body = text; };
    EXPECT_THAT(Failure(ErrorKind::kCorrupt), HasSubstr("HF_ENDPOINT")) << text;
  }
  EXPECT_FALSE(fs::exists(Folder()));
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
  for (unsigned seed = 0; seed < 600; ++seed) {
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
