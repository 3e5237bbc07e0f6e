// COPY FROM into a table of a directory keyspace: rows wait for keys that memory does not know.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "protocol/frame.h"
#include "router/copy_plan.h"
#include "router/copy_split.h"
#include "router/key_location.h"
#include "router/planner.h"
#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

std::shared_ptr<const Topology> rooms(NewKeyPolicy policy) {
  TopologyBuilder builder;
  for (const char* shard : {"s0", "s1"}) EXPECT_TRUE(builder.add_shard(shard));
  DirectoryPlacement placement;
  placement.new_keys = policy;
  EXPECT_TRUE(builder.add_keyspace("rooms", ShardKeyType::kInt8, placement));
  EXPECT_TRUE(builder.add_sharded_table("public", "rooms", "rooms", "id"));
  builder.set_columns("public", "rooms",
                      {test_column("id", type_oid::kInt8), test_column("name", type_oid::kText)});
  return *builder.build(1);
}

std::string key_of(int key) { return *parse_key(ShardKeyType::kInt8, std::to_string(key)); }

class Memory final : public KeyDirectory {
 public:
  KeyPlace try_find(std::string_view, std::string_view key) const override {
    const auto at = places.find(std::string(key));
    return at == places.end() ? KeyPlace{KeyPlace::Kind::kAbsent, 0} : at->second;
  }
  void put(int key, ShardId shard) { places[key_of(key)] = {KeyPlace::Kind::kShard, shard}; }

  std::map<std::string, KeyPlace> places;
};

class CopyIntoDirectory : public ::testing::Test {
 protected:
  void begin(NewKeyPolicy policy, const std::string& sql = "COPY rooms FROM STDIN") {
    topology_ = rooms(policy);
    const auto plan = plan_statement(*topology_, {sql, {}, 0});
    ASSERT_TRUE(plan) << plan.error().message;
    outputs_.assign(2, {});
    splitter_ =
        std::make_unique<CopySplitter>(topology_, plan->copy, RouterSession{}, false, &memory_);
  }
  // Keys that are asked for: "1 2+", with a plus where a shard is to be given.
  std::string asked() const {
    std::string out;
    for (const KeyLookup& lookup : splitter_->lookups()) {
      out += (out.empty() ? "" : " ") + encoded_key_text(ShardKeyType::kInt8, lookup.key);
      if (lookup.assign) out += "+";
    }
    return out;
  }
  void learn(int key, Result<KeyPlace> place) {
    splitter_->learn({0, key_of(key), true}, std::move(place));
  }
  // What has come out since the last time, by shard: "1,2|3".
  std::string sent() {
    std::string out;
    for (std::string& output : outputs_) {
      if (&output != &outputs_.front()) out += "|";
      for (std::string_view rest = output; !rest.empty();) {
        const std::size_t size = load_be32(rest.data() + 1) + std::size_t{1};
        out += rest.substr(5, size - 5);
        rest.remove_prefix(size);
      }
      output.clear();
    }
    return out;
  }
  std::string failure() const {
    const CopyFailure& failure = splitter_->failure();
    return std::string(failure.error.code.view()) + " " + failure.context;
  }

  static constexpr KeyPlace kFirst{KeyPlace::Kind::kShard, 0};
  static constexpr KeyPlace kSecond{KeyPlace::Kind::kShard, 1};
  Memory memory_;
  std::shared_ptr<const Topology> topology_;
  std::unique_ptr<CopySplitter> splitter_;
  std::vector<std::string> outputs_;
};

