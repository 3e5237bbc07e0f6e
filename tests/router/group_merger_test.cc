// Groups of several shards become one, whatever their number and order; against a server's own they
// are held in group_equivalence_test.cc.
#include "router/group_merger.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "router/key_type.h"
#include "tests/router/wire_rows.h"

namespace pgshunt {
namespace {

using Row = std::vector<Cell>;
using How = GroupAggregate::How;

SortKey key(std::uint16_t index, bool descending = false, bool nulls_first = false) {
  SortKey out;
  out.index = index;
  out.descending = descending;
  out.nulls_first = nulls_first;
  out.bytewise = true;
  return out;
}

GroupAggregate aggregate(How how, std::uint16_t column) {
  GroupAggregate out;
  out.how = how;
  out.column = column;
  out.bytewise = true;
  return out;
}

struct Merge {
  std::vector<std::uint32_t> types;  // of the shards' columns
  std::size_t keys = 0;              // the first ones
  std::vector<GroupAggregate> aggregates;
  std::vector<SortKey> order;
  std::uint16_t hidden = 0;
  RowWindow window;
  std::size_t memory = 1 << 20;

  MergeSpec spec() const {
    auto groups = std::make_shared<GroupSpec>();
    groups->keys = keys;
    groups->aggregates = aggregates;
    groups->order = order;
    groups->visible_columns = types.size() - hidden;
    MergeSpec out;
    out.hidden_columns = hidden;
    out.groups = groups;
    for (std::size_t i = 0; i < keys; ++i) out.keys.push_back(key(static_cast<std::uint16_t>(i)));
    return out;
  }
  Status create() const {
    const auto made =
        GroupMerger::create(spec(), window, wire_description(types), nullptr, 2, {memory, {}});
    return made ? Status(Ok{}) : Status(made.error());
  }
  // Of each shard its rows, in the order of the keys.
  Result<std::vector<Row>> run(const std::vector<std::vector<Row>>& shards) const {
    std::vector<std::vector<std::string>> bodies(shards.size());
    for (std::size_t i = 0; i < shards.size(); ++i) {
      for (const Row& row : shards[i]) bodies[i].push_back(wire_row(row));
    }
    auto merger = GroupMerger::create(spec(), window, wire_description(types), nullptr,
                                      shards.size(), {memory, {}});
    if (!merger) return merger.error();
    std::vector<std::size_t> at(shards.size(), 0);
    std::vector<Row> out;
    while (true) {
      const auto step = merger->next();
      if (!step) return step.error();
      switch (step->kind) {
        case GroupMerger::Step::kDone:
          return out;
        case GroupMerger::Step::kNeed:
          if (at[step->source] == bodies[step->source].size()) {
            merger->set_end(step->source);
          } else if (auto set =
                         merger->set_head(step->source, bodies[step->source][at[step->source]]);
                     !set) {
            return set.error();
          }
          break;
        case GroupMerger::Step::kTaken:
          // Nobody may look at it any more.
          bodies[step->source][at[step->source]++].clear();
          break;
        case GroupMerger::Step::kRow: {
          out.push_back(cells_of(merger->take_row()));
          out.back().resize(merger->visible_columns());
        }
      }
    }
  }
};

using namespace type_oid;

TEST(GroupMerger, EqualKeysBecomeOneRow) {
  Merge merge{{kText, kInt8, kInt8, kInt8},
              1,
              {aggregate(How::kSum, 1), aggregate(How::kMin, 2), aggregate(How::kMax, 3)},
              {},
              0,
              {}};
  const auto rows =
      merge.run({{{"a", "1", "5", "5"}, {"c", "2", std::nullopt, "1"}},
                 {{"a", "3", "-5", "7"}, {"b", "9", "1", "1"}, {std::nullopt, "1", "1", "1"}},
                 {{"c", "4", "8", std::nullopt}, {std::nullopt, "6", "0", "-1"}}});
  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_EQ(*rows, (std::vector<Row>{{"a", "4", "-5", "7"},
                                     {"b", "9", "1", "1"},
                                     {"c", "6", "8", "1"},
                                     {std::nullopt, "7", "0", "1"}}));
}

TEST(GroupMerger, NumbersThatAreEqualAreOneGroupHoweverTheyAreWritten) {
  Merge merge{{kNumeric, kInt8}, 1, {aggregate(How::kSum, 1)}, {}, 0, {}};
  const auto rows = merge.run(
      {{{"1.0", "1"}, {"1.01", "1"}}, {{"1.000", "2"}, {"NaN", "1"}}, {{"1", "4"}, {"NaN", "1"}}});
  ASSERT_TRUE(rows);
  EXPECT_EQ(*rows, (std::vector<Row>{{"1.0", "7"}, {"1.01", "1"}, {"NaN", "2"}}));
  Merge floats{{kFloat8, kInt8}, 1, {aggregate(How::kSum, 1)}, {}, 0, {}};
  const auto zeros = floats.run({{{"-0", "1"}}, {{"0", "2"}}, {{"NaN", "3"}}});
  ASSERT_TRUE(zeros);
  EXPECT_EQ(*zeros, (std::vector<Row>{{"-0", "3"}, {"NaN", "3"}}));
}

TEST(GroupMerger, ASumEndsWithItsType) {
  const std::string most = "9223372036854775807";
  Merge merge{{kInt8}, 0, {aggregate(How::kSum, 0)}, {}, 0, {}};
  EXPECT_EQ(*merge.run({{{most}}, {{"-1"}}, {{std::nullopt}}}),
            (std::vector<Row>{{"9223372036854775806"}}));
  const auto over = merge.run({{{most}}, {{"1"}}});
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code.view(), "22003");
  EXPECT_EQ(over.error().message, "bigint out of range");
  Merge numbers{{kNumeric}, 0, {aggregate(How::kSum, 0)}, {}, 0, {}};
  EXPECT_EQ(*numbers.run({{{most}}, {{"1.5"}}}), (std::vector<Row>{{"9223372036854775808.5"}}));
}

TEST(GroupMerger, AveragesAreMadeAnew) {
  GroupAggregate average = aggregate(How::kAverage, 0);
  average.sum = 0;
  average.count = 1;
  Merge merge{{kNumeric, kInt8, kInt8}, 0, {average}, {}, 2, {}};
  EXPECT_EQ(*merge.run({{{"1.0000000000000000", "2", "2"}},
                        {{std::nullopt, std::nullopt, "0"}},
                        {{"5.0", "5", "1"}}}),
            (std::vector<Row>{{"2.3333333333333333"}}));
  EXPECT_EQ(*merge.run({{{std::nullopt, std::nullopt, "0"}}, {{std::nullopt, std::nullopt, "0"}}}),
            (std::vector<Row>{{std::nullopt}}));
}

TEST(GroupMerger, BitsAndTruth) {
  Merge merge{{kBool, kBool, kInt4, kInt4, kInt4},
              0,
              {aggregate(How::kAnd, 0), aggregate(How::kOr, 1), aggregate(How::kBitAnd, 2),
               aggregate(How::kBitOr, 3), aggregate(How::kBitXor, 4)},
              {},
              0,
              {}};
  EXPECT_EQ(*merge.run({{{"t", "f", "-1", "1", "5"}}, {{"f", std::nullopt, "6", "2", "3"}}}),
            (std::vector<Row>{{"f", "f", "6", "3", "6"}}));
  EXPECT_EQ(*merge.run({{{std::nullopt, std::nullopt, std::nullopt, "0", "5"}},
                        {{"t", "t", "-4", std::nullopt, "5"}}}),
            (std::vector<Row>{{"t", "t", "-4", "0", "0"}}));
}

TEST(GroupMerger, RefusesWhatItCannotPutTogether) {
  for (const std::uint32_t type :
       {kFloat8, kFloat4, kText, std::uint32_t{1186}, std::uint32_t{790}}) {
    Merge merge{{type}, 0, {aggregate(How::kSum, 0)}, {}, 0, {}};
    ASSERT_FALSE(merge.create()) << type;
    EXPECT_EQ(merge.create().error().code, sqlstate::kFeatureNotSupported);
  }
  Merge interval{{1186, kInt8}, 1, {aggregate(How::kSum, 1)}, {}, 0, {}};
  EXPECT_FALSE(interval.create());
  Merge dates{{kDate, kInt8}, 1, {aggregate(How::kSum, 1)}, {}, 0, {}};
  EXPECT_TRUE(dates.create());
  dates.window.iso_dates = false;
  EXPECT_FALSE(dates.create());
  MergeSpec spec = dates.spec();
  auto groups = std::make_shared<GroupSpec>(*spec.groups);
  groups->visible_columns = 5;
  spec.groups = groups;
  EXPECT_FALSE(GroupMerger::create(spec, {}, wire_description({kDate, kInt8}), nullptr, 2, {}));
  // Whoever knows rows only must not take groups for them.
  EXPECT_FALSE(RowMerger::create(spec, {}, wire_description({kDate, kInt8}), nullptr, 2));
}

// Any groups, on any shards, sorted by what is put together, with little memory and much.
TEST(GroupMerger, IsAMapOfAllRows) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) {
    Merge merge{
        {kInt4, kInt8, kInt8}, 1, {aggregate(How::kSum, 1), aggregate(How::kMax, 2)}, {}, 0, {}};
    const bool sorts = round % 3 != 0;
    if (sorts) merge.order = {key(1, random() % 2 == 0), key(0)};
    merge.memory = round % 2 == 0 ? 1 : 1 << 20;
    if (random() % 2 == 0) merge.window.limit = static_cast<std::int64_t>(random() % 40);
    if (random() % 2 == 0) merge.window.offset = static_cast<std::int64_t>(random() % 10);
    std::vector<std::map<int, std::pair<int, int>>> shards(1 + random() % 5);
    std::map<int, std::pair<int, int>> all;
    for (int i = static_cast<int>(random() % 120); i > 0; --i) {
      const int group = static_cast<int>(random() % 50);
      const int value = static_cast<int>(random() % 9);
      const auto add = [&](auto& groups) {
        auto& [sum, most] = groups.try_emplace(group, 0, -1).first->second;
        sum += value;
        most = std::max(most, value);
      };
      add(shards[random() % shards.size()]);
      add(all);
    }
    std::vector<std::vector<Row>> rows(shards.size());
    for (std::size_t i = 0; i < shards.size(); ++i) {
      for (const auto& [group, said] : shards[i]) {
        rows[i].push_back(
            {std::to_string(group), std::to_string(said.first), std::to_string(said.second)});
      }
    }
    // What shards say of a part is not what it is of all: sums again.
    std::map<int, std::pair<int, int>> sums;
    for (const auto& shard : shards) {
      for (const auto& [group, said] : shard) {
        auto& [sum, most] = sums.try_emplace(group, 0, -1).first->second;
        sum += said.first;
        most = std::max(most, said.second);
      }
    }
    std::vector<std::pair<int, std::pair<int, int>>> expected(sums.begin(), sums.end());
    if (sorts) {
      std::sort(expected.begin(), expected.end(), [&](const auto& a, const auto& b) {
        if (a.second.first != b.second.first) {
          return (a.second.first < b.second.first) != merge.order[0].descending;
        }
        return a.first < b.first;
      });
    }
    const std::size_t skip =
        std::min<std::size_t>(expected.size(), static_cast<std::size_t>(merge.window.offset));
    expected.erase(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(skip));
    if (merge.window.limit != RowWindow::kNoLimit) {
      expected.resize(
          std::min<std::size_t>(expected.size(), static_cast<std::size_t>(merge.window.limit)));
    }
    std::vector<Row> wanted;
    for (const auto& [group, said] : expected) {
      wanted.push_back(
          {std::to_string(group), std::to_string(said.first), std::to_string(said.second)});
    }
    const auto got = merge.run(rows);
    ASSERT_TRUE(got) << got.error().message;
    ASSERT_EQ(*got, wanted) << "round " << round;
  }
}

