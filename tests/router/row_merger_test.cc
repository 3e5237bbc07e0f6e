// The merge equals a stable sort of all rows, whatever they are and however they are spread.
// Against a server's own ORDER BY it is held in equivalence_test.cc.

#include "router/row_merger.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "protocol/backend.h"
#include "router/key_type.h"
#include "tests/router/wire_rows.h"

namespace pgshunt {
namespace {

const auto description = wire_description;
const auto row = wire_row;

SortKey key(std::uint16_t index, bool descending = false, bool nulls_first = false) {
  SortKey out;
  out.index = index;
  out.descending = descending;
  out.nulls_first = nulls_first;
  return out;
}

// Drives a merger over complete sources; (source, row) in the order emitted.
std::vector<std::pair<std::size_t, std::size_t>> drive(
    RowMerger& merger, const std::vector<std::vector<std::string>>& sources) {
  std::vector<std::pair<std::size_t, std::size_t>> out;
  std::vector<std::size_t> next(sources.size(), 0);
  for (;;) {
    const RowMerger::Step step = merger.next();
    EXPECT_EQ(step.kind, merger.next().kind);  // asking changes nothing
    if (step.kind == RowMerger::Step::kDone) return out;
    std::size_t& at = next[step.source];
    if (step.kind == RowMerger::Step::kNeed) {
      if (at == sources[step.source].size()) {
        merger.set_end(step.source);
      } else {
        EXPECT_TRUE(merger.set_head(step.source, sources[step.source][at]));
      }
      continue;
    }
    if (step.kind == RowMerger::Step::kRow) out.emplace_back(step.source, at);
    ++at;
    merger.taken();
  }
}

TEST(RowMerger, EqualsAStableSortOfTheUnion) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 300; ++round) {
    const std::size_t count = 1 + random() % 9;
    MergeSpec spec;
    spec.keys = {key(0, random() % 2 == 0, random() % 2 == 0),
                 key(1, random() % 2 == 0, random() % 2 == 0)};
    struct Row {
      std::optional<int> a, b;
      std::size_t source;
      std::size_t place = 0;
    };
    std::vector<Row> all;
    for (std::size_t source = 0; source < count; ++source) {
      for (auto i = random() % 12; i > 0; --i) {
        const auto value = [&random]() -> std::optional<int> {
          if (random() % 5 == 0) return std::nullopt;
          return static_cast<int>(random() % 5) - 2;
        };
        all.push_back({value(), value(), source});
      }
    }
    const auto compare = [&spec](const std::optional<int>& x, const std::optional<int>& y,
                                 const SortKey& by) {
      if (!x || !y) return x.has_value() == y.has_value() ? 0 : (!x == by.nulls_first ? -1 : 1);
      const int order = *x < *y ? -1 : *x > *y ? 1 : 0;
      return by.descending ? -order : order;
    };
    const auto before = [&](const Row& x, const Row& y) {
      const int first = compare(x.a, y.a, spec.keys[0]);
      return first != 0 ? first < 0 : compare(x.b, y.b, spec.keys[1]) < 0;
    };
    // Rows are listed source by source, so a stable sort leaves ties in the sources' order.
    std::stable_sort(all.begin(), all.end(), before);
    std::vector<std::vector<std::string>> sources(count);
    for (Row& entry : all) {
      entry.place = sources[entry.source].size();
      const auto cell = [](const std::optional<int>& x) -> Cell {
        return x ? Cell(std::to_string(*x)) : std::nullopt;
      };
      sources[entry.source].push_back(row({cell(entry.a), cell(entry.b)}));
    }
    RowWindow window;
    window.offset = random() % 3 == 0 ? random() % 20 : 0;
    window.limit = random() % 3 == 0 ? random() % 20 : RowWindow::kNoLimit;
    auto merger = RowMerger::create(spec, window, description({type_oid::kInt4, type_oid::kInt4}),
                                    nullptr, count);
    ASSERT_TRUE(merger);
    const auto merged = drive(*merger, sources);
    std::vector<std::pair<std::size_t, std::size_t>> expected;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (static_cast<std::int64_t>(i) < window.offset) continue;
      if (window.limit >= 0 && static_cast<std::int64_t>(expected.size()) == window.limit) break;
      expected.emplace_back(all[i].source, all[i].place);
    }
    ASSERT_EQ(merged, expected);
  }
}

TEST(RowMerger, TiesGoToTheLowerSource) {
  MergeSpec spec;
  spec.keys = {key(0)};
  auto merger = RowMerger::create(spec, {}, description({type_oid::kInt4}), nullptr, 3);
  ASSERT_TRUE(merger);
  const std::vector<std::string> same = {row({"1"}), row({"1"})};
  const auto merged = drive(*merger, {same, same, same});
  const std::vector<std::pair<std::size_t, std::size_t>> expected = {{0, 0}, {0, 1}, {1, 0},
                                                                     {1, 1}, {2, 0}, {2, 1}};
  EXPECT_EQ(merged, expected);
}