TEST_F(CopyIntoDirectory, RowsWaitBehindTheFirstUnknownKey) {
  memory_.put(1, 1);
  memory_.put(3, 0);
  memory_.places[key_of(4)] = {};
  begin(NewKeyPolicy::kHash);
  ASSERT_TRUE(splitter_->take("1\ta\n2\tb\n3\tc\n2\td\n4\te\n", outputs_));
  EXPECT_EQ(sent(), "|1\ta\n");
  EXPECT_EQ(asked(), "2+ 4+");
  learn(2, kFirst);
  learn(4, kSecond);
  ASSERT_TRUE(splitter_->go_on(outputs_));
  EXPECT_EQ(sent(), "2\tb\n3\tc\n2\td\n|4\te\n");
  EXPECT_EQ(asked(), "");
  // The row of the last line has no end, and waits too.
  ASSERT_TRUE(splitter_->take("1\tf\n5\tg", outputs_));
  EXPECT_EQ(sent(), "|1\tf\n");
  ASSERT_TRUE(splitter_->finish(outputs_));
  EXPECT_EQ(asked(), "5+");
  learn(5, kFirst);
  ASSERT_TRUE(splitter_->go_on(outputs_));
  EXPECT_EQ(sent(), "5\tg|");
  EXPECT_EQ(splitter_->translate_context(0, "COPY rooms, line 4"), "COPY rooms, line 7");
  EXPECT_EQ(splitter_->translate_context(1, "COPY rooms, line 3"), "COPY rooms, line 6");
}

TEST_F(CopyIntoDirectory, WhatIsWrongBehindRowsThatWaitIsToldAfterThem) {
  begin(NewKeyPolicy::kHash);
  ASSERT_TRUE(splitter_->take("1\ta\nx\tb\n", outputs_));
  ASSERT_TRUE(splitter_->take("3\tc\n", outputs_));  // not looked at any more
  EXPECT_EQ(asked(), "1+");
  learn(1, kSecond);
  EXPECT_FALSE(splitter_->go_on(outputs_));
  EXPECT_EQ(sent(), "|1\ta\n");
  EXPECT_EQ(failure(), "22P02 COPY rooms, line 2, column id: \"x\"");
}

TEST_F(CopyIntoDirectory, AKeyThatCannotBeHadIsAnErrorOfItsLine) {
  begin(NewKeyPolicy::kHash);
  ASSERT_TRUE(splitter_->take("1\ta\n2\tb\nx\tc\n", outputs_));
  learn(1, kFirst);
  learn(2, Error{Sqlstate{"58030"}, "the disk is full", {}});
  EXPECT_FALSE(splitter_->go_on(outputs_));
  EXPECT_EQ(sent(), "1\ta\n|");
  EXPECT_EQ(failure(), "58030 COPY rooms, line 2, column id: \"2\"");
  EXPECT_EQ(splitter_->failure().error.message, "the disk is full");
}

TEST_F(CopyIntoDirectory, NewKeysMayBeRefused) {
  memory_.put(1, 0);
  begin(NewKeyPolicy::kRefuse);
  EXPECT_FALSE(splitter_->take("1\ta\n2\tb\n", outputs_));
  EXPECT_EQ(failure(), "23514 COPY rooms, line 2, column id: \"2\"");
  // Whether it is there has to be read first.
  memory_.places[key_of(2)] = {};
  begin(NewKeyPolicy::kRefuse);
  ASSERT_TRUE(splitter_->take("1\ta\n2\tb\n", outputs_));
  EXPECT_EQ(asked(), "2");
  learn(2, KeyPlace{KeyPlace::Kind::kAbsent, 0});
  EXPECT_FALSE(splitter_->go_on(outputs_));
  EXPECT_EQ(failure(), "23514 COPY rooms, line 2, column id: \"2\"");
}

TEST_F(CopyIntoDirectory, HeadersAndTrailersKeepTheirPlaces) {
  begin(NewKeyPolicy::kHash, "COPY rooms FROM STDIN (FORMAT binary)");
  std::string stream("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
  std::string row("\0\2\0\0\0\10\0\0\0\0\0\0\0\7\0\0\0\1z", 19);
  const std::string trailer("\377\377", 2);
  ASSERT_TRUE(splitter_->take(stream + row + trailer, outputs_));
  ASSERT_TRUE(splitter_->finish(outputs_));
  EXPECT_EQ(sent(), stream + "|" + stream);
  EXPECT_EQ(asked(), "7+");
  learn(7, kSecond);
  ASSERT_TRUE(splitter_->go_on(outputs_));
  EXPECT_EQ(sent(), trailer + "|" + row + trailer);
}

}  // namespace
}  // namespace pgshunt
