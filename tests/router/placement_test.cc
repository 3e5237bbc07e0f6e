// Each strategy against a naive model over random maps and keys of every type; PostgreSQL's own
// order is row_value.h's, which tests/protocol holds to a server.

#include "router/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "router/key_location.h"
#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

constexpr ShardKeyType kAllTypes[] = {
    ShardKeyType::kInt2,      ShardKeyType::kInt4,       ShardKeyType::kInt8,
    ShardKeyType::kText,      ShardKeyType::kVarchar,    ShardKeyType::kUuid,
    ShardKeyType::kBytea,     ShardKeyType::kNumeric,    ShardKeyType::kDate,
    ShardKeyType::kTimestamp, ShardKeyType::kTimestamptz};

std::mt19937& random_bits() {
  static std::mt19937 bits(20);
  return bits;
}

int below(int limit) { return static_cast<int>(random_bits()() % static_cast<unsigned>(limit)); }

// Few enough of them that bounds are met exactly.
std::string random_key(ShardKeyType type) {
  const int n = below(40) - 20;
  switch (type) {
    case ShardKeyType::kInt2:
      return below(10) == 0 ? "-32768" : std::to_string(n);
    case ShardKeyType::kInt4:
      return below(10) == 0 ? "2147483647" : std::to_string(n);
    case ShardKeyType::kInt8:
      return below(10) == 0 ? "-9223372036854775808" : std::to_string(n);
    case ShardKeyType::kNumeric: {
      static const char* const kOthers[] = {"NaN",  "Infinity", "-Infinity", "1e20",  "-1e20",
                                            "0.00", "1.50",     "1.5",       "1e-20", "-0.0001"};
      return below(3) == 0 ? kOthers[below(10)]
                           : std::to_string(n) + "." + std::to_string(below(3));
    }
    case ShardKeyType::kText:
    case ShardKeyType::kVarchar: {
      std::string text;
      for (int i = below(4); i > 0; --i) text += "aB\xC3\x9F z"[below(6)];
      return text.find('\xC3') == std::string::npos && text.find('\x9F') == std::string::npos
                 ? text
                 : "\xC3\x9F";
    }
    case ShardKeyType::kBytea: {
      std::string text = "\\x";
      for (int i = below(3); i > 0; --i) text += below(2) == 0 ? "00" : "ff";
      return text;
    }
    case ShardKeyType::kUuid: {
      std::string text = "00000000-0000-0000-0000-000000000000";
      text[static_cast<std::size_t>(below(8))] = "0123456789abcdef"[below(16)];
      return text;
    }
    case ShardKeyType::kDate:
      return below(10) == 0 ? "-infinity" : "2024-01-" + std::to_string(10 + below(20));
    case ShardKeyType::kTimestamp:
      return below(10) == 0 ? "infinity" : "2024-01-01 00:00:" + std::to_string(10 + below(40));
    case ShardKeyType::kTimestamptz:
      return below(10) == 0 ? "infinity"
                            : "2024-01-01 0" + std::to_string(below(3)) + ":00:00+0" +
                                  std::to_string(below(3));
  }
  return {};
}

RowValue value_of(ShardKeyType type, const std::string& text) {
  auto value = RowValue::decode(*value_type_of(oid_of(type)), kFormatText, {false, text});
  EXPECT_TRUE(value) << text;
  return *value;
}

KeyLocation locate(const Keyspace& keyspace, const std::string& text) {
  KeyInput input;
  input.form = KeyInput::Form::kText;
  input.bytes = text;
  std::string key;
  auto location = locate_key(keyspace, {}, input, KeyUse::kStoredUnmodified, key);
  if (!location) {
    ADD_FAILURE() << text << ": " << location.error().message;
    return {};
  }
  return *location;
}

std::optional<ShardId> shard_of(const Keyspace& keyspace, const std::string& text) {
  const KeyLocation location = locate(keyspace, text);
  if (location.kind == KeyLocation::Kind::kShard) return location.shard;
  EXPECT_EQ(location.kind, KeyLocation::Kind::kNobodys) << text;
  return std::nullopt;
}

struct ModelRange {
  std::optional<std::string> from;  // text
  std::optional<std::string> to;
  ShardId shard = 0;
};

