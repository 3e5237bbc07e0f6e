// The rule above all others, tried out: whatever the router lets through gives what one PostgreSQL
// with all the data gives.

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "protocol/wire_value.h"
#include "tests/router/sharded_model.h"

namespace pgshunt {
namespace {

using Answer = ShardedModel::Answer;

std::string show(const Answer& answer) {
  std::string out = answer.error.empty() ? "" : "error " + answer.error + "\n";
  for (const auto& row : answer.rows) {
    for (const auto& value : row) out += (value ? *value : "NULL") + "|";
    out += "\n";
  }
  return out;
}

// Same rows, in the same order if `ordered`.
void expect_same(const std::string& sql, Answer sharded, Answer whole, bool ordered) {
  if (sharded.refused) return;
  if (!whole.error.empty()) {
    EXPECT_NE(sharded.error, "") << sql << "\nexpected " << whole.error;
    return;
  }
  EXPECT_EQ(sharded.error, "") << sql;
  EXPECT_EQ(sharded.columns, whole.columns) << sql;
  EXPECT_EQ(sharded.tag, whole.tag) << sql;
  if (!ordered) {
    std::sort(sharded.rows.begin(), sharded.rows.end());
    std::sort(whole.rows.begin(), whole.rows.end());
  }
  EXPECT_EQ(sharded.rows, whole.rows) << sql << "\nsharded:\n"
                                      << show(sharded) << "whole:\n"
                                      << show(whole);
}

class Equivalence : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = ShardedModel::shared();
    if (model_ == nullptr) GTEST_SKIP() << "no PostgreSQL to compare with";
  }

  // Runs both ways; returns what the router made of it.
  Answer check(const std::string& sql, bool ordered = false) {
    const Answer sharded = model_->run(sql);
    expect_same(sql, sharded, model_->run_whole(sql), ordered);
    return sharded;
  }

  ShardedModel* model_ = nullptr;
};

// Every type that can be sorted, both directions, both places for NULLs, simple and extended, text
// and binary.
TEST_F(Equivalence, OrderByEveryMergeableType) {
  for (const char* column : {"name",
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
                             "nick COLLATE \"C\"",
                             "lower(name)",
                             "score + 1",
                             "coalesce(born, '2000-01-01')",
                             "-rating",
                             "length(name)",
                             "score IS NULL"}) {
    for (const char* direction : {"", " ASC", " DESC"}) {
      for (const char* nulls : {"", " NULLS FIRST", " NULLS LAST"}) {
        const std::string order = " ORDER BY " + std::string(column) + direction + nulls + ", id";
        for (const char* targets : {"*", "id", "id, name", "users.*"}) {
          const std::string sql = "SELECT " + std::string(targets) + " FROM users" + order;
          const Answer answer = check(sql, true);
          EXPECT_FALSE(answer.refused) << sql << ": " << answer.error;
          for (const std::uint16_t format : {kFormatText, kFormatBinary}) {
            const Answer prepared = model_->run_prepared(sql + " LIMIT $1 OFFSET $2",
                                                         {{0, 0, "37"}, {20, 0, "11"}}, format);
            EXPECT_FALSE(prepared.refused) << sql << ": " << prepared.error;
            expect_same(sql, prepared,
                        model_->run_whole_prepared(sql + " LIMIT $1 OFFSET $2",
                                                   {{0, 0, "37"}, {20, 0, "11"}}, format),
                        true);
          }
        }
      }
    }
  }
}

