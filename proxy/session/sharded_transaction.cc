// How a transaction over shards is told to them: BEGIN is remembered, savepoints and SET LOCAL go
// to all that take part, COMMIT and ROLLBACK end it on all of them together.
#include <algorithm>

#include "proxy/database.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/session/statement_reading.h"
#include "proxy/worker.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

// COMMIT AND CHAIN, as opposed to AND NO CHAIN.
bool chains(const StatementEffects& statement) {
  SqlLexer lexer(statement.value);
  SqlToken word;
  return lexer.next(word) && lexer.next(word) && word_is(lexer.text(word), "chain");
}

// SET LOCAL name TO DEFAULT.
bool sets_default(std::string_view statement) {
  SqlLexer lexer(statement);
  SqlToken token;
  bool is_default = false;
  while (lexer.next(token)) {
    if (lexer.is_symbol(token, ';')) break;
    is_default = token.kind == TokenKind::kIdentifier && word_is(lexer.text(token), "default");
  }
  return is_default;
}

}  // namespace

// A cancel that was meant for what a shard has failed to do must not meet what comes next. False:
// the session is resumed when it cannot any more.
bool ShardedConversation::no_late_cancels() {
  bool none = true;
  for (ServerLink* link : enlisted_links()) none &= link->acquire();
  return none;
}

ShardedConversation::Verdict ShardedConversation::control_transaction(
    const StatementEffects& statement) {
  std::string& out = worker_.client_out();
  const auto warn = [&](std::string_view code, std::string_view text) {
    append_notice_response(out, Severity::kWarning, Sqlstate(code), text);
  };
  if (statement.verb != Verb::kBegin && !no_late_cancels()) return Verdict::kWait;
  // No shard may ever hear it, or only one that joins later.
  const bool bare = statement.verb == Verb::kBegin || statement.verb == Verb::kCommit ||
                    statement.verb == Verb::kRollback;
  if (!bare || !statement.value.empty()) {
    if (const Status good = Router::check_syntax(statement.text); !good)
      return refuse(good.error());
  }
  switch (statement.verb) {
    case Verb::kBegin:
      if (transaction_.failed()) return refuse(failed_transaction_error());
      if (transaction_.implicit() && transaction_.shards().empty()) transaction_.end();
      if (transaction_.implicit()) {
        if (!statement.value.empty()) {
          return refuse({sqlstate::kFeatureNotSupported,
                         "BEGIN with modes is not supported behind the writes of a pipeline",
                         "Send a Sync before it."});
        }
        transaction_.make_explicit();
      } else if (transaction_.open()) {
        warn("25001", "there is already a transaction in progress");
      } else {
        transaction_.begin(statement.text);
      }
      reply(word_is(statement.text.substr(0, 5), "start") ? "START TRANSACTION" : "BEGIN");
      return Verdict::kTaken;
    case Verb::kCommit:
    case Verb::kRollback:
      if ((!transaction_.open() || transaction_.implicit()) && chains(statement)) {
        const std::string_view what = statement.verb == Verb::kCommit ? "COMMIT" : "ROLLBACK";
        return refuse({Sqlstate("25P01"),
                       std::string(what) + " AND CHAIN can only be used in transaction blocks",
                       {}});
      }
      if (!transaction_.open()) {
        warn("25P01", "there is no transaction in progress");
        reply(statement.verb == Verb::kCommit ? "COMMIT" : "ROLLBACK");
        return Verdict::kTaken;
      }
      // It ends the implicit one all the same (EndTransactionBlock).
      if (transaction_.implicit()) warn("25P01", "there is no transaction in progress");
      return end_transaction(statement.verb == Verb::kCommit && !transaction_.failed(),
                             chains(statement));
    case Verb::kSetLocal:  // by the extended protocol
      if (transaction_.failed()) return refuse(failed_transaction_error());
      return say_to_transaction(statement);
    case Verb::kPrepareTransaction:
      return refuse({sqlstate::kFeatureNotSupported,
                     "PREPARE TRANSACTION is not supported on a sharded database",
                     "The proxy commits on all shards itself."});
    default:
      break;
  }
  // Savepoints
  const bool rollback = statement.verb == Verb::kRollbackTo;
  if (!transaction_.open() || transaction_.implicit()) {
    return refuse({Sqlstate("25P01"), "savepoints can only be used in transaction blocks", {}});
  }
  if (transaction_.failed() && !rollback) return refuse(failed_transaction_error());
  const bool create = statement.verb == Verb::kSavepoint;
  if (!create && !transaction_.has_savepoint(statement.name)) {
    return refuse({Sqlstate("3B001"),
                   "savepoint \"" + std::string(statement.name) + "\" does not exist",
                   {}});
  }
  if (create) {
    transaction_.savepoint(statement.name, statement.text);
    session_.state().settings.savepoint(statement.name);
  } else if (rollback) {
    cursors_.roll_back_to(transaction_.savepoints_before(statement.name));
    release_kept_servers();
    transaction_.rollback_to(statement.name);
    note_local_strings();
    session_.state().settings.rollback_to(statement.name);
    // Each shard takes back what it was told since, which depends on when it joined.
    doubt_settings(session_.state().settings.touched());
  } else {
    cursors_.release(transaction_.savepoints_before(statement.name));
    transaction_.release(statement.name);
    session_.state().settings.release_savepoint(statement.name);
  }
  const std::string_view tag = create ? "SAVEPOINT" : rollback ? "ROLLBACK" : "RELEASE";
  return tell_transaction(statement.text, tag);
}

