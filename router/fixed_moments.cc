#include "router/fixed_moments.h"

#include <algorithm>
#include <array>

#include "router/refusal.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

struct Word {
  std::string_view name;
  bool call;                // with (), else a word of the grammar, some with (precision)
  std::string_view moment;  // the setting it reads
  std::string_view type;    // what its value is cast to
};

constexpr std::array<Word, 8> kWords = {{
    {"now", true, kTransactionMoment, "timestamptz"},
    {"transaction_timestamp", true, kTransactionMoment, "timestamptz"},
    {"statement_timestamp", true, kStatementMoment, "timestamptz"},
    {"current_timestamp", false, kTransactionMoment, "timestamptz"},
    {"current_date", false, kTransactionMoment, "date"},
    {"current_time", false, kTransactionMoment, "timetz"},
    {"localtime", false, kTransactionMoment, "time"},
    {"localtimestamp", false, kTransactionMoment, "timestamp"},
}};

const Word* find_word(std::string_view text) {
  const auto at = std::find_if(kWords.begin(), kWords.end(),
                               [&](const Word& word) { return word_is(text, word.name); });
  return at == kWords.end() ? nullptr : &*at;
}

// A call as it stands in a text: [pg_catalog .] now ( ), or CURRENT_TIMESTAMP [ (3) ].
struct Call {
  const Word* word = nullptr;
  std::size_t begin = 0;
  std::size_t end = 0;
  std::string_view precision;  // with its parentheses
};

// What may follow the word at the lexer's position. False: it is no call.
bool read_rest(SqlLexer& lexer, Call& call) {
  SqlLexer ahead = lexer;
  SqlToken open;
  SqlToken token;
  if (!ahead.next(open) || !ahead.is_symbol(open, '(') || !ahead.next(token)) {
    return !call.word->call;
  }
  const bool precise = !call.word->call && token.kind == TokenKind::kInteger;
  if (!precise && !call.word->call) return true;
  if (precise) ahead.next(token);
  if (!ahead.is_symbol(token, ')')) return false;
  if (precise) call.precision = lexer.sql().substr(open.begin, token.end - open.begin);
  call.end = token.end;
  lexer = ahead;
  return true;
}

template <class OnCall>
void for_each_call(std::string_view sql, bool standard_conforming_strings, OnCall on_call) {
  SqlLexer lexer(sql, standard_conforming_strings);
  SqlToken before_last;
  SqlToken last;
  for (SqlToken token; lexer.next(token); before_last = last, last = token) {
    if (token.kind != TokenKind::kIdentifier) continue;
    Call call{find_word(lexer.text(token)), token.begin, token.end, {}};
    if (call.word == nullptr || word_is(lexer.text(last), "as")) continue;
    if (lexer.is_symbol(last, '.')) {
      if (!call.word->call || !word_is(lexer.text(before_last), "pg_catalog")) continue;
      call.begin = before_last.begin;
    }
    if (read_rest(lexer, call)) on_call(call);
  }
}

// From a timestamptz, or a text of one, to what the word stands for.
void append_cast(std::string& out, const Call& call) {
  out.append("::pg_catalog.timestamptz");
  const bool as_it_is = call.word->type == "timestamptz" && call.precision.empty();
  if (!as_it_is) out.append("::pg_catalog.").append(call.word->type).append(call.precision);
}

template <class Append>
std::string replace_calls(std::string_view sql, bool standard_conforming_strings, Append append) {
  std::string out;
  std::size_t copied = 0;
  for_each_call(sql, standard_conforming_strings, [&](const Call& call) {
    out.append(sql.substr(copied, call.begin - copied));
    copied = call.end;
    append(out, call);
  });
  return out.append(sql.substr(copied));
}

}  // namespace

bool is_fixable_moment(std::string_view name) {
  const Word* word = find_word(name);
  return word != nullptr && word->call;
}

std::vector<std::size_t> find_moments(std::string_view sql) {
  std::vector<std::size_t> out;
  for_each_call(sql, true, [&](const Call& call) { out.push_back(call.begin); });
  return out;
}

std::string with_fixed_moments(std::string_view sql, bool standard_conforming_strings) {
  return replace_calls(sql, standard_conforming_strings, [](std::string& out, const Call& call) {
    // A subquery gives a column of RETURNING the name of its own column, as the call did.
    out.append("(SELECT pg_catalog.current_setting('").append(call.word->moment).append("')");
    append_cast(out, call);
    out.append(" AS \"").append(call.word->name).append("\")");
  });
}

std::string with_moments(std::string_view sql, bool standard_conforming_strings,
                         const FixedMoments& moments) {
  return replace_calls(sql, standard_conforming_strings, [&](std::string& out, const Call& call) {
    const bool of_statement = call.word->moment == kStatementMoment;
    out.append("('").append(of_statement ? moments.statement : moments.transaction).append("'");
    append_cast(out, call);
    out.append(")");
  });
}

Status fix_moments(std::string_view sql, const StatementFacts& facts, StatementPlanData& out) {
  if (facts.moment_calls.empty()) return Ok{};
  std::vector<std::size_t> calls = facts.moment_calls;
  std::sort(calls.begin(), calls.end());
  if (find_moments(sql) != calls) {
    return refusal("the statement's text is not understood well enough to give " + facts.moment +
                       " one value on several shards",
                   "Pass the time as a parameter or constant.");
  }
  out.shard_text = with_fixed_moments(sql);
  out.fixes_moment = true;
  return Ok{};
}

}  // namespace pgshunt
