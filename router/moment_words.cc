#include "router/moment_words.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

// The server reads no longer text as a datetime (MAXDATELEN).
constexpr std::size_t kMaxDatetimeLength = 128;
// A zone (Europe/Berlin), AM or PM, a day's name.
constexpr int kMaxWords = 5;
constexpr std::array<std::string_view, 4> kWords = {"now", "today", "tomorrow", "yesterday"};

bool is_letter(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

}  // namespace

bool names_a_moment(std::string_view text) {
  if (text.size() > kMaxDatetimeLength) return false;
  int words = 0;
  bool found = false;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    while (end < text.size() && is_letter(text[end])) ++end;
    if (end == at) {
      ++at;
      continue;
    }
    const std::string_view word = text.substr(at, end - at);
    found |= std::any_of(kWords.begin(), kWords.end(),
                         [word](std::string_view lower) { return word_is(word, lower); });
    ++words;
    at = end;
  }
  return found && words <= kMaxWords;
}

namespace {

// 'to' and, on a later line, 'day' are one string.
bool continues_below(std::string_view statement, std::size_t quote) {
  bool line = false;
  for (std::size_t at = quote + 1; at < statement.size(); ++at) {
    const char c = statement[at];
    if (c == '\'') return line;
    if (c == '-') return true;  // perhaps a comment
    if (c == '\n' || c == '\r') {
      line = true;
    } else if (c != ' ' && c != '\t' && c != '\f' && c != '\v') {
      return false;
    }
  }
  return false;
}

}  // namespace

bool mentions_moment(std::string_view statement) {
  // now, toDAY, yesterDAY, TOMorrow.
  for (std::size_t at = 0; at + 2 < statement.size(); ++at) {
    const char c = statement[at];
    if (c == '\\' || (c == '\'' && continues_below(statement, at))) return true;
    const char lower = static_cast<char>(c | 0x20);
    if (lower != 'n' && lower != 'd' && lower != 't') continue;
    const std::string_view here = statement.substr(at);
    if (word_is(here.substr(0, 3), "now") || word_is(here.substr(0, 3), "day") ||
        word_is(here.substr(0, 3), "tom")) {
      return true;
    }
  }
  return false;
}

}  // namespace pgshunt
