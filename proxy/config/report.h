// Collects what is wrong with a configuration while it is read, and remembers on which line each
// key stood, so that checks made after reading can still point at it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"

namespace pgshunt {

class ConfigReport {
 public:
  explicit ConfigReport(std::string file) : file_(std::move(file)) {}

  // `key` is a dotted path; its line is the one noted for it or for the nearest table around it.
  void error(std::string_view key, std::string_view problem);
  void warning(std::string_view key, std::string_view problem);
  void error_at(std::uint32_t line, std::string_view key, std::string_view problem);
  // An issue of another file the configuration names.
  void add(ConfigIssue issue);

  void note_line(const std::string& key, std::uint32_t line) { lines_[key] = line; }
  std::uint32_t line_of(std::string_view key) const;
  // Whether the file says anything about this key.
  bool was_set(const std::string& key) const { return lines_.contains(key); }

  const std::string& file() const { return file_; }
  bool clean() const { return issues_.empty(); }
  // By line, as a person reads the file.
  std::vector<ConfigIssue> take_issues();
  std::vector<ConfigIssue> take_warnings();

 private:
  std::string file_;
  std::map<std::string, std::uint32_t, std::less<>> lines_;
  std::vector<ConfigIssue> issues_;
  std::vector<ConfigIssue> warnings_;
};

// The text on one line: every control character a "?".
std::string printable(std::string_view text);

// `path` + "." + `key`, the key quoted where TOML wants it quoted. An empty path gives the key.
std::string join_key(std::string_view path, std::string_view key);

// The name of `known` a person most likely meant, or empty where none is near.
std::string nearest_name(std::string_view name, const std::vector<std::string_view>& known);

}  // namespace pgshunt