TEST(RowMerger, WithoutAnOrderRowsAreForwardedAsTheyCome) {
  auto merger = RowMerger::create({}, {}, description({type_oid::kInt4}), nullptr, 2);
  ASSERT_TRUE(merger);
  // The second source is quicker; nobody waits for the first.
  const std::string body = row({"1"});
  ASSERT_EQ(merger->next().kind, RowMerger::Step::kNeed);
  ASSERT_TRUE(merger->set_head(1, body));
  EXPECT_EQ(merger->next().kind, RowMerger::Step::kRow);
  EXPECT_EQ(merger->next().source, 1u);
  merger->taken();
  merger->set_end(1);
  EXPECT_EQ(merger->next().kind, RowMerger::Step::kNeed);
  EXPECT_EQ(merger->next().source, 0u);
  merger->set_end(0);
  EXPECT_EQ(merger->next().kind, RowMerger::Step::kDone);
}

TEST(RowMerger, EndsAtTheLimitWithoutAskingForMore) {
  MergeSpec spec;
  spec.keys = {key(0)};
  RowWindow window;
  window.limit = 1;
  auto merger = RowMerger::create(spec, window, description({type_oid::kInt4}), nullptr, 2);
  const std::string one = row({"1"});
  const std::string two = row({"2"});
  ASSERT_TRUE(merger->set_head(0, two));
  ASSERT_TRUE(merger->set_head(1, one));
  EXPECT_EQ(merger->next().source, 1u);
  merger->taken();
  EXPECT_EQ(merger->next().kind, RowMerger::Step::kDone);
  window.limit = 0;
  auto none = RowMerger::create(spec, window, description({type_oid::kInt4}), nullptr, 2);
  EXPECT_EQ(none->next().kind, RowMerger::Step::kDone);
}

TEST(RowMerger, RefusesAnOrderItCannotProve) {
  const auto code = [](std::uint32_t type, bool bytewise, RowWindow window = {}) {
    MergeSpec spec;
    spec.keys = {key(0)};
    spec.keys[0].bytewise = bytewise;
    const auto merger = RowMerger::create(spec, window, description({type}), nullptr, 2);
    return merger ? std::string("ok") : std::string(merger.error().code.view());
  };
  EXPECT_EQ(code(type_oid::kText, true), "ok");
  EXPECT_EQ(code(type_oid::kText, false), "0A000");
  EXPECT_EQ(code(type_oid::kVarchar, false), "0A000");
  EXPECT_EQ(code(type_oid::kBpchar, true), "0A000");  // trailing spaces do not count
  EXPECT_EQ(code(3802, true), "0A000");               // jsonb
  EXPECT_EQ(code(16500, true), "0A000");              // an enum or domain of the user's
  EXPECT_EQ(code(type_oid::kInt8, false), "ok");
  RowWindow other_encoding;
  other_encoding.same_encoding = false;
  EXPECT_EQ(code(type_oid::kText, true, other_encoding), "0A000");
  EXPECT_EQ(code(type_oid::kInt4, false, other_encoding), "ok");
  RowWindow rounded;
  rounded.exact_floats = false;
  EXPECT_EQ(code(type_oid::kFloat8, false, rounded), "0A000");
}

TEST(RowMerger, FindsHiddenAndNamedColumns) {
  const std::string two = description({type_oid::kInt4, type_oid::kInt4});
  const auto emitted = [&two](SortKey::Where where, const char* name, std::uint16_t index) {
    MergeSpec spec;
    spec.keys.resize(1);
    spec.keys[0].where = where;
    spec.keys[0].name = name;
    spec.keys[0].index = index;
    spec.hidden_columns = 1;
    auto merger = RowMerger::create(spec, {}, two, nullptr, 2);
    if (!merger) return std::string(merger.error().code.view());
    EXPECT_EQ(merger->visible_columns(), 1);
    const auto merged = drive(*merger, {{row({"1", "9"})}, {row({"2", "8"})}});
    return std::to_string(merged.front().first);
  };
  EXPECT_EQ(emitted(SortKey::Where::kVisible, "", 0), "0");
  EXPECT_EQ(emitted(SortKey::Where::kVisible, "", 1), "42P10");  // never a hidden one
  EXPECT_EQ(emitted(SortKey::Where::kHidden, "", 0), "1");
  EXPECT_EQ(emitted(SortKey::Where::kNamed, "a", 0), "0");
  EXPECT_EQ(emitted(SortKey::Where::kNamed, "b", 0), "0A000");
  EXPECT_EQ(emitted(SortKey::Where::kNamedOrHidden, "a", 0), "0");
  EXPECT_EQ(emitted(SortKey::Where::kNamedOrHidden, "zz", 0), "1");
}

TEST(RowMerger, MalformedRowsAndForeignDateStylesAreErrors) {
  MergeSpec spec;
  spec.keys = {key(0)};
  const std::string dates = description({type_oid::kDate});
  auto merger = RowMerger::create(spec, {}, dates, nullptr, 1);
  ASSERT_TRUE(merger);
  EXPECT_FALSE(merger->set_head(0, row({"17.12.1997"})));
  EXPECT_FALSE(merger->set_head(0, row({"12-17-1997"})));
  EXPECT_FALSE(merger->set_head(0, row({"1997-12-17", "x"})));
  EXPECT_FALSE(merger->set_head(0, "\x01"));
  EXPECT_TRUE(merger->set_head(0, row({"1997-12-17"})));
  EXPECT_FALSE(RowMerger::create(spec, {}, "garbage", nullptr, 1));
}

}  // namespace
}  // namespace pgshunt