TEST_F(Equivalence, LimitAndOffsetInEveryForm) {
  for (const char* window :
       {"LIMIT 5", "LIMIT 0", "LIMIT ALL", "LIMIT NULL", "OFFSET 5", "LIMIT 5 OFFSET 5",
        "OFFSET 100 LIMIT 50", "OFFSET 1000", "LIMIT 1000 OFFSET NULL", "FETCH FIRST 3 ROWS ONLY",
        "OFFSET 2 ROWS FETCH NEXT ROW ONLY", "LIMIT 9223372036854775807"}) {
    for (const char* order : {"ORDER BY id", "ORDER BY 1 DESC", "ORDER BY -id"}) {
      const std::string sql = "SELECT id, name FROM users " + std::string(order) + " " + window;
      const Answer answer = check(sql, true);
      EXPECT_FALSE(answer.refused) << sql << ": " << answer.error;
    }
  }
  // Without an order any rows will do, but not more of them.
  EXPECT_EQ(model_->run("SELECT id FROM users LIMIT 7").rows.size(), 7u);
  EXPECT_EQ(model_->run("SELECT id FROM users LIMIT 500 OFFSET 50").rows.size(), 70u);
  const std::string sql = "SELECT id FROM users ORDER BY id LIMIT $1 OFFSET $2";
  EXPECT_EQ(model_->run_prepared(sql, {{0, 0, "-1"}, {0, 0, "1"}}, 0).sqlstate, "2201W");
  EXPECT_EQ(model_->run_prepared(sql, {{0, 0, "1"}, {0, 0, "-1"}}, 0).sqlstate, "2201X");
  EXPECT_TRUE(model_->run("SELECT id FROM users ORDER BY id LIMIT -1").refused);
}

TEST_F(Equivalence, OutputNamesWinOverInputNamesInOrderBy) {
  for (const char* sql :
       {"SELECT -id AS id, name FROM users ORDER BY id",
        "SELECT -id AS id, name FROM users ORDER BY users.id",
        "SELECT id, lower(name) FROM users ORDER BY lower NULLS FIRST, id",
        "SELECT *, -id AS minus FROM users ORDER BY minus",
        "SELECT id AS a, id AS b FROM users ORDER BY b DESC",
        "SELECT -id AS \"Id\", id FROM users ORDER BY \"Id\"",
        "SELECT score AS name, id FROM users ORDER BY name, id",
        "SELECT score AS name, id FROM users ORDER BY name COLLATE \"C\", id",
        "SELECT users.*, p.likes FROM users JOIN posts p ON p.user_id = users.id "
        "ORDER BY likes, id, p.id",
        "SELECT u.id AS likes, p.id FROM users u JOIN posts p ON p.user_id = u.id "
        "ORDER BY likes, p.id",
        "SELECT 1 AS limit, id FROM users AS \"from\" ORDER BY id LIMIT 3 OFFSET 1",
        "SELECT id IS DISTINCT FROM 5, id FROM users ORDER BY medium, id",
        "SELECT FROM users ORDER BY id", "SELECT id FROM users ORDER BY id -- LIMIT 1\n OFFSET 3",
        "SELECT id FROM users ORDER BY substring(name FROM 1 FOR 2) COLLATE \"C\", id"}) {
    const Answer answer = check(sql, true);
    EXPECT_FALSE(answer.refused) << sql << ": " << answer.error;
    EXPECT_EQ(answer.kind, RouteKind::kScatter) << sql;
  }
}

TEST_F(Equivalence, OrdinalPastTheColumnsIsAnErrorAlsoWhereHiddenOnesStand) {
  const Answer answer = model_->run("SELECT id FROM users ORDER BY name COLLATE \"C\", 2");
  EXPECT_EQ(answer.sqlstate, "42P10");
}

