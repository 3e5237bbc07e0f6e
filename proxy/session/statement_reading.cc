#include "proxy/session/statement_reading.h"

#include "proxy/database.h"
#include "proxy/session/explain_route.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

std::string_view canonical_setting(std::string_view name) {
  return name == "time zone" ? std::string_view("timezone") : name;
}

constexpr std::uint32_t kMaxUnnamedTag = (1u << 31) - 1;

// Does nothing, and is allowed wherever DEALLOCATE is.
constexpr std::string_view kNothing = "UNLISTEN \"pgshunt nothing\"";

// Not shared: two sessions' PREPAREs of one text would collide on a server that has it already.
StatementPtr sql_statement(const SessionState& state, const StatementEffects& prepare) {
  Statement statement;
  statement.text = prepare.value;
  statement.by_sql = true;
  statement.settings = state.parse_settings();
  const std::string* strings = state.known->find("standard_conforming_strings");
  statement.conforming_strings = !strings || *strings != "off";
  statement.effect.effects = prepare.effects;
  return own_statement(std::move(statement));
}

}  // namespace

const Error& failed_transaction_error() {
  static const Error error{
      sqlstate::kInFailedTransaction,
      "current transaction is aborted, commands ignored until end of transaction block",
      {}};
  return error;
}

bool changes_session(Verb verb) {
  switch (verb) {
    case Verb::kSavepoint:
    case Verb::kReleaseSavepoint:
    case Verb::kRollbackTo:
    case Verb::kSet:
    case Verb::kSetSessionAuthorization:
    case Verb::kSetCharacteristics:
    case Verb::kReset:
    case Verb::kResetAll:
    case Verb::kDiscardAll:
    case Verb::kPrepare:
    case Verb::kDeallocate:
    case Verb::kDeallocateAll:
    case Verb::kListen:
    case Verb::kUnlisten:
    case Verb::kUnlistenAll:
      return true;
    default:
      return false;
  }
}

bool controls_transaction(Verb verb) {
  switch (verb) {
    case Verb::kBegin:
    case Verb::kCommit:
    case Verb::kRollback:
    case Verb::kSavepoint:
    case Verb::kReleaseSavepoint:
    case Verb::kRollbackTo:
    case Verb::kPrepareTransaction:
      return true;
    default:
      return false;
  }
}

bool names_statement(Verb verb) {
  return verb == Verb::kPrepare || verb == Verb::kExecute || verb == Verb::kDeallocate ||
         verb == Verb::kDeallocateAll;
}

CompletionEffect completion_effect(const Session& session, const StatementEffects& statement) {
  CompletionEffect effect;
  effect.verb = statement.verb;
  effect.effects = statement.effects;
  effect.name = canonical_setting(statement.name);
  const bool conforming = session.standard_conforming_strings();
  if (statement.verb == Verb::kSet) {
    effect.text = portable_statement(statement.text, conforming);
  } else if (statement.verb == Verb::kSetSessionAuthorization) {
    effect.name = "session_authorization";
    effect.text = portable_statement(statement.text, conforming);
  } else if (statement.verb == Verb::kSetCharacteristics) {
    effect.text = statement.value;
  } else if (!startup_statement(session.state(), statement).empty() &&
             word_is(statement.text.substr(0, 5), "reset")) {
    effect.tag = "RESET";  // the server says SET
  }
  return effect;
}

std::string_view startup_statement(const SessionState& state, const StatementEffects& statement) {
  if (statement.verb != Verb::kReset) return {};
  return state.settings.startup_statement(canonical_setting(statement.name));
}

std::string rename_statement(const SessionState& state, std::string_view sql,
                             const StatementEffects& named, CompletionEffect& effect) {
  std::string out(sql);
  const StatementPtr* known = state.names.find(named.name);
  if (named.verb == Verb::kDeallocateAll || (named.verb == Verb::kDeallocate && known)) {
    // Other clients may use the same statement: it stays, until it is the least used one.
    effect.tag = named.verb == Verb::kDeallocate ? "DEALLOCATE" : "DEALLOCATE ALL";
    out.replace(static_cast<std::size_t>(named.text.data() - sql.data()), named.text.size(),
                kNothing);
    return out;
  }
  std::string name;
  if (named.verb == Verb::kPrepare) {
    effect.statement = sql_statement(state, named);
    name = effect.statement->server_name;
  } else if (named.verb == Verb::kExecute && known) {
    effect.statement = *known;
    effect.effects |= (*known)->effect.effects;
    name = effect.statement->server_name;
  } else if (named.name.starts_with("pgshunt_")) {
    name = "\"no " + std::string(named.name) + '"';  // nobody else's statement either
  } else {
    return out;  // the server will say that there is none
  }
  out.replace(named.name_begin, named.name_end - named.name_begin, name);
  return out;
}