// Every participant hears `sql`; then the client reads `tag`.
ShardedConversation::Verdict ShardedConversation::tell_transaction(std::string_view sql,
                                                                   std::string_view tag) {
  std::vector<ServerLink*> links = enlisted_links();
  if (links.empty()) {
    reply(tag);
    return Verdict::kTaken;
  }
  pending_reply_ = tag;
  after_ = After::kReport;
  begin_fan_out(std::move(links), {}, sql);
  return Verdict::kTaken;
}

// SET LOCAL is checked by a server: is there one that takes part in the transaction? False: it has
// to be waited for.
bool ShardedConversation::can_be_said() {
  const ShardId home = home_shard();
  return !transaction_.open() || transaction_.failed() || !transaction_.shards().empty() ||
         acquire({&home, 1});
}

// SET LOCAL, SET TRANSACTION.
ShardedConversation::Verdict ShardedConversation::say_to_transaction(
    const StatementEffects& statement) {
  const Status good = check_hint_setting(statement.name, statement.verb, statement.text);
  if (!good) return refuse(good.error());
  const bool mode = statement.name == "transaction" || statement.name.starts_with("transaction_");
  if (!transaction_.open()) {
    append_notice_response(worker_.client_out(), Severity::kWarning, Sqlstate("25P01"),
                           mode ? "SET TRANSACTION can only be used in transaction blocks"
                                : "SET LOCAL can only be used in transaction blocks");
    reply("SET");
    return Verdict::kTaken;
  }
  std::string text(statement.text);
  // The startup packet's value is the session's default, of which no server knows.
  const std::string_view startup = session_.state().settings.startup_statement(statement.name);
  if (!startup.empty() && sets_default(text)) text = "SET LOCAL " + std::string(startup.substr(4));
  const Verdict verdict = tell_transaction(text, "SET");
  if (mode) {
    transaction_.set_mode(statement.text);
  } else {
    transaction_.set_local(statement.name, text);
    // What is prepared now may mean something else than it does for everybody else.
    session_.state().has_local_settings = true;
    note_local_strings();
  }
  return verdict;
}