TEST_F(Equivalence, ExplicitCasesOfEveryRoute) {
  for (const char* sql :
       {"SELECT * FROM users WHERE id = 5",
        "SELECT * FROM users WHERE 5 = id",
        "SELECT * FROM users WHERE id = '5'",
        "SELECT * FROM users WHERE id = 5.0",
        "SELECT * FROM users WHERE id = 5.5",
        "SELECT * FROM users WHERE id = -5",
        "SELECT * FROM users WHERE id = - 5",
        "SELECT * FROM users WHERE id = NULL",
        "SELECT * FROM users WHERE id = 99999999999999999999999",
        "SELECT * FROM users WHERE id = CAST('5' AS int)",
        "SELECT * FROM users WHERE id = 5::text",
        "SELECT * FROM users WHERE id = 5.0::float8",
        "SELECT * FROM users WHERE id IN (5)",
        "SELECT * FROM users WHERE id IN (5, 6, 7)",
        "SELECT * FROM users WHERE id = 5 OR name = 'ann'",
        "SELECT * FROM users WHERE NOT id = 5",
        "SELECT * FROM users WHERE (id = 5) IS NOT TRUE",
        "SELECT * FROM users WHERE CASE WHEN id = 5 THEN true ELSE true END",
        "SELECT id = 5 FROM users",
        "SELECT count(*) FROM users WHERE id = 5",
        "SELECT count(*) FILTER (WHERE id = 5) FROM users",
        "SELECT count(*) FROM users",
        "SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id AND u.id = 5",
        "SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id AND p.user_id = 5",
        "SELECT * FROM users u LEFT JOIN posts p ON p.user_id = 5",
        "SELECT * FROM users u LEFT JOIN posts p ON p.likes = u.medium WHERE u.id = 5",
        "SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id WHERE u.id = 5",
        "SELECT * FROM users u RIGHT JOIN posts p ON p.user_id = u.id WHERE u.id = 5",
        "SELECT * FROM users u FULL JOIN posts p ON p.user_id = u.id AND u.id = 5",
        "SELECT * FROM users u FULL JOIN posts p ON p.user_id = u.id WHERE u.id = 5",
        "SELECT * FROM users JOIN posts ON user_id = users.id AND users.id = 5",
        "SELECT * FROM users u, posts p WHERE u.id = p.user_id AND p.user_id = 7",
        "SELECT * FROM users u, posts p WHERE u.id = 3 AND p.user_id = 7",
        "SELECT * FROM posts JOIN comments USING (user_id) WHERE user_id = 7",
        "SELECT * FROM posts LEFT JOIN comments USING (user_id) WHERE user_id = 7",
        "SELECT * FROM posts NATURAL JOIN comments WHERE user_id = 7",
        "SELECT * FROM posts RIGHT JOIN comments USING (user_id) WHERE user_id = 7",
        "SELECT * FROM posts FULL JOIN comments USING (user_id) WHERE user_id = 7",
        "SELECT * FROM users u JOIN countries c ON c.code = u.country",
        "SELECT * FROM users u LEFT JOIN countries c ON c.code = u.country",
        "SELECT * FROM countries c LEFT JOIN users u ON c.code = u.country",
        "SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id",
        "SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id "
        "LEFT JOIN comments c ON c.user_id = p.user_id AND c.post_id = p.id",
        "SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id "
        "LEFT JOIN comments c ON c.user_id = p.user_id WHERE u.id = 12",
        "SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id AND p.user_id = 5 "
        "LEFT JOIN comments c ON c.user_id = u.id",
        "SELECT * FROM countries",
        "SELECT 1",
        "SELECT * FROM notes",
        "SELECT version()",
        "SELECT * FROM notes n JOIN countries c ON c.name <> n.text",
        "SELECT * FROM notes n, users u WHERE u.id = 5",
        "SELECT * FROM users WHERE id = 5 UNION ALL SELECT * FROM users WHERE id = 5",
        "SELECT * FROM users WHERE id = 5 UNION ALL SELECT * FROM users WHERE id = 6",
        "SELECT * FROM users WHERE id = 5 UNION ALL SELECT * FROM users",
        "SELECT id FROM users UNION ALL SELECT 1",
        "SELECT * FROM users WHERE id = 5 AND EXISTS (SELECT 1 FROM posts WHERE user_id = 5)",
        "SELECT * FROM users u WHERE id = 5 AND EXISTS (SELECT FROM posts WHERE user_id = u.id)",
        "SELECT * FROM users u WHERE EXISTS (SELECT FROM posts WHERE user_id = 5)",
        "SELECT * FROM users u WHERE id = 5 AND EXISTS (SELECT FROM posts WHERE likes = 1)",
        "SELECT (SELECT count(*) FROM posts WHERE user_id = 5) FROM users",
        "SELECT (SELECT count(*) FROM posts WHERE user_id = 5), * FROM users WHERE id = 5",
        "WITH users AS (SELECT * FROM users WHERE id = 5) SELECT * FROM users",
        "WITH x AS (SELECT * FROM users) SELECT * FROM x WHERE id = 5",
        "SELECT * FROM (SELECT * FROM users) AS x WHERE id = 5",
        "SELECT * FROM (SELECT * FROM users WHERE id = 5) AS x",
        "SELECT * FROM users u, LATERAL (SELECT * FROM posts p WHERE p.user_id = u.id) x "
        "WHERE u.id = 9",
        "SELECT * FROM users AS x (a, b) WHERE a = 5",
        "SELECT * FROM users AS x (a, id) WHERE id = 'x'",
        "SELECT DISTINCT country FROM users",
        "SELECT DISTINCT country FROM users WHERE id = 5",
        "SELECT country, count(*) FROM users GROUP BY country",
        "SELECT id, count(*) FROM users GROUP BY id",
        "SELECT id, row_number() OVER () FROM users",
        "SELECT max(id) FROM users HAVING true",
        "SELECT * FROM users TABLESAMPLE system (100)",
        "SELECT * FROM accounts WHERE login = '\xc3\xa4rger'",
        "SELECT * FROM accounts WHERE login = ''",
        "SELECT * FROM accounts WHERE login = 5",
        "SELECT * FROM accounts WHERE login = 'zoe '::char(4)",
        "SELECT * FROM accounts WHERE login = 'zoe '::varchar(3)",
        "SELECT * FROM accounts a, users u WHERE a.login = 'bob' AND u.id = 5",
        "SELECT * FROM accounts a, users u WHERE a.login = u.name",
        "VALUES (1), (2)",
        "TABLE countries",
        "TABLE users",
        "SELECT nope FROM users",
        "SELECT * FROM users WHERE id = 'five'",
        "SELECT * FROM users ORDER BY nope",
        "SELECT id FROM users WHERE id = 5 ORDER BY random()",
        "SELECT random() FROM users",
        "SELECT id FROM users WHERE born > 'yesterday'",
        "SELECT now() - seen FROM users",
        "SELECT tableoid FROM users",
        "SELECT ctid FROM users",
        "SELECT id FROM users WHERE born < date '2000-01-01' + 30",
        "SELECT id FROM users WHERE seen < timestamptz '2000-01-01' AT TIME ZONE 'UTC'",
        "SELECT id FROM users WHERE name LIKE 'a%' AND id BETWEEN 3 AND 50",
        "SELECT id FROM users WHERE name ~* '^b' OR (active AND rating > 1)",
        "SELECT upper(name) || '!', CASE WHEN active THEN 1 ELSE 0 END FROM users"}) {
    check(sql);
  }
}

