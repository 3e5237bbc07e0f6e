#include "proxy/session/tracked_search_path.h"

#include <algorithm>

#include "router/sql_decode.h"
#include "router/sql_lexer.h"
#include "router/topology.h"

namespace pgshunt {
namespace {

// PostgreSQL's own default.
constexpr std::string_view kDefault = "SET search_path TO \"$user\", public";

// The names behind the setting's own name: identifiers or strings with commas between them.
bool read_names(SqlLexer& lexer, std::vector<std::string>& out) {
  SqlToken token;
  bool wants_name = true;
  while (lexer.next(token)) {
    if (!wants_name) {
      if (!lexer.is_symbol(token, ',')) return lexer.is_symbol(token, ';') && !lexer.next(token);
      wants_name = true;
      continue;
    }
    std::string name;
    const bool read = is_name(token.kind) ? append_identifier(lexer.sql(), token, name)
                                          : append_string(token.kind, lexer.text(token), name);
    if (!read) return false;
    out.push_back(std::move(name));
    wants_name = false;
  }
  return !wants_name;
}

// "$user" is who is current: SET ROLE decides that before anything else. Nothing: not known.
std::optional<std::string> current_user(const NameValues& settings, std::string_view user) {
  if (settings.find("session_authorization") != nullptr) return std::nullopt;
  const std::string* role = settings.find("role");
  if (role == nullptr) return std::string(user);
  SqlLexer lexer(*role);
  SqlToken token;
  while (lexer.next(token)) {
    const bool last = word_is(lexer.text(token), "role") || lexer.text(token) == "\"role\"";
    if (!last) continue;
    SqlLexer ahead = lexer;
    SqlToken to;
    if (ahead.next(to) && (word_is(ahead.text(to), "to") || ahead.is_symbol(to, '=')))
      lexer = ahead;
    std::vector<std::string> names;
    if (!read_names(lexer, names) || names.size() != 1) return std::nullopt;
    return names.front() == "none" ? std::string(user) : names.front();
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::vector<std::string>> schemas_of_set(std::string_view statement) {
  SqlLexer lexer(statement);
  SqlToken token;
  const auto at = [&](std::string_view word) { return word_is(lexer.text(token), word); };
  if (!lexer.next(token) || !at("set") || !lexer.next(token)) return std::nullopt;
  if (at("session") || at("local")) {
    if (!lexer.next(token)) return std::nullopt;
  }
  if (!at("schema")) {
    std::string name;
    if (!is_name(token.kind) || !append_identifier(lexer.sql(), token, name)) return std::nullopt;
    if (!word_is(name, "search_path") || !lexer.next(token)) return std::nullopt;
    if (!at("to") && !lexer.is_symbol(token, '=')) return std::nullopt;
  }
  std::vector<std::string> names;
  SqlLexer ahead = lexer;
  if (ahead.next(token) && token.kind == TokenKind::kIdentifier && at("default")) {
    return schemas_of_set(kDefault);
  }
  if (!read_names(lexer, names)) return std::nullopt;
  return names;
}

void TrackedSearchPath::tell(const NameValues& settings, std::string_view local,
                             std::string_view user, const Topology& topology, RouterSession& out) {
  const std::string* set = settings.find("search_path");
  out.default_search_path = set == nullptr && local.empty();
  out.search_path = nullptr;
  if (out.default_search_path) {
    if (!topology.has_tenant_schemas()) return;
    const auto current = current_user(settings, user);
    if (current && !topology.home_of_schema(*current)) return;
  }
  const auto current = current_user(settings, user);
  out.default_search_path = false;
  // Of a SET and a SET LOCAL the later one holds, and which that is was not kept.
  if (set != nullptr && !local.empty()) return;
  const std::string_view statement = !local.empty() ? local
                                     : set          ? std::string_view(*set)
                                                    : kDefault;
  // Without "$user" in it, nobody need know who that is.
  if (!current && statement.find("$user") != std::string_view::npos) return;
  const SearchPath* path = parsed(statement, current.value_or(std::string()), topology);
  if (path != nullptr && path->schemas() == topology.search_path) {
    out.default_search_path = true;  // in other words
  } else {
    out.search_path = path;
  }
}

const SearchPath* TrackedSearchPath::parsed(std::string_view statement, std::string_view user,
                                            const Topology& topology) {
  if (statement != statement_ || user != user_ || topology.epoch != epoch_) {
    statement_ = statement;
    user_ = user;
    epoch_ = topology.epoch;
    path_.reset();
    if (auto schemas = schemas_of_set(statement)) {
      // As in the topology's own path, a user has no schema unless it is a tenant's or has declared
      // tables. Of the system's schemas nothing is looked for along a path.
      const bool has_schema =
          topology.home_of_schema(user) ||
          std::any_of(topology.tables.begin(), topology.tables.end(),
                      [user](const Table& table) { return table.schema == user; });
      if (!has_schema) std::erase(*schemas, "$user");
      std::replace(schemas->begin(), schemas->end(), std::string("$user"), std::string(user));
      std::erase(*schemas, "pg_catalog");
      path_.emplace(std::move(*schemas));
    }
  }
  return path_ ? &*path_ : nullptr;
}

}  // namespace pgshunt
