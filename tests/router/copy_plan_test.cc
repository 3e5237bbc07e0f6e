// COPY of sharded and reference tables: what is planned, what is refused, and where rows go.

#include "router/copy_plan.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "protocol/frame.h"
#include "router/copy_split.h"
#include "router/pg_hash.h"
#include "router/planner.h"
#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

class CopyPlanning : public ::testing::Test {
 protected:
  std::string plan(const std::string& sql) {
    const auto data = plan_statement(*topology_, {sql, {}, 0});
    copy_.reset();
    if (!data) return std::string(data.error().code.view()) + " " + data.error().message;
    copy_ = data->copy;
    writes_ = data->writes;
    switch (data->kind) {
      case RouteKind::kCopySplit:
        return "split";
      case RouteKind::kCopyMerge:
        return "merge";
      case RouteKind::kCopyQuery:
        return "copy";
      default:
        return "other";
    }
  }

  // Splits `stream` by the plan of `sql`; what each shard gets, or the error with its context.
  std::vector<std::string> split(const std::string& sql, std::string_view stream,
                                 const RouterSession& session = {}) {
    EXPECT_EQ(plan(sql), "split") << sql;
    if (!copy_) return {};
    std::vector<std::string> outputs(topology_->shards.size());
    CopySplitter splitter(topology_, copy_, session);
    if (!splitter.take(stream, outputs) || !splitter.finish(outputs)) {
      const CopyFailure& failure = splitter.failure();
      return {std::string(failure.error.code.view()) + " " + failure.error.message,
              failure.context};
    }
    for (std::string& output : outputs) {
      std::string data;
      for (std::string_view rest = output; !rest.empty();) {
        const std::size_t size = load_be32(rest.data() + 1) + std::size_t{1};
        EXPECT_EQ(rest[0], 'd');
        data += rest.substr(5, size - 5);
        rest.remove_prefix(size);
      }
      output = data;
    }
    return outputs;
  }

  ShardId owner(std::int64_t key) const {
    return topology_->keyspaces[0].hash()->owners[hash_int8(key) & (kBucketCount - 1)];
  }

  std::shared_ptr<const Topology> topology_ = test_topology();
  std::shared_ptr<const CopyPlan> copy_;
  bool writes_ = false;
};

TEST_F(CopyPlanning, OptionsOfBothSyntaxes) {
  ASSERT_EQ(plan("COPY users FROM STDIN"), "split");
  EXPECT_TRUE(writes_);
  EXPECT_EQ(copy_->options.format, CopyFormat::kText);
  EXPECT_EQ(copy_->options.delimiter, '\t');
  EXPECT_EQ(copy_->options.null_text, "\\N");
  EXPECT_EQ(copy_->key_field, 0u);
  EXPECT_EQ(copy_->table, "users");
  EXPECT_EQ(copy_->moment_fields, (std::vector<std::size_t>{5}));
  for (const char* sql :
       {"COPY users (name, id) FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', QUOTE '''', "
        "ESCAPE '\\', NULL 'nil', FORCE_NULL (id), FORCE_NOT_NULL (id, name))",
        "COPY users (name, id) FROM STDIN DELIMITERS ';' WITH NULL AS 'nil' CSV HEADER QUOTE '''' "
        "ESCAPE '\\' FORCE NULL id FORCE NOT NULL id, name"}) {
    ASSERT_EQ(plan(sql), "split") << sql;
    EXPECT_EQ(copy_->options.format, CopyFormat::kCsv);
    EXPECT_TRUE(copy_->options.header);
    EXPECT_EQ(copy_->options.delimiter, ';');
    EXPECT_EQ(copy_->options.quote, '\'');
    EXPECT_EQ(copy_->options.escape, '\\');
    EXPECT_EQ(copy_->options.null_text, "nil");
    EXPECT_EQ(copy_->key_field, 1u);
    EXPECT_TRUE(copy_->force_null);
    EXPECT_TRUE(copy_->force_not_null);
  }
  ASSERT_EQ(plan("COPY users FROM STDIN CSV"), "split");
  EXPECT_EQ(copy_->options.delimiter, ',');
  EXPECT_EQ(copy_->options.null_text, "");
  EXPECT_FALSE(copy_->options.header);
  ASSERT_EQ(plan("COPY users FROM STDIN BINARY"), "split");
  EXPECT_EQ(copy_->options.format, CopyFormat::kBinary);
  EXPECT_TRUE(copy_->moment_fields.empty());
  ASSERT_EQ(plan("COPY users FROM STDIN (HEADER match, FREEZE, DEFAULT '\\D', FORMAT text)"),
            "split");
  EXPECT_TRUE(copy_->options.header);
  EXPECT_EQ(copy_->options.default_text, "\\D");
  ASSERT_EQ(plan("COPY posts FROM STDIN"), "split");
  EXPECT_EQ(copy_->key_field, 1u);
}

