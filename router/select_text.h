// The outermost clauses of a SELECT from tables, as runs of tokens: for who writes another
// statement in terms of what stands in them.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "router/level_text.h"
#include "router/sql_tree.h"
#include "router/table_scope.h"

namespace pgshunt {

// [begin, end)
struct TokenRun {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool empty() const { return begin >= end; }
  std::size_t size() const { return end - begin; }
};

class SelectText {
 public:
  // Nothing if the text does not begin with SELECT, or is not written so that it can be told.
  // `scope`: of the statement's outermost level. `level` must outlive this object.
  static std::optional<SelectText> read(const LevelText& level, const TableScope& scope);

  bool distinct() const { return distinct_; }
  TokenRun targets() const { return targets_; }
  TokenRun from() const { return from_; }    // FROM and WHERE, with their words
  TokenRun group() const { return group_; }  // the list
  TokenRun rest() const { return rest_; }    // HAVING, ORDER BY, LIMIT, ..., with their words

  // What GROUP BY names, a number or the name of a target being that target. Nothing if it cannot
  // be told.
  struct GroupItem {
    TokenRun tokens;
    const Expr* value = nullptr;
  };
  std::optional<std::vector<GroupItem>> groups(const Query& query, const TableScope& scope) const;
  // The items of ORDER BY. Nothing if they are not found.
  std::optional<std::vector<TokenRun>> order() const;
  // The parts of a list.
  std::vector<TokenRun> split(TokenRun list) const;
  // An item of the list of targets without its AS and name.
  TokenRun value_of(TokenRun item, const Target& target) const;
  std::string_view text(TokenRun tokens) const;
  // Do they say the same? Names in capitals or quotes are what they mean.
  bool same(std::size_t a, std::size_t b) const;
  bool same(TokenRun a, TokenRun b) const;

 private:
  explicit SelectText(const LevelText& level) : level_(&level) {}

  const LevelText* level_;
  bool distinct_ = false;
  TokenRun targets_;
  TokenRun from_;
  TokenRun group_;
  TokenRun rest_;
};

// Where the call of an aggregate that begins at a token, its name, ends with its FILTER. Nothing if
// it takes more than the values of rows in any order: DISTINCT, ORDER BY, WITHIN GROUP, OVER.
std::optional<std::size_t> end_of_plain_aggregate(const LevelText& level, std::size_t at,
                                                  std::size_t end);

}  // namespace pgshunt
