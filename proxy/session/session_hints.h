// The settings pgshunt.shard, pgshunt.key, pgshunt.keyspace and pgshunt.role of a session of a
// sharded database. To the servers they are settings like any other, which a name with a dot may
// be: so they are kept, shown, rolled back and reset as all are.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/result.h"
#include "proxy/session/name_values.h"
#include "proxy/session/shard_transaction.h"
#include "router/hint.h"
#include "router/topology.h"

namespace pgshunt {

inline bool is_hint_setting(std::string_view name) { return name.starts_with(kHintSettingPrefix); }

// The value that a SET, SET LOCAL or such gives to a setting that is no list; nothing for DEFAULT,
// for the empty string, and for what is written in another way.
std::optional<std::string> value_of_set(std::string_view statement);

// Of all the settings of a startup packet.
Status check_startup_hints(const NameValuesPtr& settings, const Topology& topology);

// What the settings say, parsed once as long as they stay. One of each session.
class SessionHints {
 public:
  // Null: nothing of where a statement runs. Good until the next call.
  const RouteHint* current(const NameValuesPtr& settings, const ShardTransaction& transaction);

  // May `name` be given the value in `statement` (a SET of any kind; empty: only a name is asked
  // for)? 42704 for a name there is not, 22023 for what no statement could run by.
  Status check(std::string_view name, std::string_view statement, const NameValuesPtr& settings,
               const ShardTransaction& transaction, const Topology& topology) const;

 private:
  NameValuesPtr settings_;
  RouteHint hint_;
};

}  // namespace pgshunt
