// Fails where copies of the cache are told of wrongly, one is removed that nobody named, or what
// killed processes have left stays, or is taken from under a living one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "api/quantized_copy.h"
#include "base/file.h"
#include "base/json.h"
#include "checkpoint/tiny_model.h"
#include "culet/culet.h"

namespace culet {
namespace {

using ::culet::testing::ErrorOf;
using ::culet::testing::TemporaryFolder;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using State = CachedCopy::State;

namespace fs = std::filesystem;

const fs::path kPebble = fs::path(CULET_SOURCE_DIR) / "models" / "pebble";

// A process that is no more.
std::string GoneProcess() {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, nullptr, 0);
  return std::to_string(child) + ".0";
}

void WriteFile(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << content;
}

class CachedCopies : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("CULET_CACHE", (folder_.path() / "cache").c_str(), 1);
    setenv("HF_HUB_CACHE", hub_.c_str(), 1);
    fs::copy(kPebble, model_);
  }
  void TearDown() override {
    unsetenv("CULET_CACHE");
    unsetenv("HF_HUB_CACHE");
  }
  std::vector<std::string> Held() const { return FileSystem::Real().List(copies_); }
  static fs::path Make(const fs::path& model, const std::string& to) {
    QuantizeOptions options;
    options.threads = 2;
    return QuantizedCopy(model, to, options);
  }
  static std::vector<State> States() {
    std::vector<State> states;
    for (const CachedCopy& copy : QuantizedCopies()) states.push_back(copy.state);
    return states;
  }
  void Touch(const char* file) const {
    fs::last_write_time(model_ / file, fs::last_write_time(model_ / file) - std::chrono::hours(1));
  }

  TemporaryFolder folder_;
  fs::path copies_ = folder_.path() / "cache" / "quantized";
  fs::path hub_ = folder_.path() / "hub";
  fs::path model_ = folder_.path() / "model";
};

TEST_F(CachedCopies, AreNoneWhereThereIsNoCache) {
  EXPECT_THAT(QuantizedCopies(), IsEmpty());
  EXPECT_THAT(QuantizedCopiesOf(model_), IsEmpty());
  EXPECT_FALSE(fs::exists(folder_.path() / "cache"));
}

TEST_F(CachedCopies, TellOfTheirModelAndWhatBecameOfIt) {
  const fs::path eight = Make(model_, "int8"), four = Make(model_ / "model.safetensors", "int4");
  std::vector<CachedCopy> copies = QuantizedCopies();
  ASSERT_EQ(copies.size(), 2u);
  EXPECT_EQ(copies[0].folder, four);
  EXPECT_EQ(copies[0].to, "int4");
  EXPECT_EQ(copies[1].folder, eight);
  for (const CachedCopy& copy : copies) {
    EXPECT_EQ(copy.state, State::kCurrent);
    EXPECT_EQ(copy.source, fs::canonical(model_));
    EXPECT_EQ(copy.model, copy.source.string());
  }
  EXPECT_GT(copies[1].bytes, fs::file_size(eight / "model.safetensors"));
  EXPECT_LT(copies[1].bytes, fs::file_size(model_ / "model.safetensors"));
  Touch("config.json");
  EXPECT_THAT(States(), ElementsAre(State::kChanged, State::kChanged));
  Make(model_, "int8");
  EXPECT_THAT(States(), ElementsAre(State::kChanged, State::kCurrent));
  // A file more is another model too.
  WriteFile(model_ / "processor_config.json", "{}");
  EXPECT_THAT(States(), ElementsAre(State::kChanged, State::kChanged));
  fs::rename(model_, folder_.path() / "elsewhere");
  EXPECT_THAT(States(), ElementsAre(State::kGone, State::kGone));
  WriteFile(four / kCopyKeyFile, "{");
  EXPECT_EQ(QuantizedCopiesOf(four.filename())[0].state, State::kUnfinished);
}

TEST_F(CachedCopies, OfOneModelAreThoseThatItsNameMeans) {
  const fs::path other = folder_.path() / "other" / "model";  // of the same last name
  fs::create_directories(other.parent_path());
  fs::copy(kPebble, other);
  const fs::path mine = Make(model_, "int8"), theirs = Make(other, "int8");
  const auto folders = [](const std::string& name) {
    std::vector<fs::path> found;
    for (const CachedCopy& copy : QuantizedCopiesOf(name)) found.push_back(copy.folder);
    return found;
  };
  EXPECT_THAT(folders(model_), ElementsAre(mine));
  EXPECT_THAT(folders(model_ / "model.safetensors"), ElementsAre(mine));
  EXPECT_THAT(folders(other / ".." / "model"), ElementsAre(theirs));
  EXPECT_THAT(folders(theirs), ElementsAre(theirs));
  EXPECT_THAT(folders(theirs.filename()), ElementsAre(theirs));
  EXPECT_THAT(folders(kPebble), IsEmpty());
  EXPECT_THAT(ErrorOf(ErrorKind::kNotFound, [&] { folders("nosuch"); }), HasSubstr("nosuch"));
  ErrorOf(ErrorKind::kInvalidArgument, [&] { folders(""); });
  // As it was named, where it is no more.
  fs::remove_all(other);
  EXPECT_THAT(folders(other), ElementsAre(theirs));
}

