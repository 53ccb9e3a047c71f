#include "daemon/log_spdlog.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>

namespace ternd {
namespace {

constexpr std::uint64_t kDebugPerSecondMax = 50;  // dropped peer input must not fill a disk

spdlog::level::level_enum level_of(base::LogLevel level) {
  switch (level) {
    case base::LogLevel::kDebug:
      return spdlog::level::debug;
    case base::LogLevel::kInfo:
      return spdlog::level::info;
    case base::LogLevel::kWarn:
      return spdlog::level::warn;
    case base::LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

void append_value(std::string& line, std::string_view value) {
  const bool plain = !value.empty() && value.find_first_of(" \"=\\") == std::string_view::npos;
  if (!plain) line.push_back('"');
  for (const char c : value) {
    if (c == '"' || c == '\\') line.push_back('\\');
    line.push_back(static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c);
  }
  if (!plain) line.push_back('"');
}

class SpdLog final : public base::Log {
 public:
  explicit SpdLog(std::shared_ptr<spdlog::logger> logger) : logger_(std::move(logger)) {}
  void write(base::LogLevel level, std::string_view event,
             std::initializer_list<base::LogField> fields) override {
    if (!logger_->should_log(level_of(level))) return;
    if (level == base::LogLevel::kDebug && !allow_debug()) return;
    std::string line(event);
    for (const base::LogField& field : fields) {
      line.push_back(' ');
      line += field.key;
      line.push_back('=');
      append_value(line, field.value);
    }
    logger_->log(level_of(level), line);
  }

 private:
  bool allow_debug() {
    const auto second = spdlog::log_clock::now().time_since_epoch() / std::chrono::seconds(1);
    if (second != second_) {
      second_ = second;
      count_ = 0;
    }
    return ++count_ <= kDebugPerSecondMax;
  }

  std::shared_ptr<spdlog::logger> logger_;
  std::int64_t second_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace

base::Result<std::unique_ptr<base::Log>> make_log(base::LogLevel level, const std::string& file) {
  try {
    spdlog::sink_ptr sink;
    if (file.empty()) {
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    } else {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file);
    }
    auto logger = std::make_shared<spdlog::logger>("tern", sink);
    logger->set_level(level_of(level));
    logger->flush_on(spdlog::level::info);
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
    return std::unique_ptr<base::Log>(std::make_unique<SpdLog>(std::move(logger)));
  } catch (const spdlog::spdlog_ex& error) {
    return base::fail(base::Code::kIo, std::string("cannot write the log: ") + error.what());
  }
}

}  // namespace ternd
