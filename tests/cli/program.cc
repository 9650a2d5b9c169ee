#include "cli/program.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace culet {
namespace {

namespace fs = std::filesystem;

int ExitCode(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// In the child, before exec.
void PrepareChild(const fs::path& folder) {
  const fs::path program = CULET_PROGRAM;
  const fs::path source = CULET_SOURCE_DIR;
  const char* path = std::getenv("PATH");
  ::setenv("PATH", (program.parent_path().string() + ":" + (path != nullptr ? path : "")).c_str(),
           1);
  ::setenv("HOME", folder.c_str(), 1);
  ::setenv("SOURCE", source.c_str(), 1);
  ::setenv("GOLDEN", (source / "tests/golden/text").c_str(), 1);
  ::setenv("CULET_MODELS", (source / "models").c_str(), 1);
  ::unsetenv("XDG_STATE_HOME");
  // The cache of whoever runs the tests is not theirs, and the network is not needed.
  ::setenv("HF_HOME", (folder / ".huggingface").c_str(), 1);
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN",
                           "CULET_CACHE", "XDG_CACHE_HOME"}) {
    ::unsetenv(name);
  }
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  ::setenv("TERM", "xterm", 1);
  ::setenv("LC_ALL", "C.UTF-8", 1);
  if (::chdir(folder.c_str()) != 0) ::_exit(126);
}

struct Pipe {
  Pipe() {
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  }
  ~Pipe() {
    Close(0);
    Close(1);
  }
  void Close(int end) {
    if (ends[end] >= 0) ::close(ends[end]);
    ends[end] = -1;
  }
  int ends[2];
};

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "culet-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void TemporaryFolder::Write(const std::string& name, const std::string& content) const {
  std::ofstream(path_ / name, std::ios::binary) << content;
}

std::string TemporaryFolder::Read(const std::string& name) const {
  std::ostringstream text;
  text << std::ifstream(path_ / name, std::ios::binary).rdbuf();
  return text.str();
}

std::vector<std::string> TemporaryFolder::Names() const {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path_)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

Finished RunShell(const fs::path& folder, const std::string& line, const std::string& input) {
  Pipe in, out, error;
  const pid_t process = ::fork();
  if (process < 0) throw std::runtime_error("fork failed");
  if (process == 0) {
    ::dup2(in.ends[0], 0);
    ::dup2(out.ends[1], 1);
    ::dup2(error.ends[1], 2);
    PrepareChild(folder);
    ::execlp("bash", "bash", "-o", "pipefail", "-c", line.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  in.Close(0);
  out.Close(1);
  error.Close(1);
  ::signal(SIGPIPE, SIG_IGN);
  ::fcntl(in.ends[1], F_SETFL, O_NONBLOCK);
  Finished finished;
  std::size_t written = 0;
  if (input.empty()) in.Close(1);
  while (out.ends[0] >= 0 || error.ends[0] >= 0) {
    pollfd waits[3] = {
        {out.ends[0], POLLIN, 0}, {error.ends[0], POLLIN, 0}, {in.ends[1], POLLOUT, 0}};
    if (::poll(waits, 3, -1) < 0 && errno != EINTR) break;
    const auto read_some = [](Pipe* pipe, const pollfd& wait, std::string* text) {
      if (pipe->ends[0] < 0 || wait.revents == 0) return;
      char buffer[65536];
      const ssize_t count = ::read(pipe->ends[0], buffer, sizeof buffer);
      if (count > 0) {
        text->append(buffer, static_cast<std::size_t>(count));
      } else {
        pipe->Close(0);
      }
    };
    read_some(&out, waits[0], &finished.out);
    read_some(&error, waits[1], &finished.error);
    if (in.ends[1] >= 0 && waits[2].revents != 0) {
      const ssize_t count = ::write(in.ends[1], input.data() + written, input.size() - written);
      if (count > 0) written += static_cast<std::size_t>(count);
      if ((count < 0 && errno != EAGAIN) || written == input.size()) in.Close(1);
    }
  }
  int status = 0;
  ::waitpid(process, &status, 0);
  finished.exit_code = ExitCode(status);
  return finished;
}

bool HasTerminals() {
  int terminal = -1;
  int other = -1;
  if (::openpty(&terminal, &other, nullptr, nullptr, nullptr) != 0) return false;
  ::close(terminal);
  ::close(other);
  return true;
}

TerminalProgram::TerminalProgram(const fs::path& folder,
                                 const std::vector<std::string>& arguments) {
  winsize size = {};
  size.ws_row = 24;
  size.ws_col = 200;
  process_ = ::forkpty(&terminal_, nullptr, nullptr, &size);
  if (process_ < 0) throw std::runtime_error("forkpty failed");
  if (process_ == 0) {
    PrepareChild(folder);
    std::vector<char*> words = {const_cast<char*>("culet")};
    for (const std::string& argument : arguments)
      words.push_back(const_cast<char*>(argument.c_str()));
    words.push_back(nullptr);
    ::execv(CULET_PROGRAM, words.data());
    ::_exit(127);
  }
}

TerminalProgram::~TerminalProgram() {
  if (process_ > 0) {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  ::close(terminal_);
}

void TerminalProgram::Type(const std::string& text) {
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = ::write(terminal_, text.data() + written, text.size() - written);
    if (count <= 0) throw std::runtime_error("the terminal takes no input");
    written += static_cast<std::size_t>(count);
  }
}

bool TerminalProgram::ReadMore(int milliseconds) {
  pollfd wait = {terminal_, POLLIN, 0};
  if (::poll(&wait, 1, milliseconds) <= 0) return false;
  char buffer[4096];
  const ssize_t count = ::read(terminal_, buffer, sizeof buffer);  // EIO at the end
  if (count <= 0) return false;
  shown_.append(buffer, static_cast<std::size_t>(count));
  return true;
}

bool TerminalProgram::WaitFor(const std::string& text) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (;;) {
    const std::size_t found = shown_.find(text, waited_);
    if (found != std::string::npos) {
      waited_ = found + text.size();
      return true;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !ReadMore(static_cast<int>(left.count()))) return false;
  }
}

bool TerminalProgram::WaitForEditor(const std::string& prompt) {
  if (!WaitFor(prompt)) return false;
  for (int attempt = 0; attempt < 3000; ++attempt) {
    termios mode = {};
    if (::tcgetattr(terminal_, &mode) == 0 && (mode.c_lflag & ICANON) == 0) return true;
    ::usleep(10000);
  }
  return false;
}

int TerminalProgram::WaitForEnd() {
  while (ReadMore(60000)) {
  }
  int status = 0;
  ::waitpid(process_, &status, 0);
  process_ = -1;
  return ExitCode(status);
}

}  // namespace culet
