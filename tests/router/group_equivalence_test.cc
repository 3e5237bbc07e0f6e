// Groups that the shards' answers are put together to are those of one PostgreSQL with all the
// data: the same values, types, digits behind the point and order, in text and binary.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "tests/router/sharded_model.h"

namespace pgshunt {
namespace {

using Answer = ShardedModel::Answer;
using Rows = std::vector<std::vector<std::optional<std::string>>>;

std::string show(const Rows& rows) {
  std::string out;
  for (const auto& row : rows) {
    for (const auto& value : row) out += (value ? *value : "NULL") + "|";
    out += "\n";
  }
  return out;
}

class GroupEquivalence : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = ShardedModel::shared();
    if (model_ == nullptr) GTEST_SKIP() << "no PostgreSQL to compare with";
  }

  // By simple query, and by the extended protocol in both formats. `ordered`: its order is total.
  void expect_same(const std::string& sql, bool ordered = false, bool grouped = true,
                   const std::vector<PgClient::Parameter>& parameters = {}) {
    if (parameters.empty()) {
      compare(sql, model_->run(sql), model_->run_whole(sql), ordered, grouped);
    }
    for (const std::uint16_t format : {kFormatText, kFormatBinary}) {
      compare(sql, model_->run_prepared(sql, parameters, format),
              model_->run_whole_prepared(sql, parameters, format), ordered, grouped);
    }
  }

  void compare(const std::string& sql, Answer ours, Answer whole, bool ordered, bool grouped) {
    if (!grouped) {
      EXPECT_FALSE(ours.grouped) << sql;
      return;
    }
    ASSERT_EQ(ours.error, whole.error) << sql;
    EXPECT_EQ(ours.sqlstate, whole.sqlstate) << sql;
    if (!whole.error.empty()) return;
    ASSERT_TRUE(ours.grouped) << sql;
    EXPECT_EQ(ours.types, whole.types) << sql;
    EXPECT_EQ(ours.tag, whole.tag) << sql;
    if (!ordered) {
      std::sort(ours.rows.begin(), ours.rows.end());
      std::sort(whole.rows.begin(), whole.rows.end());
    }
    EXPECT_EQ(ours.rows, whole.rows) << sql << "\nours:\n"
                                     << show(ours.rows) << "whole:\n"
                                     << show(whole.rows);
  }

  // Not put together here: another plan has it.
  void expect_elsewhere(const std::string& sql) { expect_same(sql, false, false); }

  ShardedModel* model_ = nullptr;
};

TEST_F(GroupEquivalence, OneRowOfAll) {
  expect_same("SELECT count(*) FROM users");
  expect_same(
      "SELECT count(*), count(name), sum(small), sum(medium), sum(id), min(id), max(id) FROM "
      "users");
  expect_same("SELECT sum(score), avg(score), min(score) FROM users WHERE score < 1000");
  expect_same("SELECT sum(score), avg(score), max(score) FROM users");  // NaN, infinities
  expect_same(
      "SELECT sum(score), avg(score) FROM users WHERE score <= 'Infinity' AND score > '-Infinity'");
  expect_same(
      "SELECT sum(score), avg(score) FROM users WHERE score >= '-Infinity' AND score <= "
      "'Infinity'");
  expect_same("SELECT avg(small), avg(medium), avg(id), avg(-id) FROM users");
  expect_same(
      "SELECT bool_and(active), bool_or(active), every(active), bit_and(medium), bit_or(small), "
      "bit_xor(id) FROM users");
  expect_same(
      "SELECT min(name), max(name), min(born), max(seen), max(tag::text COLLATE \"C\"), "
      "min(alarm), max(noted) FROM users");
  expect_same(
      "SELECT count(*) FILTER (WHERE active), sum(id) FILTER (WHERE medium > 0 AND active) FROM "
      "users");
  expect_same("SELECT avg(id) FILTER (WHERE active), avg(ALL medium + 1) FROM users");
  expect_same("SELECT count(*) AS n, count(*), 5 FROM users ORDER BY n LIMIT 1");
  expect_same("SELECT count(*) FROM users LIMIT 0");
  expect_same("SELECT count(*) FROM users OFFSET 1");
  expect_same("SELECT max(id) FROM users OFFSET 0 LIMIT 7");
}

