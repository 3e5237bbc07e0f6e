// PostgreSQL's own scanner, through libpg_query, as the judge of ours: the same text must fall into
// the same tokens. Header-only, for the unit test and the fuzz target alike.
#pragma once

#include <pg_query.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "router/sql_lexer.h"

namespace pgshunt {

struct PgToken {
  std::size_t begin = 0;
  std::size_t end = 0;
  unsigned token = 0;  // enum Token of pg_query.proto
};

namespace pg_scan_detail {

// Just enough of protobuf's wire format: fields that are varints or nested messages.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : bytes_(bytes) {}
  bool next() {
    if (bytes_.empty()) return false;
    const std::uint64_t key = varint();
    field = static_cast<unsigned>(key >> 3);
    value = varint();
    if ((key & 7) == 2) {
      nested = bytes_.substr(0, value);
      bytes_.remove_prefix(value);
    }
    return true;
  }
  unsigned field = 0;
  std::uint64_t value = 0;
  std::string_view nested;

 private:
  std::uint64_t varint() {
    std::uint64_t result = 0;
    for (unsigned shift = 0; !bytes_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes_.front());
      bytes_.remove_prefix(1);
      result |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return result;
  }
  std::string_view bytes_;
};

}  // namespace pg_scan_detail

// The tokens, comments left out; false if PostgreSQL reports an error.
inline bool pg_scan(const std::string& sql, std::vector<PgToken>& out) {
  constexpr unsigned kSqlComment = 275;
  constexpr unsigned kCComment = 276;
  out.clear();
  PgQueryScanResult result = pg_query_scan(sql.c_str());
  const bool ok = result.error == nullptr;
  if (ok) {
    pg_scan_detail::Fields fields({result.pbuf.data, result.pbuf.len});
    while (fields.next()) {
      if (fields.field != 2) continue;
      PgToken token;
      pg_scan_detail::Fields inner(fields.nested);
      while (inner.next()) {
        if (inner.field == 1) token.begin = inner.value;
        if (inner.field == 2) token.end = inner.value;
        if (inner.field == 4) token.token = static_cast<unsigned>(inner.value);
      }
      if (token.token != kSqlComment && token.token != kCComment) out.push_back(token);
    }
  }
  pg_query_free_scan_result(result);
  return ok;
}

// Whether our kind of token is theirs.
inline bool same_kind(TokenKind kind, unsigned token) {
  switch (kind) {
    case TokenKind::kIdentifier:
      return token == 258 || token >= 277;  // IDENT and keywords
    case TokenKind::kQuotedIdentifier:
      return token == 258;
    case TokenKind::kUnicodeIdentifier:
      return token == 259;
    case TokenKind::kInteger:
      return token == 266 || token == 260;  // beyond int4 it is theirs to call it a float
    case TokenKind::kDecimal:
      return token == 260;
    case TokenKind::kString:
    case TokenKind::kEscapeString:
    case TokenKind::kDollarString:
      return token == 261;
    case TokenKind::kUnicodeString:
      return token == 262;
    case TokenKind::kBitString:
      return token == 263;
    case TokenKind::kHexString:
      return token == 264;
    case TokenKind::kParam:
      return token == 267;
    case TokenKind::kTypecast:
      return token == 268;
    case TokenKind::kDotDot:
      return token == 269;
    case TokenKind::kColonEquals:
      return token == 270;
    case TokenKind::kEqualsGreater:
      return token == 271;
    case TokenKind::kOperator:
      return token == 265 || (token >= 272 && token <= 274);
    case TokenKind::kSymbol:
    case TokenKind::kStray:
      return token < 256;
    default:
      return false;
  }
}

// libpg_query gives no end for U& tokens, and the end of the first line for a string of several.
// The tokens that follow must start in the same places, so all that is left open is white space.
inline bool end_is_unknown(const std::string& sql, const SqlToken& ours, const PgToken& theirs) {
  const bool is_string = theirs.token >= 261 && theirs.token <= 264;
  if (theirs.token == 259 || theirs.token == 262) {
    return sql[ours.end - 1] == (theirs.token == 259 ? '"' : '\'');
  }
  return is_string && ours.end > theirs.end && sql[theirs.end - 1] == '\'' &&
         string_continuation(sql, theirs.end) != std::string::npos && sql[ours.end - 1] == '\'';
}

// A string continued behind a line comment: one token to PostgreSQL (scan.l's {quotecontinue}), but
// two to libpg_query, which made comments tokens of their own.
inline bool continues_past_comment(const std::string& sql, const SqlToken& ours,
                                   const PgToken& theirs) {
  return theirs.end < ours.end && theirs.token >= 261 && theirs.token <= 264 &&
         sql.find("--", theirs.end) < ours.end;
}

// What differs between the two readings of a text, in words; empty if nothing does. Nothing is
// compared where PostgreSQL reports an error, nor where the versions or libpg_query are known to
// differ: \v became white space in 16, and libpg_query reads ? as a parameter of its own.
inline std::string scan_difference(const std::string& sql) {
  if (sql.find_first_of(std::string_view("?\v\0", 3)) != std::string::npos) return {};
  std::vector<PgToken> theirs;
  if (!pg_scan(sql, theirs)) return {};
  SqlLexer lexer(sql);
  SqlToken ours;
  std::size_t i = 0;
  const auto describe = [&](const char* what) {
    std::string text = std::string(what) + " at token " + std::to_string(i) + ", ours " +
                       std::to_string(ours.begin) + ".." + std::to_string(ours.end) + " kind " +
                       std::to_string(static_cast<unsigned>(ours.kind));
    if (i < theirs.size()) {
      text += ", theirs " + std::to_string(theirs[i].begin) + ".." + std::to_string(theirs[i].end) +
              " token " + std::to_string(theirs[i].token);
    }
    return text + " in: " + sql;
  };
  for (; lexer.next(ours); ++i) {
    if (i == theirs.size()) return describe("one token too many");
    if (ours.begin != theirs[i].begin) return describe("start");
    if (continues_past_comment(sql, ours, theirs[i])) return {};
    if (ours.end != theirs[i].end && !end_is_unknown(sql, ours, theirs[i])) return describe("end");
    if (!same_kind(ours.kind, theirs[i].token)) return describe("kind");
  }
  return i == theirs.size() ? std::string() : describe("token missing");
}

}  // namespace pgshunt