class Ranges {
 public:
  explicit Ranges(ShardKeyType type) : type_(type) {
    std::vector<std::string> cuts;
    for (int i = below(6); i >= 0; --i) cuts.push_back(random_key(type));
    std::sort(cuts.begin(), cuts.end(),
              [&](const auto& a, const auto& b) { return value_of(type, a) < value_of(type, b); });
    cuts.erase(std::unique(cuts.begin(), cuts.end(),
                           [&](const auto& a, const auto& b) {
                             return value_of(type, a) == value_of(type, b);
                           }),
               cuts.end());
    for (std::size_t i = 0; i <= cuts.size(); ++i) {
      if (below(4) == 0) continue;  // a gap
      ModelRange range;
      if (i > 0) range.from = cuts[i - 1];
      if (i < cuts.size()) range.to = cuts[i];
      range.shard = static_cast<ShardId>(below(3));
      model.push_back(range);
    }
    RangePlacement placement;
    for (const ModelRange& range : model) {
      KeyRange made;
      if (range.from) made.from = *parse_key(type, *range.from);
      if (range.to) made.to = *parse_key(type, *range.to);
      made.shard = range.shard;
      placement.ranges.push_back(made);
    }
    std::shuffle(placement.ranges.begin(), placement.ranges.end(), random_bits());
    EXPECT_EQ(arrange(placement), "");
    keyspace.key_type = type;
    keyspace.placement = std::move(placement);
  }

  static bool holds(ShardKeyType type, const ModelRange& range, const RowValue& value) {
    return (!range.from || value >= value_of(type, *range.from)) &&
           (!range.to || value < value_of(type, *range.to));
  }

  std::optional<ShardId> find(const std::string& text) const {
    const RowValue value = value_of(type_, text);
    for (const ModelRange& range : model) {
      if (holds(type_, range, value)) return range.shard;
    }
    return std::nullopt;
  }

  Keyspace keyspace;
  std::vector<ModelRange> model;

 private:
  ShardKeyType type_;
};

TEST(Placement, RangesAgreeWithALinearSearchInEveryTypesOwnOrder) {
  for (const ShardKeyType type : kAllTypes) {
    for (int map = 0; map < 40; ++map) {
      const Ranges ranges(type);
      for (int i = 0; i < 40; ++i) {
        const std::string key = random_key(type);
        EXPECT_EQ(shard_of(ranges.keyspace, key), ranges.find(key)) << name_of(type) << " " << key;
      }
      // The bounds themselves: the lower one is inside, the upper one is not.
      for (const ModelRange& range : ranges.model) {
        if (range.from) {
          EXPECT_EQ(shard_of(ranges.keyspace, *range.from), range.shard);
        }
        if (range.to) {
          EXPECT_EQ(shard_of(ranges.keyspace, *range.to), ranges.find(*range.to));
        }
      }
    }
  }
}

TEST(Placement, AnIntervalsShardsHoldEveryKeyInIt) {
  for (const ShardKeyType type : kAllTypes) {
    for (int map = 0; map < 40; ++map) {
      const Ranges ranges(type);
      KeyInterval interval;
      std::vector<std::pair<std::string, int>> conditions;  // key, operator
      for (int i = below(3); i >= 0; --i) {
        const std::string text = random_key(type);
        const std::string key = *parse_key(type, text);
        const int op = below(4);
        conditions.emplace_back(text, op);
        if (op < 2) {
          interval.lower_high(key, op == 1);
        } else {
          interval.raise_low(key, op == 3);
        }
      }
      std::vector<ShardId> shards;
      ranges.keyspace.range()->shards_in(interval, shards);
      EXPECT_TRUE(std::is_sorted(shards.begin(), shards.end()));
      EXPECT_EQ(std::adjacent_find(shards.begin(), shards.end()), shards.end());
      for (int i = 0; i < 60; ++i) {
        const std::string text = random_key(type);
        const RowValue value = value_of(type, text);
        const bool meets = std::all_of(conditions.begin(), conditions.end(), [&](const auto& c) {
          const RowValue bound = value_of(type, c.first);
          switch (c.second) {
            case 0:
              return value < bound;
            case 1:
              return value <= bound;
            case 2:
              return value > bound;
            default:
              return value >= bound;
          }
        });
        const auto shard = ranges.find(text);
        if (!meets || !shard) continue;
        EXPECT_TRUE(std::binary_search(shards.begin(), shards.end(), *shard))
            << name_of(type) << " " << text;
      }
    }
  }
}

