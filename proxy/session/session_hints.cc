#include "proxy/session/session_hints.h"

#include <algorithm>
#include <iterator>

#include "router/hint_plan.h"
#include "router/sql_decode.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

constexpr Sqlstate kUndefinedObject{"42704"};
constexpr std::string_view kSettings[] = {"pgshunt.shard", "pgshunt.key", "pgshunt.keyspace",
                                          "pgshunt.role"};

Status add(std::string_view name, std::string_view statement, RouteHint& out) {
  const auto value = value_of_set(statement);
  return value ? set_hint(name.substr(kHintSettingPrefix.size()), *value, out) : Status(Ok{});
}

// All but `without`.
RouteHint read(const NameValues& settings, const ShardTransaction& transaction,
               std::string_view without = {}) {
  RouteHint out;
  out.of_session = true;
  for (const std::string_view name : kSettings) {
    if (name == without) continue;
    // What has been checked before cannot fail. What a function has set is found out by the
    // statement that is routed by it, but for a role, which says nothing then.
    if (const std::string_view local = transaction.local(name); !local.empty()) {
      (void)add(name, local, out);
    } else if (const std::string* set = settings.find(name)) {
      (void)add(name, *set, out);
    }
  }
  return out;
}

}  // namespace

std::optional<std::string> value_of_set(std::string_view statement) {
  SqlLexer lexer(statement);
  SqlToken token;
  // SET [SESSION | LOCAL] name[.name] TO | =
  while (lexer.next(token) && !lexer.is_symbol(token, '=')) {
    if (token.kind == TokenKind::kIdentifier && word_is(lexer.text(token), "to")) break;
  }
  std::string value;
  const bool negative = lexer.next(token) && lexer.is_symbol(token, '-');
  if (negative) {
    value = "-";
    lexer.next(token);
  }
  bool read = false;
  if (token.kind == TokenKind::kInteger || token.kind == TokenKind::kDecimal) {
    read = append_number(lexer.text(token), value);
  } else if (token.kind == TokenKind::kIdentifier && word_is(lexer.text(token), "default")) {
    read = false;
  } else if (is_name(token.kind)) {
    read = append_identifier(lexer.sql(), token, value);
  } else {
    read = append_string(token.kind, lexer.text(token), value);
  }
  if (!read || value.empty()) return std::nullopt;
  return value;
}

Status check_startup_hints(const NameValuesPtr& settings, const Topology& topology) {
  const SessionHints hints;
  const ShardTransaction none;
  for (const auto& [name, statement] : settings->pairs()) {
    if (!is_hint_setting(name)) continue;
    const Status good = hints.check(name, statement, settings, none, topology);
    if (!good) return good.error();
  }
  return Ok{};
}

const RouteHint* SessionHints::current(const NameValuesPtr& settings,
                                       const ShardTransaction& transaction) {
  const bool local = transaction.open() &&
                     std::any_of(std::begin(kSettings), std::end(kSettings),
                                 [&](auto name) { return !transaction.local(name).empty(); });
  if (local) {
    hint_ = read(*settings, transaction);
    settings_.reset();
  } else if (settings_ != settings) {
    hint_ = read(*settings, transaction);
    settings_ = settings;
  }
  return hint_.places() ? &hint_ : nullptr;
}

Status SessionHints::check(std::string_view name, std::string_view statement,
                           const NameValuesPtr& settings, const ShardTransaction& transaction,
                           const Topology& topology) const {
  if (std::find(std::begin(kSettings), std::end(kSettings), name) == std::end(kSettings)) {
    return Error{kUndefinedObject, "there is no setting \"" + std::string(name) + "\"",
                 "There are pgshunt.shard, pgshunt.key, pgshunt.keyspace and pgshunt.role."};
  }
  if (statement.empty()) return Ok{};
  RouteHint hint = read(*settings, transaction, name);
  if (name == "pgshunt.shard") hint.key.reset();
  if (name == "pgshunt.key") hint.shard.reset();
  if (const Status set = add(name, statement, hint); !set) return set.error();
  if (name == "pgshunt.role") return Ok{};
  if (name == "pgshunt.keyspace") hint.key.reset();
  return check_hint(topology, hint);
}

}  // namespace pgshunt
