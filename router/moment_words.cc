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

}  // namespace pgshunt
