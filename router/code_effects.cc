#include "router/code_effects.h"

#include <algorithm>
#include <array>

#include "router/session_effects.h"
#include "router/sql_decode.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

constexpr unsigned kLevels = 3;  // of strings that are run

template <std::size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_string(TokenKind kind) {
  return kind == TokenKind::kString || kind == TokenKind::kEscapeString ||
         kind == TokenKind::kDollarString || kind == TokenKind::kUnicodeString;
}

// Words behind which a statement of PL/pgSQL begins.
bool begins_statements(std::string_view word) {
  static constexpr std::array<std::string_view, 6> kWords = {"begin", "then",    "else",
                                                             "loop",  "declare", "atomic"};
  return is_one_of(word, kWords);
}

// Functions that put together what is in the text before them, and nothing else.
bool composes_text(std::string_view name) {
  static constexpr std::array<std::string_view, 9> kNames = {
      "format",  "concat",   "concat_ws",  "quote_ident",    "quote_literal",
      "replace", "coalesce", "string_agg", "array_to_string"};
  return is_one_of(name, kNames);
}

bool leaves_foreign_session(std::string_view name) {
  static constexpr std::array<std::string_view, 8> kNames = {"dblink_connect",
                                                             "dblink_connect_u",
                                                             "pg_replication_origin_session_setup",
                                                             "pg_create_logical_replication_slot",
                                                             "pg_create_physical_replication_slot",
                                                             "pg_copy_logical_replication_slot",
                                                             "pg_copy_physical_replication_slot",
                                                             "pg_backup_start"};
  return is_one_of(name, kNames);
}

bool takes_advisory_lock(std::string_view name) {
  static constexpr std::array<std::string_view, 4> kNames = {
      "pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock",
      "pg_try_advisory_lock_shared"};
  return is_one_of(name, kNames);
}

class CodeReader {
 public:
  CodeReader(std::string_view code, CodeEffects& out, unsigned levels)
      : lexer_(code), out_(out), levels_(levels) {
    SqlToken token;
    while (lexer_.next(token)) tokens_.push_back(token);
  }

  void read(bool foreign);

 private:
  bool at_end(std::size_t i) const { return i >= tokens_.size(); }
  bool symbol(std::size_t i, char which) const {
    return !at_end(i) && lexer_.is_symbol(tokens_[i], which);
  }
  // The name at `i` as the server reads it; empty if there is none.
  std::string name(std::size_t i) const {
    std::string out;
    if (!at_end(i) && is_name(tokens_[i].kind)) append_identifier(lexer_.sql(), tokens_[i], out);
    return out;
  }
  bool word(std::size_t i, std::string_view lower) const {
    return !at_end(i) && tokens_[i].kind == TokenKind::kIdentifier &&
           word_is(lexer_.text(tokens_[i]), lower);
  }
  bool string(std::size_t i, std::string& out) const {
    return !at_end(i) && is_string(tokens_[i].kind) &&
           append_string(tokens_[i].kind, lexer_.text(tokens_[i]), out);
  }
  void add(std::uint32_t effects) { out_.effects |= effects; }

  void read_statement(std::size_t i, const std::string& verb);
  void read_setting(std::size_t i);
  void add_setting(const std::string& name);
  void read_word(std::size_t i, const std::string& word);
  void read_call(std::size_t i, const std::string& name);
  void read_set_config(std::size_t i);
  void read_execute(std::size_t i);
  void read_inner(std::size_t i);

  SqlLexer lexer_;
  CodeEffects& out_;
  unsigned levels_;
  std::vector<SqlToken> tokens_;
  bool runs_text_ = false;              // EXECUTE of something put together
  std::vector<std::string> executed_;   // variables that EXECUTE runs
  std::vector<std::string> assigned_;   // variables that get their value from an expression here
  std::vector<std::size_t> run_alone_;  // strings that are read already
};

void CodeReader::read(bool foreign) {
  bool starts = true;  // a statement
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const std::string here = name(i);
    if (here.empty()) {
      // Behind ">>" stands what a label names.
      starts = symbol(i, ';') || lexer_.text(tokens_[i]) == ">>";
      continue;
    }
    out_.names.push_back({here, symbol(i + 1, '(')});
    if (tokens_[i].kind == TokenKind::kIdentifier) {
      if (starts && !foreign) read_statement(i, here);
      if (!foreign) read_word(i, here);
    }
    if (symbol(i + 1, '(')) read_call(i, here);
    if (here.starts_with("pg_temp")) add(kEffectOpaque);
    starts = begins_statements(here);
  }
  for (const std::string& variable : executed_) {
    if (std::find(assigned_.begin(), assigned_.end(), variable) == assigned_.end()) {
      add(kEffectSetConfig);
    }
  }
  if (!runs_text_ && !foreign) return;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const bool read = std::find(run_alone_.begin(), run_alone_.end(), i) != run_alone_.end();
    if (!read) read_inner(i);
    // Elsewhere these are strings too.
    if (foreign && tokens_[i].kind == TokenKind::kQuotedIdentifier) {
      const std::string_view quoted = lexer_.text(tokens_[i]);
      CodeReader(quoted.substr(1, quoted.size() - 2), out_, levels_ - 1).read(false);
    }
  }
}