TEST(Placement, AnIntervalLeavesOutTheShardsItCannotMeet) {
  RangePlacement placement;
  const auto key = [](int n) { return *parse_key(ShardKeyType::kInt8, std::to_string(n)); };
  placement.ranges = {{std::nullopt, key(10), 2, ""},
                      {key(10), key(20), 0, ""},
                      {key(20), key(30), 1, ""},
                      {key(40), std::nullopt, 2, ""}};
  const auto shards = [&](auto... ends) {
    KeyInterval interval;
    (ends(interval), ...);
    std::vector<ShardId> out;
    placement.shards_in(interval, out);
    return out;
  };
  const auto low = [&](int n, bool included) {
    return [&key, n, included](KeyInterval& i) { i.raise_low(key(n), included); };
  };
  const auto high = [&](int n, bool included) {
    return [&key, n, included](KeyInterval& i) { i.lower_high(key(n), included); };
  };
  using Shards = std::vector<ShardId>;
  EXPECT_EQ(shards(), (Shards{0, 1, 2}));
  EXPECT_EQ(shards(low(10, true)), (Shards{0, 1, 2}));
  EXPECT_EQ(shards(low(10, true), high(20, false)), (Shards{0}));
  EXPECT_EQ(shards(low(10, true), high(20, true)), (Shards{0, 1}));
  EXPECT_EQ(shards(high(10, false)), (Shards{2}));
  EXPECT_EQ(shards(low(30, true), high(39, true)), Shards{});
  EXPECT_EQ(shards(low(30, false)), (Shards{2}));
  EXPECT_EQ(shards(low(15, true), high(14, true)), Shards{});
  EXPECT_EQ(shards(low(15, true), high(15, true)), (Shards{0}));
  EXPECT_EQ(shards(low(15, true), low(15, false), high(15, true)), Shards{});
  EXPECT_EQ(shards(low(5, true), low(25, true)), (Shards{1, 2}));
}

TEST(Placement, OverlappingAndEmptyRangesAreNamed) {
  const auto key = [](int n) { return *parse_key(ShardKeyType::kInt4, std::to_string(n)); };
  const auto problem = [](std::vector<KeyRange> ranges) {
    RangePlacement placement{std::move(ranges)};
    return arrange(placement);
  };
  EXPECT_EQ(problem({{key(2), key(3), 0, "b"}, {key(1), key(2), 0, "a"}}), "");
  EXPECT_EQ(problem({{key(2), key(4), 0, "b"}, {key(1), key(3), 0, "a"}}),
            "ranges a and b overlap");
  EXPECT_EQ(problem({{key(1), std::nullopt, 0, "a"}, {key(5), key(6), 0, "b"}}),
            "ranges a and b overlap");
  EXPECT_EQ(problem({{key(1), key(2), 0, "a"}, {std::nullopt, std::nullopt, 0, "b"}}),
            "ranges b and a overlap");
  EXPECT_EQ(problem({{key(1), key(1), 0, "a"}}), "range a is empty");
}

TEST(Placement, ListsAgreeWithALinearSearch) {
  for (const ShardKeyType type : kAllTypes) {
    for (int map = 0; map < 40; ++map) {
      std::vector<std::pair<std::string, ShardId>> model;
      ListPlacement placement;
      for (int i = below(8); i > 0; --i) {
        const std::string text = random_key(type);
        const bool known = std::any_of(model.begin(), model.end(), [&](const auto& entry) {
          return value_of(type, entry.first) == value_of(type, text);
        });
        if (known) continue;
        model.emplace_back(text, static_cast<ShardId>(below(3)));
        placement.keys.push_back({*parse_key(type, text), model.back().second, text});
      }
      if (below(2) == 0) placement.other_keys = static_cast<ShardId>(below(3));
      const auto others = placement.other_keys;
      EXPECT_EQ(arrange(placement), "");
      Keyspace keyspace{"k", type, std::move(placement)};
      for (int i = 0; i < 40; ++i) {
        const std::string text = random_key(type);
        std::optional<ShardId> expected = others;
        for (const auto& [listed, shard] : model) {
          if (value_of(type, listed) == value_of(type, text)) expected = shard;
        }
        EXPECT_EQ(shard_of(keyspace, text), expected) << name_of(type) << " " << text;
      }
    }
  }
}