TEST_F(CopyPlanning, WhatServersRefuseIsRefusedInTheirWords) {
  const std::pair<const char*, const char*> cases[] = {
      {"(FORMAT nope)", "22023 COPY format \"nope\" not recognized"},
      {"(FORMAT csv, FORMAT csv)", "42601 conflicting or redundant options"},
      {"(DELIMITER 'ab')", "0A000 COPY delimiter must be a single one-byte character"},
      {"(DELIMITER 'a')", "22023 COPY delimiter cannot be \"a\""},
      {"(DELIMITER E'\\n')", "22023 COPY delimiter cannot be newline or carriage return"},
      {"(QUOTE 'x')", "0A000 COPY quote available only in CSV mode"},
      {"(FORMAT csv, QUOTE ',')", "22023 COPY delimiter and quote must be different"},
      {"(FORMAT csv, ESCAPE '')", "0A000 COPY escape must be a single one-byte character"},
      {"(FORMAT csv, FORCE_QUOTE *)", "0A000 COPY force quote only available using COPY TO"},
      {"(FORMAT csv, FORCE_NULL 5)",
       "22023 argument to option \"force_null\" must be a list of column names"},
      {"(FORMAT binary, DELIMITER ',')", "42601 cannot specify DELIMITER in BINARY mode"},
      {"(FORMAT binary, NULL '')", "42601 cannot specify NULL in BINARY mode"},
      {"(FORMAT binary, HEADER)", "0A000 cannot specify HEADER in BINARY mode"},
      {"(NULL E'a\\tb')", "0A000 COPY delimiter must not appear in the NULL specification"},
      {"(FORMAT csv, NULL '\"')",
       "0A000 CSV quote character must not appear in the NULL specification"},
      {"(HEADER 7)", "42601 header requires a Boolean value or \"match\""},
  };
  for (const auto& [options, error] : cases) {
    EXPECT_EQ(plan(std::string("COPY users FROM STDIN ") + options), error);
  }
  EXPECT_EQ(plan("COPY users TO STDOUT (HEADER match)"),
            "0A000 cannot use \"match\" with HEADER in COPY TO");
}

TEST_F(CopyPlanning, WhatCannotBeProvenIsRefused) {
  for (const char* sql : {
           "COPY users FROM STDIN (ON_ERROR ignore)",
           "COPY users FROM STDIN (REJECT_LIMIT 5)",
           "COPY users FROM STDIN (BRAND_NEW)",
           "COPY users FROM STDIN (ENCODING 'sjis')",
           "COPY users FROM STDIN WHERE seen < now()",
           "COPY users FROM STDIN WHERE seen < 'today'",
           "COPY users FROM STDIN WHERE random() < 0.5",
           "COPY users FROM STDIN WHERE my_function(id)",
           "COPY posts (body, id) FROM STDIN WHERE body IN (SELECT name FROM users)",
           "COPY unread FROM STDIN",
           "COPY countries (code, name) FROM STDIN",
           "COPY countries FROM STDIN (DEFAULT 'x')",
           "COPY users FROM '/tmp/x'",
       }) {
    EXPECT_EQ(plan(sql).substr(0, 5), "0A000") << sql << ": " << plan(sql);
  }
  EXPECT_EQ(plan("COPY users (name) FROM STDIN").substr(0, 5), "23502");
}

TEST_F(CopyPlanning, WhatIsTheSameOnEveryServerStays) {
  EXPECT_EQ(plan("COPY users FROM STDIN WHERE id > 5 AND lower(name) = 'x'"), "split");
  EXPECT_EQ(plan("COPY public.users FROM STDIN (ON_ERROR stop, LOG_VERBOSITY verbose)"), "split");
  EXPECT_EQ(plan("COPY countries FROM STDIN"), "split");
  EXPECT_TRUE(copy_->every_shard);
  EXPECT_EQ(plan("COPY users TO STDOUT"), "merge");
  EXPECT_FALSE(writes_);
  EXPECT_EQ(plan("COPY users (id, name) TO STDOUT CSV HEADER FORCE QUOTE *"), "merge");
  EXPECT_TRUE(copy_->options.header);
  EXPECT_EQ(plan("COPY (SELECT id FROM users WHERE name = 'x') TO STDOUT BINARY"), "merge");
  EXPECT_EQ(copy_->options.format, CopyFormat::kBinary);
  for (const char* sql : {"COPY (SELECT * FROM users ORDER BY id) TO STDOUT",
                          "COPY (SELECT * FROM users LIMIT 5) TO STDOUT",
                          "COPY (SELECT count(*) FROM users) TO STDOUT"}) {
    EXPECT_EQ(plan(sql), "copy") << sql;
  }
}