// A shard that has not joined yet has not said how it will read strings.
void ShardedConversation::note_local_strings() {
  const std::string_view said = transaction_.local("standard_conforming_strings");
  if (said.empty()) return session_.set_local_strings(std::nullopt);
  SqlLexer lexer(said);
  SqlToken token;
  std::string_view value;
  while (lexer.next(token)) {
    if (!lexer.is_symbol(token, ';')) value = lexer.text(token);
  }
  if (value.size() > 2 && value.front() == '\'') value = value.substr(1, value.size() - 2);
  // Whatever else: a backslash is refused then, if a route depends on it.
  session_.set_local_strings(word_is(value, "on") || word_is(value, "true") || value == "1");
}

ShardedConversation::Verdict ShardedConversation::end_transaction(bool commit, bool chain) {
  chain_ = chain;
  if (auto holding = servers_to_hold(); commit && !holding.empty()) {
    // Once, whatever becomes of it.
    cursors_.for_each([](const std::string&, OpenCursor& cursor) { cursor.put_by = cursor.hold; });
    hold_cursors(std::move(holding));
    return Verdict::kTaken;
  }
  std::vector<ServerLink*> links = enlisted_links();
  if (commit && in_two_phases() && links.size() > 1 && !transaction_.writers().empty()) {
    pending_reply_ = "COMMIT";
    after_ = After::kEndTransaction;
    begin_commit(links, false, transaction_.wrote_everywhere);
    return Verdict::kTaken;
  }
  settle_session(commit);
  const std::string_view tag = commit ? "COMMIT" : "ROLLBACK";
  if (links.empty()) {
    finish_transaction(false, commit);
    if (!pending_error_.empty()) {
      silent_end_ = false;
      worker_.client_out().append(std::exchange(pending_error_, {}));
      unit_done(true);
    } else if (std::exchange(silent_end_, false)) {
      worker_.client_out().append(std::exchange(end_reply_, {}));
      unit_done(false);
    } else {
      reply(tag);
    }
    return Verdict::kTaken;
  }
  pending_reply_ = tag;
  after_ = After::kEndTransaction;
  FanOutPlan plan;
  if (transaction_.wrote_everywhere) plan.order = FanOutPlan::Order::kFirstLast;
  begin_fan_out(std::move(links), std::move(plan), tag);
  return Verdict::kTaken;
}

// What of the session belongs to the transaction: settings, channels.
void ShardedConversation::settle_session(bool commit) {
  SessionSettings& settings = session_.state().settings;
  if (commit) {
    settings.commit();
  } else {
    ddl_ = false;
    // Which settings a shard takes back depends on when it joined: not worth knowing.
    forget_servers_ = settings.current() != settings.committed();
    settings.rollback();
  }
  session_.settle_channels(commit);
}

ShardedConversation::Verdict ShardedConversation::end_implicit_transaction() {
  silent_end_ = true;
  return end_transaction(!transaction_.failed(), false);
}

void ShardedConversation::finish_transaction(bool failed, bool committed) {
  if (std::exchange(chain_, false) && !failed) {
    transaction_.chain();
  } else {
    transaction_.end();
  }
  cursors_.end_transaction(committed);
  release_kept_servers();
  explain_portals_.clear();
  note_local_strings();
  session_.state().has_local_settings = (session_.state().pins & kEffectSetConfig) != 0;
}

