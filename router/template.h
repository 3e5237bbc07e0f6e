// One pass from a statement's text to its template: comments gone, white space made uniform,
// literals replaced by parameters. Statements that differ only in their literals share one
// template, and so one cached plan; the literals found on the way are bound to it.
//
// A template is for planning only. Text that goes to a server carries the client's own literals,
// put back by TemplateRenderer, so a literal's type is never changed on a server by our doing.
// Literals whose replacement would change meaning or grammar (ordinals of ORDER BY and GROUP BY,
// type modifiers, `date '...'`, bit strings, U&'...') stay in the template's text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pgshunt {

// How a literal is written; what PostgreSQL would make of it. A planner that reasons about types
// needs it: `5` is an int4 (int8 or numeric if larger), `5.0` a numeric, every string is `unknown`
// until its context gives it a type.
enum class LiteralKind : std::uint8_t {
  kInteger,       // 5, 0x1F, 1_000; without a sign: the minus stays in the text as an operator
  kDecimal,       // 1.5, .5, 1e10
  kString,        // '...', backslashes are ordinary
  kEscapeString,  // E'...', and '...' when standard_conforming_strings is off
  kDollarString,  // $tag$...$tag$
};

struct TemplateLiteral {
  LiteralKind kind = LiteralKind::kInteger;
  std::uint32_t position = 0;  // where `text` starts in the statement
  std::string_view text;       // the raw token, a view into the statement
};

// Literal i stands in the text as parameter `first_literal() + i`.
struct StatementTemplate {
  std::string text;
  std::uint64_t hash = 0;                 // of `text`; a cache must still compare `text` on a hit
  std::uint32_t parameters = 0;           // the highest $n the client wrote itself
  std::vector<TemplateLiteral> literals;  // in the order of the text

  std::uint32_t first_literal() const { return parameters + 1; }
};

// Beyond these a text is not worth a template: it is a bulk statement, and parsing it whole costs
// little beside running it.
inline constexpr std::size_t kMaxTemplateBytes = 64 * 1024;  // of the statement
inline constexpr std::size_t kMaxTemplateLiterals = 1000;

enum class TemplateStatus : std::uint8_t {
  kOk,
  kNotQuery,  // not SELECT, VALUES, TABLE, WITH, INSERT, UPDATE, DELETE, MERGE: plan from the text
  kMultiple,  // more than one statement
  kRows,      // INSERT ... VALUES with several rows: each is better looked at alone
  // An unterminated string, a stray character, `1x`: the parser should word the error. Or, with
  // standard_conforming_strings off, a string that would have to stay and has a backslash, which no
  // parser of ours reads as the server does.
  kMalformed,
  kTooLarge,
};

// Fills `out`, which is meant to be reused: nothing is allocated once its buffers have grown.
// Except under kOk, `out` holds nothing of use. A template that the parser rejects while it accepts
// the statement is possible in rare grammar (`FETCH FIRST -1 ROWS ONLY`); the caller then plans
// from the text.
TemplateStatus normalize_template(std::string_view sql, StatementTemplate& out,
                                  bool standard_conforming_strings = true);

// The value the literal has on the server, as text in the client's encoding: quotes, escapes and
// continuation lines resolved; an integer in decimal without leading zeros or underscores. False if
// PostgreSQL would reject it (a bad \u escape, a zero byte), or for a hexadecimal, octal or binary
// integer beyond 64 bits.
bool decode_literal(const TemplateLiteral& literal, std::string& out);

// A text with parameters, taken apart once so that literals can be put back in at little cost.
// `sql` is a template's text or anything derived from it that uses the same numbering.
class TemplateRenderer {
 public:
  TemplateRenderer() = default;
  TemplateRenderer(std::string_view sql, std::uint32_t first_literal);

  // Writes the text to `out` (replaced, its capacity reused) with each literal's raw token in its
  // place. Parameters below `first_literal` stay as they are; every other one must have its
  // literal.
  void render(std::span<const TemplateLiteral> literals, std::string& out) const;

 private:
  struct Piece {
    std::uint32_t end;      // of the text before the literal, in text_
    std::uint32_t literal;  // its index
  };

  std::string text_;  // without the literals' parameters
  std::vector<Piece> pieces_;
};

}  // namespace pgshunt
