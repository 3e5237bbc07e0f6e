#include "router/session_effects.h"

#include <array>

#include "router/code_effects.h"
#include "router/sql_decode.h"
#include "router/statement_reader.h"

namespace pgshunt {
namespace {

// Functions that leave something behind, or take it away, and what.
struct WatchedFunction {
  std::string_view name;
  std::uint32_t effects;
};
constexpr WatchedFunction kWatchedFunctions[] = {
    {"nextval", kEffectSequenceWrite},
    {"setval", kEffectSequenceWrite},
    {"currval", kEffectSequenceRead},
    {"lastval", kEffectSequenceRead},
    {"setseed", kEffectRandomSeed},
    {"set_config", kEffectSetConfig},
    {"pg_advisory_lock", kEffectAdvisoryLock},
    {"pg_advisory_lock_shared", kEffectAdvisoryLock},
    {"pg_try_advisory_lock", kEffectAdvisoryLock},
    {"pg_try_advisory_lock_shared", kEffectAdvisoryLock},
    {"pg_advisory_unlock", kEffectMayRelease},
    {"pg_advisory_unlock_shared", kEffectMayRelease},
    {"pg_advisory_unlock_all", kEffectMayRelease},
    {"dblink_connect", kEffectForeignSession},
    {"dblink_connect_u", kEffectForeignSession},
    {"dblink_disconnect", kEffectMayRelease},
    {"pg_replication_origin_session_setup", kEffectForeignSession},
    {"pg_replication_origin_session_reset", kEffectMayRelease},
    // These may make a temporary slot, which lives as long as the session.
    {"pg_create_logical_replication_slot", kEffectForeignSession},
    {"pg_create_physical_replication_slot", kEffectForeignSession},
    {"pg_copy_logical_replication_slot", kEffectForeignSession},
    {"pg_copy_physical_replication_slot", kEffectForeignSession},
    {"pg_drop_replication_slot", kEffectMayRelease},
    // A base backup belongs to the session that started it; the second name is that until 14.
    {"pg_backup_start", kEffectForeignSession},
    {"pg_start_backup", kEffectForeignSession},
    {"pg_backup_stop", kEffectMayRelease},
    {"pg_stop_backup", kEffectMayRelease},
};

// Words of the language that matter in any statement.
constexpr std::string_view kWatchedWords[] = {"insert", "merge", "into", "default", "pg_temp"};

constexpr WordFilter make_watched() {
  WordFilter filter;
  for (const WatchedFunction& function : kWatchedFunctions) filter.add(function.name);
  for (std::string_view word : kWatchedWords) filter.add(word);
  return filter;
}
constexpr WordFilter kWatched = make_watched();
constexpr WordFilter kEveryWord = WordFilter::every_word();

// Whether the call of set_config() whose parenthesis comes next ends in a literal TRUE, so that its
// setting goes with the transaction. Looks no further than a usual call is long, to keep a
// statement full of such calls cheap.
bool set_config_is_local(SqlLexer ahead) {
  constexpr std::size_t kFarthest = 512;
  const std::size_t begin = ahead.position();
  SqlToken before;
  SqlToken last;
  ahead.next(last);  // the opening parenthesis
  std::size_t depth = 1;
  for (;;) {
    SqlToken token;
    ahead.next(token);
    if (token.kind == TokenKind::kEnd || token.begin > begin + kFarthest) return false;
    if (ahead.is_symbol(token, '(')) ++depth;
    if (ahead.is_symbol(token, ')') && --depth == 0) break;
    before = last;
    last = token;
  }
  if (!ahead.is_symbol(before, ',')) return false;
  const std::string_view value = ahead.text(last);
  return (last.kind == TokenKind::kIdentifier && word_is(value, "true")) || value == "'true'" ||
         value == "'t'" || value == "'on'" || value == "'1'";
}

bool is_temp_schema(std::string_view name) {
  constexpr std::string_view kTemp = "pg_temp";
  return name.size() >= kTemp.size() && word_is(name.substr(0, kTemp.size()), kTemp) &&
         (name.size() == kTemp.size() || name[kTemp.size()] == '_');
}

bool is_string(TokenKind kind) {
  return kind == TokenKind::kString || kind == TokenKind::kEscapeString ||
         kind == TokenKind::kDollarString;
}

}  // namespace

StatementReader::StatementReader(std::string_view sql, std::size_t at,
                                 bool standard_conforming_strings, StatementEffects& out,
                                 std::string& fold)
    : lexer_(sql, standard_conforming_strings), begin_(at), out_(out), fold_(fold) {
  lexer_.seek(at);
  lexer_.next(token_);
  while (at_symbol(';')) {
    begin_ = token_.end;
    lexer_.next(token_);
  }
}

bool StatementReader::read() {
  if (token_.kind == TokenKind::kEnd) return false;
  read_verb();
  scan_rest(kWatchNothing);
  return true;
}

// From the current token to the statement's end: the loop every statement passes through.
void StatementReader::scan_rest(unsigned watch) {
  std::size_t depth = 0;
  const WordFilter& words = watch == kWatchNothing ? kWatched : kEveryWord;
  for (;;) {
    switch (token_.kind) {
      case TokenKind::kEnd:
        return;
      case TokenKind::kSymbol: {
        const char symbol = lexer_.sql()[token_.begin];
        if (symbol == '(') {
          ++depth;
        } else if (symbol == ')') {
          if (depth > 0) --depth;
        } else if (symbol == ';' && depth == 0) {
          // Inside parentheses they part the actions of a rule.
          return;
        }
        break;
      }
      case TokenKind::kIdentifier:
        if (watch != kWatchNothing || kWatched.admits(text())) look_at_word();
        if (watch != kWatchNothing && look_at_watched_word(watch, depth)) continue;
        break;
      case TokenKind::kQuotedIdentifier:
      case TokenKind::kUnicodeIdentifier:
        look_at_quoted_name();
        break;
      default:
        break;
    }
    lexer_.next_name(words, token_);
  }
}

// A word that may have an effect wherever it stands. May move to the word's second half.
void StatementReader::look_at_word() {
  switch (pack_word(text())) {
    case pack_word("insert"):
      out_.effects |= kEffectSequenceWrite;
      [[fallthrough]];
    case pack_word("merge"):
      // Its INTO is not that of SELECT INTO: `INSERT INTO temp` writes to a table of that name.
      if (peek_word("into")) step();
      return;
    case pack_word("into"):
      if (into_temp()) out_.effects |= kEffectTempObject;
      return;
    case pack_word("default"):
      // UPDATE ... SET column = DEFAULT may call nextval().
      if (out_.verb != Verb::kDdl) out_.effects |= kEffectSequenceWrite;
      return;
    default:
      look_at_name(text());
  }
}

// Case is not compared: "PG_ADVISORY_LOCK"(1) is some other function, but bits mean "may".
void StatementReader::look_at_quoted_name() {
  if (token_.kind == TokenKind::kQuotedIdentifier) {
    const std::string_view name = text().substr(1, token_.size() - 2);
    if (kWatched.admits(name) || is_temp_schema(name)) look_at_name(name);
    return;
  }
  std::string name;
  if (append_identifier(lexer_.sql(), token_, name)) look_at_name(name);
}

// A name counts only as what its follower makes of it: a call, or a schema.
void StatementReader::look_at_name(std::string_view name) {
  if (is_temp_schema(name)) {
    if (peek_symbol('.')) out_.effects |= kEffectTempObject;
    return;
  }
  for (const WatchedFunction& function : kWatchedFunctions) {
    if (!word_is(name, function.name)) continue;
    if (!peek_symbol('(')) return;
    std::uint32_t effects = function.effects & ~out_.effects;
    if (effects == kEffectSetConfig && set_config_is_local(lexer_)) effects = kEffectLocalConfig;
    out_.effects |= effects;
    return;
  }
}

// Words that matter only in the statement at hand; bits of `watch` are dropped once they are
// served. True if it moved to a token that is still to be looked at.
bool StatementReader::look_at_watched_word(unsigned& watch, std::size_t depth) {
  if ((watch & kWatchRoutine) != 0 && at_word("begin") && peek_word("atomic")) {
    watch &= ~kWatchRoutine;
    skip_routine_body();
  } else if ((watch & kWatchCopy) != 0 && depth == 0 && at_word("from")) {
    watch &= ~kWatchCopy;
    out_.effects |= kEffectSequenceWrite;
  } else if ((watch & kWatchTable) != 0 && depth == 0 && at_word("as")) {
    watch &= ~kWatchTable;
    if (!peek_word("execute")) return false;
    step();
    step();
    out_.verb = Verb::kExecute;
    take_name();
    return true;
  } else if ((watch & kWatchOnCommit) != 0 && at_word("on") && peek_word("commit")) {
    watch &= ~kWatchOnCommit;
    step();
    if (!peek_word("drop")) return false;
    step();
    out_.effects &= ~kEffectTempObject;
  }
  return false;
}

// Whether the INTO at hand makes a temporary table, by TEMP and a name behind it. `INTO temp FROM
// x` makes a lasting one that is called temp.
bool StatementReader::into_temp() const {
  SqlLexer ahead = lexer_;
  SqlToken token;
  ahead.next(token);
  if (is_word(token, "local") || is_word(token, "global")) ahead.next(token);
  if (!is_word(token, "temp") && !is_word(token, "temporary")) return false;
  ahead.next(token);
  return is_name(token.kind) && !is_word(token, "from");
}

// From BEGIN to the END that closes the body: the one at the start of a statement, which is where
// CASE ... END or a column called "end" cannot stand. The function's own statements have no effect
// before it is called.
void StatementReader::skip_routine_body() {
  step();
  bool statement_starts = true;
  for (step(); token_.kind != TokenKind::kEnd; step()) {
    if (statement_starts && at_word("end")) return;
    statement_starts = at_symbol(';');
  }
}

// DO, at whose verb the reader stands.
void StatementReader::read_do() {
  out_.effects |= kEffectOpaque;
  SqlLexer ahead = lexer_;
  SqlToken token;
  while (ahead.next(token) && !ahead.is_symbol(token, ';')) {
    if (!is_string(token.kind)) continue;
    std::string code;
    if (!append_string(token.kind, ahead.text(token), code)) continue;
    CodeEffects inner;
    read_code(code, inner);
    out_.effects |= inner.effects;
    // Nobody will know to ask for them.
    if (!inner.settings.empty()) out_.effects |= kEffectSetConfig;
  }
}

StatementScanner::StatementScanner(std::string_view sql, bool standard_conforming_strings)
    : sql_(sql), standard_conforming_strings_(standard_conforming_strings) {}

bool StatementScanner::next(StatementEffects& out) {
  out = {};
  // Most texts are one statement and its semicolon, if that.
  if (at_ < sql_.size() && sql_[at_] == ';') ++at_;
  if (at_ == sql_.size()) return false;
  StatementReader reader(sql_, at_, standard_conforming_strings_, out, folded_);
  const bool found = reader.read();
  at_ = reader.end();
  if (found) out.text = trim_sql_space(sql_.substr(reader.begin(), reader.end() - reader.begin()));
  return found;
}

}  // namespace pgshunt
