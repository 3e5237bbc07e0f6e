#include "proxy/auth/userlist.h"

#include <utility>

namespace pgshunt {
namespace {

// PgBouncer's MAX_USERNAME and MAX_PASSWORD are of this order; beyond it a line is no mistake of a
// person's but a wrong file.
constexpr std::size_t kMaxName = 1024;
constexpr std::size_t kMaxSecret = 10'000;

constexpr std::string_view kScramPrefix = "SCRAM-SHA-256$";
constexpr std::string_view kBlank = " \t\r\v\f";

void skip_blanks(std::string_view& line) {
  const std::size_t at = line.find_first_not_of(kBlank);
  line.remove_prefix(at == std::string_view::npos ? line.size() : at);
}

// Takes a quoted string off the front of `line`; a quote inside is doubled. False if there is none.
bool take_quoted(std::string_view& line, std::string& out) {
  if (line.empty() || line.front() != '"') return false;
  out.clear();
  for (std::size_t i = 1; i < line.size(); ++i) {
    if (line[i] != '"') {
      out += line[i];
    } else if (i + 1 < line.size() && line[i + 1] == '"') {
      out += '"';
      ++i;
    } else {
      line.remove_prefix(i + 1);
      return true;
    }
  }
  return false;
}

// Empty if the line is good. Never holds any of the secret.
std::string read_line(std::string_view line, std::string& name, std::string& secret) {
  if (!take_quoted(line, name)) return "expected a user name in double quotes";
  if (name.empty()) return "the user name is empty";
  if (name.size() > kMaxName) return "the user name is too long";
  const std::size_t before = line.size();
  skip_blanks(line);
  if (line.size() == before || !take_quoted(line, secret)) {
    return "expected a space and the secret in double quotes after the user name";
  }
  if (secret.size() > kMaxSecret) return "the secret is too long";
  if (!line.empty() && kBlank.find(line.front()) == std::string_view::npos) {
    return "expected a space or the end of the line after the secret";
  }
  return secret_problem(secret);
}

}  // namespace

std::string secret_problem(std::string_view secret) {
  if (secret.starts_with(kScramPrefix) && !parse_scram_verifier(secret)) {
    return "the secret begins like a SCRAM-SHA-256 secret but is not a well-formed one";
  }
  if (secret.find('\0') != std::string_view::npos) return "the secret holds a zero byte";
  return {};
}

Userlist parse_userlist(std::string_view text, const std::string& file) {
  Userlist list;
  std::map<std::string, std::uint32_t, std::less<>> first_lines;
  std::uint32_t number = 0;
  while (!text.empty()) {
    ++number;
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    skip_blanks(line);
    if (line.empty() || line.front() == ';' || line.front() == '#') continue;

    std::string name;
    std::string secret;
    std::string problem = read_line(line, name, secret);
    if (problem.empty()) {
      const auto [first, fresh] = first_lines.emplace(name, number);
      if (!fresh) problem = "the user stands on line " + std::to_string(first->second) + " already";
    }
    if (!problem.empty()) {
      list.issues.push_back({file, number, {}, std::move(problem)});
      continue;
    }
    list.users.emplace_back(std::move(name), std::move(secret));
  }
  return list;
}

void UserTable::add(std::string name, std::string_view secret) {
  users_.insert_or_assign(std::move(name), parse_secret(secret));
}

const Secret* UserTable::find(std::string_view name) const {
  const auto found = users_.find(name);
  return found == users_.end() ? nullptr : &found->second;
}

}  // namespace pgshunt
