#include "router/distribution.h"

#include <string>
#include <utility>

#include "router/refusal.h"

namespace pgshunt {
namespace {

constexpr const char* kGiveKey = "Give the shard key of every table: WHERE key = value.";

// Rows of a part of FROM: the same on every shard, or spread over them by the keys of `tables`.
struct Rows {
  std::vector<std::size_t> tables;  // empty: the same everywhere
  bool replicated() const { return tables.empty(); }
};

class Walk {
 public:
  Walk(const TableScope& scope, std::size_t first) : scope_(scope), next_(first) {}

  Result<Rows> item(const FromItem& item) {
    switch (item.kind) {
      case FromItem::Kind::kTable: {
        const std::size_t index = next_++;
        if (scope_.tables()[index].sharded()) return Rows{{index}};
        return Rows{};
      }
      case FromItem::Kind::kJoin:
        return join(item);
      case FromItem::Kind::kSubquery:
        return refusal("a subquery in FROM is not supported over several shards", kGiveKey);
      case FromItem::Kind::kFunction:
        return refusal("a function in FROM is not supported over several shards", kGiveKey);
      case FromItem::Kind::kOther:
        break;
    }
    return refusal(item.text + " is not supported over several shards", kGiveKey);
  }

  Result<Rows> inner(Rows left, Rows right) {
    if (left.replicated()) return right;
    if (!right.replicated()) {
      if (!joined(left, right, 0, 0)) return not_joined(left, right);
      left.tables.insert(left.tables.end(), right.tables.begin(), right.tables.end());
    }
    return left;
  }

 private:
  Result<Rows> join(const FromItem& item) {
    if (item.table.column_aliases) {
      return refusal(
          "a join that gives its columns other names is not supported over several "
          "shards",
          kGiveKey);
    }
    const std::size_t first = next_;
    auto left = this->item(item.sides[0]);
    if (!left) return left;
    const std::size_t middle = next_;
    auto right = this->item(item.sides[1]);
    if (!right) return right;
    switch (item.join) {
      case JoinKind::kInner:
        return inner(std::move(*left), std::move(*right));
      case JoinKind::kLeft:
        return outer(std::move(*left), *right, middle, next_);
      case JoinKind::kRight:
        return outer(std::move(*right), *left, first, middle);
      case JoinKind::kFull:
        break;
    }
    if (left->replicated() && right->replicated()) return Rows{};
    return refusal("FULL JOIN of a sharded table is not supported over several shards", kGiveKey);
  }

  // [first, last): the tables of the side that may be dropped.
  Result<Rows> outer(Rows preserved, const Rows& dropped, std::size_t first, std::size_t last) {
    if (dropped.replicated()) return preserved;
    if (preserved.replicated()) {
      return refusal(
          "an outer join that keeps all rows of a reference table is not supported over "
          "several shards",
          "Each shard would keep them. Give the shard key, or turn the join around.");
    }
    if (!joined(preserved, dropped, first, last)) return not_joined(preserved, dropped);
    return preserved;
  }

  bool joined(const Rows& left, const Rows& right, std::size_t first, std::size_t last) const {
    for (const std::size_t a : left.tables) {
      for (const std::size_t b : right.tables) {
        if (scope_.keys_joined(a, b, first, last)) return true;
      }
    }
    return false;
  }

  Error not_joined(const Rows& left, const Rows& right) const {
    const TableUse& a = scope_.tables()[left.tables.front()];
    const TableUse& b = scope_.tables()[right.tables.front()];
    return refusal("join of sharded tables \"" + std::string(a.visible_name()) + "\" and \"" +
                       std::string(b.visible_name()) + "\" is not on their shard keys",
                   "Join them by " + std::string(a.visible_name()) + "." +
                       a.resolved.table->key_column + " = " + std::string(b.visible_name()) + "." +
                       b.resolved.table->key_column +
                       " (tables of one keyspace), or give the shard key of each.");
  }

  const TableScope& scope_;
  std::size_t next_;  // tables are numbered as TableScope numbers them: in the order of the text
};

}  // namespace

Status check_rows_are_partitioned(const std::vector<FromItem>& from, const TableScope& scope,
                                  bool has_target) {
  Walk walk(scope, has_target ? 1 : 0);
  Rows all;
  if (has_target && scope.tables().front().sharded()) all.tables.push_back(0);
  // Items between commas may be joined in any order, so one that fits with what is there already
  // is looked for before giving up.
  std::vector<Rows> waiting;
  for (const FromItem& item : from) {
    auto rows = walk.item(item);
    if (!rows) return rows.error();
    waiting.push_back(std::move(*rows));
  }
  while (!waiting.empty()) {
    bool progress = false;
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      auto joined = walk.inner(all, waiting[i]);
      if (!joined) continue;
      all = std::move(*joined);
      waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(i));
      progress = true;
      break;
    }
    if (!progress) return walk.inner(all, waiting.front()).error();
  }
  return Ok{};
}

}  // namespace pgshunt
