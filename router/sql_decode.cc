#include "router/sql_decode.h"

#include <algorithm>
#include <cstdint>

namespace pgshunt {
namespace {

constexpr std::size_t kMaxIdentifier = 63;  // PostgreSQL's NAMEDATALEN - 1

void append_utf8(std::uint32_t code, std::string& out) {
  const auto push = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    push(code);
    return;
  }
  if (code < 0x800) {
    push(0xc0 | code >> 6);
  } else {
    if (code < 0x10000) {
      push(0xe0 | code >> 12);
    } else {
      push(0xf0 | code >> 18);
      push(0x80 | (code >> 12 & 0x3f));
    }
    push(0x80 | (code >> 6 & 0x3f));
  }
  push(0x80 | (code & 0x3f));
}

// The value of a digit in bases up to 16; 16 or more for any other byte.
unsigned digit_value(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? static_cast<unsigned>(lower - 'a') + 10 : 16;
}

// Reads at most `most` digits at the front of `text`, moving it past them; how many there were.
std::size_t take_digits(std::string_view& text, unsigned base, std::size_t most,
                        std::uint32_t& value) {
  std::size_t count = 0;
  value = 0;
  while (count < most && count < text.size() && digit_value(text[count]) < base) {
    value = value * base + digit_value(text[count++]);
  }
  text.remove_prefix(count);
  return count;
}

// Joins the \u escapes of one string: UTF-16 surrogates come in pairs, with nothing between.
class UnicodeEscapes {
 public:
  // Another escape of the string; false if it cannot stand here.
  bool add(std::uint32_t code, std::string& out) {
    if (high_ != 0) {
      if (code < 0xdc00 || code > 0xdfff) return false;
      append_utf8(0x10000 + ((high_ - 0xd800) << 10) + (code - 0xdc00), out);
      high_ = 0;
      return true;
    }
    if (code == 0 || code > 0x10ffff || (code >= 0xdc00 && code <= 0xdfff)) return false;
    if (code >= 0xd800 && code <= 0xdbff) {
      high_ = code;
    } else {
      append_utf8(code, out);
    }
    return true;
  }
  // Whether anything but an escape, or the end, may follow.
  bool complete() const { return high_ == 0; }

