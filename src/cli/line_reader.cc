#include "cli/line_reader.h"

#include <histedit.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cwchar>

#include "cli/interrupt.h"
#include "cli/output.h"

namespace culet::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kHistoryLines = 1000;

// $XDG_STATE_HOME/culet/history; empty where there is no home, or the folder cannot be made: then
// nothing is remembered.
fs::path HistoryPath() {
  fs::path folder;
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  if (state != nullptr && state[0] == '/') {
    folder = state;
  } else if (home != nullptr && home[0] == '/') {
    folder = fs::path(home) / ".local" / "state";
  } else {
    return {};
  }
  folder /= "culet";
  std::error_code error;
  fs::create_directories(folder, error);
  return error ? fs::path() : folder / "history";
}

// Characters for libedit. Its own reader goes on after a signal; this one gives up at Ctrl-C.
int ReadCharacter(EditLine*, wchar_t* character) {
  std::mbstate_t state = {};
  for (;;) {
    if (!InterruptGuard::WaitForInput()) {
      errno = EINTR;
      return -1;
    }
    char byte = 0;
    const ssize_t count = ::read(STDIN_FILENO, &byte, 1);
    if (count == 0) return 0;
    if (count < 0) {
      if (errno == EINTR) continue;
      return -1;
    }
    const std::size_t bytes = std::mbrtowc(character, &byte, 1, &state);
    if (bytes == static_cast<std::size_t>(-2)) continue;  // the character goes on
    if (bytes == static_cast<std::size_t>(-1)) {
      state = {};
      continue;  // no character: dropped
    }
    return 1;
  }
}

}  // namespace

struct LineReader::Terminal {
  Terminal();
  ~Terminal();

  std::string prompt;
  EditLine* edit = nullptr;
  History* history = nullptr;
  fs::path history_path = HistoryPath();
};

namespace {

char* CurrentPrompt(EditLine* edit) {
  void* data = nullptr;
  el_get(edit, EL_CLIENTDATA, &data);
  return static_cast<std::string*>(data)->data();
}

}  // namespace

LineReader::Terminal::Terminal() {
  // Only characters: numbers keep their decimal point. A plain "C" locale could not edit UTF-8.
  const char* locale = std::setlocale(LC_CTYPE, "");
  if (locale == nullptr || MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  edit = el_init("culet", stdin, stdout, stderr);
  history = history_init();
  HistEvent event;
  ::history(history, &event, H_SETSIZE, kHistoryLines);
  ::history(history, &event, H_SETUNIQUE, 1);
  if (!history_path.empty()) ::history(history, &event, H_LOAD, history_path.c_str());
  el_set(edit, EL_CLIENTDATA, &prompt);
  el_set(edit, EL_PROMPT, CurrentPrompt);
  el_set(edit, EL_EDITOR, "emacs");
  el_set(edit, EL_HIST, ::history, history);
  el_set(edit, EL_GETCFN, ReadCharacter);
  el_set(edit, EL_BIND, "^R", "em-inc-search-prev", nullptr);
}

LineReader::Terminal::~Terminal() {
  HistEvent event;
  if (!history_path.empty()) ::history(history, &event, H_SAVE, history_path.c_str());
  history_end(history);
  el_end(edit);
}

LineReader::LineReader() {
  if (StandardInputIsTerminal() && Output::Standard().is_terminal()) {
    terminal_ = std::make_unique<Terminal>();
  }
}

LineReader::~LineReader() = default;

LineReader::Outcome LineReader::Read(const std::string& prompt, std::string* line) {
  Output::Standard().Flush();
  if (terminal_ == nullptr) {
    std::string_view text;
    if (!input_.Next(&text, [] {})) return Outcome::kEnd;
    *line = text;
    return Outcome::kLine;
  }
  terminal_->prompt = prompt;
  int count = 0;
  const char* text = el_gets(terminal_->edit, &count);
  std::fflush(stdout);
  if (InterruptGuard::Pending()) {
    InterruptGuard::Take();
    Output::Standard().Write("\n");
    el_set(terminal_->edit, EL_RESIZE);  // forgets the line
    return Outcome::kInterrupted;
  }
  if (text == nullptr || count <= 0) {
    Output::Standard().Write("\n");
    return Outcome::kEnd;
  }
  *line = std::string(text, static_cast<std::size_t>(count));
  if (!line->empty() && line->back() == '\n') line->pop_back();
  if (!line->empty()) {
    HistEvent event;
    history(terminal_->history, &event, H_ENTER, line->c_str());
    // Saved at once: a crash later shall not cost it.
    if (!terminal_->history_path.empty()) {
      history(terminal_->history, &event, H_SAVE, terminal_->history_path.c_str());
    }
  }
  return Outcome::kLine;
}

}  // namespace culet::cli
