// One event to one line, in either format, without its time and level (spdlog's formatter puts
// those in front).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/log/log.h"

namespace pgshunt {

// Longer values are cut at a character's end and "..." put after.
inline constexpr std::size_t kLongestLogField = 256;
inline constexpr std::size_t kLongestLogMessage = 4096;

struct LogEvent {
  std::string_view event;
  const LogContext& context;
  std::string_view message;
  std::uint64_t left_out = 0;  // like events before it that were not logged
};

// `login_failed client=... user=...: message`
void append_text_line(std::string& out, const LogEvent& event);
// `"event":"login_failed","client":"...",...,"message":"..."`: members of an object, no braces.
void append_json_members(std::string& out, const LogEvent& event);

}  // namespace pgshunt
