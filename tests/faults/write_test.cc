// If this fails, a write that the system refused leaves a half file, loses the old one, leaves
// something behind, or comes out as something else than a culet::Error.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "api/boundary.h"
#include "base/file.h"
#include "checkpoint/synth.h"
#include "checkpoint/tiny_model.h"
#include "cli/npy_file.h"
#include "faults/faults.h"

namespace culet {
namespace {

namespace fs = std::filesystem;
using culet::testing::TemporaryFolder;
using faults::Call;

constexpr Call kFailures[] = {Call::kCreate, Call::kWrite,  Call::kSync,
                              Call::kClose,  Call::kRename, Call::kNew};

// Every file below `folder` with its content.
std::map<std::string, std::string> Contents(const fs::path& folder) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = fs::relative(entry.path(), folder).string();
    contents[name] =
        entry.is_regular_file() ? FileSystem::Real().ReadFile(entry.path(), 1 << 24) : "(folder)";
  }
  return contents;
}

// As the public interface lets errors out.
bool Succeeds(const std::function<void()>& body) {
  try {
    try {
      body();
    } catch (...) {
      RethrowAsError();
    }
  } catch (const Error&) {
    faults::Disarm();
    return false;
  } catch (const std::exception& error) {
    faults::Disarm();
    ADD_FAILURE() << "not a culet::Error: " << error.what();
    return false;
  }
  return true;
}

// `write` writes below `folder`. With each call of each kind failing once, the folder is as before,
// or, where the fault did no harm, as after a write without any; nothing else is ever held. Of many
// calls the `first` fail one by one and then samples of the rest.
void FailEach(const fs::path& folder, const std::function<void()>& reset,
              const std::function<void()>& write, std::uint64_t first = 600) {
  reset();
  const std::map<std::string, std::string> before = Contents(folder);
  write();
  const std::map<std::string, std::string> after = Contents(folder);
  ASSERT_NE(before, after);
  reset();
  ASSERT_EQ(Contents(folder), before);
  ReserveErrors();
  for (const Call call : kFailures) {
    faults::Arm(call, UINT64_MAX);
    write();
    const std::uint64_t total = faults::Disarm();
    ASSERT_GT(total, 0u) << faults::CallName(call) << " was never made";
    for (const std::uint64_t n : faults::Numbers(total, first, first / 10)) {
      reset();
      const faults::Held held = faults::HeldNow();
      faults::Arm(call, n);
      const bool succeeded = Succeeds(write);
      faults::Disarm();
      const faults::Held now = faults::HeldNow();
      ASSERT_EQ(faults::ToText(now), faults::ToText(held))
          << faults::CallName(call) << " number " << n;
      // An allocation may be of something that is not needed, a file may have been closed that was
      // read.
      ASSERT_TRUE(!succeeded || call == Call::kNew || call == Call::kClose)
          << faults::CallName(call) << " number " << n;
      ASSERT_EQ(Contents(folder), succeeded ? after : before)
          << faults::CallName(call) << " number " << n;
    }
  }
  for (const Call call : {Call::kWriteSome, Call::kInterrupt}) {
    faults::Arm(call, UINT64_MAX);
    reset();
    write();
    for (const std::uint64_t n : faults::Numbers(faults::Disarm(), 50, 0)) {
      reset();
      faults::Arm(call, n);
      ASSERT_TRUE(Succeeds(write)) << faults::CallName(call) << " number " << n;
      faults::Disarm();
      ASSERT_EQ(Contents(folder), after) << faults::CallName(call) << " number " << n;
    }
  }
}

TEST(WriteFaults, AnAtomicFileIsTheOldOneOrTheNewOne) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  FailEach(
      folder.path(), [&] { culet::testing::WriteText(path, "old"); },
      [&] {
        AtomicFile file(path);
        file.Write(std::string_view("new "));
        file.Write(std::string_view("content"));
        file.Commit();
      });
}

TEST(WriteFaults, AMatrixOfLogitsIsWholeOrNotThere) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "logits.npy";
  const float row[] = {1, 2, 3};
  FailEach(
      folder.path(), [&] { fs::remove(path); },
      [&] {
        cli::NpyFile file(path, 2, 3);
        file.Write(row);
        file.Write(row);
        file.Commit();
      });
}

TEST(WriteFaults, ASynthesizedModelIsWholeOrNotThere) {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model";
  const OrderedJson config = OrderedJson::parse(culet::testing::TinyTextConfig().dump());
  SynthOptions options;
  options.shard_bytes = 8000;  // several shards and an index
  options.tokenizer_file = fs::path(CULET_SOURCE_DIR) / "tests/text/data/tokenizer_bare.json";
  FailEach(
      folder.path(), [&] { fs::remove_all(model); },
      [&] {
        fs::remove_all(model);
        SynthesizeConfig(config, OrderedJson::object(), model, options);
      },
      40);
}

}  // namespace
}  // namespace culet
