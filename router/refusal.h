// The one way a statement is refused: 0A000, the clause named, and what to do instead.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "protocol/result.h"
#include "router/topology.h"

namespace pgshunt {

// A name as messages give it.
inline std::string quoted(std::string_view name) { return "\"" + std::string(name) + "\""; }

inline Error refusal(std::string message, std::string hint) {
  return {sqlstate::kFeatureNotSupported, std::move(message), std::move(hint)};
}

inline Error moment_refusal() {
  return refusal("a literal such as 'now' or 'today' would mean another moment on every shard",
                 "Write the date or time itself.");
}

inline bool is_moment_refusal(const Error& error) {
  return error.message == moment_refusal().message;
}

inline Error set_config_refusal() {
  return refusal("set_config() would set it on one shard only", "Use SET or SET LOCAL.");
}

// `command`, INSERT or COPY, gives the table's key no value.
Error missing_key(std::string_view command, const Table& table);

}  // namespace pgshunt
