// Encodes and decodes JSON lines, for tokenizer_compare.py, and measures speed.
//
//   text_tokenize_tool TOKENIZER_JSON MODE
//     --jsonl           each line of standard input a JSON string; out: an array of ids
//     --data-jsonl      the same with control tokens off
//     --bytes-jsonl     each line an array of bytes (0 … 255), which need not be UTF-8; out: ids
//     --segments-jsonl  each line an array of [text, control]; out: ids
//     --decode-jsonl    each line an array of ids; out: a JSON string
//     --stream-jsonl    the same, token by token
//     --time            reads standard input whole and prints the CPU time of loading and encoding
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <exception>
#include <functional>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace culet {
namespace {

std::string Bytes(const Json& numbers) {
  std::string bytes;
  for (const Json& number : numbers) {
    bytes.push_back(static_cast<char>(static_cast<unsigned char>(number.get<int>())));
  }
  return bytes;
}

std::vector<PromptSegment> Segments(const Json& pieces) {
  std::vector<PromptSegment> segments;
  for (const Json& piece : pieces) {
    segments.push_back({piece.at(0).get<std::string>(), piece.at(1).get<bool>()});
  }
  return segments;
}

std::string Stream(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  Detokenizer detokenizer(tokenizer);
  std::string text;
  for (const TokenId id : ids) text += detokenizer.Push(id);
  return text + detokenizer.Finish();
}

Json Answer(const Tokenizer& tokenizer, const std::string& mode, const Json& line) {
  if (mode == "--jsonl") return tokenizer.Encode(line.get<std::string>());
  if (mode == "--data-jsonl") return tokenizer.EncodeData(line.get<std::string>());
  if (mode == "--bytes-jsonl") return tokenizer.Encode(Bytes(line));
  if (mode == "--segments-jsonl") return tokenizer.Encode(Segments(line));
  if (mode == "--decode-jsonl") return tokenizer.Decode(line.get<std::vector<TokenId>>());
  if (mode == "--stream-jsonl") return Stream(tokenizer, line.get<std::vector<TokenId>>());
  throw Error(ErrorKind::kInvalidArgument, "unknown mode " + mode);
}

// Of this process's CPU time, so that a busy machine does not count.
double Seconds(const std::function<void()>& body) {
  const std::clock_t start = std::clock();
  body();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

void Time(const std::string& path, const std::string& text) {
  std::vector<TokenId> ids;
  double load = 1e9;
  for (int i = 0; i < 3; ++i) {
    load = std::min(load, Seconds([&] { Tokenizer::Load(FileSystem::Real(), path); }));
  }
  const Tokenizer tokenizer = Tokenizer::Load(FileSystem::Real(), path);
  double encode = 1e9;
  double decode = 1e9;
  for (int i = 0; i < 3; ++i) {
    encode = std::min(encode, Seconds([&] { ids = tokenizer.Encode(text); }));
    decode = std::min(decode, Seconds([&] { (void)tokenizer.Decode(ids); }));
  }
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  std::printf("load_s=%.3f bytes=%zu tokens=%zu encode_mb_s=%.1f decode_mb_s=%.1f memory_mb=%.1f\n",
              load, text.size(), ids.size(), megabytes / encode, megabytes / decode,
              static_cast<double>(tokenizer.memory_bytes()) / 1e6);
}

int Run(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: text_tokenize_tool TOKENIZER_JSON MODE\n");
    return 2;
  }
  const std::string path = argv[1];
  const std::string mode = argv[2];
  std::ios::sync_with_stdio(false);
  if (mode == "--time") {
    Time(path, std::string(std::istreambuf_iterator<char>(std::cin), {}));
    return 0;
  }
  const Tokenizer tokenizer = Tokenizer::Load(FileSystem::Real(), path);
  std::string line;
  while (std::getline(std::cin, line)) {
    std::cout << Answer(tokenizer, mode, ParseJson(line, "standard input")).dump() << '\n';
  }
  return std::cout.flush() ? 0 : 1;
}

}  // namespace
}  // namespace culet

int main(int argc, char** argv) {
  try {
    return culet::Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "text_tokenize_tool: %s\n", error.what());
    return 1;
  }
}