TEST_F(GroupEquivalence, NoRows) {
  expect_same(
      "SELECT count(*), sum(id), sum(score), avg(id), min(name), bool_or(active), bit_or(id) FROM "
      "users WHERE id < -5");
  expect_same("SELECT country, count(*) FROM users WHERE id < -5 GROUP BY country");
  expect_same("SELECT DISTINCT country FROM users WHERE id < -5");
}

TEST_F(GroupEquivalence, KeysOfEveryType) {
  for (const char* key : {"name",
                          "nick",
                          "country",
                          "score",
                          "born",
                          "seen",
                          "tag",
                          "active",
                          "data",
                          "rating",
                          "weight",
                          "small",
                          "medium",
                          "alarm",
                          "noted",
                          "lower(country)",
                          "left(nick, 1)",
                          "medium % 3",
                          "date_trunc('day', noted)",
                          "coalesce(country, 'none')",
                          "name || nick",
                          "id::text",
                          "country || medium",
                          "score IS NULL",
                          "CASE WHEN active THEN 1 ELSE 0 END",
                          "extract(year from noted)",
                          "score::int8"}) {
    const std::string where = std::string(key) == "score::int8" ? " WHERE abs(score) < 1000" : "";
    // Values that are equal may be written in several ways: which of them is shown is open.
    const bool forms = std::string(key) == "score" || std::string(key) == "rating";
    const std::string shown = forms ? std::string() : std::string(key) + ", ";
    expect_same("SELECT " + shown + "count(*), sum(medium) FROM users" + where + " GROUP BY " +
                key);
    if (forms) continue;
    expect_same("SELECT count(*), min(id), " + std::string(key) + " AS k FROM users" + where +
                " GROUP BY k");
    expect_same("SELECT DISTINCT " + std::string(key) + " FROM users" + where);
    expect_same("SELECT DISTINCT active, " + std::string(key) + " FROM users" + where);
    expect_same("SELECT sum(id), " + std::string(key) + " FROM users" + where +
                " GROUP BY 2, active");
  }
}

TEST_F(GroupEquivalence, OrderAndWindow) {
  for (const char* order :
       {"active, medium", "medium DESC, active", "2 NULLS FIRST, 1 DESC NULLS LAST",
        "n, active, medium", "n DESC NULLS LAST, 2, 1", "count(*), medium, active",
        "sum(id) DESC, 1, 2", "avg(id), 1, 2", "max(id) DESC", "average, 1, 2",
        "count(*) FILTER (WHERE name IS NULL) DESC, active, medium", "5, 4"}) {
    for (const char* window : {"", " LIMIT 4", " LIMIT 3 OFFSET 2", " OFFSET 5", " LIMIT 0",
                               " LIMIT 1000", " LIMIT '2'", " OFFSET 100"}) {
      expect_same(
          std::string("SELECT active, medium, count(*) AS n, avg(score) FILTER (WHERE score "
                      "< 500) AS average, max(id) FROM users GROUP BY active, medium ORDER BY ") +
              order + window,
          true);
    }
  }
  expect_same("SELECT name, count(*) FROM users GROUP BY name ORDER BY name LIMIT 3", true);
  expect_same("SELECT count(*) FROM users GROUP BY name ORDER BY name DESC", true);
  expect_same("SELECT country, count(*) FROM users GROUP BY country ORDER BY country COLLATE \"C\"",
              true);
  expect_same(
      "SELECT country, count(*) FROM users GROUP BY 1 ORDER BY country COLLATE \"C\" DESC LIMIT 2",
      true);
  expect_same("SELECT DISTINCT name, active FROM users ORDER BY name DESC, active LIMIT 4 OFFSET 1",
              true);
  expect_same("SELECT DISTINCT small, active FROM users ORDER BY 2, small NULLS FIRST", true);
  expect_same("SELECT DISTINCT * FROM posts ORDER BY user_id, id LIMIT 9", true);
  expect_same("SELECT DISTINCT p.* FROM posts p WHERE likes > 2");
}