TEST(RowSorter, SpillsAndMergesAgain) {
  const auto description = wire_description({kInt4, kText});
  auto order =
      RowOrder::create({key(0, true)}, {}, *decode_row_description(description), 2, nullptr);
  ASSERT_TRUE(order);
  for (const std::size_t wanted :
       {RowSorter::kAll, std::size_t{0}, std::size_t{10}, std::size_t{5000}}) {
    for (const std::size_t memory : {std::size_t{5000}, std::size_t{100'000'000}}) {
      RowSorter sorter(*order, wanted, {memory, {}});
      // Runs that overlap, and such as follow one another.
      for (int i = 0; i < 3000; ++i) {
        const Row row = {std::to_string(i < 1500 ? i * 1511 % 1500 : i),
                         std::string(static_cast<std::size_t>(i % 500), 'x')};
        ASSERT_TRUE(sorter.add(wire_row(row)));
      }
      ASSERT_TRUE(sorter.finish());
      if (wanted > 10) {
        EXPECT_EQ(sorter.runs() > 10, memory == 5000) << wanted;
      }
      std::string_view body;
      std::size_t count = 0;
      while (count < wanted && *sorter.next(body)) {
        EXPECT_EQ(*cells_of(body)[0], std::to_string(2999 - count));
        ++count;
      }
      EXPECT_EQ(count, std::min<std::size_t>(wanted, 3000));
    }
  }
}

TEST(RowSorter, SaysWhereThereIsNoRoom) {
  const auto description = wire_description({kInt4});
  auto order = RowOrder::create({key(0)}, {}, *decode_row_description(description), 1, nullptr);
  RowSorter sorter(*order, RowSorter::kAll, {1, "/nonexistent"});
  const Status added = sorter.add(wire_row({"1"}));
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code.view(), "58030");
  EXPECT_NE(added.error().message.find("/nonexistent"), std::string::npos);
}

}  // namespace
}  // namespace pgshunt
