#include "proxy/session/settings.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

constexpr std::string_view kRole = "role";
constexpr std::string_view kSessionAuthorization = "session_authorization";

std::string quoted_literal(std::string_view text) {
  std::string out = "'";
  bool backslash = false;
  for (const char c : text) {
    if (c == '\'' || c == '\\') out.push_back(c);
    backslash |= c == '\\';
    out.push_back(c);
  }
  out.push_back('\'');
  return backslash ? " E" + out : out;
}

std::string folded(std::string_view name) {
  std::string out(name);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string quoted_name(std::string_view name) {
  // Dotted names are namespaces of extensions: each part is quoted on its own.
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out.push_back('"');
    if (c == '.') {
      out.append("\".\"");
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

// Settings that are lists of names (GUC_LIST_QUOTE in guc.c; extensions cannot have any). SET takes
// a literal for one whole name, where the startup packet means a list.
bool is_list_of_names(std::string_view name) {
  return name == "search_path" || name == "temp_tablespaces" ||
         name == "session_preload_libraries" || name == "local_preload_libraries";
}

// The names of such a list, each a literal (varlena.c, SplitIdentifierString()).
std::string quoted_names(std::string_view list) {
  std::string out;
  std::string name;
  bool in_quotes = false;
  bool was_quoted = false;
  const auto take = [&] {
    if (!was_quoted) {
      while (!name.empty() && std::isspace(static_cast<unsigned char>(name.back()))) {
        name.pop_back();
      }
      name = folded(name);
    }
    if (!out.empty()) out.push_back(',');
    out.append(quoted_literal(name));
    name.clear();
    was_quoted = false;
  };
  for (std::size_t i = 0; i < list.size(); ++i) {
    const char c = list[i];
    if (c == '"' && in_quotes && list.substr(i + 1).starts_with('"')) {
      name.push_back(c);
      ++i;
    } else if (c == '"') {
      in_quotes = !in_quotes;
      was_quoted = true;
    } else if (c == ',' && !in_quotes) {
      take();
    } else if (in_quotes || !std::isspace(static_cast<unsigned char>(c)) ||
               !(name.empty() || was_quoted)) {
      name.push_back(c);
    }
  }
  take();
  return out;
}

std::string reset_statement(std::string_view name) {
  if (name == kSessionAuthorization) return "RESET SESSION AUTHORIZATION";
  if (name == "time zone") return "RESET TIME ZONE";
  return "RESET " + quoted_name(name);
}

bool decides_privileges(std::string_view name) {
  return name == kRole || name == kSessionAuthorization;
}

}  // namespace

std::string statement_to_set(std::string_view name, std::string_view value) {
  const std::string quoted = is_list_of_names(name) ? quoted_names(value) : quoted_literal(value);
  return "SET " + quoted_name(name) + " TO " + quoted;
}

void SessionSettings::start(const std::vector<std::pair<std::string, std::string>>& startup) {
  std::vector<NameValues::Pair> pairs;
  for (const auto& [raw_name, value] : startup) {
    const std::string name = folded(raw_name);
    pairs.emplace_back(name, statement_to_set(name, value));
  }
  startup_ = committed_ = current_ = NameValues::of(std::move(pairs));
}

std::string_view SessionSettings::startup_statement(std::string_view name) const {
  const std::string* found = startup_->find(name);
  return found ? std::string_view(*found) : std::string_view();
}

void SessionSettings::set(std::string_view name, std::string_view statement) {
  current_ = with(current_, name, statement);
  touched_.emplace(name);
}

void SessionSettings::reset(std::string_view name) {
  touched_.emplace(name);
  const std::string* startup = startup_->find(name);
  current_ = startup ? with(current_, name, *startup) : without(current_, name);
}

void SessionSettings::reset_all() {
  for (const auto& [name, statement] : current_->pairs()) touched_.insert(name);
  for (const auto& [name, statement] : startup_->pairs()) touched_.insert(name);
  NameValuesPtr next = startup_;
  for (const auto& [name, statement] : untouched_by_reset_all(current_)->pairs()) {
    next = with(next, name, statement);
  }
  current_ = next;
}

NameValuesPtr SessionSettings::untouched_by_reset_all(const NameValuesPtr& settings) {
  NameValuesPtr kept = NameValues::empty();
  for (const std::string_view name : {kRole, kSessionAuthorization}) {
    if (const std::string* statement = settings->find(name)) kept = with(kept, name, *statement);
  }
  return kept;
}

void SessionSettings::commit() {
  committed_ = current_;
  savepoints_.clear();
  touched_.clear();
}

void SessionSettings::rollback() {
  current_ = committed_;
  savepoints_.clear();
  touched_.clear();
}

void SessionSettings::savepoint(std::string_view name) {
  savepoints_.push_back({std::string(name), current_});
}

std::vector<SessionSettings::Savepoint>::iterator SessionSettings::find_savepoint(
    std::string_view name) {
  // The youngest of that name is meant.
  const auto found = std::find_if(savepoints_.rbegin(), savepoints_.rend(),
                                  [&](const Savepoint& s) { return s.name == name; });
  return found == savepoints_.rend() ? savepoints_.end() : std::prev(found.base());
}

void SessionSettings::release_savepoint(std::string_view name) {
  savepoints_.erase(find_savepoint(name), savepoints_.end());
}

void SessionSettings::rollback_to(std::string_view name) {
  const auto found = find_savepoint(name);
  if (found == savepoints_.end()) return;
  current_ = found->settings;
  savepoints_.erase(std::next(found), savepoints_.end());
}

std::string portable_statement(std::string_view sql, bool standard_conforming_strings) {
  std::string out;
  SqlLexer lexer(sql, standard_conforming_strings);
  SqlToken token;
  std::size_t copied = 0;
  while (lexer.next(token)) {
    const std::string_view text = lexer.text(token);
    const bool plain = text.front() == '\'' && text.find('\\') != text.npos &&
                       (token.kind == TokenKind::kString || token.kind == TokenKind::kEscapeString);
    out.append(sql.substr(copied, (plain ? token.begin : token.end) - copied));
    copied = token.end;
    if (!plain) continue;
    out.append(" E");
    for (const char c : text) {
      if (c == '\\' && token.kind == TokenKind::kString) out.push_back(c);
      out.push_back(c);
    }
  }
  return out;
}

std::vector<NameValues::Pair> session_characteristics(std::string_view modes) {
  std::vector<NameValues::Pair> pairs;
  const auto add = [&](std::string name, std::string_view value) {
    std::string statement = "SET " + name + " TO " + quoted_literal(value);
    pairs.emplace_back(std::move(name), std::move(statement));
  };
  std::string previous;
  SqlLexer lexer(modes);
  SqlToken token;
  while (lexer.next(token)) {
    const std::string word = folded(lexer.text(token));
    if (word == "only" || word == "write") {
      add("default_transaction_read_only", word == "only" ? "on" : "off");
    } else if (word == "deferrable") {
      add("default_transaction_deferrable", previous == "not" ? "off" : "on");
    } else if (word == "serializable") {
      add("default_transaction_isolation", word);
    } else if (previous == "repeatable" || word == "committed" || word == "uncommitted") {
      add("default_transaction_isolation", previous + " " + word);
    }
    previous = word;
  }
  return pairs;
}

std::vector<std::string> settings_steps(const NameValues& from, const NameValues& to) {
  std::vector<std::string> steps;
  // While a role is on loan only what it may set can be set: give it back first.
  for (const std::string_view name : {kRole, kSessionAuthorization}) {
    if (from.find(name)) steps.push_back(reset_statement(name));
  }
  // Time zones and the like have aliases ("SET TIME ZONE", "SET timezone"): clear before setting.
  for (const auto& [name, statement] : from.pairs()) {
    if (!decides_privileges(name) && !to.find(name)) steps.push_back(reset_statement(name));
  }
  for (const auto& [name, statement] : to.pairs()) {
    if (decides_privileges(name)) continue;
    const std::string* now = from.find(name);
    if (!now || *now != statement) steps.push_back(statement);
  }
  for (const std::string_view name : {kSessionAuthorization, kRole}) {
    if (const std::string* statement = to.find(name)) steps.push_back(*statement);
  }
  return steps;
}

std::string settings_change(const NameValues& from, const NameValues& to) {
  std::string sql;
  for (const std::string& step : settings_steps(from, to)) sql.append(step).push_back(';');
  return sql;
}

NameValuesPtr settings_for_parsing(const NameValuesPtr& settings) {
  static constexpr std::array<std::string_view, 16> kHarmless = {
      "application_name",
      "bytea_output",
      "client_min_messages",
      "default_transaction_deferrable",
      "default_transaction_isolation",
      "default_transaction_read_only",
      "extra_float_digits",
      "idle_in_transaction_session_timeout",
      "lock_timeout",
      // Hints say where, not what; and a client may set another for each of its requests.
      "pgshunt.key",
      "pgshunt.keyspace",
      "pgshunt.role",
      "pgshunt.shard",
      "statement_timeout",
      "synchronous_commit",
      "work_mem",
  };
  NameValuesPtr out = settings;
  for (const std::string_view name : kHarmless) out = without(out, name);
  return out;
}

}  // namespace pgshunt
