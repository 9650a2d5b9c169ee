// If this fails, a name leads to another model, or out of the cache; or a variable of the
// environment means something else than to the hub's own client.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "base/error.h"
#include "fake_hub.h"
#include "hub/hash.h"
#include "hub/reference.h"
#include "hub/settings.h"
#include "hub/url.h"

namespace culet::hub {
namespace {

using testing::HasSubstr;

std::string Parsed(const std::string& name) {
  std::string why;
  const auto reference = ParseReference(name, &why);
  EXPECT_EQ(reference.has_value(), why.empty());
  return reference ? reference->Text() : "";
}

TEST(Reference, ShortNamesMeanPublishedModels) {
  EXPECT_EQ(Parsed("e2b"), "google/gemma-4-E2B-it");
  EXPECT_EQ(Parsed("E4B"), "google/gemma-4-E4B-it");
  EXPECT_EQ(Parsed("12b-base"), "google/gemma-4-12B");
  EXPECT_EQ(Parsed("26b"), "google/gemma-4-26B-A4B-it");
  EXPECT_EQ(Parsed("26b-a4b-base@v1"), "google/gemma-4-26B-A4B@v1");
  EXPECT_EQ(Parsed("gemma-4-31B-it"), "google/gemma-4-31B-it");
  EXPECT_EQ(Parsed("gemma-4-31b"), "google/gemma-4-31B");
  EXPECT_EQ(ShortNames().size(), 10u);
}

TEST(Reference, IdsOfTheHubAreTakenAsTheyStand) {
  EXPECT_EQ(Parsed("owner/name"), "owner/name");
  EXPECT_EQ(Parsed("o_w.n-er/Na.me_1@refs/pr/3"), "o_w.n-er/Na.me_1@refs/pr/3");
  EXPECT_EQ(Parsed("owner/name@main"), "owner/name");
}

TEST(Reference, WhatCouldLeadOutOfTheCacheIsNoId) {
  for (const char* name :
       {"",       "name",   "a/b/c",  "../x",   "a/..", "./a",       "/a",   "a/",
        "a/b..c", "a--b/c", "a/b--c", "a/-b",   "a/b-", "a/.b",      "a/b.", "a/b.git",
        "a b/c",  "a/b\n",  "a/b%2e", "a\\b/c", "~/x",  "a/\xc3\xa9"}) {
    EXPECT_EQ(Parsed(name), "") << name;
  }
  EXPECT_EQ(Parsed("a/" + std::string(97, 'b')), "");
  EXPECT_EQ(Parsed("a/" + std::string(96, 'b')), "a/" + std::string(96, 'b'));
}

TEST(Reference, RevisionsAreNamesOfGit) {
  for (const char* revision :
       {"",    "..",  "a/../b", "/a",  "a/",   "a//b", ".a", "a/.b",   "-x",       "a b", "a\tb",
        "a:b", "a?b", "a*",     "a[b", "a\\b", "a~1",  "a^", "x.lock", "a/x.lock", "a@b"}) {
    EXPECT_NE(ProblemOfRevision(revision), "") << revision;
    EXPECT_EQ(Parsed("owner/name@" + std::string(revision)), "") << revision;
  }
  EXPECT_EQ(ProblemOfRevision("v1.0-rc_2"), "");
  EXPECT_TRUE(IsCommit(std::string(40, 'a')));
  EXPECT_FALSE(IsCommit(std::string(39, 'a')));
  EXPECT_FALSE(IsCommit(std::string(40, 'A')));
}

Settings Read(const std::map<std::string, std::string>& variables) {
  return ReadSettings(
      [&](const std::string& name) -> std::optional<std::string> {
        const auto found = variables.find(name);
        if (found == variables.end()) return std::nullopt;
        return found->second;
      },
      FileSystem::Real());
}

TEST(Environment, TheCacheLiesWhereTheHubsOwnClientHasIt) {
  EXPECT_EQ(Read({{"HOME", "/h"}}).cache, "/h/.cache/huggingface/hub");
  EXPECT_EQ(Read({{"HOME", "/h"}, {"XDG_CACHE_HOME", "/x"}}).cache, "/x/huggingface/hub");
  EXPECT_EQ(Read({{"HOME", "/h"}, {"HF_HOME", "~/hf"}}).cache, "/h/hf/hub");
  EXPECT_EQ(Read({{"HOME", "/h"}, {"HF_HOME", "${HOME}/a/$HOME"}}).cache, "/h/a//h/hub");
  EXPECT_EQ(Read({{"HF_HOME", "/a"}, {"HUGGINGFACE_HUB_CACHE", "/b"}}).cache, "/b");
  EXPECT_EQ(Read({{"HUGGINGFACE_HUB_CACHE", "/b"}, {"HF_HUB_CACHE", "/c"}}).cache, "/c");
  EXPECT_EQ(Read({{"HF_HOME", "/a/$NO_SUCH"}}).cache, "/a/$NO_SUCH/hub");
}

TEST(Environment, EndpointAndOffline) {
  EXPECT_EQ(Read({}).endpoint, "https://huggingface.co");
  EXPECT_EQ(Read({{"HF_ENDPOINT", "http://127.0.0.1:8000//"}}).endpoint, "http://127.0.0.1:8000");
  for (const char* wrong : {"huggingface", "ftp://x", "file:///etc", "https://user:secret@x"}) {
    EXPECT_THROW(Read({{"HF_ENDPOINT", wrong}}), Error) << wrong;
  }
  for (const char* yes : {"1", "on", "YES", "True"}) {
    EXPECT_TRUE(Read({{"HF_HUB_OFFLINE", yes}}).offline) << yes;
  }
  EXPECT_FALSE(Read({{"HF_HUB_OFFLINE", "0"}}).offline);
  EXPECT_TRUE(Read({{"TRANSFORMERS_OFFLINE", "1"}}).offline);
  EXPECT_THROW(Read({{"HF_HUB_DOWNLOAD_TIMEOUT", "soon"}}), Error);
}

TEST(Environment, TheTokenComesFromVariableOrFileAndIsCleaned) {
  const TemporaryFolder folder;
  const std::string home = folder.path().string();
  EXPECT_EQ(Read({{"HF_HOME", home}}).token, "");
  std::ofstream(folder.path() / "token") << " hf_file\n";
  EXPECT_EQ(Read({{"HF_HOME", home}}).token, "hf_file");
  EXPECT_EQ(Read({{"HF_HOME", home}, {"HF_TOKEN", "hf_own\r\n"}}).token, "hf_own");
  EXPECT_EQ(Read({{"HF_HOME", home}, {"HUGGING_FACE_HUB_TOKEN", "hf_old"}}).token, "hf_old");
  EXPECT_EQ(
      Read({{"HF_HOME", home}, {"HF_TOKEN", "x"}, {"HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"}}).token,
      "");
  try {
    Read({{"HF_TOKEN", "sec ret"}});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("HF_TOKEN"));
    EXPECT_THAT(error.what(), testing::Not(HasSubstr("sec")));
  }
}

TEST(Address, OriginIsSchemeHostAndPort) {
  const Url home = *Url::Parse("https://Hub.example/base");
  EXPECT_TRUE(home.SameOrigin(*Url::Parse("https://hub.example:443/x")));
  for (const char* other : {"http://hub.example/", "https://hub.example:8443/",
                            "https://hub.example.evil/", "https://evil/hub.example"}) {
    EXPECT_FALSE(home.SameOrigin(*Url::Parse(other))) << other;
  }
  EXPECT_EQ(home.Resolve("/other")->text(), "https://Hub.example/other");
  EXPECT_EQ(home.Resolve("https://cdn.example/y?z=1")->ForMessages(), "https://cdn.example/y");
  for (const char* wrong : {"file:///etc/passwd", "ftp://x/", "javascript:1", "https://a:b@c/",
                            "https://x/\r\nInjected: 1", "https://a b/"}) {
    EXPECT_FALSE(home.Resolve(wrong)) << wrong;
  }
  EXPECT_EQ(Quote("refs/pr/1"), "refs%2Fpr%2F1");
}

TEST(Hash, AgreesWithGitAndSha256sum) {
  EXPECT_EQ(HashText(HashKind::kGitBlob, "hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
  EXPECT_EQ(HashText(HashKind::kGitBlob, ""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  EXPECT_EQ(HashText(HashKind::kSha256, "abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace culet::hub
