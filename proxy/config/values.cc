#include "proxy/config/values.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace pgshunt {
namespace {

struct Suffix {
  std::string_view name;
  double factor;
};

// To seconds. "m" is left out: minutes to some, milliseconds to others.
constexpr Suffix kTimes[] = {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1},
                             {"min", 60},  {"h", 3600},  {"d", 86400}};
// To bytes, in PostgreSQL's spelling, where KB is 1024.
constexpr Suffix kSizes[] = {{"B", 1}, {"KB", 1024}, {"MB", 1024 * 1024}, {"GB", 1073741824}};

std::string number_text(double value) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value);
  return std::string(buffer, end.ptr);
}

std::string range_text(const ValueRules& rules) {
  return " from " + std::to_string(rules.min) + " to " + std::to_string(rules.max);
}

std::string expectation(const ValueRules& rules) {
  switch (rules.unit) {
    case Unit::kNone:
      return ", expected a whole number" + range_text(rules);
    case Unit::kBytes:
      return ", expected a size" + range_text(rules) + " bytes, such as 65536 or \"64KB\"";
    case Unit::kSeconds:
      return ", expected a time" + range_text(rules) +
             " seconds, such as 5, 0.25, \"250ms\" or \"10min\"";
    case Unit::kMilliseconds:
      return ", expected a time" + range_text(rules) + " milliseconds, such as 5000 or \"5s\"";
    case Unit::kFileMode:
      return ", expected an octal file mode in quotes from \"0000\" to \"0777\"";
  }
  return {};
}

