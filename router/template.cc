#include "router/template.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cstring>

#include "router/literal_positions.h"
#include "router/sql_decode.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

// The protocol counts parameters in 16 bits; a higher $n cannot be bound.
constexpr std::uint32_t kMaxParameter = 65535;

// One multiplication mixes 16 bytes (the scheme of wyhash). The constants are arbitrary odd numbers
// with about as many ones as zeros.
std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t hash_text(std::string_view text) {
  constexpr std::uint64_t kA = 0x9e3779b97f4a7c15;
  constexpr std::uint64_t kB = 0xd1b54a32d192ed03;
  std::uint64_t state = kA ^ text.size();
  const char* p = text.data();
  std::size_t left = text.size();
  std::uint64_t words[2];
  for (; left > 16; p += 16, left -= 16) {
    std::memcpy(words, p, 16);
    state = mix(words[0] ^ kB, words[1] ^ state);
  }
  words[0] = words[1] = 0;
  std::memcpy(words, p, left);
  state = mix(words[0] ^ kB, words[1] ^ state);
  return mix(state ^ kA, kB ^ text.size());
}

// The number of a $n token; above kMaxParameter whatever its size.
std::uint32_t parameter_number(std::string_view token) {
  std::uint32_t number = 0;
  const auto parsed = std::from_chars(token.data() + 1, token.data() + token.size(), number);
  return parsed.ec == std::errc() && number <= kMaxParameter ? number : kMaxParameter + 1;
}

std::uint32_t highest_parameter(std::string_view sql, bool standard_conforming_strings) {
  if (sql.find('$') == std::string_view::npos) return 0;
  std::uint32_t highest = 0;
  SqlLexer lexer(sql, standard_conforming_strings);
  SqlToken token;
  while (lexer.next(token)) {
    if (token.kind != TokenKind::kParam) continue;
    highest = std::max(highest, parameter_number(lexer.text(token)));
  }
  return highest;
}

bool begins_query(std::string_view word) {
  switch (pack_word(word)) {
    case pack_word("select"):
    case pack_word("values"):
    case pack_word("table"):
    case pack_word("with"):
    case pack_word("insert"):
    case pack_word("update"):
    case pack_word("delete"):
    case pack_word("merge"):
      return true;
    default:
      return false;
  }
}

bool is_literal(TokenKind kind) {
  return kind == TokenKind::kInteger || kind == TokenKind::kDecimal || kind == TokenKind::kString ||
         kind == TokenKind::kEscapeString || kind == TokenKind::kDollarString;
}

LiteralKind literal_kind(TokenKind kind) {
  switch (kind) {
    case TokenKind::kInteger:
      return LiteralKind::kInteger;
    case TokenKind::kDecimal:
      return LiteralKind::kDecimal;
    case TokenKind::kEscapeString:
      return LiteralKind::kEscapeString;
    case TokenKind::kDollarString:
      return LiteralKind::kDollarString;
    default:
      return LiteralKind::kString;
  }
}

TokenKind token_kind(LiteralKind kind) {
  switch (kind) {
    case LiteralKind::kInteger:
      return TokenKind::kInteger;
    case LiteralKind::kDecimal:
      return TokenKind::kDecimal;
    case LiteralKind::kString:
      return TokenKind::kString;
    case LiteralKind::kEscapeString:
      return TokenKind::kEscapeString;
    case LiteralKind::kDollarString:
      return TokenKind::kDollarString;
  }
  return TokenKind::kStray;
}

bool continues_word(char c) {
  const char lower = static_cast<char>(c | 0x20);
  return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
         static_cast<unsigned char>(c) >= 0x80;
}

void append_parameter(std::uint32_t number, std::string& out) {
  char digits[10];
  const auto written = std::to_chars(digits, digits + sizeof digits, number);
  out.push_back('$');
  out.append(digits, written.ptr);
}

// A string that means something else to a parser with standard_conforming_strings on.
bool needs_setting(const SqlLexer& lexer, const SqlToken& token) {
  const std::string_view text = lexer.text(token);
  return token.kind == TokenKind::kEscapeString && text.front() == '\'' &&
         text.find('\\') != std::string_view::npos;
}

// Copies a statement's tokens, one blank for whatever stood between two of them. What is already
// written that way is copied in one piece.
class TemplateWriter {
 public:
  TemplateWriter(std::string_view sql, std::string& out) : sql_(sql), out_(out) { out_.clear(); }

  void keep(const SqlToken& token) {
    const bool started = end_ > begin_ || !out_.empty();
    const bool blank = token.begin - end_ == 1 && sql_[end_] == ' ';
    // A word right behind a literal would run into its parameter.
    const bool touches = parameter_ && token.begin == end_ && continues_word(sql_[token.begin]);
    if (!started) {
      begin_ = token.begin;
    } else if (touches || (token.begin != end_ && !blank)) {
      flush();
      out_.push_back(' ');
      begin_ = token.begin;
    }
    end_ = token.end;
    parameter_ = false;
  }

  void replace(const SqlToken& token, std::uint32_t number) {
    const bool apart = token.begin != end_;
    flush();
    if (!out_.empty() && (apart || continues_word(out_.back()))) out_.push_back(' ');
    append_parameter(number, out_);
    begin_ = end_ = token.end;
    parameter_ = true;
  }

  void flush() {
    out_.append(sql_.substr(begin_, end_ - begin_));
    begin_ = end_;
  }

