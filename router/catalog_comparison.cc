// Each shard's catalog against the first shard's.
#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

#include "router/catalog.h"
#include "router/refusal.h"

namespace pgshunt {
namespace {

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

std::string type_text(const CatalogColumn& column) {
  std::string text = column.type;
  if (column.column.type_modifier != -1) {
    text += " (modifier " + std::to_string(column.column.type_modifier) + ")";
  }
  return text;
}

std::string default_text(const CatalogColumn& column) {
  if (!column.fallback.empty()) return column.fallback;
  return column.column.fallback == ColumnDefault::kNone ? "none" : "an identity";
}

std::string_view volatility_text(char volatility) {
  return volatility == 'i' ? "immutable" : volatility == 's' ? "stable" : "volatile";
}

const CatalogColumn* find_column(const CatalogTable& table, std::string_view name) {
  for (const CatalogColumn& column : table.columns) {
    if (column.column.name == name) return &column;
  }
  return nullptr;
}

class Comparison {
 public:
  Comparison(const Topology& declared, const ShardCatalog& home, std::string_view home_name)
      : declared_(declared), home_(home), home_name_(home_name) {}

  void server(ShardId shard, const ShardCatalog& there) {
    shard_ = shard;
    if (there.encoding != home_.encoding) {
      add(DriftEffect::kEncoding, {}, {}, {},
          "has the encoding " + there.encoding + on_home(home_.encoding));
    }
    if (there.server_version / 10000 != home_.server_version / 10000) {
      add(DriftEffect::kNone, {}, {}, {},
          "is of version " + std::to_string(there.server_version / 10000) +
              on_home(std::to_string(home_.server_version / 10000)));
    }
    types(there);
    functions(there);
    for (const Table& table : declared_.tables) tables(table, there);
  }

  // What the first shard itself lacks.
  void home() {
    shard_ = 0;
    for (const Table& table : declared_.tables) {
      const CatalogTable* here = home_.find_table(table.schema, table.name);
      if (table.placement == TablePlacement::kUnsharded) {
        tables(table, home_);
      } else if (here == nullptr) {
        add(DriftEffect::kScatter, table.schema, table.name, {}, "is missing");
      } else {
        key_column(table, *here);
        key_is_unique(table, *here);
      }
    }
  }

  std::vector<Drift> take() { return std::move(found_); }

 private:
  void add(DriftEffect effect, std::string_view schema, std::string_view name,
           std::string_view column, std::string difference) {
    found_.push_back({effect, shard_, std::string(schema), std::string(name), std::string(column),
                      std::move(difference)});
  }

  std::string on_home(std::string_view what) const {
    return " (" + std::string(what) + " on " + quoted(home_name_) + ")";
  }

  // --- types ------------------------------------------------------------------------------------

  void types(const ShardCatalog& there) {
    changed_types_.clear();
    const auto name = [](const CatalogType& type) { return std::tie(type.schema, type.name); };
    for (const CatalogType& here : home_.types) {
      const auto other = std::lower_bound(
          there.types.begin(), there.types.end(), here,
          [&](const CatalogType& a, const CatalogType& b) { return name(a) < name(b); });
      std::string difference;
      if (other == there.types.end() || name(*other) != name(here)) {
        difference = "is missing";
      } else if (other->kind != here.kind || other->array != here.array ||
                 made_of(home_, here) != made_of(there, *other)) {
        difference = "is made otherwise than on " + quoted(home_name_);
      } else if (other->labels != here.labels) {
        difference = labels_difference(here.labels, other->labels);
      }
      if (difference.empty()) continue;
      changed_types_.insert(here.schema + "." + here.name);
      // A table's row type, and an array of something, tell nothing that is not told of these.
      if (here.array || home_.find_table(here.schema, here.name) != nullptr) continue;
      add(DriftEffect::kType, here.schema, here.name, {}, difference);
    }
    // What is made of a changed type is changed itself.
    for (bool more = !changed_types_.empty(); more;) {
      more = false;
      for (const CatalogType& here : home_.types) {
        const std::vector<std::string> parts = made_of(home_, here);
        if (std::any_of(parts.begin(), parts.end(), [this](const std::string& part) {
              return changed_types_.contains(part);
            })) {
          more |= changed_types_.insert(here.schema + "." + here.name).second;
        }
      }
    }
  }

  // Names of the types that a type consists of; OIDs of those that are everybody's.
  static std::vector<std::string> made_of(const ShardCatalog& catalog, const CatalogType& type) {
    std::vector<std::string> out;
    const auto note = [&](std::uint32_t oid) {
      for (const CatalogType& each : catalog.types) {
        if (each.oid == oid) return out.push_back(each.schema + "." + each.name);
      }
      out.push_back(std::to_string(oid));
    };
    if (type.element != 0) note(type.element);
    for (const std::uint32_t field : type.fields) note(field);
    return out;
  }