// Sentences of a small grammar that is generous with what goes wrong elsewhere.
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  std::string select() {
    tables_.clear();
    std::string from = join();
    std::string sql = "SELECT " + targets() + " FROM " + from;
    if (chance(80)) sql += " WHERE " + condition(3);
    if (chance(4)) sql += " GROUP BY " + column();
    if (chance(3)) sql = "WITH x AS (" + sql + ") SELECT * FROM x";
    if (chance(5)) sql += " UNION ALL " + sql;
    return sql;
  }

 private:
  std::uint64_t pick(std::uint64_t n) { return random_() % n; }
  bool chance(unsigned percent) { return pick(100) < percent; }
  std::string one_of(std::initializer_list<const char*> values) {
    return *(values.begin() + pick(values.size()));
  }

  std::string table() {
    const std::string name = one_of({"users", "posts", "comments", "posts", "users", "countries"});
    const std::string alias = "t" + std::to_string(tables_.size());
    tables_.push_back({name, alias});
    return name + " " + alias;
  }

  std::string key_of(std::size_t i) {
    const auto& [name, alias] = tables_[i];
    return alias + (name == "users" ? ".id" : name == "countries" ? ".population" : ".user_id");
  }
  std::string any_key() { return key_of(pick(tables_.size())); }

  std::string column() {
    const auto& [name, alias] = tables_[pick(tables_.size())];
    if (name == "users") return alias + "." + one_of({"id", "medium", "small"});
    if (name == "posts") return alias + "." + one_of({"user_id", "id", "likes"});
    if (name == "comments") return alias + "." + one_of({"user_id", "post_id", "id"});
    return alias + ".population";
  }

  std::string value() {
    if (chance(10)) return one_of({"NULL", "'7'", "7.0", "7.5", "-3", "'7'::bigint", "7::int2"});
    return std::to_string(pick(4) + 5);
  }

  std::string join() {
    std::string sql = table();
    const std::uint64_t more = pick(3);
    for (std::uint64_t i = 0; i < more; ++i) {
      const std::string kind =
          one_of({" JOIN ", " LEFT JOIN ", " LEFT JOIN ", " RIGHT JOIN ", " FULL JOIN ", " JOIN "});
      sql += kind + table() + " ON ";
      const std::size_t last = tables_.size() - 1;
      if (chance(85)) {
        sql += key_of(last) + " = " + key_of(pick(last));
        if (chance(30)) sql += " AND " + condition(1);
      } else {
        sql += kind == " FULL JOIN " ? key_of(last) + " = " + key_of(pick(last)) : condition(1);
      }
    }
    return sql;
  }

  std::string condition(int depth) {
    if (depth > 0 && chance(55)) {
      switch (pick(6)) {
        case 0:
          return "(" + condition(depth - 1) + " OR " + condition(depth - 1) + ")";
        case 1:
          return "NOT (" + condition(depth - 1) + ")";
        case 2:
          if (chance(50)) return "EXISTS (" + subselect() + ")";
          return any_key() + " IN (" + subselect() + ")";
        default:
          return condition(depth - 1) + " AND " + condition(depth - 1);
      }
    }
    switch (pick(9)) {
      case 0:
        return column() + " = " + column();
      case 1:
        return column() + " > " + value();
      case 2:
        return column() + " IS NULL";
      case 3:
        return any_key() + " IN (" + value() + (chance(50) ? ", " + value() : "") + ")";
      case 4:
        return any_key() + " = " + any_key();
      default:
        return any_key() + " = " + value();
    }
  }

  std::string subselect() {
    const auto outer = tables_;
    const std::string from = table();
    const std::string sql =
        "SELECT " + key_of(tables_.size() - 1) + " FROM " + from + " WHERE " + condition(1);
    tables_ = outer;
    return sql;
  }

  std::string targets() {
    if (chance(30)) return "*";
    std::string sql = column();
    while (chance(40)) sql += ", " + column();
    if (chance(5)) sql += ", (" + subselect() + " LIMIT 1)";
    if (chance(5)) sql = "count(*), max(" + column() + ")";
    if (chance(3)) sql = "DISTINCT " + sql;
    return sql;
  }

  std::mt19937_64 random_;
  std::vector<std::pair<std::string, std::string>> tables_;
};

