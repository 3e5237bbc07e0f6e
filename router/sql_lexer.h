// PostgreSQL's lexical rules (src/backend/parser/scan.l) in one pass over a text that is never
// copied: what a token is, where it starts and ends, and nothing of what it means.
//
// Everything that must know where a string or comment ends before trusting a word stands on this:
// the session scanner, statement templates, the splitting of multi-statement texts.
//
// It follows PostgreSQL 17 where versions differ, so it also reads 0x1F, 1_000 and \v as white
// space; `1x` is an error from 15 on and two tokens before: here kJunk followed by the word.
// The text is taken to be in a server encoding, where bytes from 0x80 on belong to identifiers and
// never hide an ASCII byte (client-only encodings such as SJIS do).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace pgshunt {

enum class TokenKind : std::uint32_t {
  kEnd,
  kIdentifier,         // a word: keyword or name; also the N of N'...'
  kQuotedIdentifier,   // "..."
  kUnicodeIdentifier,  // U&"..."
  kInteger,
  kDecimal,        // 1.5, 1., .5, 1e10
  kString,         // '...', with its continuation lines, as all strings but dollar quotes
  kEscapeString,   // E'...', or '...' when standard_conforming_strings is off
  kUnicodeString,  // U&'...'
  kDollarString,   // $tag$...$tag$
  kBitString,      // B'...'
  kHexString,      // X'...'
  kParam,          // $1
  kSymbol,         // one of , ( ) [ ] . ; : + - * / % ^ < > =
  kOperator,       // any other operator, <= >= <> != among them
  kTypecast,       // ::
  kDotDot,         // ..
  kColonEquals,    // :=
  kEqualsGreater,  // =>
  kJunk,           // a number running into a word, or a broken exponent; covers the number
  kStray,          // a byte no rule knows: { } \ $ and control characters
  kUnterminated,   // a string, quoted identifier or comment without its end: the rest of the text
};

// A token's place in the text; the text itself is the caller's. A message is below 1 GB
// (kMaxBodySize), so 32 bits do.
struct SqlToken {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  TokenKind kind = TokenKind::kEnd;

  std::uint32_t size() const { return end - begin; }
};

inline bool is_name(TokenKind kind) {
  return kind == TokenKind::kIdentifier || kind == TokenKind::kQuotedIdentifier ||
         kind == TokenKind::kUnicodeIdentifier;
}

// A set of words, roughly: it never dismisses one that was added (in whatever case), and dismisses
// nearly all others by one load. By first letter and length (five bits of each), a bit for each
// last letter.
class WordFilter {
 public:
  constexpr void add(std::string_view word) {
    last_letters_[slot(word)] |= 1u << (static_cast<unsigned char>(word.back()) & 31);
  }
  static constexpr WordFilter every_word() {
    WordFilter filter;
    filter.last_letters_.fill(~0u);
    return filter;
  }
  bool admits(std::string_view word) const {
    return !word.empty() &&
           (last_letters_[slot(word)] >> (static_cast<unsigned char>(word.back()) & 31) & 1) != 0;
  }

 private:
  static constexpr std::size_t slot(std::string_view word) {
    return (static_cast<unsigned char>(word.front()) & 31u) | (word.size() & 31u) << 5;
  }
  std::array<std::uint32_t, 1024> last_letters_{};
};

class SqlLexer {
 public:
  explicit SqlLexer(std::string_view sql, bool standard_conforming_strings = true)
      : standard_conforming_strings_(standard_conforming_strings) {
    // A null pointer inside means a token without an end.
    if (sql.data() != nullptr) sql_ = sql;
  }

  // Puts the next token into `out`; once there is none, kEnd at the text's length, and false.
  // Comments are white space. (A token returned by value is put together on the stack from narrow
  // stores and fetched by a wide load, which stalls: that doubled the cost of the whole lexer.)
  bool next(SqlToken& out);

  // Like next() for a reader who looks for certain words: passes over all but words the filter
  // admits, names in quotes, and ( ) ; at less than half the cost. An unterminated string or
  // comment ends the text.
  bool next_name(const WordFilter& filter, SqlToken& out);

  // Where the next call starts reading. Copying a lexer is the way to look ahead.
  std::size_t position() const { return at_; }
  void seek(std::size_t position) { at_ = static_cast<std::uint32_t>(position); }

  std::string_view sql() const { return sql_; }
  std::string_view text(const SqlToken& token) const {
    return sql_.substr(token.begin, token.size());
  }
  bool is_symbol(const SqlToken& token, char symbol) const {
    return token.kind == TokenKind::kSymbol && sql_[token.begin] == symbol;
  }

 private:
  bool next_other(const char* p, SqlToken& out);

  std::string_view sql_ = "";
  std::uint32_t at_ = 0;
  bool standard_conforming_strings_;
};

// After a string's closing quote: the position just past the opening quote of its continuation on
// a later line, or npos if the string ends here.
std::size_t string_continuation(std::string_view sql, std::size_t after_quote);

// A piece of text without the white space around it.
std::string_view trim_sql_space(std::string_view text);

// Whether a word is `lower`, which must be in lower case, without regard to ASCII case.
inline bool word_is(std::string_view word, std::string_view lower) {
  if (word.size() != lower.size()) return false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    const char c = word[i];
    if ((c >= 'A' && c <= 'Z' ? c | 0x20 : c) != lower[i]) return false;
  }
  return true;
}

// A word of at most eight bytes as one number that is the same in either case, so that a switch can
// tell keywords apart; longer words all give kLongWord. Exact for words of letters: no other byte
// an identifier may hold turns into a letter when 0x20 is set.
inline constexpr std::uint64_t kLongWord = ~std::uint64_t{0};
constexpr std::uint64_t pack_word(std::string_view word) {
  const std::size_t size = word.size();
  if (size > 8) return kLongWord;
  std::uint64_t packed = 0;
  if (std::is_constant_evaluated() || size < 4) {
    for (std::size_t i = 0; i < size; ++i) {
      packed |= static_cast<std::uint64_t>(static_cast<unsigned char>(word[i])) << (8 * i);
    }
  } else {
    // Its first and its last four bytes; where they overlap they agree.
    std::uint32_t first = 0;
    std::uint32_t last = 0;
    std::memcpy(&first, word.data(), 4);
    std::memcpy(&last, word.data() + size - 4, 4);
    packed = first | static_cast<std::uint64_t>(last) << (8 * (size - 4));
  }
  constexpr std::uint64_t kCaseBits = 0x2020202020202020;
  return packed | (size == 0 ? 0 : kCaseBits >> (8 * (8 - size)));
}

}  // namespace pgshunt
