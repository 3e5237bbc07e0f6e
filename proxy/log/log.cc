#include "proxy/log/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <vector>

#include "proxy/log/log_line.h"
#include "proxy/log/log_writer.h"
#include "proxy/log/rate_limiter.h"

namespace pgshunt {
namespace {

// spdlog stamps time and level; where the line goes from there is ours.
class WriterSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit WriterSink(std::shared_ptr<LogWriter> writer) : writer_(std::move(writer)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    line_.clear();
    formatter_->format(message, line_);
    writer_->append({line_.data(), line_.size()}, message.level >= spdlog::level::err);
  }
  void flush_() override { writer_->flush(); }

 private:
  std::shared_ptr<LogWriter> writer_;
  spdlog::memory_buf_t line_;
};

// All that a line needs, replaced as a whole when the configuration changes.
struct Log {
  Log(LogFormat f, std::shared_ptr<LogWriter> w)
      : format(f), writer(std::move(w)), logger("pgshunt", std::make_shared<WriterSink>(writer)) {
    const bool json = format == LogFormat::kJson;
    logger.set_level(spdlog::level::trace);
    logger.set_formatter(std::make_unique<spdlog::pattern_formatter>(
        json ? R"({"ts":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})"
             : "%Y-%m-%d %H:%M:%S.%e %z [%l] %v",
        json ? spdlog::pattern_time_type::utc : spdlog::pattern_time_type::local, "\n"));
  }

  const LogFormat format;
  const std::shared_ptr<LogWriter> writer;
  spdlog::logger logger;
};

struct Globals {
  std::mutex mutex;  // guards both
  std::shared_ptr<Log> log;
  LogRateLimiter limiter;
};

Globals& globals() {
  static Globals instance;
  return instance;
}

std::shared_ptr<Log> current_log() {
  Globals& all = globals();
  const std::lock_guard lock(all.mutex);
  // Standard error always opens.
  if (!all.log) all.log = std::make_shared<Log>(LogFormat::kText, *LogWriter::open(""));
  return all.log;
}

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

void write_line(Log& log, LogLevel level, const LogEvent& event) {
  thread_local std::string line;
  line.clear();
  if (log.format == LogFormat::kJson) {
    append_json_members(line, event);
  } else {
    append_text_line(line, event);
  }
  log.logger.log(to_spdlog(level), std::string_view(line));
}

}  // namespace

void write_log_event(LogLevel level, std::string_view event, const LogContext& context,
                     std::string_view message) {
  std::uint64_t left_out = 0;
  if (level >= LogLevel::kWarning) {
    Globals& all = globals();
    const std::lock_guard lock(all.mutex);
    const auto verdict = all.limiter.ask(event, context.shard, std::chrono::steady_clock::now());
    if (!verdict.write) return;
    left_out = verdict.left_out;
  }
  const std::shared_ptr<Log> log = current_log();
  write_line(*log, level, {event, context, message, left_out});
}

LogSettings log_settings(const Config& config) {
  LogSettings out{config.log_format, LogLevel::kInfo, config.log_file};
  if (config.log_level == "debug") out.level = LogLevel::kDebug;
  if (config.log_level == "warning") out.level = LogLevel::kWarning;
  if (config.log_level == "error") out.level = LogLevel::kError;
  return out;
}

Status configure_log(const LogSettings& settings) {
  std::shared_ptr<LogWriter> writer = current_log()->writer;
  if (writer->file() != settings.file) {
    Result<std::unique_ptr<LogWriter>> opened = LogWriter::open(settings.file);
    if (!opened) return opened.error();
    writer = std::move(*opened);
  }
  auto log = std::make_shared<Log>(settings.format, std::move(writer));
  Globals& all = globals();
  const std::lock_guard lock(all.mutex);
  // The old log ends, with its writer, when the last thread that is using it is done.
  all.log.swap(log);
  log_threshold.store(settings.level, std::memory_order_relaxed);
  return Ok{};
}

Status reopen_log() { return current_log()->writer->reopen(); }

void flush_log() { current_log()->writer->flush(); }

void log_housekeeping() {
  struct Note {
    std::string event;
    std::string shard;
    std::uint64_t left_out;
  };
  std::vector<Note> notes;
  {
    Globals& all = globals();
    const std::lock_guard lock(all.mutex);
    all.limiter.sweep(std::chrono::steady_clock::now(),
                      [&](const std::string& event, const std::string& shard, std::uint64_t count) {
                        notes.push_back({event, shard, count});
                      });
  }
  const std::shared_ptr<Log> log = current_log();
  for (const Note& note : notes) {
    write_line(
        *log, LogLevel::kWarning,
        {note.event, {.shard = note.shard}, "more of the same were not logged", note.left_out});
  }
  if (const std::uint64_t dropped = log->writer->take_dropped(); dropped != 0) {
    write_line(*log, LogLevel::kError,
               {"log_overrun", {}, "the log could not keep up, lines were dropped", dropped});
  }
}

}  // namespace pgshunt