TEST_F(Equivalence, RandomSelectsAreExactOrRefused) {
  Generator generator(42);
  int refused = 0;
  int one_shard = 0;
  int scattered = 0;
  constexpr int kStatements = 3000;
  for (int i = 0; i < kStatements; ++i) {
    const std::string sql = generator.select();
    const Answer answer = check(sql);
    refused += answer.refused ? 1 : 0;
    one_shard += answer.kind == RouteKind::kOneShard ? 1 : 0;
    scattered += answer.kind == RouteKind::kScatter ? 1 : 0;
    if (HasFailure()) break;
  }
  std::printf("of %d: one shard %d, scattered %d, refused %d\n", kStatements, one_shard, scattered,
              refused);
  // The generator must reach every outcome, or nothing was shown.
  EXPECT_GT(one_shard, kStatements / 20);
  EXPECT_GT(scattered, kStatements / 20);
  EXPECT_GT(refused, kStatements / 20);
}

TEST_F(Equivalence, WritesLeaveTheSameRows) {
  for (const char* sql :
       {"UPDATE users SET name = 'new' WHERE id = 5",
        "UPDATE users SET name = 'x' WHERE id = 5.5",
        "UPDATE users u SET name = p.body FROM posts p WHERE p.user_id = u.id AND u.id = 8 AND "
        "p.id = 0",
        "UPDATE users SET name = c.name FROM countries c WHERE users.id = 9",
        "UPDATE users SET name = 'all'",
        "UPDATE users SET id = 1000 WHERE id = 5",
        "UPDATE users SET name = 'or' WHERE id = 5 OR id = 6",
        "DELETE FROM posts WHERE user_id = 10",
        "DELETE FROM posts USING users WHERE "
        "posts.user_id = users.id AND users.id = 11 AND users.medium IS NOT NULL",
        "DELETE FROM posts",
        "DELETE FROM users WHERE id IN (1)",
        "INSERT INTO users (id, name) VALUES (2000, 'a'), (2000, 'b') ON CONFLICT (id) DO NOTHING",
        "INSERT INTO users (id, name) VALUES (2000, 'c') ON CONFLICT (id) DO UPDATE SET name = "
        "excluded.name RETURNING *",
        "INSERT INTO users (name, id) VALUES ('d', '2001') RETURNING id",
        "INSERT INTO users (id) VALUES (2002), (2003), (2004), (2005)",
        "INSERT INTO users (id) VALUES (NULL)",
        "INSERT INTO users (name) VALUES ('x')",
        "INSERT INTO users (id) VALUES (DEFAULT)",
        "INSERT INTO users (id) VALUES (2010.4)",
        "INSERT INTO users DEFAULT VALUES",
        "INSERT INTO posts (user_id, id, body, posted) SELECT id, 77, name, noted FROM users "
        "WHERE id = 12",
        "INSERT INTO posts (user_id, id, posted) SELECT 13, g, NULL FROM generate_series(100, 105) "
        "g",
        "INSERT INTO posts (user_id, id, posted) SELECT id, 5, noted FROM users",
        "INSERT INTO posts SELECT * FROM posts WHERE user_id = 13",
        "INSERT INTO accounts (login, balance) VALUES ('new', 1)",
        "UPDATE countries SET name = 'changed' WHERE code = 'de'",
        "UPDATE countries SET population = population + 1",
        "UPDATE countries SET name = random()::text",
        "UPDATE countries SET name = u.name FROM users u WHERE u.id = 5",
        "INSERT INTO countries (code, name) VALUES ('es', 'late default')",
        "INSERT INTO countries (code, name, added) VALUES ('es', 'x', 'now')",
        "INSERT INTO countries (code, name, added) VALUES ('es', 'x', '2021-01-01 00:00:00+00') "
        "RETURNING code",
        "INSERT INTO countries VALUES ('pt', 'x', 5, '2021-01-01 00:00:00+00')",
        "INSERT INTO countries VALUES ('ch', 'x', 5)",
        "DELETE FROM countries WHERE code = 'it'",
        "UPDATE notes SET text = 'x' WHERE id = 1",
        "INSERT INTO notes VALUES (3, 'three')",
        "DELETE FROM notes WHERE id = 2 RETURNING *",
        "WITH gone AS (DELETE FROM posts WHERE user_id = 20 RETURNING *) INSERT INTO comments "
        "(user_id, id) SELECT 20, id + 500 FROM gone"}) {
    SCOPED_TRACE(sql);
    const Answer sharded = model_->run(sql);
    if (!sharded.refused) expect_same(sql, sharded, model_->run_whole(sql), false);
    for (const char* table : {"users", "posts", "comments"}) {
      const std::string all = "SELECT * FROM " + std::string(table);
      const Answer rows = model_->run(all);
      ASSERT_FALSE(rows.refused) << rows.error;
      expect_same(all, rows, model_->run_whole(all), false);
    }
    // Every shard's copy of a reference table, and the home of the unsharded one.
    const Answer copy = model_->run_whole("SELECT * FROM countries ORDER BY code");
    for (ShardId shard = 0; shard < ShardedModel::kShards; ++shard) {
      const PgResult rows = model_->shard(shard).query("SELECT * FROM countries ORDER BY code");
      ASSERT_EQ(rows.rows.size(), copy.rows.size());
      for (std::size_t i = 0; i < rows.rows.size(); ++i) {
        for (std::size_t k = 0; k < copy.rows[i].size(); ++k) {
          EXPECT_EQ(rows.value(i, k), copy.rows[i][k]);
        }
      }
    }
    expect_same("notes", model_->run("SELECT * FROM notes"),
                model_->run_whole("SELECT * FROM notes"), false);
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace pgshunt