TEST_F(CachedCopies, OfTheHubHaveItsNames) {
  const std::string commit(40, 'a'), later(40, 'b');
  const fs::path repository = hub_ / "models--lab--pebble";
  for (const std::string& name : {commit, later}) {
    fs::create_directories(repository / "snapshots");
    fs::copy(kPebble, repository / "snapshots" / name);
  }
  WriteFile(repository / "refs" / "main", later);
  const fs::path old = Make(repository / "snapshots" / commit, "int8");
  const fs::path current = Make(repository / "snapshots" / later, "int8");
  const auto models = [](const std::vector<CachedCopy>& copies) {
    std::vector<std::string> names;
    for (const CachedCopy& copy : copies) names.push_back(copy.model);
    return names;
  };
  const std::string with_commit = "lab/pebble@" + commit;
  EXPECT_THAT(models(QuantizedCopies()), ElementsAre("lab/pebble", with_commit));
  EXPECT_THAT(models(QuantizedCopiesOf("lab/pebble")), ElementsAre("lab/pebble", with_commit));
  EXPECT_THAT(models(QuantizedCopiesOf("lab/pebble@main")), ElementsAre("lab/pebble"));
  EXPECT_THAT(models(QuantizedCopiesOf(with_commit)), ElementsAre(with_commit));
  ErrorOf(ErrorKind::kNotFound, [] { QuantizedCopiesOf("lab/other"); });
  // A folder of that name counts before the hub.
  const fs::path before = fs::current_path();
  fs::current_path(folder_.path());
  fs::create_directories("lab");
  fs::copy(kPebble, "lab/pebble");
  EXPECT_THAT(QuantizedCopiesOf("lab/pebble"), IsEmpty());
  EXPECT_THAT(QuantizedCopiesOf("lab/pebble@main"), ::testing::SizeIs(1));
  fs::current_path(before);
  // Removed from the cache of the hub.
  fs::remove_all(repository);
  EXPECT_THAT(QuantizedCopiesOf("lab/pebble"), ::testing::SizeIs(2));
  EXPECT_THAT(States(), ElementsAre(State::kGone, State::kGone));
  RemoveQuantizedCopy(old);
  EXPECT_THAT(models(QuantizedCopiesOf("lab/pebble")), ElementsAre("lab/pebble@" + later));
}

TEST_F(CachedCopies, AreRemovedAndNothingElse) {
  const fs::path eight = Make(model_, "int8"), four = Make(model_, "int4");
  WriteFile(copies_ / "mine" / "file", "precious");
  WriteFile(copies_ / "mine.new" / "file", "precious");
  fs::create_directory_symlink(kPebble, copies_ / "pebble-0123456789abcdef-int8");
  const std::shared_ptr<Model> open = Model::Load(eight);
  const std::uint64_t bytes = QuantizedCopiesOf(eight)[0].bytes;
  EXPECT_EQ(RemoveQuantizedCopy(eight / ""), bytes);
  EXPECT_FALSE(fs::exists(eight));
  EXPECT_FALSE(HasQuantizedCopy(model_, "int8"));
  EXPECT_TRUE(HasQuantizedCopy(model_, "int4"));
  // Who has it open keeps it.
  open->Logits(std::vector<TokenId>{2, 3}, 0, [](std::int64_t, std::span<const float>) {});
  EXPECT_THAT(Held(),
              ElementsAre("mine", "mine.new", four.filename().string(),
                          four.filename().string() + ".lock", "pebble-0123456789abcdef-int8"));
  ErrorOf(ErrorKind::kNotFound, [&] { RemoveQuantizedCopy(eight); });
  for (const char* name : {"mine", "mine.new", "pebble-0123456789abcdef-int8", ".", ".."}) {
    EXPECT_THAT(ErrorOf(ErrorKind::kNotFound, [&] { RemoveQuantizedCopy(copies_ / name); }),
                HasSubstr("is no quantised copy"))
        << name;
  }
  for (const fs::path& path : {kPebble, copies_, copies_ / "mine" / "file", fs::path("x"),
                               fs::path(), eight / ".." / ".." / four.filename()}) {
    EXPECT_THAT(ErrorOf(ErrorKind::kInvalidArgument, [&] { RemoveQuantizedCopy(path); }),
                HasSubstr("is no folder of the cache"))
        << path;
  }
  EXPECT_TRUE(fs::exists(copies_ / "mine" / "file"));
  EXPECT_TRUE(fs::exists(kPebble / "config.json"));
}

