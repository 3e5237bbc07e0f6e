// Whatever is done to one shard's catalog is found and named, and statements it makes wrong are
// refused.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "router/catalog.h"
#include "router/router.h"

namespace pgshunt {
namespace {

CatalogColumn column(const char* name, const char* type, std::uint32_t oid) {
  CatalogColumn out;
  out.column.name = name;
  out.column.type_oid = oid;
  out.type = type;
  return out;
}

ShardCatalog sample() {
  ShardCatalog catalog;
  catalog.server_version = 150004;
  catalog.encoding = "UTF8";
  CatalogColumn name = column("name", "pg_catalog.text", 25);
  name.collation = "pg_catalog.default";
  name.locale = "c:C.UTF-8";
  CatalogTable users{"public",
                     "users",
                     {column("id", "pg_catalog.int8", 20), name,
                      column("mood", "public.mood", 16400), column("moods", "public._mood", 16399)},
                     {{"users_pkey", {"id"}, true}},
                     {}};
  CatalogTable kinds{"public", "kinds", {column("code", "pg_catalog.text", 25)}, {}, {}};
  catalog.tables = {kinds, users};
  UserFunctionOverload twice;
  twice.schema = "public";
  twice.name = "twice";
  twice.arguments = "integer";
  twice.volatility = 'i';
  twice.language = "sql";
  twice.behaviour = UserFunctionClass::kPortable;
  catalog.functions = {twice};
  CatalogType array{"public", "_mood", 16399, 'b', 16400, true, {}, {}};
  CatalogType mood{"public", "mood", 16400, 'e', 0, false, {}, {"sad", "happy"}};
  catalog.types = {array, mood};
  return catalog;
}

void declare(TopologyBuilder& builder) {
  ASSERT_TRUE(builder.add_shard("s0"));
  ASSERT_TRUE(builder.add_shard("s1"));
  ASSERT_TRUE(builder.add_keyspace("users", ShardKeyType::kInt8));
  ASSERT_TRUE(builder.add_sharded_table("public", "users", "users", "id"));
  ASSERT_TRUE(builder.add_reference_table("public", "kinds"));
}

struct Injury {
  const char* name;  // part of object and difference
  std::function<void(ShardCatalog&)> injure;
  std::vector<const char*> refused;
  std::vector<const char*> allowed;
};

CatalogTable& users(ShardCatalog& catalog) { return catalog.tables[1]; }

const std::vector<Injury>& injuries() {
  static const std::vector<Injury> kInjuries = {
      {"table public.users is missing",
       [](ShardCatalog& c) { c.tables.pop_back(); },
       {"SELECT id FROM users"},
       {"SELECT id FROM users WHERE id = 1"}},
      {"users.name is missing",
       [](ShardCatalog& c) { users(c).columns.erase(users(c).columns.begin() + 1); },
       {"SELECT * FROM users", "SELECT * FROM users WHERE id = 1", "SELECT name FROM users",
        "SELECT u FROM users u", "INSERT INTO users VALUES (1)"},
       {"SELECT id FROM users", "SELECT name FROM users WHERE id = 1"}},
      {"users.extra is there, but not",
       [](ShardCatalog& c) { users(c).columns.push_back(column("extra", "pg_catalog.int4", 23)); },
       {"SELECT * FROM users"},
       {"SELECT name FROM users"}},
      {"users.name is of type",
       [](ShardCatalog& c) { users(c).columns[1].type = "pg_catalog.varchar"; },
       {"SELECT name FROM users WHERE id = 1", "UPDATE users SET name = 'x' WHERE id = 1"},
       {"SELECT id FROM users"}},
      {"modifier",
       [](ShardCatalog& c) { users(c).columns[1].column.type_modifier = 7; },
       {"SELECT name FROM users"},
       {"SELECT id FROM users"}},
      {"unfit as a shard key",
       [](ShardCatalog& c) { users(c).columns[0].column.type_oid = 23; },
       {"SELECT name FROM users WHERE id = 1"},
       {"SELECT code FROM kinds"}},
      {"another order",
       [](ShardCatalog& c) { std::swap(users(c).columns[0], users(c).columns[1]); },
       {"SELECT * FROM users", "INSERT INTO users VALUES (1, 'x')"},
       {"SELECT name FROM users", "INSERT INTO users (id) VALUES (1)"}},
      {"deterministic",
       [](ShardCatalog& c) { users(c).columns[1].column.deterministic = false; },
       {"SELECT id FROM users WHERE name = 'x'"},
       {"SELECT id FROM users"}},
      {"the collation",
       [](ShardCatalog& c) { users(c).columns[1].collation = "public.other"; },
       {"SELECT id FROM users WHERE name < 'x'",
        "SELECT id FROM users WHERE name BETWEEN 'a' AND 'b'"},
       {"SELECT name FROM users", "SELECT id FROM users WHERE name = 'x'",
        "SELECT id FROM users WHERE id = 1 AND name < 'x'"}},
      {"collation version",
       [](ShardCatalog& c) { users(c).columns[1].locale_version = "2.36"; },
       {"SELECT id FROM users WHERE name > 'x'"},
       {"SELECT name FROM users"}},
      {"NOT NULL",
       [](ShardCatalog& c) { users(c).columns[1].column.not_null = true; },
       {"INSERT INTO users (id, name) VALUES (1, 'x')"},
       {"SELECT name FROM users"}},
      {"another default",
       [](ShardCatalog& c) { users(c).columns[1].fallback = "'x'"; },
       {"INSERT INTO users (id) VALUES (1)"},
       {"INSERT INTO users (id, name) VALUES (1, 'x')"}},
      {"lacks the primary key",
       [](ShardCatalog& c) { users(c).keys.clear(); },
       {"INSERT INTO users (id) VALUES (1)"},
       {"SELECT id FROM users", "DELETE FROM users WHERE id = 1"}},
      {"twice (integer) is volatile",
       [](ShardCatalog& c) { c.functions[0].volatility = 'v'; },
       {"SELECT twice(id) FROM users"},
       {"SELECT id FROM users"}},
      {"twice (integer) is missing",
       [](ShardCatalog& c) { c.functions.clear(); },
       {"SELECT twice(1)"},
       {"SELECT id FROM users"}},
      {"lacks the labels \"happy\"",
       [](ShardCatalog& c) { c.types[1].labels.pop_back(); },
       {"SELECT mood FROM users", "SELECT moods FROM users", "SELECT 'sad'::mood"},
       {"SELECT id FROM users"}},
      {"labels in another order",
       [](ShardCatalog& c) { std::swap(c.types[1].labels[0], c.types[1].labels[1]); },
       {"SELECT id FROM users WHERE mood > 'sad'"},
       {"SELECT name FROM users"}},
      {"encoding",
       [](ShardCatalog& c) { c.encoding = "LATIN1"; },
       {"SELECT id FROM users"},
       {"SELECT id FROM users WHERE id = 1"}},
      {"version", [](ShardCatalog& c) { c.server_version = 160001; }, {}, {"SELECT id FROM users"}},
      {"kinds.more is there",
       [](ShardCatalog& c) {
         c.tables[0].columns.push_back(column("more", "pg_catalog.int4", 23));
       },
       {"SELECT * FROM kinds"},
       {"SELECT code FROM kinds"}},
  };
  return kInjuries;
}

TEST(CatalogComparison, EqualCatalogsHaveNoDrift) {
  TopologyBuilder builder;
  declare(builder);
  const ShardCatalog home = sample();
  ShardCatalog other = sample();
  other.types[0].element = other.types[1].oid = 17000;  // a shard's own business
  const ShardCatalog* const catalogs[] = {&home, &other};
  EXPECT_TRUE(compare_catalogs(builder.declared(), catalogs).empty());
}

TEST(CatalogComparison, EveryInjuryIsFoundAndNamed) {
  for (const Injury& injury : injuries()) {
    TopologyBuilder builder;
    declare(builder);
    const ShardCatalog home = sample();
    ShardCatalog other = sample();
    injury.injure(other);
    const ShardCatalog* const catalogs[] = {&home, &other};
    describe_catalogs(builder, catalogs);
    const auto topology = builder.build(1);
    ASSERT_TRUE(topology) << topology.error().message;
    const auto named = [&](const std::string& text) {
      return text.find(injury.name) != std::string::npos;
    };
    bool found = false;
    for (const Drift& drift : (*topology)->drift) {
      EXPECT_EQ(drift.shard, 1) << injury.name;
      found |= named(drift_object(drift) + " " + drift.difference);
    }
    EXPECT_TRUE(found) << injury.name;
    Router router(*topology);
    for (const char* sql : injury.refused) {
      const auto route = router.route(sql);
      EXPECT_FALSE(route) << injury.name << ": " << sql;
      if (route) continue;
      EXPECT_NE(route.error().message.find("the shards differ"), std::string::npos)
          << route.error().message;
    }
    for (const char* sql : injury.allowed) {
      const auto route = router.route(sql);
      EXPECT_TRUE(route) << injury.name << ": " << sql << ": " << route.error().message;
    }
  }
}

TEST(CatalogComparison, ATableThatNoShardHasIsTheirsToMiss) {
  TopologyBuilder builder;
  declare(builder);
  ShardCatalog empty = sample();
  empty.tables.clear();
  const ShardCatalog* const catalogs[] = {&empty, &empty};
  describe_catalogs(builder, catalogs);
  const auto topology = builder.build(1);
  ASSERT_TRUE(topology);
  EXPECT_EQ((*topology)->drift.size(), 4u);
  Router router(*topology);
  const auto route = router.route("SELECT id FROM users");
  ASSERT_TRUE(route) << route.error().message;
  EXPECT_EQ(route->shards.size(), 2u);
  EXPECT_TRUE(router.route("SELECT code FROM kinds"));
}

TEST(CatalogComparison, AnUnknownShardIsNotCompared) {
  TopologyBuilder builder;
  declare(builder);
  const ShardCatalog home = sample();
  const ShardCatalog* const catalogs[] = {&home, nullptr};
  describe_catalogs(builder, catalogs);
  const auto topology = builder.build(1);
  ASSERT_TRUE(topology);
  EXPECT_TRUE((*topology)->catalog_known);
  EXPECT_TRUE((*topology)->knows(0));
  EXPECT_FALSE((*topology)->knows(1));
}

TEST(CatalogComparison, AKeyOfAnotherTypeOnTheFirstShardStopsItsTableOnly) {
  TopologyBuilder builder;
  declare(builder);
  ShardCatalog home = sample();
  users(home).columns[0].column.type_oid = 23;
  const ShardCatalog* const catalogs[] = {&home, &home};
  describe_catalogs(builder, catalogs);
  const auto topology = builder.build(1);
  ASSERT_TRUE(topology);
  Router router(*topology);
  EXPECT_FALSE(router.route("SELECT name FROM users WHERE id = 1"));
  EXPECT_TRUE(router.route("SELECT code FROM kinds"));
}

TEST(TypeMap, TranslatesOnlyWhatDiffers) {
  const ShardCatalog home = sample();
  ShardCatalog other = sample();
  EXPECT_EQ(TypeMap::between(other, home), nullptr);
  other.types[0].oid = 17001;
  other.types[0].element = 17000;
  other.types[1].oid = 17000;
  const auto map = TypeMap::between(other, home);
  ASSERT_NE(map, nullptr);
  EXPECT_EQ(map->to_home(17000), 16400u);
  EXPECT_EQ(map->to_shard(16399), 17001u);
  EXPECT_EQ(map->to_home(25), 25u);
  EXPECT_TRUE(map->carries_oids(17001));
  EXPECT_FALSE(map->carries_oids(17000));
  // One dimension of one element, "sad".
  std::string value("\0\0\0\1\0\0\0\0\0\0\x42\x68\0\0\0\1\0\0\0\1\0\0\0\3sad", 27);
  const std::string expected("\0\0\0\1\0\0\0\0\0\0\x40\x10\0\0\0\1\0\0\0\1\0\0\0\3sad", 27);
  map->translate_value(17001, value.data(), value.size());
  EXPECT_EQ(value, expected);
  for (std::size_t size = 0; size < value.size(); ++size) {
    std::string part = value.substr(0, size);
    map->translate_value(17001, part.data(), part.size());
  }
}

}  // namespace
}  // namespace pgshunt
