// The log: one line per event, text for people or JSON for machines.
//
// Text:  2024-05-01 10:20:30.123 +00:00 [warning] login_failed client=10.0.0.7:5123 database=app
//        user=bob sqlstate=28P01: password authentication failed
// JSON:  {"ts":"2024-05-01T10:20:30.123Z","level":"warning","event":"login_failed",
//        "client":"10.0.0.7:5123",...,"message":"..."}
//
// Any thread may log at any time. A caller formats its line and appends it to a buffer; a thread of
// the log's own writes the buffer out, so a slow disk or a full pipe never holds up a worker: past
// one megabyte lines are dropped, and counted in an event "log_overrun".
//
// Whatever clients and servers send may stand in a context or a message: control characters are
// escaped and over-long values cut here. Secrets may not: see redact.h.
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "protocol/result.h"
#include "proxy/config/config.h"

namespace pgshunt {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };

// Who and what an event is about. Empty fields are left out of the line. Views need to live only
// for the call.
struct LogContext {
  std::string_view client = {};  // address:port, or "unix"
  std::string_view database = {};
  std::string_view user = {};
  std::string_view shard = {};
  std::string_view sqlstate = {};
  std::uint32_t pid = 0;  // of the server's process
};

// The least level that is logged. Use log_enabled().
inline std::atomic<LogLevel> log_threshold{LogLevel::kInfo};

// A load and a comparison: cheap enough for any path.
inline bool log_enabled(LogLevel level) {
  return level >= log_threshold.load(std::memory_order_relaxed);
}

// Writes the line even if the level is off. Warnings and errors that repeat are thinned out, by
// event and shard: see LogRateLimiter.
void write_log_event(LogLevel level, std::string_view event, const LogContext& context,
                     std::string_view message);

// `event` is a name from the source (snake_case), not from a peer.
inline void log_event(LogLevel level, std::string_view event, const LogContext& context,
                      std::string_view message) {
  if (log_enabled(level)) write_log_event(level, event, context, message);
}

// For messages that cost something to put together: `message` is a callable that returns one, and
// is called only if the level is on.
template <std::invocable Message>
void log_event(LogLevel level, std::string_view event, const LogContext& context,
               Message&& message) {
  if (log_enabled(level)) write_log_event(level, event, context, std::forward<Message>(message)());
}

struct LogSettings {
  LogFormat format = LogFormat::kText;
  LogLevel level = LogLevel::kInfo;
  std::string file;  // empty: standard error
};
LogSettings log_settings(const Config& config);

// At start and at every reload. On an error (the file cannot be opened) logging goes on as before.
// Before the first call events go to standard error as text.
Status configure_log(const LogSettings& settings);

// Opens the file anew under its name, after somebody has moved the old one away. On an error the
// old file stays in use. Nothing to do for standard error.
Status reopen_log();

// Returns when every line logged before the call has been handed to the kernel.
void flush_log();

// Tells in one line each how many repetitions were left out, once an event has become quiet. To be
// called every second or so.
void log_housekeeping();

}  // namespace pgshunt