  std::string labels_difference(const std::vector<std::string>& here,
                                const std::vector<std::string>& there) const {
    const auto lacks = [](const std::vector<std::string>& who, const std::vector<std::string>& of) {
      std::vector<std::string> out;
      for (const std::string& label : of) {
        if (std::find(who.begin(), who.end(), label) == who.end()) out.push_back(quoted(label));
      }
      return out;
    };
    if (const auto missing = lacks(there, here); !missing.empty()) {
      return "lacks the labels " + listed(missing);
    }
    if (const auto extra = lacks(here, there); !extra.empty()) {
      return "has the labels " + listed(extra) + ", unlike " + quoted(home_name_);
    }
    return "has its labels in another order than on " + quoted(home_name_);
  }

  // --- functions --------------------------------------------------------------------------------

  void functions(const ShardCatalog& there) {
    const auto key = [](const UserFunctionOverload& each) {
      return std::tie(each.schema, each.name, each.arguments);
    };
    auto here = home_.functions.begin();
    auto other = there.functions.begin();
    while (here != home_.functions.end() || other != there.functions.end()) {
      const bool only_here = other == there.functions.end() ||
                             (here != home_.functions.end() && key(*here) < key(*other));
      const bool only_there =
          !only_here && (here == home_.functions.end() || key(*other) < key(*here));
      // Ours are looked after by who makes them.
      const std::string& schema = only_there ? other->schema : here->schema;
      if (schema == "pgshunt") {
        if (!only_there) ++here;
        if (!only_here) ++other;
      } else if (only_here) {
        add(DriftEffect::kCall, here->schema, here->name, {},
            "(" + here->arguments + ") is missing");
        ++here;
      } else if (only_there) {
        add(DriftEffect::kCall, other->schema, other->name, {},
            "(" + other->arguments + ") is there, but not on " + quoted(home_name_));
        ++other;
      } else {
        overload(*here++, *other++);
      }
    }
  }

  void overload(const UserFunctionOverload& here, const UserFunctionOverload& there) {
    if (here.volatility != there.volatility) {
      add(DriftEffect::kCall, here.schema, here.name, {},
          "(" + here.arguments + ") is " + std::string(volatility_text(there.volatility)) +
              on_home(volatility_text(here.volatility)));
    } else if (here.language != there.language || here.kind != there.kind ||
               here.behaviour != there.behaviour) {
      add(DriftEffect::kCall, here.schema, here.name, {},
          "(" + here.arguments + ") is another kind of function, in " + there.language +
              on_home(here.language));
    }
  }

  // --- tables -----------------------------------------------------------------------------------

  void tables(const Table& table, const ShardCatalog& there) {
    const CatalogTable* other = there.find_table(table.schema, table.name);
    if (table.placement == TablePlacement::kUnsharded) {
      if (table.home == shard_ && other == nullptr) {
        add(DriftEffect::kEverything, table.schema, table.name, {}, "is missing");
      } else if (table.home != shard_ && other != nullptr) {
        add(DriftEffect::kNone, table.schema, table.name, {},
            "is there, but declared to be on " + quoted(declared_.shards[table.home].name));
      }
      return;
    }
    if (other == nullptr) {
      add(DriftEffect::kScatter, table.schema, table.name, {}, "is missing");
      return;
    }
    key_is_unique(table, *other);
    if (!key_column(table, *other)) return;
    const CatalogTable* here = home_.find_table(table.schema, table.name);
    if (here == nullptr) return;
    columns(table, *here, *other);
    keys(table, *here, *other);
  }

  bool key_column(const Table& table, const CatalogTable& there) {
    if (table.placement != TablePlacement::kSharded) return true;
    std::vector<Column> columns;
    for (const CatalogColumn& column : there.columns) columns.push_back(column.column);
    const Keyspace& keyspace = declared_.keyspaces[table.keyspace];
    const Status fit = check_key_column(keyspace, table, columns);
    if (fit) return true;
    add(DriftEffect::kEverything, table.schema, table.name, table.key_column,
        "is unfit as a shard key: " + fit.error().message);
    return false;
  }

  void columns(const Table& table, const CatalogTable& here, const CatalogTable& there) {
    bool same_columns = true;
    for (const CatalogColumn& column : here.columns) {
      const CatalogColumn* other = find_column(there, column.column.name);
      if (other != nullptr) {
        column_of(table, column, *other);
        continue;
      }
      same_columns = false;
      add(DriftEffect::kShape, table.schema, table.name, column.column.name, "is missing");
    }
    for (const CatalogColumn& column : there.columns) {
      if (find_column(here, column.column.name) != nullptr) continue;
      same_columns = false;
      add(DriftEffect::kShape, table.schema, table.name, column.column.name,
          "is there, but not on " + quoted(home_name_));
    }
    if (!same_columns) return;
    for (std::size_t i = 0; i < here.columns.size(); ++i) {
      if (here.columns[i].column.name == there.columns[i].column.name) continue;
      add(DriftEffect::kShape, table.schema, table.name, {},
          "has its columns in another order than on " + quoted(home_name_));
      return;
    }
  }

