#include "router/select_text.h"

#include <algorithm>

namespace pgshunt {

std::optional<SelectText> SelectText::read(const LevelText& level, const TableScope& scope) {
  SelectText out(level);
  const std::size_t count = level.tokens().size();
  if (!level.is_keyword(0, "select")) return std::nullopt;
  std::size_t first = 1;
  if (level.is_keyword(first, "all")) ++first;
  out.distinct_ = level.is_keyword(first, "distinct");
  if (out.distinct_) ++first;
  std::optional<std::size_t> table;
  for (const TableUse& use : scope.tables()) {
    const auto at = level.at(static_cast<std::size_t>(std::max(use.name->location, 0)));
    if (at && (!table || *at < *table)) table = at;
  }
  if (!table) return std::nullopt;
  std::size_t from = *table;
  while (from > 0 && !(level.depth(from) == 0 && level.is_keyword(from, "from"))) --from;
  if (from == 0) return std::nullopt;
  const auto at_clause = [&](std::size_t i) { return level.depth(i) == 0 && level.ends_where(i); };
  std::size_t group = from;
  while (group < count && !at_clause(group)) ++group;
  out.targets_ = {first, from};
  out.from_ = {from, group};
  std::size_t rest = group;
  if (level.is_keyword(group, "group")) {
    if (!level.is_keyword(group + 1, "by")) return std::nullopt;
    rest = group + 2;
    while (rest < count && !at_clause(rest)) ++rest;
    out.group_ = {group + 2, rest};
  }
  std::size_t end = count;
  while (end > rest && level.is_symbol(end - 1, ';')) --end;
  out.rest_ = {rest, end};
  return out;
}

std::vector<TokenRun> SelectText::split(TokenRun list) const {
  std::vector<TokenRun> out;
  std::size_t begin = list.begin;
  for (std::size_t i = list.begin; i < list.end; ++i) {
    if (level_->depth(i) != 0 || !level_->is_symbol(i, ',')) continue;
    out.push_back({begin, i});
    begin = i + 1;
  }
  if (begin < list.end) out.push_back({begin, list.end});
  return out;
}

std::optional<std::vector<SelectText::GroupItem>> SelectText::groups(
    const Query& query, const TableScope& scope) const {
  if (query.grouped != !group_.empty()) return std::nullopt;
  std::vector<GroupItem> out;
  if (group_.empty()) return out;
  // GROUP BY DISTINCT, which is about grouping sets.
  if (level_->is_keyword(group_.begin, "distinct") || level_->is_keyword(group_.begin, "all")) {
    return std::nullopt;
  }
  const auto is_column = [&](const std::string& name) {
    return std::any_of(scope.tables().begin(), scope.tables().end(), [&](const TableUse& use) {
      return use.resolved.table == nullptr || use.resolved.table->columns.empty() ||
             use.resolved.table->find_column(name) != nullptr;
    });
  };
  const std::vector<TokenRun> targets = split(targets_);
  const std::vector<TokenRun> items = split(group_);
  if (targets.size() != query.targets.size() || items.size() > query.rest.size()) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    const TokenRun item = items[i];
    if (item.empty()) return std::nullopt;
    std::optional<std::size_t> target;
    if (item.size() == 1) {
      const std::string name = level_->name(item.begin);
      if (level_->tokens()[item.begin].kind == TokenKind::kInteger) {
        std::size_t number = 0;
        for (const char digit : level_->text(item.begin)) {
          if (digit < '0' || digit > '9' || number > 10'000) return std::nullopt;
          number = number * 10 + static_cast<std::size_t>(digit - '0');
        }
        if (number == 0) return std::nullopt;
        target = number - 1;
      } else if (name.empty()) {
        return std::nullopt;
      } else if (!is_column(name)) {
        const auto named = std::find_if(query.targets.begin(), query.targets.end(),
                                        [&](const Target& each) { return each.name == name; });
        target = static_cast<std::size_t>(named - query.targets.begin());
      }
    }
    if (!target) {
      out.push_back({item, &query.rest[i]});
      continue;
    }
    if (*target >= targets.size() || !query.targets[*target].value) return std::nullopt;
    out.push_back(
        {value_of(targets[*target], query.targets[*target]), &*query.targets[*target].value});
  }
  return out;
}

std::optional<std::vector<TokenRun>> SelectText::order() const {
  std::size_t at = rest_.begin;
  while (at < rest_.end && !(level_->depth(at) == 0 && level_->is_keyword(at, "order"))) ++at;
  if (at == rest_.end) return std::vector<TokenRun>();
  if (!level_->is_keyword(at + 1, "by")) return std::nullopt;
  std::size_t end = at + 2;
  while (end < rest_.end && !(level_->depth(end) == 0 && level_->ends_where(end))) ++end;
  return split({at + 2, end});
}

TokenRun SelectText::value_of(TokenRun item, const Target& target) const {
  if (target.name.empty() || item.size() < 2) return item;
  --item.end;  // the name, which is one token
  if (level_->tokens()[item.end - 1].kind == TokenKind::kIdentifier &&
      word_is(level_->text(item.end - 1), "as")) {
    --item.end;
  }
  return item;
}

std::string_view SelectText::text(TokenRun tokens) const {
  const std::size_t begin = level_->tokens()[tokens.begin].begin;
  return level_->sql().substr(begin, level_->tokens()[tokens.end - 1].end - begin);
}

bool SelectText::same(std::size_t a, std::size_t b) const {
  const std::string name = level_->name(a);
  if (!name.empty()) return name == level_->name(b);
  return level_->tokens()[a].kind == level_->tokens()[b].kind && level_->text(a) == level_->text(b);
}

bool SelectText::same(TokenRun a, TokenRun b) const {
  if (a.size() != b.size()) return false;
  std::size_t i = 0;
  while (i < a.size() && same(a.begin + i, b.begin + i)) ++i;
  return i == a.size();
}

std::optional<std::size_t> end_of_plain_aggregate(const LevelText& level, std::size_t at,
                                                  std::size_t end) {
  const auto closing = [&](std::size_t open) -> std::optional<std::size_t> {
    const int depth = level.depth(open);
    for (std::size_t i = open + 1; i < end; ++i) {
      if (level.depth(i) == depth) return i;
    }
    return std::nullopt;
  };
  const auto close = closing(at + 1);
  if (!close) return std::nullopt;
  if (level.is_keyword(at + 2, "distinct")) return std::nullopt;
  for (std::size_t i = at + 2; i < *close; ++i) {
    const bool sorts = level.is_keyword(i, "order") && level.is_keyword(i + 1, "by");
    if (sorts && level.depth(i) == level.depth(at) + 1) return std::nullopt;
  }
  std::size_t behind = *close + 1;
  if (level.is_keyword(behind, "within") || level.is_keyword(behind, "over")) return std::nullopt;
  if (behind < end && level.is_keyword(behind, "filter") && level.is_symbol(behind + 1, '(')) {
    const auto filter = closing(behind + 1);
    if (!filter) return std::nullopt;
    behind = *filter + 1;
  }
  return behind;
}

}  // namespace pgshunt
