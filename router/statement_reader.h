// Reads one statement for StatementScanner: its verb and names (statement_verbs.cc) and the effects
// of the words in it (session_effects.cc). Not for use outside these two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "router/session_effects.h"
#include "router/sql_lexer.h"

namespace pgshunt {

// A lexer with the token it stands on. It ends at the statement's semicolon, which it does not
// pass, or at the end of the text.
class StatementReader {
 public:
  // Starts at `at`, past any semicolons there. `fold` backs names that are not in the text as they
  // are; both it and `out` belong to the caller.
  StatementReader(std::string_view sql, std::size_t at, bool standard_conforming_strings,
                  StatementEffects& out, std::string& fold);

  // Reads the whole statement. False if there is none.
  bool read();

  // The statement with the comments and white space around it: past the semicolon before it, and
  // at its own semicolon.
  std::size_t begin() const { return begin_; }
  std::size_t end() const { return token_.begin; }

 private:
  // Words that mean something in some statements only.
  enum Watch : unsigned {
    kWatchNothing = 0,
    kWatchRoutine = 1,   // CREATE FUNCTION, PROCEDURE: BEGIN ATOMIC ... END may follow
    kWatchTable = 2,     // CREATE TABLE: AS EXECUTE may follow
    kWatchOnCommit = 4,  // CREATE TEMP: ON COMMIT DROP takes the effect back
    kWatchCopy = 8,      // COPY: FROM writes
    kWatchSchema = 16,   // CREATE anything: in pg_temp_<number>, too
  };

  void step() { lexer_.next(token_); }
  bool done() const { return token_.kind == TokenKind::kEnd || at_symbol(';'); }
  std::string_view text() const { return lexer_.text(token_); }
  bool at_symbol(char symbol) const { return lexer_.is_symbol(token_, symbol); }
  bool at_word(std::string_view lower) const { return is_word(token_, lower); }
  bool at_name() const { return is_name(token_.kind); }
  bool is_word(const SqlToken& token, std::string_view lower) const {
    return token.kind == TokenKind::kIdentifier && word_is(lexer_.text(token), lower);
  }
  bool accept(std::string_view lower) {
    if (!at_word(lower)) return false;
    step();
    return true;
  }

  // What follows the current token.
  SqlToken peek() const {
    SqlLexer ahead = lexer_;
    SqlToken token;
    ahead.next(token);
    return token;
  }
  bool peek_word(std::string_view lower) const { return is_word(peek(), lower); }
  bool peek_symbol(char symbol) const { return lexer_.is_symbol(peek(), symbol); }
  bool peek_done() const {
    const SqlToken next = peek();
    return next.kind == TokenKind::kEnd || lexer_.is_symbol(next, ';');
  }

  // statement_verbs.cc. Each is called behind its verb and leaves the rest for scan_rest().
  void read_verb();
  void read_long_verb();
  void read_begin();
  void read_commit();
  void read_rollback();
  void read_set();
  void read_set_item(Verb set);
  void read_set_variable(Verb set);
  void read_setting();
  void read_create();
  void read_explain();
  void read_prepare();
  void read_execute();
  void read_declare();
  bool accept_default_value();
  bool setting_name_ends() const;
  void take_name();
  void take_setting_name();
  void take_phrase(std::string_view name, unsigned words);
  void take_value();

  // session_effects.cc.
  void scan_rest(unsigned watch);
  void look_at_word();
  void look_at_quoted_name();
  bool look_at_watched_word(unsigned& watch, std::size_t depth);
  void look_at_name(std::string_view name);
  bool into_temp() const;
  void read_do();
  void skip_routine_body();

  SqlLexer lexer_;
  SqlToken token_;
  std::size_t begin_;
  StatementEffects& out_;
  std::string& fold_;
};

}  // namespace pgshunt