  void column_of(const Table& table, const CatalogColumn& here, const CatalogColumn& there) {
    const auto differs = [&](DriftEffect effect, std::string difference) {
      add(effect, table.schema, table.name, here.column.name, std::move(difference));
    };
    const bool key =
        table.placement == TablePlacement::kSharded && here.column.name == table.key_column;
    if (here.type != there.type || here.column.type_modifier != there.column.type_modifier) {
      differs(key ? DriftEffect::kEverything : DriftEffect::kMention,
              "is of type " + type_text(there) + on_home(type_text(here)));
    } else if (changed_types_.contains(here.type)) {
      differs(DriftEffect::kMention, "is of type " + here.type + ", which differs itself");
    }
    if (here.column.deterministic != there.column.deterministic) {
      differs(DriftEffect::kMention,
              std::string("has a ") + (there.column.deterministic ? "" : "non") +
                  "deterministic collation, unlike on " + quoted(home_name_));
    } else if (here.collation != there.collation || here.locale != there.locale) {
      differs(DriftEffect::kOrdering, "has the collation " + there.collation + " (" + there.locale +
                                          ")" + on_home(here.collation + ", " + here.locale));
    } else if (here.locale_version != there.locale_version) {
      differs(DriftEffect::kOrdering, "has the collation version \"" + there.locale_version + "\"" +
                                          on_home(quoted(here.locale_version)));
    }
    if (here.column.not_null != there.column.not_null) {
      differs(DriftEffect::kWrite, there.column.not_null
                                       ? "is NOT NULL, unlike on " + quoted(home_name_)
                                       : "takes NULL, unlike on " + quoted(home_name_));
    }
    if (here.fallback != there.fallback || here.column.fallback != there.column.fallback) {
      differs(DriftEffect::kOmit,
              "has another default: " + default_text(there) + on_home(default_text(here)));
    }
  }

  // By columns, not by names: those are often chosen by the server.
  void keys(const Table& table, const CatalogTable& here, const CatalogTable& there) {
    const auto has = [](const CatalogTable& where, const UniqueKey& key) {
      return std::any_of(where.keys.begin(), where.keys.end(), [&](const UniqueKey& each) {
        return each.columns == key.columns && each.primary == key.primary;
      });
    };
    const auto text = [](const UniqueKey& key) {
      return std::string(key.primary ? "primary key (" : "unique index (") + listed(key.columns) +
             ")";
    };
    for (const UniqueKey& key : here.keys) {
      if (!has(there, key)) {
        add(DriftEffect::kWrite, table.schema, table.name, {}, "lacks the " + text(key));
      }
    }
    for (const UniqueKey& key : there.keys) {
      if (!has(here, key)) {
        add(DriftEffect::kWrite, table.schema, table.name, {},
            "has the " + text(key) + ", unlike " + quoted(home_name_));
      }
    }
  }

  // Unique over all shards is only what contains the shard key.
  void key_is_unique(const Table& table, const CatalogTable& there) {
    if (table.placement != TablePlacement::kSharded) return;
    const auto contains = [&](const UniqueKey& key) {
      return std::find(key.columns.begin(), key.columns.end(), table.key_column) !=
             key.columns.end();
    };
    if (there.keys.empty() || std::any_of(there.keys.begin(), there.keys.end(), contains)) return;
    add(DriftEffect::kNone, table.schema, table.name, {},
        "has no primary key or unique index that contains the shard key \"" + table.key_column +
            "\": each shard enforces those it has for its own rows");
  }

  const Topology& declared_;
  const ShardCatalog& home_;
  const std::string home_name_;
  ShardId shard_ = 0;
  std::set<std::string> changed_types_;
  std::vector<Drift> found_;
};

}  // namespace

std::vector<Drift> compare_catalogs(const Topology& declared,
                                    std::span<const ShardCatalog* const> catalogs) {
  if (catalogs.empty() || catalogs.front() == nullptr) return {};
  Comparison comparison(declared, *catalogs.front(), declared.shards.front().name);
  comparison.home();
  for (std::size_t i = 1; i < catalogs.size() && i < declared.shards.size(); ++i) {
    if (catalogs[i] != nullptr) comparison.server(static_cast<ShardId>(i), *catalogs[i]);
  }
  return comparison.take();
}

}  // namespace pgshunt