void CodeReader::read_statement(std::size_t i, const std::string& verb) {
  if (verb == "set" || verb == "reset") return read_setting(i + 1);
  static constexpr std::array<std::string_view, 4> kSeen = {"listen", "prepare", "deallocate",
                                                            "discard"};
  if (is_one_of(verb, kSeen)) return add(kEffectOpaque);
  if (verb == "load") return add(kEffectLibrary | kEffectOpaque);
  // x := ..., x = ..., and declarations: x CONSTANT varchar(10) NOT NULL := ...
  constexpr std::size_t kFarthest = 10;
  if (symbol(i + 1, '=')) return assigned_.push_back(verb);
  for (std::size_t at = i + 1; at < i + kFarthest && !at_end(at) && !symbol(at, ';'); ++at) {
    if (tokens_[at].kind == TokenKind::kColonEquals) return assigned_.push_back(verb);
  }
}

// Behind SET or RESET.
void CodeReader::read_setting(std::size_t i) {
  if (word(i, "local") || word(i, "transaction") || word(i, "constraints")) return;
  add(kEffectOpaque);
  if (word(i, "session")) ++i;
  std::string setting = name(i);
  while (!setting.empty() && symbol(++i, '.')) {
    const std::string next = name(++i);
    if (next.empty()) {
      setting.clear();
    } else {
      setting.append(".").append(next);
    }
  }
  add_setting(setting);
}

void CodeReader::add_setting(const std::string& name) {
  if (name.empty()) {
    add(kEffectSetConfig);
  } else if (name == "seed") {
    add(kEffectRandomSeed);
  } else if (name.find('.') != name.npos) {
    out_.settings.push_back(name);
  }
}

void CodeReader::read_word(std::size_t i, const std::string& here) {
  const std::string before = i > 0 ? name(i - 1) : std::string();
  if (here == "temp" || here == "temporary") {
    static constexpr std::array<std::string_view, 5> kBefore = {"create", "replace", "local",
                                                                "global", "into"};
    if (is_one_of(before, kBefore)) add(kEffectOpaque);
  } else if (here == "hold") {
    if (before == "with") add(kEffectOpaque);
  } else if (here == "do") {
    read_inner(i + 1);
  } else if (here == "execute") {
    read_execute(i + 1);
  }
}

void CodeReader::read_call(std::size_t i, const std::string& here) {
  if (here == "set_config") return read_set_config(i + 2);
  if (here == "setseed") return add(kEffectRandomSeed | kEffectOpaque);
  if (takes_advisory_lock(here)) return add(kEffectOpaque);
  if (leaves_foreign_session(here)) add(kEffectForeignSession | kEffectOpaque);
}

// Behind the opening parenthesis.
void CodeReader::read_set_config(std::size_t i) {
  std::size_t depth = 1;
  std::size_t end = i;
  for (; !at_end(end); ++end) {
    if (symbol(end, '(')) ++depth;
    if (symbol(end, ')') && --depth == 0) break;
  }
  if (end >= i + 2 && symbol(end - 2, ',')) {
    std::string flag = name(end - 1);
    if (flag.empty()) string(end - 1, flag);
    if (flag == "true" || flag == "t" || flag == "on" || flag == "1") {
      return add(kEffectLocalConfig);
    }
  }
  add(kEffectOpaque);
  std::string setting;
  if (!symbol(i + 1, ',') || !string(i, setting)) setting.clear();
  std::transform(setting.begin(), setting.end(), setting.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  add_setting(setting);
}

// Behind EXECUTE.
void CodeReader::read_execute(std::size_t i) {
  if (word(i, "function") || word(i, "procedure") || word(i, "on")) return;  // of a DDL
  while (symbol(i, '(')) ++i;
  std::string text;
  if (string(i, text)) {
    const bool alone = at_end(i + 1) || symbol(i + 1, ';') || symbol(i + 1, ')') ||
                       word(i + 1, "using") || word(i + 1, "into") || word(i + 1, "loop");
    if (alone) {
      run_alone_.push_back(i);
      return read_inner(i);
    }
  }
  runs_text_ = true;
  add(kEffectOpaque);
  if (!text.empty()) return;
  const std::string first = name(i);
  if (first.empty() || symbol(i + 1, '.')) return add(kEffectSetConfig);
  if (symbol(i + 1, '(')) {
    if (!composes_text(first)) add(kEffectSetConfig);
    return;
  }
  executed_.push_back(first);
}

void CodeReader::read_inner(std::size_t i) {
  std::string inner;
  if (!string(i, inner)) return;
  if (levels_ == 0) return add(kEffectSetConfig | kEffectOpaque);
  CodeReader(inner, out_, levels_ - 1).read(false);
}

}  // namespace

void read_code(std::string_view code, CodeEffects& out, bool foreign) {
  if (foreign) out.effects |= kEffectOpaque;
  CodeReader(code, out, kLevels).read(foreign);
}

}  // namespace pgshunt
