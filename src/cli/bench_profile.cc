#include "cli/bench_profile.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/file.h"

namespace culet::cli {
namespace {

// Ops below this share of the run stand together in one line, and have no bar.
constexpr double kLeastShare = 0.001;

std::string NameOf(const OpTime& op) { return op.what.empty() ? op.op : op.op + " " + op.what; }

std::string TitleOf(const ProfileResult& profile) {
  if (profile.kind == "prefill") return fmt::format("prefill of {} tokens", profile.tokens);
  return fmt::format("{} decoded tokens after {}", profile.tokens, profile.context);
}

// The ops that have a line, and the sum of the others.
std::vector<OpTime> Lines(const ProfileResult& profile) {
  std::vector<OpTime> lines;
  OpTime small;
  for (const OpTime& op : profile.ops) {
    if (op.ms >= kLeastShare * profile.ms) {
      lines.push_back(op);
    } else {
      small.calls += op.calls;
      small.ms += op.ms;
    }
  }
  small.op = "smaller ops";
  if (small.calls > 0) lines.push_back(small);
  OpTime rest;
  rest.op = "between ops";
  rest.ms = profile.RestMs();
  lines.push_back(rest);
  return lines;
}

std::string Escaped(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

}  // namespace

double ProfileResult::RestMs() const {
  double rest = ms;
  for (const OpTime& op : ops) rest -= op.ms;
  return std::max(0.0, rest);
}

double ProfileResult::LimitMs() const {
  double limits = 0;
  for (const OpTime& op : ops) limits += LimitOf(op, read_gb_s).ms;
  return limits;
}

OpLimit LimitOf(const OpTime& op, double read_gb_s) {
  const double reading = read_gb_s > 0 ? op.bytes / (read_gb_s * 1e6) : 0;
  const double multiplying = op.peak_gflops > 0 ? 2 * op.multiply_adds / (op.peak_gflops * 1e6) : 0;
  return {std::max(reading, multiplying), reading > multiplying};
}

std::string ProfileText(const std::vector<ProfileResult>& profiles) {
  std::string text;
  for (const ProfileResult& profile : profiles) {
    text +=
        fmt::format("\n{}: {:.2f} ms, {:.3f} ms a token; {:.1f}% of it at the limits of its ops\n",
                    TitleOf(profile), profile.ms, profile.ms / static_cast<double>(profile.tokens),
                    100 * profile.LimitMs() / profile.ms);
    text += fmt::format("{:<46} {:>7} {:>10} {:>6} {:>9} {:>9}   {}\n", "op", "calls", "ms",
                        "share", "GB", "Gmadds", "of the limit");
    for (const OpTime& op : Lines(profile)) {
      const OpLimit limit = LimitOf(op, profile.read_gb_s);
      text += fmt::format(
          "{:<46} {:>7} {:>10.2f} {:>5.1f}% {:>9.3f} {:>9.2f}   {}\n", NameOf(op), op.calls, op.ms,
          100 * op.ms / profile.ms, op.bytes / 1e9, op.multiply_adds / 1e9,
          limit.ms == 0 || op.ms == 0 ? ""
                                      : fmt::format("{:.1f}% of the {}", 100 * limit.ms / op.ms,
                                                    limit.reads ? "read rate" : "multiply-adds"));
    }
  }
  return text;
}

OrderedJson ProfileJson(const std::vector<ProfileResult>& profiles) {
  OrderedJson all = OrderedJson::array();
  for (const ProfileResult& profile : profiles) {
    OrderedJson ops = OrderedJson::array();
    for (const OpTime& op : profile.ops) {
      const OpLimit limit = LimitOf(op, profile.read_gb_s);
      OrderedJson item = {{"op", op.op},         {"what", op.what},
                          {"calls", op.calls},   {"ms", op.ms},
                          {"bytes", op.bytes},   {"multiply_adds", op.multiply_adds},
                          {"limit_ms", limit.ms}};
      item["limit"] = limit.ms == 0 ? "" : limit.reads ? "read" : "multiply-add";
      ops.push_back(item);
    }
    all.push_back({{"kind", profile.kind},
                   {"context", profile.context},
                   {"tokens", profile.tokens},
                   {"ms", profile.ms},
                   {"between_ops_ms", profile.RestMs()},
                   {"limit_ms", profile.LimitMs()},
                   {"ops", ops}});
  }
  return all;
}

void WriteProfileChart(const std::filesystem::path& path, const std::string& heading,
                       const std::vector<ProfileResult>& profiles) {
  constexpr double kLeft = 330, kWidth = 520, kBar = 16, kStep = 22, kRight = 190;
  constexpr const char* kTime = "#9ecae1";
  constexpr const char* kLimit = "#2171b5";
  std::string body;
  double y = 24;
  const auto write = [&](double x, const char* anchor, const char* weight,
                         const std::string& text) {
    body += fmt::format(
        "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" font-weight=\"{}\">{}</text>\n", x, y,
        anchor, weight, Escaped(text));
  };
  const auto bar = [&](double length, const char* colour) {
    body += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.1f}\" fill=\"{}\"/>\n", kLeft,
        y - kBar + 4, length, kBar, colour);
  };
  write(10, "start", "bold", heading);
  y += kStep;
  write(10, "start", "normal",
        "bar: milliseconds; dark: what the op's limit would take (reads or multiply-adds)");
  for (const ProfileResult& profile : profiles) {
    y += 1.6 * kStep;
    write(10, "start", "bold", fmt::format("{}: {:.2f} ms", TitleOf(profile), profile.ms));
    const std::vector<OpTime> lines = Lines(profile);
    double longest = 0;
    for (const OpTime& op : lines) longest = std::max(longest, op.ms);
    for (const OpTime& op : lines) {
      y += kStep;
      const OpLimit limit = LimitOf(op, profile.read_gb_s);
      write(kLeft - 8, "end", "normal", NameOf(op));
      const double scale = longest > 0 ? kWidth / longest : 0;
      bar(op.ms * scale, kTime);
      // Where the machine moved between the run and its limits, the limit may be the longer one.
      bar(std::min(limit.ms, op.ms) * scale, kLimit);
      std::string label = fmt::format("{:.2f} ms", op.ms);
      if (limit.ms > 0 && op.ms > 0) label += fmt::format(", {:.0f}%", 100 * limit.ms / op.ms);
      write(kLeft + op.ms * scale + 6, "start", "normal", label);
    }
  }
  const double width = kLeft + kWidth + kRight, height = y + kStep;
  AtomicFile file(path);
  const std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0f} {:.0f}\" width=\"{:.0f}\" "
      "height=\"{:.0f}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
      width, height, width, height, body);
  file.Write(svg);
  file.Commit();
}

}  // namespace culet::cli
