// A message of several statements that do not all run on one shard: they are served one after the
// other, each where it belongs.
//
// As on one server ("Multiple Statements in a Simple Query" in the protocol's chapter), they are
// one transaction unless they say otherwise: an error undoes them all and ends the message, BEGIN
// makes a block of what is there already, and behind COMMIT the next statement begins anew. The
// grammar of all is checked before the first of them runs.
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/session/statement_reading.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

bool names_prepared_statement(Verb verb) {
  return verb == Verb::kPrepare || verb == Verb::kExecute || verb == Verb::kDeallocate ||
         verb == Verb::kDeallocateAll;
}

}  // namespace

ShardedConversation::Verdict ShardedConversation::begin_script(std::string_view sql) {
  Script script;
  StatementScanner scan(sql, session_.standard_conforming_strings());
  StatementEffects statement;
  while (scan.next(statement)) {
    if (const Status good = Router::check_syntax(statement.text); !good) {
      return refuse(good.error());
    }
    if (names_prepared_statement(statement.verb) || statement.verb == Verb::kListen) {
      return refuse(
          {sqlstate::kFeatureNotSupported,
           "PREPARE, EXECUTE, DEALLOCATE and LISTEN cannot share a message with statements "
           "of other shards",
           "Send them one by one."});
    }
    script.statements.emplace_back(statement.text);
  }
  script_ = std::move(script);
  ready_owed_ = false;
  session_.resume();
  return Verdict::kTaken;
}

// The next statement, or the end of the message.
ShardedConversation::Verdict ShardedConversation::continue_script() {
  if (script_->failed || script_->next == script_->statements.size()) return end_script();
  if (!transaction_.open()) transaction_.begin_implicit();
  const std::string_view text = script_->statements[script_->next];
  std::string frame;
  append_query(frame, text);
  FrameHeader header;
  read_frame_header(frame, kMaxBodySize, header);
  StatementScanner scan(text, session_.standard_conforming_strings());
  StatementEffects statement;
  scan.next(statement);
  return serve_statement(header, frame, text, statement);
}

void ShardedConversation::script_step_done(bool failed) {
  script_->failed |= failed;
  if (!failed) ++script_->next;
  session_.resume();
}

ShardedConversation::Verdict ShardedConversation::end_script() {
  script_.reset();
  for (const auto& each : links_) {
    if (each) each->withhold_ready(false);
  }
  ready_owed_ = true;
  if (transaction_.implicit()) return end_implicit_transaction();
  unit_done(false);
  return Verdict::kTaken;
}

}  // namespace pgshunt