TEST(Placement, OverridesStandBeforeBuckets) {
  for (const ShardKeyType type : kAllTypes) {
    HashPlacement plain{deal_evenly(3), {}};
    HashPlacement with = plain;
    std::vector<std::string> keys;
    for (int i = 0; i < 6; ++i) {
      const std::string text = random_key(type);
      std::string key = *parse_key(type, text);
      if (with.overrides.find(key)) continue;
      const std::uint64_t hash = hash_encoded_key(type, key);
      with.overrides.add({std::move(key), 7, text}, hash);
      keys.push_back(text);
    }
    const Keyspace before{"k", type, plain};
    const Keyspace after{"k", type, with};
    for (const std::string& text : keys) EXPECT_EQ(shard_of(after, text), 7) << text;
    for (int i = 0; i < 100; ++i) {
      const std::string text = random_key(type);
      const bool overridden = std::any_of(keys.begin(), keys.end(), [&](const auto& key) {
        return value_of(type, key) == value_of(type, text);
      });
      EXPECT_EQ(shard_of(after, text), overridden ? 7 : shard_of(before, text)) << text;
    }
  }
}

TEST(Placement, TheFilterOfManyOverridesPassesFewOthers) {
  KeyOverrides overrides;
  EXPECT_FALSE(overrides.may_hold(5));
  for (int i = 0; i < 1000; ++i) {
    std::string key = *parse_key(ShardKeyType::kInt8, std::to_string(i));
    const std::uint64_t hash = hash_encoded_key(ShardKeyType::kInt8, key);
    overrides.add({std::move(key), static_cast<ShardId>(i % 5), ""}, hash);
  }
  int passed = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string key = *parse_key(ShardKeyType::kInt8, std::to_string(i));
    const bool passes = overrides.may_hold(hash_encoded_key(ShardKeyType::kInt8, key));
    const auto found = overrides.find(key);
    EXPECT_EQ(found.has_value(), i < 1000);
    if (i < 1000) {
      EXPECT_TRUE(passes);
      EXPECT_EQ(*found, i % 5);
    } else {
      passed += passes;
    }
  }
  EXPECT_LT(passed, 19'000 * 2 / 100);
}

TEST(Placement, SchemasAreFoundByName) {
  SchemaPlacement placement;
  placement.schemas = {{"tenant_2", 1}, {"tenant_1", 0}, {"Tenant_1", 2}};
  EXPECT_EQ(arrange(placement), "");
  EXPECT_EQ(placement.find("tenant_1"), 0);
  EXPECT_EQ(placement.find("tenant_2"), 1);
  EXPECT_EQ(placement.find("Tenant_1"), 2);
  EXPECT_EQ(placement.find("tenant_3"), std::nullopt);
  placement.schemas.emplace_back("tenant_2", 2);
  EXPECT_EQ(arrange(placement), "schema \"tenant_2\" is listed twice");
}

TEST(Placement, AKeyOfNobodyIsNamed) {
  Keyspace keyspace{"regions", ShardKeyType::kText, ListPlacement{}};
  const Error list = nobodys_key(keyspace, "xx");
  EXPECT_EQ(list.code.view(), "23514");
  EXPECT_EQ(list.message, "no list entry of keyspace \"regions\" has the key xx");
  keyspace = {"years", ShardKeyType::kDate, RangePlacement{}};
  const Error range = nobodys_key(keyspace, *parse_key(ShardKeyType::kDate, "2031-05-01"));
  EXPECT_EQ(range.message, "no range of keyspace \"years\" has the key 2031-05-01");
  EXPECT_FALSE(range.hint.empty());
}

}  // namespace
}  // namespace pgshunt