 private:
  std::uint32_t high_ = 0;
};

// The escape after a backslash in E'...'; `rest` starts behind the backslash.
bool take_backslash_escape(std::string_view& rest, UnicodeEscapes& unicode, std::string& out) {
  const char c = rest.front();
  std::uint32_t code = 0;
  if (c == 'u' || c == 'U') {
    const std::size_t digits = c == 'u' ? 4 : 8;
    rest.remove_prefix(1);
    return take_digits(rest, 16, digits, code) == digits && unicode.add(code, out);
  }
  if (!unicode.complete()) return false;
  if (c >= '0' && c <= '7') {
    take_digits(rest, 8, 3, code);
    out.push_back(static_cast<char>(code & 0xff));
    return (code & 0xff) != 0;
  }
  rest.remove_prefix(1);
  switch (c) {
    case 'b':
      out.push_back('\b');
      return true;
    case 'f':
      out.push_back('\f');
      return true;
    case 'n':
      out.push_back('\n');
      return true;
    case 'r':
      out.push_back('\r');
      return true;
    case 't':
      out.push_back('\t');
      return true;
    case 'v':
      out.push_back('\v');
      return true;
    case 'x':
      if (take_digits(rest, 16, 2, code) == 0) {
        out.push_back('x');
        return true;
      }
      out.push_back(static_cast<char>(code));
      return code != 0;
    default:
      out.push_back(c);
      return true;
  }
}

// The escape after a backslash in U&'...' and U&"...": \\, \XXXX or \+XXXXXX.
bool take_unicode_escape(std::string_view& rest, UnicodeEscapes& unicode, std::string& out) {
  if (rest.empty()) return false;
  if (rest.front() == '\\') {
    rest.remove_prefix(1);
    out.push_back('\\');
    return unicode.complete();
  }
  std::size_t digits = 4;
  if (rest.front() == '+') {
    rest.remove_prefix(1);
    digits = 6;
  }
  std::uint32_t code = 0;
  return take_digits(rest, 16, digits, code) == digits && unicode.add(code, out);
}

// Everything between quotes, doubled quotes made single; `text` starts behind the opening quote
// and ends with the closing one.
bool append_quoted(TokenKind kind, char quote, std::string_view text, std::string& out) {
  const bool backslashes = kind == TokenKind::kEscapeString;
  const bool unicode_escapes =
      kind == TokenKind::kUnicodeString || kind == TokenKind::kUnicodeIdentifier;
  const char escape = backslashes || unicode_escapes ? '\\' : quote;
  UnicodeEscapes unicode;
  for (;;) {
    std::size_t plain = 0;
    while (plain < text.size() && text[plain] != quote && text[plain] != escape) ++plain;
    if (plain == text.size()) return false;
    if (plain != 0 && !unicode.complete()) return false;
    out.append(text.substr(0, plain));
    const char found = text[plain];
    text.remove_prefix(plain + 1);
    if (found != quote) {
      if (text.empty()) return false;
      if (!(backslashes ? take_backslash_escape(text, unicode, out)
                        : take_unicode_escape(text, unicode, out))) {
        return false;
      }
    } else if (!text.empty() && text.front() == quote) {
      if (!unicode.complete()) return false;
      out.push_back(quote);
      text.remove_prefix(1);
    } else if (text.empty()) {
      return unicode.complete();
    } else {
      // Only a continuation line can follow inside one token.
      const std::size_t more = string_continuation(text, 0);
      if (more == std::string_view::npos) return false;
      text.remove_prefix(more);
    }
  }
}

}  // namespace

bool append_string(TokenKind kind, std::string_view raw, std::string& out) {
  if (kind == TokenKind::kDollarString) {
    const std::size_t tag = raw.find('$', 1) + 1;
    out.append(raw.substr(tag, raw.size() - 2 * tag));
    return true;
  }
  const std::size_t open = raw.find('\'');
  return open != std::string_view::npos && append_quoted(kind, '\'', raw.substr(open + 1), out);
}

bool append_number(std::string_view raw, std::string& out) {
  const char prefix = raw.size() > 2 && raw[0] == '0' ? static_cast<char>(raw[1] | 0x20) : '\0';
  const unsigned base = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 10;
  if (base != 10) {
    std::uint64_t value = 0;
    for (char c : raw.substr(2)) {
      if (c == '_') continue;
      if (value > (UINT64_MAX - 15) / 16) return false;
      value = value * base + digit_value(c);
    }
    out.append(std::to_string(value));
    return true;
  }
  const bool integer = raw.find_first_not_of("0123456789_") == std::string_view::npos;
  if (integer) raw.remove_prefix(std::min(raw.find_first_not_of("0_"), raw.size() - 1));
  for (char c : raw) {
    if (c != '_') out.push_back(c);
  }
  return true;
}

bool append_identifier(std::string_view sql, const SqlToken& token, std::string& out) {
  const std::string_view raw = sql.substr(token.begin, token.size());
  const std::size_t begin = out.size();
  if (token.kind == TokenKind::kIdentifier) {
    for (char c : raw.substr(0, kMaxIdentifier + 1)) {
      out.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c);
    }
  } else if (!append_quoted(token.kind, '"', raw.substr(raw.find('"') + 1), out)) {
    return false;
  }
  if (out.size() - begin > kMaxIdentifier) {
    std::size_t end = begin + kMaxIdentifier;
    while (end > begin && (static_cast<unsigned char>(out[end]) & 0xc0) == 0x80) --end;
    out.resize(end);
  }
  return true;
}

}  // namespace pgshunt
