#include "proxy/config/load_keyspace.h"

#include <optional>
#include <utility>

#include "router/key_location.h"

namespace pgshunt {
namespace {

constexpr std::uint16_t kLastBucket = 4095;
constexpr ValueRules kBucket{.max = kLastBucket};

std::string quoted(std::string_view word) { return "\"" + std::string(word) + "\""; }

// The shard of one entry.
void read_shard(TableReader& element, const DatabaseConfig& database, std::string& shard) {
  if (!element.require("shard", shard, "a shard's name")) return;
  if (named(database.shards, shard) != nullptr) return;
  element.error("shard",
                "is " + quote_text(shard) + ", which is no shard, " + names_known(database.shards));
}

// A key as people write it: a string, or a whole number.
std::optional<std::string> key_text(const TomlValue& value) {
  if (const auto* text = value.get<std::string>()) return *text;
  if (const auto* number = value.get<std::int64_t>()) return std::to_string(*number);
  return std::nullopt;
}

// What is wrong with a key, or its canonical form in `canonical`.
std::string check_key(const TomlValue& value, const KeyspaceConfig& keyspace, std::string& text,
                      std::string& canonical) {
  const std::string type(name_of(keyspace.key_type));
  const auto read = key_text(value);
  if (!read) return describe_value(value) + ", expected a key of type " + type + " in quotes";
  if (read->find('\0') != std::string::npos) return "holds a NUL character";
  text = *read;
  auto parsed = parse_key(shard_key_type(keyspace.key_type), text);
  if (!parsed) {
    return "is " + quote_text(text) + ", expected a key of type " + type + " (" +
           printable(parsed.error().message) + ")";
  }
  canonical = std::move(*parsed);
  return {};
}

// The key `name` of an entry. False: absent or wrong.
bool read_key(TableReader& element, std::string_view name, const KeyspaceConfig& keyspace,
              std::string& text, std::string& canonical) {
  const TomlEntry* entry = element.find(name);
  if (entry == nullptr) return false;
  const std::string problem = check_key(entry->value, keyspace, text, canonical);
  if (!problem.empty()) element.error(name, problem);
  return problem.empty();
}

// --- hash -------------------------------------------------------------------------------------

// Every bucket to exactly one shard.
void check_buckets(TableReader& table, const KeyspaceConfig& keyspace) {
  auto ranges = keyspace.buckets;
  std::sort(ranges.begin(), ranges.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  unsigned next = 0;
  const auto gap = [&](unsigned from, unsigned to) {
    table.error("buckets", "leave " + std::to_string(from) + " to " + std::to_string(to) +
                               " without a shard, expected ranges that cover 0 to 4095");
  };
  for (const auto& range : ranges) {
    if (range.first < next) {
      table.error("buckets", "give bucket " + std::to_string(range.first) +
                                 " to two shards, expected ranges that do not overlap");
    } else if (range.first > next) {
      gap(next, range.first - 1U);
    }
    next = std::max(next, range.last + 1U);
  }
  if (next <= kLastBucket) gap(next, kLastBucket);
}

void read_buckets(TableReader& table, const DatabaseConfig& database, KeyspaceConfig& keyspace) {
  bool good = true;
  table.each_element("buckets", [&](TableReader& element) {
    KeyspaceConfig::BucketRange range;
    for (const char* key : {"from", "to", "shard"}) {
      if (element.has(key)) continue;
      element.error("has no " + std::string(key) +
                    ", expected the like of {from = 0, to = 2047, shard = \"s1\"}");
      good = false;
    }
    good &= element.read("from", range.first, kBucket);
    good &= element.read("to", range.last, kBucket);
    if (good && range.last < range.first) {
      element.error("to", "is " + std::to_string(range.last) + ", which is below from");
      good = false;
    }
    if (element.read("shard", range.shard) && named(database.shards, range.shard) == nullptr) {
      element.error("shard", "is " + quote_text(range.shard) + ", which is no shard, " +
                                 names_known(database.shards));
    }
    keyspace.buckets.push_back(std::move(range));
  });
  // Ranges misread would only look like gaps.
  if (good && table.has("buckets")) check_buckets(table, keyspace);
}

void read_overrides(TableReader& table, const DatabaseConfig& database, KeyspaceConfig& keyspace) {
  std::vector<std::string> known;
  table.each_element("overrides", [&](TableReader& element) {
    KeyspaceConfig::PlacedKey placed;
    std::string canonical;
    if (!element.has("key")) {
      element.error("has no key, expected the like of {key = \"42\", shard = \"s1\"}");
    } else if (read_key(element, "key", keyspace, placed.key, canonical)) {
      if (std::find(known.begin(), known.end(), canonical) != known.end()) {
        element.error("key", "is " + quote_text(placed.key) + ", which is overridden already");
      }
      known.push_back(std::move(canonical));
    }
    read_shard(element, database, placed.shard);
    keyspace.overrides.push_back(std::move(placed));
  });
}

// --- ranges -----------------------------------------------------------------------------------

std::string shown(const KeyspaceConfig::KeyRange& range) {
  return (range.from ? "from " + quote_text(*range.from) : "from the beginning") +
         (range.to ? " to " + quote_text(*range.to) : " to the end");
}

struct ReadRange {
  KeyRange range;         // canonical
  std::size_t index = 0;  // in the configuration
};

// Which of them overlap, or leave keys to nobody.
void check_ranges(TableReader& table, const KeyspaceConfig& keyspace,
                  std::vector<ReadRange> ranges) {
  std::stable_sort(ranges.begin(), ranges.end(), [](const ReadRange& a, const ReadRange& b) {
    if (!a.range.from || !b.range.from) return !a.range.from && b.range.from;
    return *a.range.from < *b.range.from;
  });
  ConfigReport& report = table.context().report;
  const std::string path = table.path_of("ranges");
  const auto leaves = [&](const std::string& keys) {
    report.warning(path, "leave keys " + keys + " without a shard: they cannot be stored");
  };
  const auto config = [&](const ReadRange& read) -> const KeyspaceConfig::KeyRange& {
    return keyspace.ranges[read.index];
  };
  const ReadRange* last = nullptr;
  for (const ReadRange& read : ranges) {
    if (last == nullptr) {
      if (read.range.from) leaves("below " + quote_text(*config(read).from));
    } else if (!last->range.to || !read.range.from || *read.range.from < *last->range.to) {
      report.error(path + "[" + std::to_string(std::max(read.index, last->index)) + "]",
                   "overlaps: " + shown(config(*last)) + " and " + shown(config(read)) +
                       ", expected ranges that do not");
      return;  // what follows may only follow from it
    } else if (*last->range.to < *read.range.from) {
      leaves("from " + quote_text(*config(*last).to) + " to " + quote_text(*config(read).from));
    }
    last = &read;
  }
  if (last != nullptr && last->range.to) leaves("from " + quote_text(*config(*last).to) + " on");
}

void read_ranges(TableReader& table, const DatabaseConfig& database, KeyspaceConfig& keyspace) {
  bool good = true;
  std::vector<ReadRange> read;
  table.each_element("ranges", [&](TableReader& element) {
    KeyspaceConfig::KeyRange range;
    ReadRange made;
    const auto end = [&](std::string_view name, std::optional<std::string>& text,
                         std::optional<std::string>& canonical) {
      if (!element.has(name)) return;
      good &= read_key(element, name, keyspace, text.emplace(), canonical.emplace());
    };
    end("from", range.from, made.range.from);
    end("to", range.to, made.range.to);
    if (good && range.from && range.to && *made.range.to <= *made.range.from) {
      element.error("to", "is " + quote_text(*range.to) + ", which is not above from");
      good = false;
    }
    read_shard(element, database, range.shard);
    made.index = keyspace.ranges.size();
    keyspace.ranges.push_back(std::move(range));
    read.push_back(std::move(made));
  });
  if (keyspace.ranges.empty()) {
    table.error("ranges",
                "hold no range, expected the like of {from = 0, to = 1000, shard = "
                "\"s1\"}");
  }
  if (good) check_ranges(table, keyspace, std::move(read));
}

// --- lists ------------------------------------------------------------------------------------

void read_default_shard(TableReader& table, const DatabaseConfig& database,
                        KeyspaceConfig& keyspace) {
  if (!table.read("default_shard", keyspace.default_shard) || keyspace.default_shard.empty()) {
    return;
  }
  if (named(database.shards, keyspace.default_shard) == nullptr) {
    table.error("default_shard", "is " + quote_text(keyspace.default_shard) +
                                     ", which is no shard, " + names_known(database.shards));
  }
}

void read_values(TableReader& table, const DatabaseConfig& database, KeyspaceConfig& keyspace) {
  std::vector<std::string> known;
  const auto read_value_of = [&](TableReader& element, const TomlValue& value,
                                 const std::string& shard) {
    std::string text;
    std::string canonical;
    if (const std::string problem = check_key(value, keyspace, text, canonical); !problem.empty()) {
      element.error("values", "holds an element that " + problem);
      return;
    }
    if (std::find(known.begin(), known.end(), canonical) != known.end()) {
      element.error("values", "holds " + quote_text(text) + ", which is listed already");
    }
    known.push_back(std::move(canonical));
    keyspace.values.push_back({std::move(text), shard});
  };
  table.each_element("values", [&](TableReader& element) {
    std::string shard;
    read_shard(element, database, shard);
    const TomlEntry* entry = element.find("values");
    const auto* values = entry == nullptr ? nullptr : entry->value.get<TomlArray>();
    if (entry == nullptr) {
      element.error(
          "has no values, expected the like of {values = [\"de\", \"at\"], shard = "
          "\"eu\"}");
    } else if (values == nullptr || values->empty()) {
      element.error("values", (values ? "is empty" : describe_value(entry->value)) +
                                  ", expected a list of keys");
    } else {
      for (const TomlValue& value : *values) read_value_of(element, value, shard);
    }
  });
  read_default_shard(table, database, keyspace);
  if (!table.has("values")) {
    table.error("values",
                "hold no value, expected the like of {values = [\"de\", \"at\"], shard = "
                "\"eu\"}");
  }
}

// --- directories and schemas ------------------------------------------------------------------

// A word, or {shard = "s1"}.
void read_new_keys(TableReader& table, const DatabaseConfig& database, KeyspaceConfig& keyspace) {
  const TomlEntry* entry = table.find("new_keys");
  if (entry == nullptr) return;
  if (entry->value.get<TomlTable>() != nullptr) {
    table.section("new_keys", [&](TableReader& section) {
      keyspace.new_keys = NewKeys::kFixed;
      read_shard(section, database, keyspace.new_keys_shard);
    });
    return;
  }
  const auto* word = entry->value.get<std::string>();
  const auto policy = word == nullptr ? std::nullopt : value_named<NewKeys>(*word);
  if (policy) {
    keyspace.new_keys = *policy;
  } else {
    table.error("new_keys", describe_value(entry->value) +
                                ", expected \"hash\", \"least_loaded\", \"refuse\" or the like of "
                                "{shard = \"s1\"}");
  }
}

void read_schemas(TableReader& table, const DatabaseConfig& database, KeyspaceConfig& keyspace) {
  table.each_element("schemas", [&](TableReader& element) {
    KeyspaceConfig::PlacedKey placed;
    if (element.require("schema", placed.key, "a schema's name")) {
      const auto same = [&](const KeyspaceConfig::PlacedKey& other) {
        return other.key == placed.key;
      };
      bool listed = std::any_of(keyspace.schemas.begin(), keyspace.schemas.end(), same);
      for (const KeyspaceConfig& other : database.keyspaces) {
        listed |= std::any_of(other.schemas.begin(), other.schemas.end(), same);
      }
      if (listed) {
        element.error("schema", "is " + quote_text(placed.key) + ", which is listed already");
      }
      if (placed.key == "pg_catalog" || placed.key == "information_schema") {
        element.error("schema", "is " + quote_text(placed.key) + ", which every shard has");
      }
    }
    read_shard(element, database, placed.shard);
    keyspace.schemas.push_back(std::move(placed));
  });
  if (keyspace.schemas.empty()) {
    table.error("schemas",
                "hold no schema, expected the like of {schema = \"tenant_1\", shard = "
                "\"s1\"}");
  }
}

// Keys that mean something to one strategy only.
void refuse_others(TableReader& table, Strategy strategy) {
  struct Owned {
    const char* key;
    Strategy strategy;
  };
  static constexpr Owned kOwned[] = {
      {"buckets", Strategy::kHash},       {"overrides", Strategy::kHash},
      {"ranges", Strategy::kRange},       {"values", Strategy::kList},
      {"default_shard", Strategy::kList}, {"new_keys", Strategy::kDirectory},
      {"schemas", Strategy::kSchema},
  };
  for (const Owned& owned : kOwned) {
    if (owned.strategy == strategy || !table.has(owned.key)) continue;
    table.error(owned.key, "is for strategy " + quoted(name_of(owned.strategy)) +
                               ", but the strategy is " + quoted(name_of(strategy)));
  }
  if (strategy == Strategy::kSchema && table.has("type")) {
    table.error("type", "is for keys, but strategy \"schema\" has none");
  }
}

}  // namespace

ShardKeyType shard_key_type(KeyType type) {
  switch (type) {
    case KeyType::kInt2:
      return ShardKeyType::kInt2;
    case KeyType::kInt4:
      return ShardKeyType::kInt4;
    case KeyType::kInt8:
      return ShardKeyType::kInt8;
    case KeyType::kText:
      return ShardKeyType::kText;
    case KeyType::kVarchar:
      return ShardKeyType::kVarchar;
    case KeyType::kUuid:
      return ShardKeyType::kUuid;
    case KeyType::kBytea:
      return ShardKeyType::kBytea;
    case KeyType::kNumeric:
      return ShardKeyType::kNumeric;
    case KeyType::kDate:
      return ShardKeyType::kDate;
    case KeyType::kTimestamp:
      return ShardKeyType::kTimestamp;
    case KeyType::kTimestamptz:
      return ShardKeyType::kTimestamptz;
  }
  return ShardKeyType::kInt8;
}

void read_keyspace(TableReader& table, DatabaseConfig& database) {
  KeyspaceConfig keyspace;
  const bool has_name = table.require("name", keyspace.name, "a name unique in its database");
  if (has_name && named(database.keyspaces, keyspace.name) != nullptr) {
    table.error("name", "is " + quote_text(keyspace.name) + ", which another keyspace has already");
  }
  const bool known = !table.has("strategy") || table.read("strategy", keyspace.strategy);
  bool typed = true;
  if (keyspace.strategy != Strategy::kSchema) {
    if (!table.has("type")) table.error("has no type, expected the key's, such as \"bigint\"");
    typed = table.read("type", keyspace.key_type);
  }
  if (known && typed) {
    switch (keyspace.strategy) {
      case Strategy::kHash:
        read_buckets(table, database, keyspace);
        read_overrides(table, database, keyspace);
        break;
      case Strategy::kRange:
        read_ranges(table, database, keyspace);
        break;
      case Strategy::kList:
        read_values(table, database, keyspace);
        break;
      case Strategy::kDirectory:
        read_new_keys(table, database, keyspace);
        break;
      case Strategy::kSchema:
        read_schemas(table, database, keyspace);
        break;
    }
    refuse_others(table, keyspace.strategy);
  } else {
    // What they hold cannot be judged; that they are there is no mistake.
    for (const char* key : {"buckets", "overrides", "ranges", "values", "default_shard", "new_keys",
                            "schemas", "type"}) {
      table.find(key);
    }
  }
  database.keyspaces.push_back(std::move(keyspace));
}

}  // namespace pgshunt