TEST_F(CachedCopies, ThatAreBeingMadeAreLeftAlone) {
  const fs::path copy = Make(model_, "int8");
  const std::string name = copy.filename().string();
  // By this very process.
  const std::string making = "." + name + ".new.unfinished." + std::to_string(getpid()) + ".0";
  WriteFile(copies_ / making / "model.safetensors", "begun");
  EXPECT_EQ(QuantizedCopies().size(), 1u);
  ErrorOf(ErrorKind::kNotFound, [&] { RemoveQuantizedCopy(copies_ / making); });
  const auto lock = FileSystem::Real().Open(CopyLockPath(copy), OpenMode::kReadWrite);
  ASSERT_TRUE(lock->TryLock());
  EXPECT_THAT(ErrorOf(ErrorKind::kResource, [&] { RemoveQuantizedCopy(copy); }),
              HasSubstr("another process is making it"));
  // By a process whose number means nothing here; the lock does.
  const std::string elsewhere = "." + name + ".new.unfinished." + GoneProcess();
  WriteFile(copies_ / elsewhere / "model.safetensors", "begun");
  // A copy of another model sweeps, but not here.
  RemoveQuantizedCopy(Make(kPebble, "int8"));
  EXPECT_THAT(Held(), ::testing::UnorderedElementsAre(making, elsewhere, name, name + ".lock"));
}

TEST_F(CachedCopies, LeftoversGoWithTheNextThatIsMadeOrRemoved) {
  const std::string gone = GoneProcess();
  const std::string other = "other-0123456789abcdef-int4";
  const auto litter = [&] {
    for (const std::string& name :
         {"." + other + ".new.unfinished." + gone, ".mine.unfinished." + gone, other + ".new",
          std::string("third-0123456789abcdef-int8")}) {
      WriteFile(copies_ / name / "model.safetensors", std::string(100, 'x'));
    }
    // Of processes that live, or of none.
    WriteFile(copies_ / (".mine.unfinished." + std::to_string(getpid())) / "file", "x");
    WriteFile(copies_ / ".mine.unfinished.abc" / "file", "x");
  };
  const auto expect_swept = [&](const std::vector<std::string>& beside) {
    std::vector<std::string> expected = {".mine.unfinished." + std::to_string(getpid()),
                                         ".mine.unfinished.abc"};
    expected.insert(expected.end(), beside.begin(), beside.end());
    EXPECT_THAT(Held(), ::testing::UnorderedElementsAreArray(expected));
  };
  litter();
  const std::vector<CachedCopy> listed = QuantizedCopies();
  ASSERT_EQ(listed.size(), 4u);
  for (const CachedCopy& copy : listed) EXPECT_EQ(copy.state, State::kUnfinished) << copy.folder;
  EXPECT_EQ(listed[0].model, "");
  EXPECT_EQ(listed[1].model, "other");
  EXPECT_EQ(listed[1].to, "int4");
  const std::string copy = Make(model_, "int8").filename().string();
  expect_swept({copy, copy + ".lock"});
  litter();
  // One of them by name, and so the others.
  EXPECT_GT(RemoveQuantizedCopy(copies_ / (other + ".new")), 0u);
  expect_swept({copy, copy + ".lock"});
  // Of the very copy that is made: its lock says that nobody makes it, whatever the number.
  WriteFile(copies_ / ("." + copy + ".new.unfinished." + std::to_string(getppid())) / "file", "x");
  WriteFile(copies_ / (copy + ".new") / "file", "x");
  EXPECT_GT(RemoveQuantizedCopy(copies_ / copy), 0u);
  expect_swept({});
}

TEST_F(CachedCopies, WhatIsLeftOfOneGoesWithItsModelsName) {
  const std::string name = Make(model_, "int8").filename().string();
  WriteFile(copies_ / ("." + name + ".new.unfinished." + GoneProcess()) / "file", "x");
  const std::vector<CachedCopy> copies = QuantizedCopiesOf(model_);
  ASSERT_EQ(copies.size(), 2u);
  const CachedCopy& left = copies[copies[0].state == State::kUnfinished ? 0 : 1];
  EXPECT_EQ(left.state, State::kUnfinished);
  EXPECT_EQ(left.model, "model");
  // The copy itself stays.
  RemoveQuantizedCopy(left.folder);
  EXPECT_THAT(Held(), ElementsAre(name, name + ".lock"));
  EXPECT_TRUE(HasQuantizedCopy(model_, "int8"));
}

}  // namespace
}  // namespace culet
