// From one TOML value to one field, and back to the text SHOW CONFIG prints. Readers return what is
// wrong, worded to follow the key ("is 3.5, expected ..."), or an empty string.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/config/names.h"
#include "proxy/config/toml_tree.h"

namespace pgshunt {

enum class Unit : std::uint8_t {
  kNone,          // a count
  kBytes,         // 65536 or "64KB"
  kSeconds,       // 5, 0.25, "250ms" or "10min"
  kMilliseconds,  // 5000 or "5s"
  kFileMode,      // "0770"
};

// What a key takes beyond its C++ type.
struct ValueRules {
  Unit unit = Unit::kNone;
  std::int64_t min = 0;  // of numbers, in `unit`
  std::int64_t max = std::numeric_limits<std::uint32_t>::max();
  std::span<const std::string_view> choices = {};  // of strings; empty: any
  bool secret = false;                             // never shown, not even in an error
  bool path = false;  // of strings: a file, relative to the configuration's own folder
};

inline constexpr std::int64_t kMaxSeconds = 365 * 24 * 60 * 60;

std::string read_value(const TomlValue& in, const ValueRules& rules, bool& out);
std::string read_value(const TomlValue& in, const ValueRules& rules, std::uint16_t& out);
std::string read_value(const TomlValue& in, const ValueRules& rules, std::uint32_t& out);
std::string read_value(const TomlValue& in, const ValueRules& rules, Seconds& out);
std::string read_value(const TomlValue& in, const ValueRules& rules, std::string& out);
// A list of strings, or PgBouncer's one string with commas.
std::string read_value(const TomlValue& in, const ValueRules& rules, std::vector<std::string>& out);

// "is 3", "is a table": what stands there instead. Secrets are named by their type only.
std::string describe_value(const TomlValue& value, bool secret = false);
// In quotes, shortened.
std::string quote_text(std::string_view text);

// `"a", "b" or "c"`.
std::string list_choices(const std::vector<std::string_view>& choices);

template <class E>
requires std::is_enum_v<E> std::string read_value(const TomlValue& in, const ValueRules&, E& out) {
  if (const auto* text = in.get<std::string>()) {
    if (const std::optional<E> value = value_named<E>(*text)) {
      out = *value;
      return {};
    }
  }
  std::vector<std::string_view> names;
  for (const auto& entry : names_of(E{})) {
    if (name_of(entry.value) == entry.name) names.push_back(entry.name);
  }
  return describe_value(in) + ", expected " + list_choices(names);
}

template <class T>
std::string read_value(const TomlValue& in, const ValueRules& rules, std::optional<T>& out) {
  T value{};
  std::string problem = read_value(in, rules, value);
  if (problem.empty()) out = value;
  return problem;
}

std::string format_value(bool value, const ValueRules& rules);
std::string format_value(std::uint16_t value, const ValueRules& rules);
std::string format_value(std::uint32_t value, const ValueRules& rules);
std::string format_value(Seconds value, const ValueRules& rules);
std::string format_value(const std::string& value, const ValueRules& rules);
std::string format_value(const std::vector<std::string>& value, const ValueRules& rules);

template <class E>
requires std::is_enum_v<E> std::string format_value(E value, const ValueRules&) {
  return std::string(name_of(value));
}

template <class T>
std::string format_value(const std::optional<T>& value, const ValueRules& rules) {
  return value ? format_value(*value, rules) : std::string();
}

}  // namespace pgshunt
