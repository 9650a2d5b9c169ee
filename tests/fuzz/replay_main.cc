// Runs a target over the files of a folder, for compilers without libFuzzer.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "fuzz/fuzz.h"

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  try {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(argv[1])) paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    // An empty folder would show nothing.
    if (paths.empty()) {
      std::fprintf(stderr, "%s: has no files\n", argv[1]);
      return 1;
    }
    for (const fs::path& path : paths) {
      // Before it runs: a crash says nothing of where it happened.
      std::printf("%s\n", path.c_str());
      std::fflush(stdout);
      const std::string input = culet::FileSystem::Real().ReadFile(path, 64 << 20);
      culet::fuzz::FuzzOne(input);
    }
    culet::fuzz::FuzzOne({});
  } catch (const std::exception& error) {
    std::printf("this must not come out: %s\n", error.what());
    return 1;
  }
  return 0;
}