void ShardedConversation::on_fan_out_done(FanOut& fan_out) {
  std::unique_ptr<FanOut> finished = std::move(fan_out_);
  const bool failed = fan_out.failed();
  const Error& error = fan_out.error();  // buried, it lives on until a later turn
  const std::string complaint = failed ? fan_out.error_response() : std::string();
  std::string agreed = fan_out.plan().preface + fan_out.reply();
  if (analysis_ && !merge_run_) {
    if (!failed) agreed = analyzed_reply(fan_out);
    analysis_.reset();
  }
  const std::uint64_t affected = fan_out.affected();
  const FanOutPlan::Use use = fan_out.plan().use;
  const std::size_t shards_done = fan_out.shards_done();
  const bool broken = fan_out.broken();
  worker_.bury(std::move(finished));
  if (merge_instead_ && fan_out.unmergeable() && !broken) {
    merge_instead_->why = error.message;
    if (!merge_instead()) session_.resume();
    return;
  }
  merge_instead_.reset();

  if (broken && transaction_.open()) {
    session_.close_with(error);
    return;
  }
  std::string& out = worker_.client_out();
  const auto finish = [&] {
    if (failed) {
      out.append(complaint);
      if (transaction_.open()) transaction_.fail();
    }
    unit_done(failed);
  };
  switch (after_) {
    case After::kEndWrite:
      end_write(failed, failed ? complaint : agreed);
      return;
    case After::kMove:
      continue_move(failed, failed ? complaint : agreed, affected);
      return;
    case After::kInsertSelect:
      insert_select_step_done(fan_out, complaint);
      return;
    case After::kMergeNode:
      merge_step_done(fan_out, complaint);
      return;
    case After::kCursor:
      cursor_step_done(fan_out, complaint);
      return;
    case After::kHold:
      cursors_held(complaint);
      return;
    case After::kOneByOne:
      end_one_by_one(error, agreed, shards_done);
      return;
    case After::kReply:
      if (!failed && use == FanOutPlan::Use::kMerge) {
        fan_out.append_end(out);
      } else if (!failed) {
        out.append(agreed);
      }
      finish();
      return;
    case After::kCommit: {
      // Nothing is visible yet: the reply waits for the commit.
      pending_error_ = complaint;
      pending_reply_ = agreed;
      after_ = After::kCommitted;
      std::vector<ServerLink*> links;
      for (const auto& each : links_) {
        if (each && each->ready() && each->transaction() != TransactionStatus::kIdle) {
          links.push_back(each.get());
        }
      }
      if (!failed && links.size() > 1 && in_two_phases()) {
        begin_commit(links, true, true);
        return;
      }
      if (!links.empty()) {
        FanOutPlan plan;
        plan.order = FanOutPlan::Order::kFirstLast;
        begin_fan_out(std::move(links), std::move(plan), failed ? "ROLLBACK" : "COMMIT");
        return;
      }
      out.append(complaint);
      unit_done(true);
      return;
    }
    case After::kCommitted:
      if (!pending_error_.empty()) {
        out.append(std::exchange(pending_error_, {}));
        unit_done(true);
      } else if (failed) {
        append_error_response(
            out, Severity::kError,
            {sqlstate::kTransactionResolutionUnknown,
             "a shard failed while committing, others may have committed: " + error.message,
             "Compare the shards' copies of the table."});
        unit_done(true);
      } else {
        out.append(pending_reply_);
        unit_done(false);
      }
      return;
    case After::kReport:
      if (!failed) append_command_complete(out, pending_reply_);
      finish();
      return;
    case After::kEndTransaction: {
      const bool committing = pending_reply_ == "COMMIT";
      const bool silent = std::exchange(silent_end_, false);
      const std::string end_reply = std::exchange(end_reply_, {});
      const std::size_t participants = transaction_.shards().size();
      finish_transaction(failed, committing && !failed);
      if (std::exchange(forget_servers_, false)) {
        for (const auto& each : links_) {
          if (each) each->forget_server("SET was rolled back");
        }
      }
      if (failed && committing && participants > 1) {
        append_error_response(
            out, Severity::kError,
            {sqlstate::kTransactionResolutionUnknown,
             "a shard failed while committing, others may have committed: " + error.message,
             {}});
      } else if (failed) {
        out.append(complaint);
      } else if (!pending_error_.empty()) {
        out.append(std::exchange(pending_error_, {}));
        unit_done(true);
        return;
      } else if (silent) {
        out.append(end_reply);
      } else {
        append_command_complete(out, pending_reply_);
      }
      unit_done(failed);
      return;
    }
  }
}

}  // namespace pgshunt
