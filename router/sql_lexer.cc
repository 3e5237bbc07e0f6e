#include "router/sql_lexer.h"

#include <array>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace pgshunt {
namespace {

// What a token may be by its first byte.
enum CharClass : std::uint8_t {
  kClassStray,
  kClassSpace,
  kClassWord,
  kClassPrefix,  // b e u x in either case: a word, or the prefix of a quote
  kClassDigit,
  kClassQuote,
  kClassDoubleQuote,
  kClassDollar,
  kClassDot,
  kClassColon,
  kClassSymbol,    // , ( ) [ ] ;
  kClassOperator,  // any of PostgreSQL's op_chars
};

// What a byte may be inside a token.
enum CharFlag : std::uint8_t {
  kFlagWord = 1,            // continues an identifier
  kFlagWordStart = 2,       // begins one
  kFlagOperator = 4,        // op_chars
  kFlagNotSqlOperator = 8,  // op_chars that no standard operator has: such operators keep a last +-
  kFlagDigit = 16,
  kFlagHexDigit = 32,
};

constexpr std::array<std::uint8_t, 256> make_classes() {
  std::array<std::uint8_t, 256> table{};
  for (char c : std::string_view(" \t\n\r\f\v")) table[static_cast<unsigned char>(c)] = kClassSpace;
  for (unsigned c = 'a'; c <= 'z'; ++c) table[c] = table[c - 0x20] = kClassWord;
  for (unsigned c = 0x80; c <= 0xff; ++c) table[c] = kClassWord;
  table['_'] = kClassWord;
  for (char c : std::string_view("bBeEuUxX")) table[static_cast<unsigned char>(c)] = kClassPrefix;
  for (unsigned c = '0'; c <= '9'; ++c) table[c] = kClassDigit;
  for (char c : std::string_view(",()[];")) table[static_cast<unsigned char>(c)] = kClassSymbol;
  for (char c : std::string_view("~!@#^&|`?+-*/%<>=")) {
    table[static_cast<unsigned char>(c)] = kClassOperator;
  }
  table['\''] = kClassQuote;
  table['"'] = kClassDoubleQuote;
  table['$'] = kClassDollar;
  table['.'] = kClassDot;
  table[':'] = kClassColon;
  return table;
}

constexpr std::array<std::uint8_t, 256> make_flags() {
  std::array<std::uint8_t, 256> table{};
  for (unsigned c = 'a'; c <= 'z'; ++c) table[c] = table[c - 0x20] = kFlagWord | kFlagWordStart;
  for (unsigned c = 0x80; c <= 0xff; ++c) table[c] = kFlagWord | kFlagWordStart;
  table['_'] = kFlagWord | kFlagWordStart;
  table['$'] = kFlagWord;
  for (unsigned c = '0'; c <= '9'; ++c) table[c] = kFlagWord | kFlagDigit | kFlagHexDigit;
  for (unsigned c = 'a'; c <= 'f'; ++c) {
    table[c] |= kFlagHexDigit;
    table[c - 0x20] |= kFlagHexDigit;
  }
  for (char c : std::string_view("+-*/<>=")) {
    table[static_cast<unsigned char>(c)] = kFlagOperator;
  }
  for (char c : std::string_view("~!@#^&|`?%")) {
    table[static_cast<unsigned char>(c)] = kFlagOperator | kFlagNotSqlOperator;
  }
  return table;
}

constexpr std::array<std::uint8_t, 256> kClasses = make_classes();
constexpr std::array<std::uint8_t, 256> kFlags = make_flags();

CharClass class_of(char c) {
  return static_cast<CharClass>(kClasses[static_cast<unsigned char>(c)]);
}
bool has(char c, std::uint8_t flags) {
  return (kFlags[static_cast<unsigned char>(c)] & flags) != 0;
}
bool is_newline(char c) { return c == '\n' || c == '\r'; }

const char* find(const char* p, const char* end, char c) {
  const void* hit = std::memchr(p, c, static_cast<std::size_t>(end - p));
  return hit == nullptr ? end : static_cast<const char*>(hit);
}

// The first quote or backslash, eight bytes at a time (Mycroft's zero-byte test on the xor).
const char* find_quote_or_backslash(const char* p, const char* end) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  constexpr std::uint64_t kHighs = 0x8080808080808080;
  while (end - p >= 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    const std::uint64_t quote = word ^ (kOnes * '\'');
    const std::uint64_t backslash = word ^ (kOnes * '\\');
    const std::uint64_t hit =
        (((quote - kOnes) & ~quote) | ((backslash - kOnes) & ~backslash)) & kHighs;
    if (hit != 0) break;
    p += 8;
  }
  while (p < end && *p != '\'' && *p != '\\') ++p;
  return p;
}

