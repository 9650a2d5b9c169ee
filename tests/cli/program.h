// The command as a program of its own, in a folder of its own.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace culet {

// An empty folder that goes away again.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  void Write(const std::string& name, const std::string& content) const;
  std::string Read(const std::string& name) const;
  std::vector<std::string> Names() const;  // sorted

 private:
  std::filesystem::path path_;
};

struct Finished {
  int exit_code = -1;  // 128 + signal where one ended it
  std::string out;
  std::string error;
};

// Runs a bash line in `folder` with the command in PATH, HOME in the folder, and the variables
// SOURCE (of the source tree) and GOLDEN. `input` goes to its standard input.
Finished RunShell(const std::filesystem::path& folder, const std::string& line,
                  const std::string& input = "");

// False where the system has no pseudo-terminals to give (a chroot without /dev/pts).
bool HasTerminals();

// The command on a terminal: what a person sees and types. The process is killed at the end.
class TerminalProgram {
 public:
  TerminalProgram(const std::filesystem::path& folder, const std::vector<std::string>& arguments);
  ~TerminalProgram();
  TerminalProgram(const TerminalProgram&) = delete;
  TerminalProgram& operator=(const TerminalProgram&) = delete;

  void Type(const std::string& text);
  // Waits until `text` shows up behind what was waited for before; false after 60 s or at the end.
  bool WaitFor(const std::string& text);
  // Waits for `prompt` and until keys reach the editor: libedit shows its prompt a moment before.
  bool WaitForEditor(const std::string& prompt);
  // Waits for the end; the exit code.
  int WaitForEnd();
  // All that was shown.
  const std::string& shown() const { return shown_; }

 private:
  bool ReadMore(int milliseconds);

  int terminal_ = -1;
  int process_ = -1;
  std::string shown_;
  std::size_t waited_ = 0;
};

}  // namespace culet
