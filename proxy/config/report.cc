#include "proxy/config/report.h"

#include <algorithm>
#include <cctype>
#include <numeric>

namespace pgshunt {
namespace {

bool is_bare_key(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
}

void sort_by_line(std::vector<ConfigIssue>& issues) {
  std::stable_sort(issues.begin(), issues.end(), [](const ConfigIssue& a, const ConfigIssue& b) {
    return std::tie(a.file, a.line) < std::tie(b.file, b.line);
  });
}

// Levenshtein's distance: single characters put in, taken out or changed.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string ConfigIssue::to_string() const {
  std::string out = file;
  if (line != 0) out += ":" + std::to_string(line);
  out += ": ";
  if (!key.empty()) out += key + ": ";
  return out + problem;
}

void ConfigReport::error(std::string_view key, std::string_view problem) {
  error_at(line_of(key), key, problem);
}

void ConfigReport::warning(std::string_view key, std::string_view problem) {
  warnings_.push_back({file_, line_of(key), std::string(key), printable(problem)});
}

void ConfigReport::error_at(std::uint32_t line, std::string_view key, std::string_view problem) {
  issues_.push_back({file_, line, std::string(key), printable(problem)});
}

void ConfigReport::add(ConfigIssue issue) {
  issue.problem = printable(issue.problem);
  issues_.push_back(std::move(issue));
}

std::uint32_t ConfigReport::line_of(std::string_view key) const {
  while (!key.empty()) {
    if (const auto found = lines_.find(key); found != lines_.end()) return found->second;
    const std::size_t cut = key.find_last_of(".[");
    if (cut == std::string_view::npos) break;
    key = key.substr(0, cut);
  }
  return 0;
}

std::vector<ConfigIssue> ConfigReport::take_issues() {
  sort_by_line(issues_);
  return std::move(issues_);
}

std::vector<ConfigIssue> ConfigReport::take_warnings() {
  sort_by_line(warnings_);
  return std::move(warnings_);
}

std::string printable(std::string_view text) {
  std::string out(text);
  const auto control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  std::replace_if(out.begin(), out.end(), control, '?');
  return out;
}

std::string join_key(std::string_view path, std::string_view key) {
  std::string out(path);
  if (!out.empty()) out += '.';
  if (is_bare_key(key)) return out.append(key);
  out += '"';
  for (const char c : printable(key)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string nearest_name(std::string_view name, const std::vector<std::string_view>& known) {
  // Longer than any name of ours by far: not a slip of the fingers, and not worth the time.
  if (name.size() > 64) return {};
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(2, name.size() / 4) + 1;
  for (const std::string_view candidate : known) {
    const std::size_t distance = edit_distance(name, candidate);
    // A name of three letters is two changes away from too many others.
    if (distance < best_distance && distance < candidate.size() / 2 + 1) {
      best = candidate;
      best_distance = distance;
    }
  }
  return std::string(best);
}

}  // namespace pgshunt
