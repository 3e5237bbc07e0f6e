#include "router/shared_sequences.h"

#include <gtest/gtest.h>

#include "router/router.h"
#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

ShardCatalog shard_with(std::int64_t increment, std::int64_t last, bool used, bool cycles = false) {
  ShardCatalog catalog;
  catalog.sequences.push_back({"public.s", increment, last % increment, used, cycles});
  return catalog;
}

SequenceNumbers compare(const std::vector<ShardCatalog>& shards, bool one_unknown = false) {
  Column column;
  column.sequence = "public.s";
  std::vector<const ShardCatalog*> catalogs;
  for (const ShardCatalog& shard : shards) catalogs.push_back(&shard);
  if (one_unknown) catalogs.push_back(nullptr);
  return compare_sequences(column, catalogs);
}

TEST(SharedSequences, AreApartIfTheyNeverMeet) {
  EXPECT_EQ(compare({shard_with(1, 1, false), shard_with(1, 1, false)}), SequenceNumbers::kUnused);
  EXPECT_EQ(compare({shard_with(1, 1, false), shard_with(1, 900, true)}),
            SequenceNumbers::kCollide);
  EXPECT_EQ(compare({shard_with(16, 1, true), shard_with(16, 18, true), shard_with(16, 3, false)}),
            SequenceNumbers::kApart);
  EXPECT_EQ(compare({shard_with(16, 1, true), shard_with(16, 18, true), shard_with(16, 33, true)}),
            SequenceNumbers::kCollide);
  // 4, 10, 16, ... and 1, 10, 19, ...
  EXPECT_EQ(compare({shard_with(6, 4, true), shard_with(9, 1, true)}), SequenceNumbers::kCollide);
  EXPECT_EQ(compare({shard_with(6, 4, true), shard_with(9, 2, true)}), SequenceNumbers::kApart);
  EXPECT_EQ(compare({shard_with(-2, -1, true), shard_with(2, 2, true)}), SequenceNumbers::kApart);
  EXPECT_EQ(compare({shard_with(2, 1, true, true), shard_with(2, 2, true)}),
            SequenceNumbers::kCollide);
}

TEST(SharedSequences, OneShardAloneCollidesWithNobody) {
  EXPECT_EQ(compare({shard_with(1, 1, true)}, true), SequenceNumbers::kApart);
  EXPECT_EQ(compare({ShardCatalog{}}, true), SequenceNumbers::kApart);
}

TEST(SharedSequences, WhatMayNotBeReadCollides) {
  EXPECT_EQ(compare({shard_with(1, 1, false), ShardCatalog{}}), SequenceNumbers::kCollide);
}

std::shared_ptr<const Topology> topology_with(SequenceNumbers numbers) {
  TopologyBuilder builder;
  for (const char* shard : {"s0", "s1", "s2"}) EXPECT_TRUE(builder.add_shard(shard));
  EXPECT_TRUE(builder.add_keyspace("users", ShardKeyType::kInt8));
  EXPECT_TRUE(builder.add_sharded_table("public", "orders", "users", "customer"));
  EXPECT_TRUE(builder.add_sharded_table("public", "customers", "users", "id"));
  EXPECT_TRUE(builder.add_reference_table("public", "kinds"));
  using namespace type_oid;
  Column number = test_column("id", kInt8, false, ColumnDefault::kDiffers);
  number.sequence = "public.s";
  number.takes_number = true;
  number.numbers = numbers;
  builder.set_columns("public", "orders",
                      {test_column("customer", kInt8), number, test_column("note", kText)});
  builder.set_columns("public", "customers", {number, test_column("note", kText)});
  builder.set_columns("public", "kinds", {number, test_column("note", kText)});
  auto topology = builder.build(1);
  EXPECT_TRUE(topology);
  return topology ? *topology : nullptr;
}

std::string route(SequenceNumbers numbers, std::string_view sql) {
  Router router(topology_with(numbers), 64);
  const auto route = router.route(sql);
  if (!route) return std::string(route.error().code.view());
  if (route->kind != RouteKind::kMakeValues) return "runs";
  return route->made.empty() ? "to be set apart" : "of " + route->made.front();
}

TEST(SharedSequences, AreLookedAtWhereTheyAreUsed) {
  for (const char* sql :
       {"INSERT INTO orders (customer) VALUES (1)", "INSERT INTO orders VALUES (1)",
        "INSERT INTO orders VALUES (1, DEFAULT)", "INSERT INTO orders (customer) VALUES (1), (2)",
        "INSERT INTO orders (customer) SELECT customer FROM orders",
        "WITH x AS (INSERT INTO orders (customer) VALUES (1) RETURNING id) SELECT id FROM x",
        "UPDATE orders SET id = DEFAULT WHERE customer = 1", "COPY orders (customer) FROM STDIN"}) {
    EXPECT_EQ(route(SequenceNumbers::kApart, sql), "runs") << sql;
    EXPECT_EQ(route(SequenceNumbers::kUnused, sql), "to be set apart") << sql;
    EXPECT_EQ(route(SequenceNumbers::kCollide, sql), "0A000") << sql;
  }
  for (const char* sql :
       {"INSERT INTO orders (customer, id) VALUES (1, 2)", "INSERT INTO orders VALUES (1, 2)",
        "INSERT INTO customers VALUES (5, 'x')", "INSERT INTO kinds VALUES (5, 'x')",
        "COPY orders (customer, id) FROM STDIN", "UPDATE orders SET id = 5 WHERE customer = 1",
        "UPDATE orders SET note = DEFAULT WHERE customer = 1", "SELECT id FROM orders"}) {
    EXPECT_EQ(route(SequenceNumbers::kCollide, sql), "runs") << sql;
  }
}

TEST(SharedSequences, TheFirstShardsGivesKeysAndCopies) {
  for (const char* sql :
       {"INSERT INTO customers (note) VALUES ('x')", "INSERT INTO kinds VALUES (DEFAULT, 'x')"}) {
    EXPECT_EQ(route(SequenceNumbers::kCollide, sql), "of public.s") << sql;
  }
}

TEST(SharedSequences, CallsThatWouldBeOfOneShardAreRefused) {
  EXPECT_EQ(route(SequenceNumbers::kApart, "SELECT nextval('s')"), "runs");
  for (const char* sql : {"SELECT setval('s', 5)", "SELECT nextval('s'), setval('s', 5)",
                          "INSERT INTO orders (customer, id) VALUES (1, nextval('s'))",
                          "SELECT nextval('s') FROM orders WHERE customer = 1"}) {
    EXPECT_EQ(route(SequenceNumbers::kApart, sql), "0A000") << sql;
  }
}

}  // namespace
}  // namespace pgshunt