TEST_F(GroupEquivalence, JoinsAndLists) {
  expect_same(
      "SELECT u.name, count(*), sum(p.likes) FROM users u JOIN posts p ON p.user_id = u.id GROUP "
      "BY u.name");
  expect_same(
      "SELECT u.active, count(p.id) FROM users u LEFT JOIN posts p ON p.user_id = u.id GROUP BY "
      "u.active ORDER BY 2 DESC, 1",
      true);
  expect_same(
      "SELECT c.name, count(*) FROM users u JOIN countries c ON c.code = u.country GROUP BY "
      "c.name");
  expect_same("SELECT count(*), sum(id) FROM users WHERE id IN (1, 2, 3, 4, 5, 6, 7)");
  expect_same(
      "SELECT active, count(*) FROM users WHERE id = ANY ('{1,2,3,4,5,6,7,8,9}') GROUP BY active");
  expect_same("SELECT id, name, count(*) FROM users GROUP BY id, name ORDER BY id LIMIT 5", true);
  expect_same("SELECT upper(country) AS c, length(country), count(*) FROM users GROUP BY country",
              false);
  expect_same("SELECT length(country), 1 + medium, count(*) FROM users GROUP BY country, medium");
}

TEST_F(GroupEquivalence, Parameters) {
  using P = PgClient::Parameter;
  expect_same("SELECT active, count(*) FROM users WHERE medium > $1 GROUP BY active", false, true,
              {P{23, 0, "0"}});
  expect_same("SELECT medium + $1, count(*), avg(id + $2) FROM users GROUP BY medium + $1", false,
              true, {P{23, 0, "5"}, P{20, 0, "7"}});
  expect_same(
      "SELECT medium, count(*) FROM users GROUP BY medium ORDER BY 2 DESC, 1 LIMIT $1 OFFSET $2",
      true, true, {P{20, 0, "3"}, P{20, 0, "1"}});
  expect_same("SELECT medium, count(*) FROM users GROUP BY medium ORDER BY 1 LIMIT $1 OFFSET $2",
              true, true, {P{20, 0, "3"}, P{20, 0, "1"}});
  expect_same("SELECT count(*) FROM users LIMIT $1 OFFSET $2", true, true,
              {P{20, 0, "3"}, P{20, 0, "0"}});
  expect_same("SELECT medium, count(*) FROM users GROUP BY medium ORDER BY 1 LIMIT $1", true, true,
              {P{20, 0, std::nullopt}});
}

TEST_F(GroupEquivalence, WhatOnlyAServerKnows) {
  for (const char* sql : {"SELECT country, count(*) FROM users GROUP BY country ORDER BY country "
                          "COLLATE \"en-x-icu\"",
                          "SELECT max(country COLLATE \"en-x-icu\") FROM users",
                          "SELECT sum(rating) FROM users",
                          "SELECT avg(weight) FROM users",
                          "SELECT sum(rating * 2) FROM users",
                          "SELECT count(DISTINCT name) FILTER (WHERE active) FROM users",
                          "SELECT count(DISTINCT name), count(DISTINCT nick) FROM users",
                          "SELECT count(DISTINCT (name, nick)) FROM users",
                          "SELECT 5, count(DISTINCT name) FROM users",
                          "SELECT count(*) + 1 FROM users",
                          "SELECT name, count(*) FROM users GROUP BY name HAVING count(*) > 1",
                          "SELECT string_agg(name, ',') FROM users",
                          "SELECT sum(noted - born) FROM users",
                          "SELECT name, count(*) FROM users GROUP BY ROLLUP (name)",
                          "SELECT name FROM users GROUP BY DISTINCT name",
                          "SELECT DISTINCT ON (name) name, id FROM users ORDER BY name, id",
                          "SELECT DISTINCT count(*) FROM users GROUP BY name",
                          "SELECT noted - born, count(*) FROM users GROUP BY 1",
                          "SELECT DISTINCT users FROM users",
                          "SELECT sum(likes) OVER () FROM posts",
                          "SELECT DISTINCT country COLLATE \"en-x-icu\" FROM users",
                          "SELECT name, count(*) FROM users GROUP BY name ORDER BY count(*) + 1",
                          "SELECT array_agg(id) FROM users",
                          "SELECT count(*) FROM users, posts"}) {
    expect_elsewhere(sql);
  }
}

