// The first words of a statement: which verb they make, whose name follows, where its value starts.
#include "router/sql_decode.h"
#include "router/statement_reader.h"

namespace pgshunt {
namespace {

bool mentions_temp_schema(std::string_view value) {
  constexpr std::string_view kTemp = "pg_temp";
  for (std::size_t i = 0; i + kTemp.size() <= value.size(); ++i) {
    if (word_is(value.substr(i, kTemp.size()), kTemp)) return true;
  }
  return false;
}

}  // namespace

void StatementReader::read_verb() {
  out_.verb = Verb::kOther;
  if (at_symbol('(')) {
    out_.verb = Verb::kSelect;
    return;
  }
  if (token_.kind != TokenKind::kIdentifier) return;

  switch (pack_word(text())) {
    case pack_word("select"):
    case pack_word("values"):
    case pack_word("table"):
    case pack_word("with"):
      out_.verb = Verb::kSelect;
      return;
    case pack_word("insert"):
      out_.verb = Verb::kInsert;
      return;
    case pack_word("update"):
      out_.verb = Verb::kUpdate;
      return;
    case pack_word("delete"):
      out_.verb = Verb::kDelete;
      return;
    case pack_word("merge"):
      out_.verb = Verb::kMerge;
      return;
    case pack_word("begin"):
    case pack_word("start"):
      return read_begin();
    case pack_word("commit"):
    case pack_word("end"):
      return read_commit();
    case pack_word("rollback"):
    case pack_word("abort"):
      return read_rollback();
    case pack_word("release"):
      step();
      if (at_word("savepoint") && !peek_done()) step();
      out_.verb = Verb::kReleaseSavepoint;
      return take_name();
    case pack_word("set"):
      return read_set();
    case pack_word("reset"):
      step();
      out_.verb = at_word("all") ? Verb::kResetAll : Verb::kReset;
      return read_setting();
    case pack_word("show"):
      step();
      out_.verb = Verb::kShow;
      return read_setting();
    case pack_word("discard"):
      step();
      out_.verb = at_word("all") ? Verb::kDiscardAll : Verb::kDiscard;
      out_.effects |= kEffectMayRelease;
      return take_name();
    case pack_word("prepare"):
      return read_prepare();
    case pack_word("execute"):
      return read_execute();
    case pack_word("explain"):
      return read_explain();
    case pack_word("declare"):
      return read_declare();
    case pack_word("close"):
      step();
      out_.verb = Verb::kClose;
      out_.effects |= kEffectMayRelease;
      return take_name();
    case pack_word("listen"):
      step();
      out_.verb = Verb::kListen;
      return take_name();
    case pack_word("unlisten"):
      step();
      out_.verb = at_symbol('*') ? Verb::kUnlistenAll : Verb::kUnlisten;
      return take_name();
    case pack_word("copy"):
      out_.verb = Verb::kCopy;
      return scan_rest(kWatchCopy);
    case pack_word("load"):
      out_.effects |= kEffectLibrary;
      return;
    case pack_word("do"):
      return read_do();
    case pack_word("call"):
      out_.effects |= kEffectCall;
      return;
    case pack_word("create"):
      return read_create();
    case pack_word("drop"): {
      out_.verb = Verb::kDdl;
      scan_rest(kWatchNothing);
      // DROP TABLE pg_temp.x makes nothing.
      out_.effects = kEffectMayRelease;
      return;
    }
    case pack_word("alter"):
    case pack_word("comment"):
    case pack_word("grant"):
    case pack_word("revoke"):
    case pack_word("reindex"):
    case pack_word("cluster"):
    case pack_word("refresh"):
    case pack_word("security"):
    case pack_word("import"):
    case pack_word("reassign"):
      out_.verb = Verb::kDdl;
      return;
    default:
      return read_long_verb();
  }
}

// Verbs beyond the eight letters pack_word() tells apart.
void StatementReader::read_long_verb() {
  if (at_word("savepoint")) {
    step();
    out_.verb = Verb::kSavepoint;
    take_name();
  } else if (at_word("deallocate")) {
    step();
    if (at_word("prepare") && !peek_done()) step();
    out_.verb = at_word("all") ? Verb::kDeallocateAll : Verb::kDeallocate;
    take_name();
  }
}

// BEGIN, START TRANSACTION; the value is the list of modes.
void StatementReader::read_begin() {
  if (at_word("start") && !peek_word("transaction")) return;
  const bool start = at_word("start");
  step();
  if (start || !accept("work")) accept("transaction");
  out_.verb = Verb::kBegin;
  take_value();
}

// COMMIT, END; the value is AND [NO] CHAIN.
void StatementReader::read_commit() {
  if (peek_word("prepared")) return;
  step();
  if (!accept("work")) accept("transaction");
  out_.verb = Verb::kCommit;
  take_value();
}

void StatementReader::read_rollback() {
  if (peek_word("prepared")) return;
  step();
  if (!accept("work")) accept("transaction");
  if (accept("to")) {
    if (at_word("savepoint") && !peek_done()) step();
    out_.verb = Verb::kRollbackTo;
    return take_name();
  }
  out_.verb = Verb::kRollback;
  take_value();
}

// Whether the current word is a whole setting's name, not the start of a phrase such as SET LOCAL:
// `SET local.x = 1` is legal.
bool StatementReader::setting_name_ends() const {
  return peek_symbol('.') || peek_symbol('=') || peek_word("to");
}

void StatementReader::read_set() {
  step();
  if (!setting_name_ends()) {
    if (accept("local")) return read_set_item(Verb::kSetLocal);
    const bool phrase = peek_word("authorization") || peek_word("characteristics");
    if (!phrase) accept("session");
  }
  read_set_item(Verb::kSet);
  // Tables made under such a path may be temporary without saying so.
  if (out_.name == "search_path" && mentions_temp_schema(out_.value)) {
    out_.effects |= kEffectTempObject;
  }
}

// What follows SET [SESSION | LOCAL]. `set` is kSet or kSetLocal.
void StatementReader::read_set_item(Verb set) {
  if (setting_name_ends()) return read_set_variable(set);
  out_.verb = set;
  const bool local = set == Verb::kSetLocal;
  if (at_word("session") && peek_word("authorization")) {
    take_phrase("session_authorization", 2);
    if (!local) out_.verb = Verb::kSetSessionAuthorization;
    if (at_word("default") && accept_default_value() && !local) out_.verb = Verb::kReset;
  } else if (at_word("session") && peek_word("characteristics")) {
    take_phrase("session_characteristics", 2);
    if (!local) out_.verb = Verb::kSetCharacteristics;
    accept("as");
    accept("transaction");
  } else if (at_word("transaction")) {
    take_phrase("transaction", 1);
    out_.verb = Verb::kSetLocal;
  } else if (at_word("constraints")) {
    take_phrase("constraints", 1);
    out_.verb = Verb::kSetLocal;
  } else if (at_word("time") && peek_word("zone")) {
    take_phrase("time zone", 2);
    if (at_word("local") || at_word("default")) {
      if (accept_default_value() && !local) out_.verb = Verb::kReset;
    }
  } else if (at_word("role")) {
    take_phrase("role", 1);
  } else if (at_word("schema")) {
    take_phrase("search_path", 1);
  } else if (at_word("names")) {
    take_phrase("client_encoding", 1);
    if (done() || at_word("default")) {
      if (accept_default_value() && !local) out_.verb = Verb::kReset;
    }
  } else if (at_word("xml") && peek_word("option")) {
    take_phrase("xmloption", 2);
  } else {
    return read_set_variable(set);
  }
  if (out_.verb != Verb::kReset) take_value();
}

// name {= | TO} value.
void StatementReader::read_set_variable(Verb set) {
  take_setting_name();
  out_.verb = set;
  if (at_word("from")) {
    // FROM CURRENT: whatever the value is now, which the text does not say.
    out_.verb = Verb::kOther;
    out_.effects |= kEffectSetConfig;
    return;
  }
  if (!accept("to") && at_symbol('=')) step();
  if (out_.name == "seed") out_.effects |= kEffectRandomSeed;
  // Settings of the transaction itself go with it, whatever way they are set.
  if (out_.name == "transaction_isolation" || out_.name == "transaction_read_only" ||
      out_.name == "transaction_deferrable") {
    out_.verb = Verb::kSetLocal;
  }
  if (out_.name == "session_authorization" && set == Verb::kSet) {
    out_.verb = Verb::kSetSessionAuthorization;
  }
  if (at_word("default") && accept_default_value()) {
    if (out_.verb != Verb::kSetLocal) out_.verb = Verb::kReset;
    return;
  }
  take_value();
}

// At DEFAULT (or a word for it, or nothing at all): past it, noting it as the value. False if more
// follows, so that the server will refuse the statement anyway.
bool StatementReader::accept_default_value() {
  if (done()) return true;
  if (!peek_done()) return false;
  out_.value = text();
  step();
  return true;
}

// The name behind RESET and SHOW.
void StatementReader::read_setting() {
  if (at_word("time") && peek_word("zone")) return take_phrase("time zone", 2);
  if (at_word("transaction") && peek_word("isolation")) {
    return take_phrase("transaction_isolation", 3);
  }
  if (at_word("session") && peek_word("authorization")) {
    return take_phrase("session_authorization", 2);
  }
  take_setting_name();
}

void StatementReader::read_create() {
  out_.verb = Verb::kDdl;
  step();
  if (accept("or")) accept("replace");
  if (!accept("global")) accept("local");
  unsigned watch = kWatchSchema;
  if (accept("temp") || accept("temporary")) {
    out_.effects |= kEffectTempObject;
    watch |= kWatchOnCommit;
  } else {
    accept("unlogged");
  }
  // ON COMMIT DROP may also follow CREATE TABLE pg_temp.x.
  if (at_word("table")) watch |= kWatchTable | kWatchOnCommit;
  if (at_word("function") || at_word("procedure")) watch |= kWatchRoutine;
  scan_rest(watch);
}

void StatementReader::read_explain() {
  step();
  if (at_symbol('(')) {
    // Options, or a query in parentheses.
    SqlLexer ahead = lexer_;
    SqlToken inner;
    ahead.next(inner);
    if (lexer_.is_symbol(inner, '(') || is_word(inner, "select") || is_word(inner, "with") ||
        is_word(inner, "values") || is_word(inner, "table")) {
      return;
    }
    std::size_t depth = 0;
    do {
      if (at_symbol('(')) ++depth;
      if (at_symbol(')')) --depth;
      step();
    } while (depth > 0 && token_.kind != TokenKind::kEnd);
  } else {
    if (!accept("analyze")) accept("analyse");
    accept("verbose");
  }
  if (at_word("execute")) read_execute();
  if (at_word("create")) read_create();
}

// PREPARE name; the effects found in the value are those of each EXECUTE.
void StatementReader::read_prepare() {
  step();
  const TokenKind next = peek().kind;
  if (at_word("transaction") &&
      (next == TokenKind::kString || next == TokenKind::kEscapeString ||
       next == TokenKind::kUnicodeString || next == TokenKind::kDollarString)) {
    step();
    out_.verb = Verb::kPrepareTransaction;
  } else {
    out_.verb = Verb::kPrepare;
    take_name();
  }
  take_value();
}

void StatementReader::read_execute() {
  step();
  out_.verb = Verb::kExecute;
  take_name();
  take_value();
}

// DECLARE name [options] CURSOR [WITH HOLD] FOR query.
void StatementReader::read_declare() {
  step();
  out_.verb = Verb::kDeclare;
  take_name();
  while (token_.kind == TokenKind::kIdentifier && !at_word("for")) {
    if (at_word("with") && peek_word("hold")) out_.effects |= kEffectHoldCursor;
    step();
  }
}

// The name at the current token, folded, and past it. The text serves as it is where it can.
void StatementReader::take_name() {
  if (!at_name()) return;
  out_.name_begin = token_.begin;
  out_.name_end = token_.end;
  out_.name = text();
  bool as_it_is = token_.kind == TokenKind::kIdentifier && out_.name.size() < 64;
  for (std::size_t i = 0; as_it_is && i < out_.name.size(); ++i) {
    as_it_is = out_.name[i] < 'A' || out_.name[i] > 'Z';
  }
  if (!as_it_is) {
    fold_.clear();
    append_identifier(lexer_.sql(), token_, fold_);
    out_.name = fold_;
  }
  step();
}

// A setting's name, parts joined by dots. The server looks settings up without regard to case,
// quoted or not, so the name is in lower case always.
void StatementReader::take_setting_name() {
  if (!at_name()) return;
  if (token_.kind == TokenKind::kIdentifier && !peek_symbol('.')) return take_name();
  fold_.clear();
  out_.name_begin = token_.begin;
  for (;;) {
    append_identifier(lexer_.sql(), token_, fold_);
    out_.name_end = token_.end;
    step();
    if (!at_symbol('.')) break;
    step();
    if (!at_name()) break;
    fold_.push_back('.');
  }
  for (char& c : fold_) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  out_.name = fold_;
}

// A setting spelled by keywords, so many of them from the current one on.
void StatementReader::take_phrase(std::string_view name, unsigned words) {
  out_.name = name;
  out_.name_begin = token_.begin;
  while (words-- > 0 && token_.kind == TokenKind::kIdentifier) {
    out_.name_end = token_.end;
    step();
  }
}

// Everything from the current token to the statement's last. Comments behind that are left out:
// what follows a replayed value must not become part of one.
void StatementReader::take_value() {
  if (done()) return;
  SqlLexer value = lexer_;
  SqlToken token = token_;
  scan_rest(kWatchNothing);
  const std::size_t begin = token.begin;
  std::size_t last_end = begin;
  for (; token.begin < end(); value.next(token)) last_end = token.end;
  out_.value = trim_sql_space(lexer_.sql().substr(begin, last_end - begin));
}

}  // namespace pgshunt