TEST_F(CopyPlanning, ARowGoesToItsKeysShard) {
  std::string stream;
  std::vector<std::string> expected(3);
  for (int i = -50; i < 50; ++i) {
    const std::string row = "x\t" + std::to_string(i) + "\n";
    stream += row;
    expected[owner(i)] += row;
  }
  EXPECT_EQ(split("COPY users (name, id) FROM STDIN", stream), expected);
  // The header goes to every shard.
  for (std::string& each : expected) each.insert(0, "name\tid\n");
  EXPECT_EQ(split("COPY users (name, id) FROM STDIN (HEADER)", "name\tid\n" + stream), expected);
  EXPECT_EQ(split("COPY countries FROM STDIN", "de\tx\t1\t\\N\nfr\ty\t2\t\\N\n"),
            std::vector<std::string>(3, "de\tx\t1\t\\N\nfr\ty\t2\t\\N\n"));
}

TEST_F(CopyPlanning, FailuresNameTheirLine) {
  using Strings = std::vector<std::string>;
  const std::string sql = "COPY users (id, name, seen) FROM STDIN";
  EXPECT_EQ(split(sql, "1\ta\t\\N\n\\N\tb\t\\N\n"),
            (Strings{"23502 null value in shard key column \"id\" of table \"users\"",
                     "COPY users, line 2: \"\\N\tb\t\\N\""}));
  EXPECT_EQ(split(sql, "1\ta\t\\N\nfive\tb\t\\N\n"),
            (Strings{"22P02 invalid input syntax for type bigint: \"five\"",
                     "COPY users, line 2, column id: \"five\""}));
  EXPECT_EQ(split(sql, "1\tnow\tnow\n"),
            (Strings{"0A000 a value such as 'now' or 'today' would mean another moment on every "
                     "shard",
                     "COPY users, line 1, column seen: \"now\""}));
  EXPECT_EQ(split(sql + " WHERE id > 1", "2\ta\t\\N\n\\N\tb\t\\N\n")[0].substr(0, 5), "0A000");
  EXPECT_EQ(split("COPY users (name, country, id) FROM STDIN", "a\n"),
            (Strings{"22P04 missing data for column \"country\"", "COPY users, line 1: \"a\""}));
  EXPECT_EQ(split("COPY users (id, name) FROM STDIN (DEFAULT 'd')", "1\td\nd\tx\n")[1],
            "COPY users, line 2: \"d\tx\"");
  EXPECT_EQ(split(sql, "1\ta\t\\N\n2\tb\r\n")[1], "COPY users, line 2");
}

TEST_F(CopyPlanning, AnotherEncodingThanTheServers) {
  RouterSession latin;
  latin.same_encoding = false;
  const std::string sql = "COPY accounts FROM STDIN";
  auto builder_has_no_columns = plan(sql);
  EXPECT_EQ(builder_has_no_columns.substr(0, 5), "0A000");  // columns of accounts are not known
  // A key in ASCII is the same in every encoding that is let through.
  EXPECT_EQ(split("COPY users (id, name) FROM STDIN", "1\t\xe4\n", latin)[owner(1)], "1\t\xe4\n");
  RouterSession sjis = latin;
  sjis.embeds_ascii = true;
  EXPECT_FALSE(check_copy_encoding(*copy_, sjis));
  EXPECT_TRUE(encoding_embeds_ascii("Shift_JIS"));
  EXPECT_TRUE(encoding_embeds_ascii("GBK"));
  EXPECT_FALSE(encoding_embeds_ascii("LATIN1"));
}

TEST(CopyLinesTest, AShardsLineIsTheClientsAgain) {
  CopyLines lines(2);
  CopyRow row;
  lines.add(0, row, 1);
  lines.add(1, row, 2);
  row.lines = 3;  // two line ends in quotes
  row.lines_if_first = 1;
  lines.add(1, row, 5);
  row.lines = 1;
  lines.add(1, row, 6);
  EXPECT_EQ(lines.find(1, 1), 2u);
  EXPECT_EQ(lines.find(1, 4), 5u);
  EXPECT_EQ(lines.find(1, 5), 6u);
  EXPECT_EQ(lines.find(1, 6), std::nullopt);
  EXPECT_EQ(lines.translate(1, "t", "COPY t, line 5, column a: \"5\""),
            "COPY t, line 6, column a: \"5\"");
  EXPECT_EQ(lines.translate(1, "t", "PL/pgSQL function f()\nCOPY t, line 4: \"x\""),
            "PL/pgSQL function f()\nCOPY t, line 5: \"x\"");
  EXPECT_EQ(lines.translate(1, "t", "COPY t, line 9"), "COPY t");
  EXPECT_EQ(lines.translate(1, "t", "something else"), "something else");
  EXPECT_EQ(CopyLines::find_line("t", "COPY t, line 17, column a")->number, 17u);
  EXPECT_FALSE(CopyLines::find_line("t", "COPY tt, line 17"));
  EXPECT_FALSE(CopyLines::find_line("t", "COPY t, line x"));
  EXPECT_FALSE(CopyLines::find_line("t", ""));
  for (std::uint64_t i = 0; i < CopyLines::kRemembered + 10; ++i) lines.add(0, row, i);
  EXPECT_EQ(lines.find(0, 2), std::nullopt);
  EXPECT_EQ(lines.find(0, 100), 98u);
}

}  // namespace
}  // namespace pgshunt