const char* skip_line(const char* p, const char* end) {
  while (p < end && !is_newline(*p)) ++p;
  return p;
}

// From "/*" to past its matching "*/"; null without one. They nest.
const char* skip_block_comment(const char* p, const char* end) {
  std::size_t depth = 1;
  p += 2;
  while (end - p >= 2) {
    if (p[0] == '*' && p[1] == '/') {
      p += 2;
      if (--depth == 0) return p;
    } else if (p[0] == '/' && p[1] == '*') {
      p += 2;
      ++depth;
    } else {
      ++p;
    }
  }
  return nullptr;
}

// scan.l's {quotecontinue} after a quote: white space and line comments with at least one newline,
// then a quote. The position past that quote, or null.
const char* continuation(const char* p, const char* end) {
  bool newline = false;
  while (p < end) {
    if (class_of(*p) == kClassSpace) {
      newline = newline || is_newline(*p);
      ++p;
    } else if (*p == '-' && end - p >= 2 && p[1] == '-') {
      p = skip_line(p + 2, end);
    } else {
      return *p == '\'' && newline ? p + 1 : nullptr;
    }
  }
  return nullptr;
}

// The three below start just inside a string and end past its last quote; null without one.

// '...' and U&'...': a doubled quote stands for one, and so does no backslash.
const char* skip_plain_string(const char* p, const char* end) {
  for (;;) {
    p = find(p, end, '\'');
    if (p == end) return nullptr;
    ++p;
    if (p < end && *p == '\'') {
      ++p;
      continue;
    }
    const char* more = continuation(p, end);
    if (more == nullptr) return p;
    p = more;
  }
}

const char* skip_escape_string(const char* p, const char* end) {
  for (;;) {
    p = find_quote_or_backslash(p, end);
    if (p == end) return nullptr;
    if (*p++ == '\\') {
      if (p == end) return nullptr;
      ++p;
      continue;
    }
    if (p < end && *p == '\'') {
      ++p;
      continue;
    }
    const char* more = continuation(p, end);
    if (more == nullptr) return p;
    p = more;
  }
}

// B'...' and X'...': no doubling, the next quote ends it.
const char* skip_bit_string(const char* p, const char* end) {
  for (;;) {
    p = find(p, end, '\'');
    if (p == end) return nullptr;
    const char* more = continuation(++p, end);
    if (more == nullptr) return p;
    p = more;
  }
}

// Just inside a double quote, to past its end; null without one.
const char* skip_quoted_identifier(const char* p, const char* end) {
  for (;;) {
    p = find(p, end, '"');
    if (p == end) return nullptr;
    ++p;
    if (p == end || *p != '"') return p;
    ++p;
  }
}

// Words are half of most texts. Sixteen bytes at once cost less than three one by one, and the
// processor has no loop's end to mispredict.
const char* skip_word(const char* p, const char* end) {
#ifdef __SSE2__
  while (end - p >= 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    // x <= limit, unsigned, is min(x, limit) == x.
    const auto at_most = [](__m128i x, char limit) {
      return _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(limit)), x);
    };
    const __m128i lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
    const __m128i letter = at_most(_mm_sub_epi8(lower, _mm_set1_epi8('a')), 25);
    const __m128i digit = at_most(_mm_sub_epi8(bytes, _mm_set1_epi8('0')), 9);
    const __m128i other = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('_')),
                                       _mm_cmpeq_epi8(bytes, _mm_set1_epi8('$')));
    // Bytes from 0x80 on have the bit that counts set themselves.
    const int word =
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(letter, digit), _mm_or_si128(other, bytes)));
    if (word != 0xffff) return p + __builtin_ctz(~static_cast<unsigned>(word));
    p += 16;
  }
