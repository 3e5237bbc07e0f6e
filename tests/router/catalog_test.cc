// The catalog as the router sees it, read from a real server.

#include "router/catalog.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/router/read_catalog.h"
#include "tests/support/pg_server.h"

namespace pgshunt {
namespace {

TEST(Catalog, ColumnsDefaultsAndCollations) {
  PgServer* server = PgServer::shared();
  if (server == nullptr) GTEST_SKIP() << "no PostgreSQL to ask";
  auto admin = PgClient::connect(server->socket_dir(), server->port(), "postgres");
  ASSERT_TRUE(admin->query("CREATE DATABASE catalog_test").ok());
  auto client = PgClient::connect(server->socket_dir(), server->port(), "catalog_test");
  ASSERT_NE(client, nullptr);
  const PgResult made = client->query(R"(
    CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE DOMAIN counted AS int DEFAULT 7;
    CREATE FUNCTION mine(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION mine(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
    CREATE FUNCTION peeks(int) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM pg_class';
    CREATE FUNCTION asks(int) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN peeks($1); END';
    CREATE FUNCTION waits(int) RETURNS bool LANGUAGE sql AS 'SELECT Now() IS NULL';
    CREATE FUNCTION pure(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
    CREATE FUNCTION many(int) RETURNS SETOF int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
    CREATE FUNCTION native() RETURNS float8 LANGUAGE internal AS 'drandom';
    CREATE VIEW v AS SELECT 1;
    CREATE TABLE p (a int) PARTITION BY LIST (a);
    CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
    CREATE TABLE t (
      id bigint PRIMARY KEY, gone int, none text, constant text DEFAULT 'it''s (now)',
      number int DEFAULT -5, truth bool DEFAULT true, nothing int DEFAULT NULL,
      stamp timestamptz DEFAULT now(), serial serial, ident int GENERATED ALWAYS AS IDENTITY,
      computed bigint GENERATED ALWAYS AS (id * 2) STORED, domained counted,
      called text DEFAULT lower('X'), german text COLLATE "de-x-icu", plain varchar(10) COLLATE "C",
      loose text COLLATE loose, precise numeric(5, 2), joined text DEFAULT 'a' || 'b',
      day date DEFAULT '2020-01-01');
    ALTER TABLE t DROP COLUMN gone;
    CREATE TABLE child (a int, b bigint REFERENCES t, c int);
    CREATE RULE r AS ON DELETE TO child DO INSTEAD NOTHING;
    CREATE TRIGGER t BEFORE INSERT ON child EXECUTE FUNCTION
      suppress_redundant_updates_trigger();
    ALTER TABLE child ENABLE ROW LEVEL SECURITY;)");
  ASSERT_TRUE(made.ok()) << made.error;

  TopologyBuilder builder;
  ASSERT_TRUE(builder.add_shard("s0"));
  ASSERT_TRUE(builder.add_reference_table("public", "t"));
  ASSERT_TRUE(builder.add_reference_table("public", "p"));
  ASSERT_TRUE(builder.add_reference_table("public", "child"));
  const ShardCatalog catalog = read_catalog(*client);
  const ShardCatalog* const catalogs[] = {&catalog};
  describe_catalogs(builder, catalogs);
  const auto topology = builder.build(1);
  ASSERT_TRUE(topology);
  const Table& table = *(*topology)->find_table("", "t");
  ASSERT_EQ(table.columns.size(), 18u);
  using Obstacles = std::vector<MoveObstacle>;
  EXPECT_EQ(table.move_obstacles, (Obstacles{{"is referred to by foreign keys", ""}}));
  EXPECT_EQ((*topology)->find_table("", "p")->move_obstacles,
            (Obstacles{{"has partitions or children", ""}}));
  EXPECT_EQ((*topology)->find_table("", "child")->move_obstacles,
            (Obstacles{{"has a foreign key of which the shard key is a part", "b"},
                       {"has row security", ""},
                       {"has rules", ""},
                       {"has triggers", ""}}));
  EXPECT_EQ(table.columns[0].name, "id");
  EXPECT_EQ(table.columns[0].type_oid, type_oid::kInt8);
  EXPECT_EQ(table.find_column("gone"), nullptr);

  for (const char* name : {"id", "none", "precise"}) {
    EXPECT_EQ(table.find_column(name)->fallback, ColumnDefault::kNone) << name;
  }
  for (const char* name : {"constant", "number", "truth", "computed", "day"}) {
    EXPECT_EQ(table.find_column(name)->fallback, ColumnDefault::kSame) << name;
  }
  for (const char* name : {"stamp", "serial", "ident", "domained", "called", "joined"}) {
    EXPECT_EQ(table.find_column(name)->fallback, ColumnDefault::kDiffers) << name;
  }
  EXPECT_TRUE(table.find_column("computed")->generated);
  EXPECT_FALSE(table.find_column("ident")->generated);
  // The server's databases are made with C.UTF-8.
  for (const char* name : {"none", "constant", "plain"}) {
    EXPECT_TRUE(table.find_column(name)->bytewise) << name;
  }
  for (const char* name : {"id", "german", "loose"}) {
    EXPECT_FALSE(table.find_column(name)->bytewise) << name;
  }
  EXPECT_TRUE(table.find_column("id")->not_null);
  EXPECT_FALSE(table.find_column("none")->not_null);
  ASSERT_EQ(table.keys.size(), 1u);
  EXPECT_TRUE(table.keys[0].primary);
  EXPECT_EQ(table.keys[0].columns, std::vector<std::string>{"id"});
  EXPECT_FALSE(table.find_column("loose")->deterministic);
  EXPECT_TRUE(table.find_column("german")->deterministic);
  EXPECT_EQ(table.find_column("id")->type_modifier, -1);
  EXPECT_NE(table.find_column("precise")->type_modifier, -1);
  EXPECT_NE(table.find_column("plain")->type_modifier, -1);

  const auto behaviour = [&topology](const char* name) {
    const UserFunction* function = (*topology)->find_user_function(name);
    return function == nullptr ? -1 : static_cast<int>(function->behaviour);
  };
  EXPECT_EQ(behaviour("mine"), static_cast<int>(UserFunctionClass::kLocal));
  for (const char* name : {"peeks", "asks", "waits"}) {
    EXPECT_EQ(behaviour(name), static_cast<int>(UserFunctionClass::kMayRead)) << name;
  }
  EXPECT_EQ(behaviour("pure"), static_cast<int>(UserFunctionClass::kPortable));
  EXPECT_EQ(behaviour("many"), static_cast<int>(UserFunctionClass::kLocal));
  EXPECT_EQ(behaviour("native"), static_cast<int>(UserFunctionClass::kLocal));
  EXPECT_EQ(behaviour("lower"), -1);
  EXPECT_TRUE((*topology)->is_opaque("", "v"));
  EXPECT_TRUE((*topology)->is_opaque("public", "p1"));
  EXPECT_FALSE((*topology)->is_opaque("other", "p1"));
  EXPECT_FALSE((*topology)->is_opaque("", "p"));
}

TEST(Catalog, AnAnswerOfAnotherShapeIsAnError) {
  CatalogReader reader;
  const std::vector<std::string_view> short_row = {"public"};
  EXPECT_FALSE(reader.add_server_row(short_row));
  EXPECT_FALSE(reader.add_column_row(short_row));
  EXPECT_FALSE(reader.add_key_row(short_row));
  EXPECT_FALSE(reader.add_function_row(short_row));
  EXPECT_FALSE(reader.add_type_row(short_row));
  EXPECT_FALSE(reader.add_relation_row(short_row));
  const std::vector<std::string_view> no_oid(14, "x");
  EXPECT_FALSE(reader.add_column_row(no_oid));
}

}  // namespace
}  // namespace pgshunt
