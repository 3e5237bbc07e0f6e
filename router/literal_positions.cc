#include "router/literal_positions.h"

#include <utility>

namespace pgshunt {
namespace {

// What a word does to the literals behind it.
enum class Role : std::uint8_t {
  kName,        // nothing: behind it a literal is part of something else, as in `date '...'`
  kExpression,  // an expression can start right behind it
  kSelect,      // the same, and lists of ORDER BY and GROUP BY before it are over
  kBy,          // such a list starts
  kDistinct,
  kOn,
  kGrouping,  // parentheses behind it hold such a list
  kExtract,
  kAs,
  kMaterialized,  // the only word between AS and a parenthesis that is no type
  kAt,
  kTime,
  kZone,
  kType,  // parentheses behind it hold type modifiers, with no cast in front
};

struct Keyword {
  constexpr Keyword(std::string_view word_, Role role_)
      : word(word_), packed(pack_word(word_)), role(role_) {}
  std::string_view word;
  std::uint64_t packed;
  Role role;
};

// The usual ones first.
constexpr Keyword kKeywords[] = {
    {"select", Role::kSelect},
    {"from", Role::kExpression},
    {"where", Role::kExpression},
    {"and", Role::kExpression},
    {"by", Role::kBy},
    {"as", Role::kAs},
    {"on", Role::kOn},
    {"or", Role::kExpression},
    {"in", Role::kExpression},
    {"values", Role::kSelect},
    {"limit", Role::kExpression},
    {"offset", Role::kExpression},
    {"not", Role::kExpression},
    {"like", Role::kExpression},
    {"when", Role::kExpression},
    {"then", Role::kExpression},
    {"else", Role::kExpression},
    {"case", Role::kExpression},
    {"between", Role::kExpression},
    {"having", Role::kExpression},
    {"returning", Role::kExpression},
    {"distinct", Role::kDistinct},
    {"all", Role::kExpression},
    {"for", Role::kExpression},
    {"to", Role::kExpression},
    {"ilike", Role::kExpression},
    {"similar", Role::kExpression},
    {"escape", Role::kExpression},
    {"first", Role::kExpression},
    {"next", Role::kExpression},
    {"rows", Role::kExpression},
    {"range", Role::kExpression},
    {"groups", Role::kExpression},
    {"symmetric", Role::kExpression},
    {"asymmetric", Role::kExpression},
    {"placing", Role::kExpression},
    {"both", Role::kExpression},
    {"leading", Role::kExpression},
    {"trailing", Role::kExpression},
    {"variadic", Role::kExpression},
    {"rollup", Role::kGrouping},
    {"cube", Role::kGrouping},
    {"sets", Role::kGrouping},
    {"extract", Role::kExtract},
    {"materialized", Role::kMaterialized},
    {"at", Role::kAt},
    {"time", Role::kTime},
    {"zone", Role::kZone},
    {"bit", Role::kType},
    {"char", Role::kType},
    {"character", Role::kType},
    {"current_time", Role::kType},
    {"current_timestamp", Role::kType},
    {"dec", Role::kType},
    {"decimal", Role::kType},
    {"float", Role::kType},
    {"interval", Role::kType},
    {"localtime", Role::kType},
    {"localtimestamp", Role::kType},
    {"nchar", Role::kType},
    {"numeric", Role::kType},
    {"second", Role::kType},  // interval '1' second(3)
    {"timestamp", Role::kType},
    {"varchar", Role::kType},
    {"varying", Role::kType},
};

constexpr WordFilter make_filter() {
  WordFilter filter;
  for (const Keyword& keyword : kKeywords) filter.add(keyword.word);
  return filter;
}
constexpr WordFilter kFilter = make_filter();

Role role_of(std::string_view word) {
  if (!kFilter.admits(word)) return Role::kName;
  const std::uint64_t packed = pack_word(word);
  for (const Keyword& keyword : kKeywords) {
    if (keyword.packed != packed) continue;
    if (packed != kLongWord || word_is(word, keyword.word)) return keyword.role;
  }
  return Role::kName;
}

}  // namespace

bool LiteralPositions::pass(const SqlLexer& lexer, const SqlToken& token) {
  const Last last = std::exchange(last_, Last{});
  switch (token.kind) {
    case TokenKind::kSymbol:
      return pass_symbol(lexer.sql()[token.begin], last);
    case TokenKind::kIdentifier:
      pass_word(lexer.text(token), last);
      return true;
    case TokenKind::kQuotedIdentifier:
    case TokenKind::kUnicodeIdentifier:
      last_.is_type = last.type_follows;
      before_ = Before::kOther;
      return true;
    case TokenKind::kTypecast:
      last_.type_follows = true;
      before_ = Before::kOther;
      return true;
    case TokenKind::kOperator:
    case TokenKind::kColonEquals:
    case TokenKind::kEqualsGreater:
      before_ = Before::kExpression;
      return true;
    default:
      before_ = Before::kOther;
      return true;
  }
}

bool LiteralPositions::pass_symbol(char symbol, const Last& last) {
  switch (symbol) {
    case '(':
      return open(last);
    case ')':
      if (depth_ > 0) --depth_;
      before_ = Before::kOther;
      return true;
    case '[':
      // The bounds of an array type are part of its name.
      before_ = last.is_type ? Before::kOther : Before::kExpression;
      return true;
    case ']':
      before_ = Before::kOther;
      return true;
    case '.':
      // A qualified type's name goes on.
      last_.type_follows = last.is_type;
      before_ = Before::kOther;
      return true;
    case ',':
      before_ = levels_[depth_].in_list ? Before::kListItem : Before::kExpression;
      return true;
    case '+':
    case '-':
      // A sign leaves an ordinal one, if a bad one.
      if (before_ != Before::kListItem) before_ = Before::kExpression;
      return true;
    default:
      before_ = Before::kExpression;
      return true;
  }
}

bool LiteralPositions::open(const Last& last) {
  if (depth_ + 1 == kMaxDepth) return false;
  Level inner;
  inner.keeps = levels_[depth_].keeps || last.is_type;
  inner.in_list = last.opens_list || before_ == Before::kListItem;
  levels_[++depth_] = inner;
  before_ = inner.in_list ? Before::kListItem : Before::kExpression;
  if (last.opens_field) before_ = Before::kOther;
  return true;
}

void LiteralPositions::pass_word(std::string_view word, const Last& last) {
  before_ = Before::kOther;
  const Role role = role_of(word);
  switch (role) {
    case Role::kSelect:
      levels_[depth_].in_list = false;
      before_ = Before::kExpression;
      break;
    case Role::kExpression:
      before_ = Before::kExpression;
      break;
    case Role::kBy:
      levels_[depth_].in_list = true;
      before_ = Before::kListItem;
      break;
    case Role::kDistinct:
      last_.is_distinct = true;
      before_ = Before::kExpression;
      break;
    case Role::kOn:
      last_.opens_list = last.is_distinct;
      before_ = Before::kExpression;
      break;
    case Role::kGrouping:
      last_.opens_list = levels_[depth_].in_list;
      break;
    case Role::kExtract:
      last_.opens_field = true;
      break;
    case Role::kAs:
      last_.type_follows = true;
      break;
    case Role::kAt:
      last_.time_zone = 1;
      break;
    case Role::kTime:
      last_.is_type = true;
      if (last.time_zone == 1) last_.time_zone = 2;
      break;
    case Role::kZone:
      // Not that of `timestamp with time zone '...'`.
      if (last.time_zone == 2) before_ = Before::kExpression;
      break;
    case Role::kType:
      last_.is_type = true;
      break;
    case Role::kName:
    case Role::kMaterialized:
      break;
  }
  if (last.type_follows && role != Role::kMaterialized) last_.is_type = true;
}

}  // namespace pgshunt