// "250ms" to 0.25 with kTimes. Spaces may stand between number and unit.
std::optional<double> parse_with_suffix(std::string_view text, std::span<const Suffix> suffixes) {
  double number = 0;
  const auto [rest, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc{} || !std::isfinite(number)) return std::nullopt;
  std::string_view unit(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  for (const Suffix& suffix : suffixes) {
    if (suffix.name == unit) return number * suffix.factor;
  }
  return std::nullopt;
}

std::optional<double> parse_file_mode(const TomlValue& in) {
  const auto* text = in.get<std::string>();
  if (text == nullptr) return std::nullopt;
  unsigned mode = 0;
  const char* end = text->data() + text->size();
  const auto [rest, error] = std::from_chars(text->data(), end, mode, 8);
  if (error != std::errc{} || rest != end || mode > 0777) return std::nullopt;
  return mode;
}

// The number meant, in the unit of the rules; nothing when it is no number at all.
std::optional<double> parse_number(const TomlValue& in, const ValueRules& rules) {
  if (rules.unit == Unit::kFileMode) return parse_file_mode(in);
  if (const auto* integer = in.get<std::int64_t>()) return static_cast<double>(*integer);
  if (const auto* real = in.get<double>()) {
    // 5.0 is a fine number of seconds but no count of connections.
    if (rules.unit != Unit::kSeconds) return std::nullopt;
    return *real;
  }
  const auto* text = in.get<std::string>();
  if (text == nullptr) return std::nullopt;
  switch (rules.unit) {
    case Unit::kBytes:
      return parse_with_suffix(*text, kSizes);
    case Unit::kSeconds:
      return parse_with_suffix(*text, kTimes);
    case Unit::kMilliseconds: {
      const std::optional<double> seconds = parse_with_suffix(*text, kTimes);
      // Rounded to a nanosecond: 0.001 is not exact in binary.
      return seconds ? std::optional(std::round(*seconds * 1e9) / 1e6) : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

std::string read_number(const TomlValue& in, const ValueRules& rules, bool whole, double& out) {
  const std::optional<double> number = parse_number(in, rules);
  const bool fits = number && std::isfinite(*number) && *number >= static_cast<double>(rules.min) &&
                    *number <= static_cast<double>(rules.max) &&
                    (!whole || *number == std::floor(*number));
  if (!fits) return describe_value(in, rules.secret) + expectation(rules);
  out = *number;
  return {};
}

template <class T>
std::string read_whole(const TomlValue& in, ValueRules rules, T& out) {
  rules.max = std::min<std::int64_t>(rules.max, std::numeric_limits<T>::max());
  double number = 0;
  std::string problem = read_number(in, rules, true, number);
  if (problem.empty()) out = static_cast<T>(number);
  return problem;
}

std::string check_text(std::string_view text, const ValueRules& rules) {
  // Strings end up in C interfaces and in the protocol, where a NUL would cut them short.
  if (text.find('\0') != std::string_view::npos) return "holds a NUL character";
  if (!rules.choices.empty() &&
      std::find(rules.choices.begin(), rules.choices.end(), text) == rules.choices.end()) {
    return "is " + quote_text(text) + ", expected " +
           list_choices({rules.choices.begin(), rules.choices.end()});
  }
  return {};
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

std::string read_value(const TomlValue& in, const ValueRules&, bool& out) {
  const bool* value = in.get<bool>();
  if (value == nullptr) return describe_value(in) + ", expected true or false";
  out = *value;
  return {};
}

std::string read_value(const TomlValue& in, const ValueRules& rules, std::uint16_t& out) {
  return read_whole(in, rules, out);
}

std::string read_value(const TomlValue& in, const ValueRules& rules, std::uint32_t& out) {
  return read_whole(in, rules, out);
}

std::string read_value(const TomlValue& in, const ValueRules& rules, Seconds& out) {
  double number = 0;
  std::string problem = read_number(in, rules, false, number);
  if (problem.empty()) out = Seconds(number);
  return problem;
}

std::string read_value(const TomlValue& in, const ValueRules& rules, std::string& out) {
  const auto* text = in.get<std::string>();
  if (text == nullptr) return describe_value(in, rules.secret) + ", expected a string in quotes";
  std::string problem = check_text(*text, rules);
  if (problem.empty()) out = *text;
  return problem;
}

std::string read_value(const TomlValue& in, const ValueRules& rules,
                       std::vector<std::string>& out) {
  std::vector<std::string> values;
  if (const auto* text = in.get<std::string>()) {
    for (std::size_t start = 0; start <= text->size();) {
      const std::size_t comma = std::min(text->find(',', start), text->size());
      const std::string_view part = trim(std::string_view(*text).substr(start, comma - start));
      if (!part.empty()) values.emplace_back(part);
      start = comma + 1;
    }
  } else if (const auto* array = in.get<TomlArray>()) {
    for (const TomlValue& element : *array) {
      const auto* item = element.get<std::string>();
      if (item == nullptr) {
        return "holds an element that " + describe_value(element) + ", expected strings in quotes";
      }
      values.push_back(*item);
    }
  } else {
    return describe_value(in) + ", expected a list of strings in quotes";
  }
  for (const std::string& value : values) {
    if (value.empty()) return "holds an empty string";
    if (std::string problem = check_text(value, rules); !problem.empty()) return problem;
  }
  out = std::move(values);
  return {};
}

std::string quote_text(std::string_view text) {
  constexpr std::size_t kLongest = 60;
  return "\"" + std::string(text.substr(0, kLongest)) + (text.size() > kLongest ? "...\"" : "\"");
}

std::string describe_value(const TomlValue& value, bool secret) {
  struct Describe {
    bool secret;
    std::string operator()(const std::string& text) const {
      return secret ? "is a string" : "is " + quote_text(text);
    }
    std::string operator()(std::int64_t number) const {
      return secret ? "is a number" : "is " + std::to_string(number);
    }
    std::string operator()(double number) const {
      return secret ? "is a number" : "is " + number_text(number);
    }
    std::string operator()(bool truth) const { return truth ? "is true" : "is false"; }
    std::string operator()(const TomlDate&) const { return "is a date or time"; }
    std::string operator()(const TomlArray&) const { return "is a list"; }
    std::string operator()(const TomlTable&) const { return "is a table"; }
  };
  return std::visit(Describe{secret}, value.data);
}

std::string list_choices(const std::vector<std::string_view>& choices) {
  std::string out;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) out += i + 1 == choices.size() ? " or " : ", ";
    out.append("\"").append(choices[i]).append("\"");
  }
  return out;
}

std::string format_value(bool value, const ValueRules&) { return value ? "true" : "false"; }

std::string format_value(std::uint16_t value, const ValueRules& rules) {
  return format_value(std::uint32_t{value}, rules);
}

std::string format_value(std::uint32_t value, const ValueRules& rules) {
  if (rules.unit != Unit::kFileMode) return std::to_string(value);
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, "%04o", value);
  return buffer;
}

std::string format_value(Seconds value, const ValueRules&) { return number_text(value.count()); }

std::string format_value(const std::string& value, const ValueRules& rules) {
  return rules.secret && !value.empty() ? "(hidden)" : value;
}

std::string format_value(const std::vector<std::string>& value, const ValueRules&) {
  std::string out;
  for (const std::string& item : value) {
    if (!out.empty()) out += ',';
    out += item;
  }
  return out;
}

}  // namespace pgshunt
