#include "router/hint.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

// What a hint's comment begins with, before a colon.
constexpr std::string_view kMark = "pgshunt";

Error malformed(std::string message) {
  return {sqlstate::kInvalidParameterValue, std::move(message),
          "Write it as /* pgshunt: shard=name */ or /* pgshunt: key=value keyspace=name */; values "
          "with blanks or commas stand in single quotes."};
}

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

Status set_once(std::string_view name, std::string_view value, std::optional<std::string>& out) {
  if (out && *out != value) {
    return Error{sqlstate::kInvalidParameterValue,
                 "hints contradict each other: " + std::string(name) + " is \"" + *out +
                     "\" and \"" + std::string(value) + "\"",
                 "Give one of them."};
  }
  out = value;
  return Ok{};
}

// `name=value name='value', ...`
class HintReader {
 public:
  explicit HintReader(std::string_view text) : text_(text) {}

  Status read(RouteHint& out) {
    skip_blanks();
    if (at_ == text_.size()) return malformed("a hint says nothing");
    for (; at_ < text_.size(); skip_blanks()) {
      const std::string_view name = take_word("=");
      if (!at('=')) return malformed("hint \"" + std::string(name) + "\" has no value");
      ++at_;
      std::string value;
      if (at('\'')) {
        if (!take_quoted(value)) return malformed("a hint's quoted value has no end");
      } else {
        value = take_word("");
        if (value.empty()) return malformed("hint \"" + std::string(name) + "\" has no value");
      }
      if (const Status set = set_hint(name, value, out); !set) return set.error();
    }
    return Ok{};
  }

 private:
  bool at(char c) const { return at_ < text_.size() && text_[at_] == c; }

  void skip_blanks() {
    while (at_ < text_.size() && (is_space(text_[at_]) || text_[at_] == ',')) ++at_;
  }

  std::string_view take_word(std::string_view also_ends) {
    const std::size_t begin = at_;
    while (at_ < text_.size() && !is_space(text_[at_]) && text_[at_] != ',' &&
           also_ends.find(text_[at_]) == std::string_view::npos) {
      ++at_;
    }
    return text_.substr(begin, at_ - begin);
  }

  // A quote inside is doubled.
  bool take_quoted(std::string& out) {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\'') {
        ++at_;
        if (!at('\'')) return at_ == text_.size() || is_space(text_[at_]) || text_[at_] == ',';
      }
      out.push_back(text_[at_]);
    }
    return false;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

// What stands behind the mark at the beginning of a comment; nothing in any other.
std::optional<std::string_view> behind_mark(std::string_view comment) {
  comment = trim_sql_space(comment);
  if (!word_is(comment.substr(0, kMark.size()), kMark)) return std::nullopt;
  comment = comment.substr(kMark.size());
  const std::string_view rest = trim_sql_space(comment);
  // Else it is the beginning of a longer word.
  if (rest.size() == comment.size() && !rest.starts_with(':')) return std::nullopt;
  return rest;
}

// "shard = ...": what nobody writes who does not mean a hint.
bool begins_with_hint(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view name = trim_sql_space(text.substr(0, equals));
  return std::any_of(std::begin(kHintNames), std::end(kHintNames),
                     [&](std::string_view known) { return word_is(name, known); });
}

Status read_comment(std::string_view inside, RouteHint& out) {
  const auto rest = behind_mark(inside);
  if (!rest) return Ok{};
  if (rest->starts_with(':')) return HintReader(rest->substr(1)).read(out);
  if (!begins_with_hint(*rest)) return Ok{};
  return malformed("a hint has no colon behind \"pgshunt\"");
}

Status check_line_comment(std::string_view inside) {
  const auto rest = behind_mark(inside);
  if (!rest || !begins_with_hint(rest->substr(rest->starts_with(':') ? 1 : 0))) return Ok{};
  return malformed("a hint stands in a -- comment");
}