#endif
  while (p < end && has(*p, kFlagWord)) ++p;
  return p;
}

const char* skip_digits(const char* p, const char* end, std::uint8_t digit = kFlagDigit) {
  // 16's underscores: single, between digits.
  while (p < end &&
         (has(*p, digit) || (*p == '_' && end - p >= 2 && has(p[1], digit) && has(p[-1], digit)))) {
    ++p;
  }
  return p;
}

// 0x1F, 0o17, 0b11 at `p`, underscores allowed after the prefix too. Null if it is none of them.
const char* skip_radix_integer(const char* p, const char* end) {
  if (end - p < 3 || *p != '0') return nullptr;
  const char radix = static_cast<char>(p[1] | 0x20);
  const auto is_digit = [radix](char c) {
    return radix == 'x' ? has(c, kFlagHexDigit) : c >= '0' && c <= (radix == 'o' ? '7' : '1');
  };
  if (radix != 'x' && radix != 'o' && radix != 'b') return nullptr;
  const char* q = p + 2;
  if (*q == '_') ++q;
  if (q == end || !is_digit(*q)) return nullptr;
  while (q < end && (is_digit(*q) || (*q == '_' && end - q >= 2 && is_digit(q[1])))) ++q;
  return q;
}

struct Scanned {
  TokenKind kind;
  const char* end;
};

// `p` is at a digit, or at a dot with a digit behind it.
Scanned scan_number(const char* p, const char* end) {
  // Nearly all are plain integers.
  const char* plain = p;
  while (plain < end && has(*plain, kFlagDigit)) ++plain;
  if (plain == end || (*plain != '.' && !has(*plain, kFlagWordStart))) {
    return {TokenKind::kInteger, plain};
  }
  TokenKind kind = TokenKind::kInteger;
  if (const char* radix = skip_radix_integer(p, end)) {
    if (radix < end && has(*radix, kFlagWordStart)) kind = TokenKind::kJunk;
    return {kind, radix};
  }
  p = skip_digits(p, end);
  // In "1..2" the dots are a range, not a fraction.
  if (p < end && *p == '.' && !(end - p >= 2 && p[1] == '.' && has(p[-1], kFlagDigit))) {
    kind = TokenKind::kDecimal;
    ++p;
    if (p < end && has(*p, kFlagDigit)) p = skip_digits(p, end);
  }
  if (p < end && (*p == 'e' || *p == 'E')) {
    const char* q = p + 1;
    if (q < end && (*q == '+' || *q == '-')) ++q;
    if (q == end || !has(*q, kFlagDigit)) return {TokenKind::kJunk, p};
    kind = TokenKind::kDecimal;
    p = skip_digits(q, end);
  }
  if (p < end && has(*p, kFlagWordStart)) kind = TokenKind::kJunk;
  return {kind, p};
}

// `p` is at an operator character that does not start a comment.
Scanned scan_operator(const char* p, const char* end) {
  const char* q = p + 1;
  bool keeps_sign = has(*p, kFlagNotSqlOperator);
  while (q < end && has(*q, kFlagOperator)) {
    if (end - q >= 2 && ((*q == '-' && q[1] == '-') || (*q == '/' && q[1] == '*'))) break;
    keeps_sign = keeps_sign || has(*q, kFlagNotSqlOperator);
    ++q;
  }
  // A multi-character operator may end in + or - only if it has a character standard operators
  // lack: so "=-1" is "=", "-", while "@-" is one operator.
  if (!keeps_sign) {
    while (q - p > 1 && (q[-1] == '+' || q[-1] == '-')) --q;
  }
  if (q - p == 1) {
    const bool symbol = !has(*p, kFlagNotSqlOperator) || *p == '^' || *p == '%';
    return {symbol ? TokenKind::kSymbol : TokenKind::kOperator, q};
  }
  if (q - p == 2 && p[0] == '=' && p[1] == '>') return {TokenKind::kEqualsGreater, q};
  return {TokenKind::kOperator, q};
}

