// Any bytes as a statement whose clauses are found by its tokens. What is asked of it must end and
// lie inside of the text; of a SELECT that parses, each condition cut out must parse again.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "router/level_text.h"
#include "router/parse_tree.h"

namespace pgshunt {
namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

void check_tokens(const LevelText& level) {
  std::size_t last = 0;
  for (std::size_t i = 0; i < level.tokens().size(); ++i) {
    const SqlToken& token = level.tokens()[i];
    check(token.begin >= last && token.end > token.begin && token.end <= level.sql().size());
    check(level.at(token.begin) == i && level.depth(i) >= 0);
    check(level.name(i).empty() || is_name(token.kind));
    std::size_t behind = token.begin;
    for (const TextRange& range : level.conditions(i)) {
      check(range.begin >= behind && range.end > range.begin && range.end <= level.sql().size());
      behind = range.end;
    }
    last = token.end;
  }
  check(level.depth(level.tokens().size()) == -1);
}

void check_conditions(const LevelText& level, const Query& query, const FromItem& item) {
  for (const FromItem& side : item.sides) check_conditions(level, query, side);
  if (item.kind != FromItem::Kind::kTable || item.table.location < 0) return;
  const auto token = level.at(static_cast<std::size_t>(item.table.location));
  if (!token) return;
  for (const TextRange& range : level.conditions(*token)) {
    check(query.where.has_value());
    const std::string_view condition = level.sql().substr(range.begin, range.end - range.begin);
    check(parse_statement("SELECT 1 WHERE " + std::string(condition)).ok());
  }
}

}  // namespace
}  // namespace pgshunt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgshunt;
  // conditions() of every token is quadratic.
  if (size > 2'000) return 0;
  const std::string_view sql(reinterpret_cast<const char*>(data), size);
  const auto level = LevelText::read(sql);
  if (!level) return 0;
  check_tokens(*level);
  const auto statement = parse_statement(sql);
  if (!statement || !statement->query || statement->query->verb != QueryVerb::kSelect) return 0;
  for (const FromItem& item : statement->query->from) {
    check_conditions(*level, *statement->query, item);
  }
  return 0;
}
