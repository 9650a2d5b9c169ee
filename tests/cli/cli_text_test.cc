// Fails where the command, run as the .test files beside this say, does not print or exit as they
// say.
//
//   == name                   a case; it runs in an empty folder of its own
//   $ line                    bash, several lines make one script (see RunShell for the variables)
//   exit 2                    the exit code; 0 where not given
//   out text                  standard output holds this
//   out= text                 standard output is exactly these lines
//   err text                  standard error holds this
//   file name                 left behind in the folder
//
// Whatever ends with an exit code of 1 to 7 must have written nothing to standard output, one line
// that begins with "culet: " to standard error, and left no file behind but those named.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "cli/program.h"

namespace culet {
namespace {

struct Case {
  std::string file, name, script;
  int exit_code = 0;
  std::vector<std::string> out, out_lines, error, files;
};

std::vector<Case> ReadCases(const std::filesystem::path& path) {
  std::vector<Case> cases;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    const auto rest = [&](const std::string& key) -> const char* {
      return line.compare(0, key.size(), key) == 0 ? line.c_str() + key.size() : nullptr;
    };
    if (line.empty() || line[0] == '#') continue;
    if (const char* name = rest("== ")) {
      cases.push_back({path.filename(), name, "", 0, {}, {}, {}, {}});
      continue;
    }
    if (cases.empty()) throw std::runtime_error(path.string() + ": a line before the first case");
    Case& test = cases.back();
    const char* found = nullptr;
    if ((found = rest("$ "))) {
      test.script += std::string(found) + "\n";
    } else if ((found = rest("exit "))) {
      test.exit_code = std::stoi(found);
    } else if ((found = rest("out= "))) {
      test.out_lines.push_back(found);
    } else if ((found = rest("out "))) {
      test.out.push_back(found);
    } else if ((found = rest("err "))) {
      test.error.push_back(found);
    } else if ((found = rest("file "))) {
      test.files.push_back(found);
    } else {
      throw std::runtime_error(path.string() + ": \"" + line + "\" is no line of a case");
    }
  }
  return cases;
}

std::vector<Case> AllCases() {
  std::vector<Case> all;
  const std::filesystem::path folder = std::filesystem::path(CULET_SOURCE_DIR) / "tests/cli";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".test") continue;
    const std::vector<Case> cases = ReadCases(entry.path());
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

class CommandLine : public testing::TestWithParam<Case> {};

TEST_P(CommandLine, DoesAsTheFileSays) {
  const Case& test = GetParam();
  const TemporaryFolder folder;
  const Finished finished = RunShell(folder.path(), test.script);
  SCOPED_TRACE(test.file + ": " + test.name + "\n" + test.script + "standard output:\n" +
               finished.out.substr(0, 2000) + "\nstandard error:\n" +
               finished.error.substr(0, 2000));
  EXPECT_EQ(finished.exit_code, test.exit_code);
  for (const std::string& text : test.out) {
    EXPECT_NE(finished.out.find(text), std::string::npos) << text;
  }
  for (const std::string& text : test.error) {
    EXPECT_NE(finished.error.find(text), std::string::npos) << text;
  }
  if (!test.out_lines.empty()) {
    std::string lines;
    for (const std::string& line : test.out_lines) lines += line + "\n";
    EXPECT_EQ(finished.out, lines);
  }
  if (test.exit_code >= 1 && test.exit_code <= 7) {
    if (test.out.empty() && test.out_lines.empty()) {
      EXPECT_EQ(finished.out, "");
    }
    EXPECT_EQ(finished.error.rfind("culet: ", 0), 0u) << "no message";
    EXPECT_EQ(std::count(finished.error.begin(), finished.error.end(), '\n'), 1) << "not one line";
  }
  EXPECT_EQ(folder.Names(), test.files);
}

INSTANTIATE_TEST_SUITE_P(Files, CommandLine, testing::ValuesIn(AllCases()),
                         [](const testing::TestParamInfo<Case>& test) {
                           std::string name;
                           bool upper = true;
                           for (const char letter : test.param.name) {
                             const bool word =
                                 std::isalnum(static_cast<unsigned char>(letter)) != 0;
                             if (word)
                               name += upper ? static_cast<char>(std::toupper(letter)) : letter;
                             upper = !word;
                           }
                           return name + "_" + std::to_string(test.index);
                         });

}  // namespace
}  // namespace culet
