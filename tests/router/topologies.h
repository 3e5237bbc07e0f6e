// A topology for tests that need no server: three shards, users and posts colocated by bigint,
// accounts by text, a table for each other key type, one reference and two unsharded tables.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "router/topology.h"

namespace pgshunt {

inline Column test_column(const char* name, std::uint32_t oid, bool bytewise = false,
                          ColumnDefault fallback = ColumnDefault::kNone) {
  Column column;
  column.name = name;
  column.type_oid = oid;
  column.bytewise = bytewise;
  column.fallback = fallback;
  return column;
}

inline std::shared_ptr<const Topology> test_topology(std::uint64_t epoch = 1) {
  TopologyBuilder builder;
  const auto must = [](const Status& status) {
    if (!status) ADD_FAILURE() << status.error().message;
  };
  for (const char* shard : {"s0", "s1", "s2"}) {
    if (!builder.add_shard(shard)) ADD_FAILURE() << shard;
  }
  must(builder.add_keyspace("users", ShardKeyType::kInt8));
  must(builder.add_keyspace("logins", ShardKeyType::kText));
  must(builder.add_keyspace("small", ShardKeyType::kInt4));
  must(builder.add_keyspace("dates", ShardKeyType::kDate));
  must(builder.add_keyspace("moments", ShardKeyType::kTimestamptz));
  must(builder.add_keyspace("amounts", ShardKeyType::kNumeric));
  must(builder.add_sharded_table("public", "users", "users", "id"));
  must(builder.add_sharded_table("public", "posts", "users", "user_id"));
  must(builder.add_sharded_table("public", "unread", "users", "user_id"));  // columns not known
  must(builder.add_sharded_table("public", "accounts", "logins", "login"));
  must(builder.add_sharded_table("public", "things", "small", "id"));
  must(builder.add_sharded_table("public", "days", "dates", "day"));
  must(builder.add_sharded_table("public", "moments", "moments", "at"));
  must(builder.add_sharded_table("public", "amounts", "amounts", "amount"));
  must(builder.add_sharded_table("archive", "users", "users", "id"));  // as in public
  must(builder.add_reference_table("public", "countries"));
  must(builder.add_reference_table("public", "unread_reference"));
  must(builder.add_unsharded_table("public", "notes", "s1"));
  must(builder.add_unsharded_table("public", "memos", "s0"));
  using namespace type_oid;
  builder.set_columns("public", "users",
                      {test_column("id", kInt8), test_column("name", kText, true),
                       test_column("title", kText), test_column("country", kText),
                       test_column("medium", kInt4), test_column("seen", kTimestamptz)});
  builder.set_columns("archive", "users", {test_column("id", kInt8), test_column("name", kText)});
  builder.set_columns(
      "public", "posts",
      {test_column("id", kInt8, false, ColumnDefault::kDiffers), test_column("user_id", kInt8),
       test_column("body", kText), test_column("likes", kInt4)});
  builder.set_columns("public", "countries",
                      {test_column("code", kText), test_column("name", kText),
                       test_column("population", kInt4, false, ColumnDefault::kSame),
                       test_column("added", kTimestamptz, false, ColumnDefault::kDiffers)});
  builder.add_user_function("my_function", UserFunctionClass::kMayRead);
  builder.add_user_function("upper", UserFunctionClass::kMayRead);
  builder.add_user_function("pure", UserFunctionClass::kPortable);
  builder.add_user_function("lower", UserFunctionClass::kPortable);
  builder.add_user_function("extension", UserFunctionClass::kLocal);
  auto topology = builder.build(epoch);
  if (!topology) {
    ADD_FAILURE() << topology.error().message;
    return nullptr;
  }
  return *topology;
}

}  // namespace pgshunt
