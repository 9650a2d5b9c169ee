// If this fails, a server that lies or refuses is believed, not waited for, or not understood, or
// the access token goes to somebody else.
#include "pull_fixture.h"

namespace culet::hub {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Kind = TransportError::Kind;

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

TEST_F(PullTest, AListWithoutSizesAndHashesIsFilledUpFromTheFilesOwnHeaders) {
  hub_.bare_list = true;
  for (const char* store : {"", "https://store.example"}) {
    fs::remove_all(settings_.cache);
    hub_.store = store;
    ExpectWhole(Run());
  }
  hub_.fault = [](const HttpRequest& request, Reply* reply) {
    if (request.method == "HEAD") reply->headers["x-linked-etag"] = "\"../../x\"";
  };
  fs::remove_all(settings_.cache);
  EXPECT_THAT(Failure(ErrorKind::kCorrupt), HasSubstr("hexadecimal digits"));
  EXPECT_FALSE(fs::exists(Folder()));
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

}  // namespace
}  // namespace culet::hub