// `p` is at a dollar sign: a parameter, a dollar-quoted string, or neither.
Scanned scan_dollar(const char* p, const char* end) {
  const char* q = p + 1;
  if (q < end && has(*q, kFlagDigit)) {
    while (q < end && has(*q, kFlagDigit)) ++q;
    const bool junk = q < end && has(*q, kFlagWordStart);
    return {junk ? TokenKind::kJunk : TokenKind::kParam, q};
  }
  if (q < end && has(*q, kFlagWordStart)) {
    while (q < end && has(*q, kFlagWord) && *q != '$') ++q;
  }
  if (q == end || *q != '$') return {TokenKind::kStray, p + 1};
  const std::string_view tag(p, static_cast<std::size_t>(q + 1 - p));
  const std::string_view rest(q + 1, static_cast<std::size_t>(end - q - 1));
  const std::size_t close = rest.find(tag);
  if (close == std::string_view::npos) return {TokenKind::kUnterminated, end};
  return {TokenKind::kDollarString, rest.data() + close + tag.size()};
}

// `p` is at one of b e u x: the prefix of a quote, or a word like any other.
Scanned scan_prefix(const char* p, const char* end) {
  const char letter = static_cast<char>(*p | 0x20);
  const char* q = p + 1;
  if (letter == 'u' && end - q >= 2 && *q == '&' && (q[1] == '\'' || q[1] == '"')) {
    if (q[1] == '\'') return {TokenKind::kUnicodeString, skip_plain_string(q + 2, end)};
    return {TokenKind::kUnicodeIdentifier, skip_quoted_identifier(q + 2, end)};
  }
  if (letter != 'u' && q < end && *q == '\'') {
    if (letter == 'e') return {TokenKind::kEscapeString, skip_escape_string(q + 1, end)};
    return {letter == 'b' ? TokenKind::kBitString : TokenKind::kHexString,
            skip_bit_string(q + 1, end)};
  }
  return {TokenKind::kIdentifier, skip_word(q, end)};
}

}  // namespace

bool SqlLexer::next(SqlToken& out) {
  const char* const base = sql_.data();
  const char* const end = base + sql_.size();
  const char* p = base + at_;
  while (p < end && class_of(*p) == kClassSpace) ++p;
  // Nine tokens of ten are words and symbols.
  const CharClass first = p < end ? class_of(*p) : kClassStray;
  const char* stop;
  if (first == kClassWord) {
    out.kind = TokenKind::kIdentifier;
    stop = skip_word(p + 1, end);
  } else if (first == kClassSymbol) {
    out.kind = TokenKind::kSymbol;
    stop = p + 1;
  } else {
    return next_other(p, out);
  }
  out.begin = static_cast<std::uint32_t>(p - base);
  out.end = at_ = static_cast<std::uint32_t>(stop - base);
  return true;
}

bool SqlLexer::next_other(const char* p, SqlToken& out) {
  const char* const base = sql_.data();
  const char* const end = base + sql_.size();
  Scanned scanned{TokenKind::kEnd, p};

  for (;; p = scanned.end) {
    while (p < end && class_of(*p) == kClassSpace) ++p;
    if (p == end) {
      scanned = {TokenKind::kEnd, end};
      break;
    }
    const char* const after = p + 1;
    const char second = after < end ? *after : '\0';
    switch (class_of(*p)) {
      case kClassWord:
        scanned = {TokenKind::kIdentifier, skip_word(after, end)};
        break;
      case kClassPrefix:
        scanned = scan_prefix(p, end);
        break;
      case kClassDigit:
        scanned = scan_number(p, end);
        break;
      case kClassSymbol:
        scanned = {TokenKind::kSymbol, after};
        break;
      case kClassOperator:
        // Comments are the white space that looks like an operator.
        if (*p == '-' && second == '-') {
          scanned.end = skip_line(p, end);
          continue;
        }
        if (*p == '/' && second == '*') {
          scanned.end = skip_block_comment(p, end);
          if (scanned.end != nullptr) continue;
          break;
        }
        scanned = scan_operator(p, end);
        break;
      case kClassQuote:
        if (standard_conforming_strings_) {
          scanned = {TokenKind::kString, skip_plain_string(after, end)};
        } else {
          scanned = {TokenKind::kEscapeString, skip_escape_string(after, end)};
        }
        break;
      case kClassDoubleQuote:
        scanned = {TokenKind::kQuotedIdentifier, skip_quoted_identifier(after, end)};
        break;
      case kClassDollar:
        scanned = scan_dollar(p, end);
        break;
      case kClassDot:
        if (second == '.') {
          scanned = {TokenKind::kDotDot, p + 2};
        } else if (after < end && has(second, kFlagDigit)) {
          scanned = scan_number(p, end);
        } else {
          scanned = {TokenKind::kSymbol, after};
        }
        break;
      case kClassColon:
        if (second == ':') {
          scanned = {TokenKind::kTypecast, p + 2};
        } else if (second == '=') {
          scanned = {TokenKind::kColonEquals, p + 2};
        } else {
          scanned = {TokenKind::kSymbol, after};
        }
        break;
      case kClassSpace:
      case kClassStray:
        scanned = {TokenKind::kStray, after};
        break;
    }
    break;
  }

  if (scanned.end == nullptr) scanned = {TokenKind::kUnterminated, end};
  out.kind = scanned.kind;
  out.begin = static_cast<std::uint32_t>(p - base);
  out.end = at_ = static_cast<std::uint32_t>(scanned.end - base);
  return scanned.kind != TokenKind::kEnd;
}