TEST_F(GroupEquivalence, DistinctValues) {
  for (const char* value : {"name", "medium", "score", "rating", "born", "data", "left(nick, 1)",
                            "medium % 2", "active", "tag", "coalesce(small, medium)"}) {
    const std::string count = "count(DISTINCT " + std::string(value) + ")";
    expect_same("SELECT " + count + " FROM users");
    expect_same("SELECT " + count + ", count(*), avg(medium), max(id) FROM users WHERE id % 3 = 1");
    expect_same("SELECT " + count + ", sum(id), count(name) FROM users WHERE id < -5");
    expect_same("SELECT active, " + count + ", count(*), avg(id) FROM users GROUP BY active");
    expect_same("SELECT active, medium FROM users GROUP BY 1, 2 ORDER BY " + count + " DESC, 1, 2",
                true);
    expect_same("SELECT country, small, " + count +
                    " AS n FROM users GROUP BY small, country ORDER BY n, 2, 1 "
                    "LIMIT 3 OFFSET 1",
                true);
    expect_same("SELECT small, " + count + " FROM users GROUP BY small ORDER BY small DESC LIMIT 2",
                true);
  }
  expect_same(
      "SELECT count(DISTINCT medium), sum(DISTINCT medium), avg(DISTINCT medium), min(DISTINCT "
      "medium), "
      "sum(medium), avg(medium) FROM users");
  expect_same("SELECT small, sum(DISTINCT medium), avg(DISTINCT medium) FROM users GROUP BY small");
  expect_same(
      "SELECT count(DISTINCT u.country), count(p.id) FROM users u JOIN posts p ON p.user_id = "
      "u.id");
  expect_same("SELECT count(DISTINCT name) FROM users OFFSET 1");
}

TEST_F(GroupEquivalence, ErrorsAreTheServers) {
  for (const char* sql :
       {"SELECT name, count(DISTINCT name) FROM users",
        "SELECT 1 + medium, count(DISTINCT medium) FROM users", "SELECT name, count(*) FROM users",
        "SELECT medium, count(*) FROM users GROUP BY medium + 1", "SELECT sum(name) FROM users",
        "SELECT sum(9223372036854775807 / (medium * 0)) FROM users"}) {
    const Answer ours = model_->run(sql);
    const Answer whole = model_->run_whole(sql);
    EXPECT_NE(whole.error, "") << sql;
    if (ours.refused) continue;
    EXPECT_EQ(ours.sqlstate, whole.sqlstate) << sql;
  }
}

// Whatever comes of these parts.
TEST_F(GroupEquivalence, RandomStatements) {
  std::mt19937_64 random(11);
  const auto pick = [&random](const std::vector<std::string>& list) {
    return list[random() % list.size()];
  };
  const std::vector<std::string> keys = {"name", "country",    "active", "small", "medium", "born",
                                         "tag",  "medium % 2", "seen",   "noted", "alarm",  "data"};
  const std::vector<std::string> values = {"count(*)",
                                           "count(score)",
                                           "sum(small)",
                                           "sum(id)",
                                           "avg(medium)",
                                           "avg(id)",
                                           "min(born)",
                                           "max(id)",
                                           "min(name)",
                                           "bool_or(active)",
                                           "bit_or(medium)",
                                           "avg(score) FILTER (WHERE score < 1000)",
                                           "sum(score) FILTER (WHERE score < 1e6)",
                                           "max(seen)",
                                           "count(*) FILTER (WHERE active)"};
  const std::vector<std::string> conditions = {"", " WHERE active", " WHERE id % 7 = 3",
                                               " WHERE score > 0",
                                               " WHERE country IS NOT NULL AND small < 5"};
  std::size_t done = 0;
  for (int i = 0; i < 400; ++i) {
    std::vector<std::string> targets;
    std::string group;
    const std::size_t key_count = random() % 3;
    for (std::size_t k = 0; k < key_count; ++k) {
      const std::string key = pick(keys);
      group += (k == 0 ? " GROUP BY " : ", ") + key;
      if (random() % 4 != 0) targets.push_back(key);
    }
    for (std::size_t k = 1 + random() % 3; k > 0; --k) targets.push_back(pick(values));
    std::shuffle(targets.begin(), targets.end(), random);
    std::string sql = "SELECT ";
    for (std::size_t k = 0; k < targets.size(); ++k) sql += (k == 0 ? "" : ", ") + targets[k];
    sql += " FROM users" + pick(conditions) + group;
    const Answer ours = model_->run(sql);
    const Answer whole = model_->run_whole(sql);
    ASSERT_EQ(whole.error, "") << sql;
    done += ours.grouped ? 1 : 0;
    compare(sql, ours, whole, false, ours.grouped);
  }
  EXPECT_GT(done, 390u);
}

}  // namespace
}  // namespace pgshunt
