// PREPARE, EXECUTE and DEALLOCATE of SQL. A server that has the statement's tables is asked whether
// it may be prepared, and the name is kept as in a database that is not sharded (the link renames,
// statement_names.h remembers). An EXECUTE is served as the statement that it says
// (router/execute_text.h), so it may go anywhere.
#include "protocol/frontend.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/session/statement_reading.h"
#include "router/execute_text.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

// Not an EXPLAIN of it, nor a CREATE TABLE from it.
bool is_execute(const StatementEffects& statement) {
  SqlLexer lexer(statement.text);
  SqlToken token;
  return lexer.next(token) && word_is(lexer.text(token), "execute");
}

}  // namespace

// Nothing: it is none of them.
std::optional<ShardedConversation::Verdict> ShardedConversation::serve_prepared(
    const FrameHeader& header, std::string_view frame, const StatementEffects& statement) {
  switch (statement.verb) {
    case Verb::kPrepare: {
      const std::string_view text =
          statement_of_prepare(statement.value, session_.standard_conforming_strings());
      const auto plan = router_.prepare(text, {}, router_session());
      if (!plan) return refuse(plan.error());
      const auto home = router_.home_of(**plan, router_session());
      return run_on_shard(home.value_or(home_shard()), header, frame, &statement);
    }
    case Verb::kDeallocate:
    case Verb::kDeallocateAll:
      return run_on_shard(home_shard(), header, frame, &statement);
    case Verb::kExecute:
      if (is_execute(statement)) return execute_prepared(statement);
      break;
    default:
      break;
  }
  return std::nullopt;
}

ShardedConversation::Verdict ShardedConversation::execute_prepared(
    const StatementEffects& execute) {
  const SessionState& state = session_.state();
  const StatementPtr* const known = state.names.find(execute.name);
  if (known == nullptr) return refuse(no_such_statement(execute.name));
  const Statement& prepared = **known;
  const bool conforming = session_.standard_conforming_strings();
  // Its literals stand for what they meant then.
  if (prepared.settings != state.parse_settings() || prepared.conforming_strings != conforming) {
    return refuse({sqlstate::kFeatureNotSupported,
                   "EXECUTE under other settings than those of its PREPARE is not supported on a "
                   "sharded database",
                   "Prepare it anew."});
  }
  std::string text;
  if (prepared.by_sql) {
    auto said = text_of_execute(prepared.text, execute.value, execute.name, conforming);
    if (!said) return refuse(said.error());
    text = std::move(*said);
  } else {
    const bool constant = execute.value.empty() && uses_of_parameters(prepared.text).empty();
    if (!constant || prepared.explain || !prepared.written.empty()) {
      return refuse({sqlstate::kFeatureNotSupported,
                     "EXECUTE of a statement that was prepared by the protocol is not supported",
                     "Bind and execute it by the protocol."});
    }
    text = prepared.text;
  }
  std::string frame;
  append_query(frame, text);
  FrameHeader header;
  read_frame_header(frame, kMaxBodySize, header);
  StatementScanner scan(text, conforming);
  StatementEffects statement;
  if (!scan.next(statement)) return refuse(no_such_statement(execute.name));
  return serve_routed(header, frame, text, statement);
}

}  // namespace pgshunt
