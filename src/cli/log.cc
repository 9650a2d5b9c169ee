#include "cli/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "cli/command.h"

namespace culet::cli {
namespace {

spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    std::shared_ptr<spdlog::logger> made = spdlog::stderr_logger_mt("culet");
    made->set_pattern("culet: %v");
    made->flush_on(spdlog::level::info);
    return made;
  }();
  return *logger;
}

}  // namespace

void Warn(const std::string& message) { Logger().warn("warning: {}", message); }
void Note(const std::string& message) { Logger().info("{}", message); }

void PrintPlan(const ModelInfo& info) {
  Logger().info("model variant=\"{}\" path=\"{}\" type={} dtype={} layers={} hidden={} vocab={}",
                info.variant, info.path, info.model_type, info.dtype, info.layers, info.hidden,
                info.vocab);
  Logger().info("cpu model=\"{}\" level={} threads={}", info.cpu_model, info.cpu_level,
                info.threads);
  Logger().info(
      "plan context={} chunk={} kv_dtype={} kv_bytes={} activation_bytes={} resident_bytes={}",
      info.context, info.chunk, info.kv_dtype, info.kv_bytes, info.activation_bytes,
      info.resident_bytes);
  for (const PartSize& part : info.parts) {
    Logger().info("weights part=\"{}\" parameters={} bytes={}", part.part, part.parameters,
                  part.bytes);
  }
  for (const auto& [tensor, reason] : info.unused) {
    Logger().info("unused tensor={} reason=\"{}\"", tensor, reason);
  }
}

void PrintWarnings(const ModelInfo& info) {
  for (const std::string& warning : info.warnings) Warn(WithOptionNames(warning));
}

void PrintWarnings(const TextProcessor& text) {
  for (const std::string& warning : text.warnings()) Warn(WithOptionNames(warning));
}

}  // namespace culet::cli