bool describe_statement(const Session& session, std::string_view sql, std::string& text,
                        CompletionEffect& effect) {
  StatementScanner scan(sql, session.standard_conforming_strings());
  StatementEffects statement;
  scan.next(statement);
  if (names_statement(statement.verb)) {
    effect = completion_effect(session, statement);
    if (statement.verb != Verb::kPrepare) effect.source = sql;
    text = rename_statement(session.state(), sql, statement, effect);
    return true;
  }
  const std::string_view startup = startup_statement(session.state(), statement);
  text.assign(startup.empty() ? sql : startup);
  if (changes_session(statement.verb)) {
    effect = completion_effect(session, statement);
  } else {
    // What is left of the last one costs nothing to keep, and this is every statement's way.
    effect.verb = statement.verb;
    effect.effects = statement.effects;
    effect.statement = nullptr;
    effect.source.clear();
  }
  return !startup.empty();
}

bool remember_unnamed(Session& session, const ParseView& parse) {
  SessionState::Unnamed& unnamed = session.state().unnamed;
  unnamed.tag = unnamed.tag == kMaxUnnamedTag ? 1 : unnamed.tag + 1;
  unnamed.routines_version = 0;
  unnamed.types.resize(parse.types.size());
  for (std::size_t i = 0; i < unnamed.types.size(); ++i) unnamed.types[i] = parse.types.of(i);
  unnamed.made_values = 0;
  const bool other = describe_statement(session, parse.sql, unnamed.text, unnamed.effect);
  if (!session.state().planner) return other;
  const bool explains =
      read_explain_route(parse.sql, session.standard_conforming_strings()).has_value();
  if (!explains && unnamed.effect.verb != Verb::kInsert) return other;
  const auto statement = statement_of(session, parse);
  if (!statement || (*statement)->written.empty()) return other;
  unnamed.text = (*statement)->text;
  unnamed.made_values = (*statement)->made_values;
  unnamed.effect = (*statement)->effect;
  return true;
}

Status free_name(Session& session, std::string_view name) {
  const StatementNames& names = session.state().names;
  if (names.find(name)) return duplicate_statement(name);
  const std::size_t limit = session.worker().snapshot()->config->max_client_prepared_statements;
  if (names.size() < limit) return Ok{};
  return Error{sqlstate::kProgramLimitExceeded,
               "this client has " + std::to_string(limit) + " prepared statements already",
               "Close some, or raise max_client_prepared_statements."};
}

Result<StatementPtr> statement_of(Session& session, const ParseView& parse) {
  SessionState& state = session.state();
  std::vector<std::uint32_t>& types = state.parse_types;
  types.resize(parse.types.size());
  for (std::size_t i = 0; i < types.size(); ++i) types[i] = parse.types.of(i);
  StatementTable& table = session.worker().statements();
  const std::uint64_t scope = session.database()->scope;
  const bool for_all = !state.has_local_settings;
  if (for_all) {
    StatementPtr known = table.find(scope, parse.sql, types, state.parse_settings());
    if (known && (!state.planner || state.planner->values_are_current(*known))) return known;
  }
  Statement fresh;
  fresh.types = types;
  fresh.settings = state.parse_settings();
  fresh.conforming_strings = session.standard_conforming_strings();
  const bool own = describe_statement(session, parse.sql, fresh.text, fresh.effect);
  if (state.planner) {
    auto plan = state.planner->plan(fresh);
    if (!plan) return plan.error();
    fresh.plan = std::move(*plan);
    if (const Status done = state.planner->rewrite(fresh); !done) return done.error();
  }
  if (own || !for_all) return own_statement(std::move(fresh));
  return table.add(scope, std::move(fresh));
}

}  // namespace pgshunt