bool SqlLexer::next_name(const WordFilter& filter, SqlToken& out) {
  const char* const base = sql_.data();
  const char* const end = base + sql_.size();
  const char* p = base + at_;
  const char* stop = end;
  TokenKind kind = TokenKind::kEnd;
  for (; p < end; p = stop) {
    stop = p + 1;
    const CharClass first = class_of(*p);
    if (first == kClassSpace) continue;
    if (first == kClassWord) {
      stop = skip_word(stop, end);
      if (!filter.admits({p, static_cast<std::size_t>(stop - p)})) continue;
      kind = TokenKind::kIdentifier;
      break;
    }
    switch (first) {
      case kClassSymbol:
        if (*p == '(' || *p == ')' || *p == ';') kind = TokenKind::kSymbol;
        break;
      case kClassPrefix: {
        const Scanned scanned = scan_prefix(p, end);
        stop = scanned.end;
        if (scanned.kind == TokenKind::kUnicodeIdentifier ||
            (scanned.kind == TokenKind::kIdentifier &&
             filter.admits({p, static_cast<std::size_t>(stop - p)}))) {
          kind = scanned.kind;
        }
        break;
      }
      case kClassDoubleQuote:
        kind = TokenKind::kQuotedIdentifier;
        stop = skip_quoted_identifier(stop, end);
        break;
      case kClassQuote:
        stop = standard_conforming_strings_ ? skip_plain_string(stop, end)
                                            : skip_escape_string(stop, end);
        break;
      case kClassDollar:
        stop = scan_dollar(p, end).end;
        break;
      case kClassDigit:
        stop = scan_number(p, end).end;
        break;
      case kClassDot:
        if (stop < end && has(*stop, kFlagDigit)) {
          stop = scan_number(p, end).end;
        } else if (stop < end && *stop == '.') {
          ++stop;
        }
        break;
      case kClassOperator:
        if (*p == '-' && stop < end && *stop == '-') {
          stop = skip_line(stop, end);
        } else if (*p == '/' && stop < end && *stop == '*') {
          stop = skip_block_comment(p, end);
        }
        break;
      default:
        // Operators and all that stands for itself may go byte by byte.
        break;
    }
    if (stop == nullptr) {
      kind = TokenKind::kEnd;
      p = stop = end;
    }
    if (kind != TokenKind::kEnd) break;
  }
  out.kind = kind;
  out.begin = static_cast<std::uint32_t>(p - base);
  out.end = at_ = static_cast<std::uint32_t>(stop - base);
  return kind != TokenKind::kEnd;
}

std::string_view trim_sql_space(std::string_view text) {
  while (!text.empty() && class_of(text.front()) == kClassSpace) text.remove_prefix(1);
  while (!text.empty() && class_of(text.back()) == kClassSpace) text.remove_suffix(1);
  return text;
}

std::size_t string_continuation(std::string_view sql, std::size_t after_quote) {
  const char* const end = sql.data() + sql.size();
  const char* more = continuation(sql.data() + after_quote, end);
  return more == nullptr ? std::string_view::npos : static_cast<std::size_t>(more - sql.data());
}

}  // namespace pgshunt