 private:
  std::string_view sql_;
  std::string& out_;
  // The piece of the text that is to be copied as it is.
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool parameter_ = false;  // the last token was replaced
};

// Finds the parenthesis that opens an INSERT's second row.
class RowWatch {
 public:
  bool second_row(const SqlLexer& lexer, const SqlToken& token) {
    if (token.kind == TokenKind::kIdentifier) {
      if (depth_ == 0) pass_word(lexer.text(token));
      comma_ = false;
    } else if (token.kind == TokenKind::kSymbol) {
      return pass_symbol(lexer.sql()[token.begin]);
    } else {
      comma_ = false;
    }
    return false;
  }

 private:
  void pass_word(std::string_view word) {
    closed_ = false;
    switch (pack_word(word)) {
      case pack_word("insert"):
        inserts_ = true;
        break;
      case pack_word("values"):
        values_ = inserts_;
        break;
      default:
        values_ = false;
        break;
    }
  }

  bool pass_symbol(char symbol) {
    const bool second = symbol == '(' && depth_ == 0 && comma_;
    comma_ = symbol == ',' && depth_ == 0 && closed_;
    if (symbol == '(') {
      in_values_ = depth_ == 0 ? values_ : in_values_;
      ++depth_;
    } else if (symbol == ')' && depth_ > 0 && --depth_ == 0) {
      closed_ = in_values_;
    }
    return second;
  }

  std::size_t depth_ = 0;
  bool inserts_ = false;
  bool values_ = false;     // the last word outside of parentheses
  bool in_values_ = false;  // those parentheses follow it
  bool closed_ = false;     // they were closed
  bool comma_ = false;      // a comma came behind them
};

}  // namespace

TemplateStatus normalize_template(std::string_view sql, StatementTemplate& out,
                                  bool standard_conforming_strings) {
  out.literals.clear();
  if (sql.size() > kMaxTemplateBytes) return TemplateStatus::kTooLarge;
  out.parameters = highest_parameter(sql, standard_conforming_strings);
  if (out.parameters > kMaxParameter) return TemplateStatus::kMalformed;

  SqlLexer lexer(sql, standard_conforming_strings);
  SqlToken token;
  lexer.next(token);
  while (lexer.is_symbol(token, ';')) lexer.next(token);
  SqlLexer ahead = lexer;
  SqlToken first = token;
  while (ahead.is_symbol(first, '(')) ahead.next(first);
  if (first.kind != TokenKind::kIdentifier || !begins_query(ahead.text(first))) {
    return TemplateStatus::kNotQuery;
  }

  const bool may_insert =
      word_is(ahead.text(first), "insert") || word_is(ahead.text(first), "with");
  TemplateWriter writer(sql, out.text);
  LiteralPositions positions;
  RowWatch rows;
  for (; token.kind != TokenKind::kEnd; lexer.next(token)) {
    if (is_literal(token.kind) && positions.replaceable()) {
      if (out.literals.size() == kMaxTemplateLiterals) return TemplateStatus::kTooLarge;
      writer.replace(token, out.first_literal() + static_cast<std::uint32_t>(out.literals.size()));
      out.literals.push_back({literal_kind(token.kind), token.begin, lexer.text(token)});
    } else if (lexer.is_symbol(token, ';')) {
      do lexer.next(token);
      while (lexer.is_symbol(token, ';'));
      if (token.kind != TokenKind::kEnd) return TemplateStatus::kMultiple;
      break;
    } else if (token.kind == TokenKind::kJunk || token.kind == TokenKind::kStray ||
               token.kind == TokenKind::kUnterminated || needs_setting(lexer, token)) {
      return TemplateStatus::kMalformed;
    } else {
      writer.keep(token);
    }
    if (may_insert && rows.second_row(lexer, token)) return TemplateStatus::kRows;
    if (!positions.pass(lexer, token)) return TemplateStatus::kTooLarge;
  }
  writer.flush();
  out.hash = hash_text(out.text);
  return TemplateStatus::kOk;
}

bool decode_literal(const TemplateLiteral& literal, std::string& out) {
  out.clear();
  if (literal.kind != LiteralKind::kInteger && literal.kind != LiteralKind::kDecimal) {
    return append_string(token_kind(literal.kind), literal.text, out);
  }
  return append_number(literal.text, out);
}

TemplateRenderer::TemplateRenderer(std::string_view sql, std::uint32_t first_literal) {
  SqlLexer lexer(sql);
  std::size_t copied = 0;
  SqlToken token;
  while (lexer.next(token)) {
    if (token.kind != TokenKind::kParam) continue;
    const std::uint32_t number = parameter_number(lexer.text(token));
    if (number < first_literal || number > kMaxParameter + kMaxTemplateLiterals) continue;
    text_.append(sql.substr(copied, token.begin - copied));
    copied = token.end;
    pieces_.push_back({static_cast<std::uint32_t>(text_.size()), number - first_literal});
  }
  text_.append(sql.substr(copied));
}

void TemplateRenderer::render(std::span<const TemplateLiteral> literals, std::string& out) const {
  out.clear();
  std::size_t copied = 0;
  for (const Piece& piece : pieces_) {
    out.append(text_, copied, piece.end - copied);
    copied = piece.end;
    assert(piece.literal < literals.size());
    out.append(literals[piece.literal].text);
  }
  out.append(text_, copied);
}

}  // namespace pgshunt