// `gap` is white space, semicolons and comments.
Status read_gap(std::string_view gap, RouteHint& out) {
  std::size_t at = 0;
  while (at + 1 < gap.size()) {
    const std::string_view two = gap.substr(at, 2);
    if (two == "--") {
      const std::size_t end = std::min(gap.find_first_of("\r\n", at), gap.size());
      if (const Status ok = check_line_comment(gap.substr(at + 2, end - at - 2)); !ok) {
        return ok.error();
      }
      at = end;
    } else if (two == "/*") {
      const std::size_t begin = at += 2;
      // Comments nest.
      for (std::size_t depth = 1; depth > 0; ++at) {
        if (at + 1 >= gap.size()) return Ok{};  // its end is missing: a server will say so
        if (gap.substr(at, 2) == "/*")
          ++depth, ++at;
        else if (gap.substr(at, 2) == "*/")
          --depth, ++at;
      }
      const Status read = read_comment(gap.substr(begin, at - 2 - begin), out);
      if (!read) return read.error();
    } else {
      ++at;
    }
  }
  return Ok{};
}

}  // namespace

Status set_hint(std::string_view name, std::string_view value, RouteHint& out) {
  if (word_is(name, "shard")) return set_once("shard", value, out.shard);
  if (word_is(name, "key")) return set_once("key", value, out.key);
  if (word_is(name, "keyspace")) return set_once("keyspace", value, out.keyspace);
  if (!word_is(name, "role")) {
    return Error{sqlstate::kInvalidParameterValue, "there is no hint \"" + std::string(name) + "\"",
                 "There are shard, key, keyspace and role."};
  }
  HintRole role = HintRole::kNone;
  if (word_is(value, "primary")) role = HintRole::kPrimary;
  if (word_is(value, "replica")) role = HintRole::kReplica;
  if (word_is(value, "any")) role = HintRole::kAny;
  if (role == HintRole::kNone) {
    return Error{sqlstate::kInvalidParameterValue,
                 "there is no role \"" + std::string(value) + "\"",
                 "There are primary, replica and any."};
  }
  if (out.role != HintRole::kNone && out.role != role) {
    return Error{sqlstate::kInvalidParameterValue, "hints contradict each other: two roles",
                 "Give one of them."};
  }
  out.role = role;
  return Ok{};
}

std::string hint_words(const RouteHint& hint) {
  std::string out;
  const auto add = [&out](std::string_view name, const std::optional<std::string>& value) {
    if (value) out.append(out.empty() ? "" : " ").append(name).append("=").append(*value);
  };
  add("shard", hint.shard);
  add("key", hint.key);
  add("keyspace", hint.keyspace);
  return out;
}

bool may_have_hint(std::string_view sql) {
  const auto is_edge = [](char c) { return c == ';' || is_space(c); };
  while (!sql.empty() && is_edge(sql.front())) sql.remove_prefix(1);
  while (!sql.empty() && is_edge(sql.back())) sql.remove_suffix(1);
  if (sql.size() < 4) return false;
  if (sql.front() == '/' || sql.front() == '-' || sql.ends_with("*/")) return true;
  for (std::size_t size = sql.size(); size > 1;) {
    const void* found = memrchr(sql.data(), '-', size);
    if (found == nullptr) return false;
    const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - sql.data());
    if (at > 0 && sql[at - 1] == '-') return true;
    size = at;
  }
  return false;
}

Status read_comment_hints(std::string_view statement, bool standard_conforming_strings,
                          RouteHint& out) {
  SqlLexer lexer(statement, standard_conforming_strings);
  SqlToken token;
  lexer.next(token);
  if (const Status read = read_gap(statement.substr(0, token.begin), out); !read) {
    return read.error();
  }
  std::size_t end = token.end;
  for (; token.kind != TokenKind::kEnd; lexer.next(token)) {
    if (!lexer.is_symbol(token, ';')) end = token.end;
  }
  return read_gap(statement.substr(end), out);
}

Status check_no_hint(std::string_view behind) {
  RouteHint hint;
  if (const Status read = read_gap(behind, hint); !read) return read.error();
  if (!hint.places() && !hint.keyspace && hint.role == HintRole::kNone) return Ok{};
  return Error{sqlstate::kInvalidParameterValue,
               "a hint stands behind the last of several statements",
               "Put it before the statement that it is for, or before that one's semicolon."};
}

}  // namespace pgshunt
