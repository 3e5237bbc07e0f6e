#include "router/cursor_command.h"

#include <charconv>

#include "router/sql_decode.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text), lexer_(text) { step(); }

  bool at_end() const { return !more_ || lexer_.is_symbol(token_, ';'); }
  bool at(std::string_view lower) const {
    return more_ && token_.kind == TokenKind::kIdentifier && word_is(lexer_.text(token_), lower);
  }
  bool take(std::string_view lower) {
    if (!at(lower)) return false;
    step();
    return true;
  }
  bool take_name(std::string& out) {
    if (!more_ || !is_name(token_.kind) || !append_identifier(text_, token_, out)) return false;
    step();
    return true;
  }
  // A whole number with its sign.
  bool take_number(std::int64_t& out) {
    const Reader before = *this;
    const bool negative = more_ && lexer_.text(token_) == "-";
    if (negative || (more_ && lexer_.text(token_) == "+")) step();
    const std::string_view digits = more_ ? lexer_.text(token_) : std::string_view();
    std::int32_t number = 0;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (digits.empty() || read.ec != std::errc() || read.ptr != digits.data() + digits.size()) {
      *this = before;
      return false;
    }
    step();
    out = negative ? -std::int64_t{number} : number;
    return true;
  }
  std::size_t position() const { return more_ ? token_.begin : text_.size(); }

 private:
  void step() { more_ = lexer_.next(token_) && token_.kind != TokenKind::kUnterminated; }

  std::string_view text_;
  SqlLexer lexer_;
  SqlToken token_;
  bool more_ = false;
};

// What may stand between FETCH and the cursor's name, if anything does: not for names like its
// words. False: it is begun and lacks its number.
bool read_direction(Reader& reader, CursorCommand& out) {
  using Way = CursorCommand::Way;
  if (reader.take_number(out.count)) return true;
  if (reader.take("all")) {
    out.count = CursorCommand::kAll;
    return true;
  }
  if (reader.take("next")) return true;
  if (reader.take("prior")) {
    out.way = Way::kBackward;
    return true;
  }
  if (reader.take("first") || reader.at("last")) {
    out.way = Way::kAbsolute;
    if (reader.take("last")) out.count = -1;
    return true;
  }
  if (reader.at("absolute") || reader.at("relative")) {
    out.way = reader.take("absolute") ? Way::kAbsolute : Way::kRelative;
    if (out.way == Way::kRelative) reader.take("relative");
    return reader.take_number(out.count);
  }
  if (reader.at("forward") || reader.at("backward")) {
    out.way = reader.take("forward") ? Way::kForward : Way::kBackward;
    if (out.way == Way::kBackward) reader.take("backward");
    if (reader.take("all")) {
      out.count = CursorCommand::kAll;
    } else {
      reader.take_number(out.count);
    }
  }
  return true;
}

bool read_fetch(Reader& reader, CursorCommand& out) {
  // FETCH c, where c may be called like a direction.
  Reader name_only = reader;
  if (name_only.take_name(out.name) && name_only.at_end()) return true;
  out.name.clear();
  if (!read_direction(reader, out)) return false;
  if (!reader.take("from")) reader.take("in");
  return reader.take_name(out.name) && reader.at_end();
}

bool read_declare(Reader& reader, CursorCommand& out) {
  if (!reader.take_name(out.name)) return false;
  bool no_scroll = false;
  bool insensitive = false;
  bool asensitive = false;
  while (!reader.take("cursor")) {
    if (reader.take("no")) {
      if (!reader.take("scroll")) return false;
      no_scroll = true;
    } else if (reader.take("scroll")) {
      out.scroll = true;
    } else if (reader.take("binary")) {
      out.binary = true;
    } else if (reader.take("insensitive")) {
      insensitive = true;
    } else if (reader.take("asensitive")) {
      asensitive = true;
    } else {
      return false;
    }
  }
  if (out.scroll && no_scroll) out.conflict = "SCROLL and NO SCROLL";
  if (asensitive && insensitive) out.conflict = "ASENSITIVE and INSENSITIVE";
  if (reader.take("with")) {
    out.hold = true;
    if (!reader.take("hold")) return false;
  } else if (reader.take("without") && !reader.take("hold")) {
    return false;
  }
  if (!reader.take("for")) return false;
  out.select = reader.position();
  return !reader.at_end();
}

}  // namespace

std::optional<CursorCommand> read_cursor_command(std::string_view text) {
  using Kind = CursorCommand::Kind;
  CursorCommand out;
  Reader reader(text);
  bool good = false;
  if (reader.take("fetch")) {
    good = read_fetch(reader, out);
  } else if (reader.take("move")) {
    out.kind = Kind::kMove;
    good = read_fetch(reader, out);
  } else if (reader.take("close")) {
    out.kind = Kind::kClose;
    good = (reader.take("all") || reader.take_name(out.name)) && reader.at_end();
  } else if (reader.take("declare")) {
    out.kind = Kind::kDeclare;
    good = read_declare(reader, out);
  }
  return good ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace pgshunt
