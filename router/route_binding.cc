#include "router/route_binding.h"

#include <algorithm>
#include <string>

#include "protocol/row_value.h"
#include "router/builtin.h"
#include "router/copy_plan.h"
#include "router/hint_plan.h"
#include "router/key_array.h"
#include "router/key_location.h"
#include "router/made_values.h"
#include "router/move_plan.h"
#include "router/refusal.h"

namespace pgshunt {
namespace {

constexpr Sqlstate kInvalidLimit{"2201W"};
constexpr Sqlstate kInvalidOffset{"2201X"};

bool is_ascii(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

Error needs_encoding() {
  return refusal("a text shard key with letters beyond ASCII cannot be hashed in another encoding",
                 "Set client_encoding to the server's encoding.");
}

Error no_value() {
  return refusal("a shard key's parameter was not bound", "Bind every parameter.");
}

Error null_key() {
  return {sqlstate::kNotNullViolation, "null value in the shard key",
          "Give the key a value: it decides which shard the row goes to."};
}

// What a source says, or what is wrong with it.
[[gnu::always_inline]] inline Result<KeyInput> input_of(const KeySource& source,
                                                        ParameterValues& values) {
  if (source.kind == KeySource::Kind::kConstant) return source.constant_input();
  const auto bound = values.value(source.parameter);
  if (!bound) return bound.error();
  if (!*bound) return no_value();
  return **bound;
}

bool is_readable(const KeyInput& input, ShardKeyType type, const RouterSession& session) {
  return session.same_encoding || !is_string(type) || is_ascii(input.bytes);
}

// Asks memory; what it does not know becomes a lookup.
Result<std::optional<ShardId>> shard_by_directory(const Topology& topology, const Pin& pin,
                                                  BindContext& context) {
  const Keyspace& keyspace = topology.keyspaces[pin.keyspace];
  const bool stored = pin.use != KeyUse::kCompared || pin.stores_matches;
  const auto learned = context.learned.find(topology.epoch, pin.keyspace, context.key);
  const auto place = learned ? *learned : place_in_memory(context.directory, keyspace, context.key);
  if (place.kind == KeyPlace::Kind::kShard) return std::optional<ShardId>(place.shard);
  if (place.kind == KeyPlace::Kind::kAbsent) {
    if (!stored) return std::optional<ShardId>();
    if (learned || !takes_new_keys(keyspace)) return refuses_new_keys(keyspace);
  }
  context.lookups.add(pin.keyspace, context.key, stored && takes_new_keys(keyspace));
  return std::optional<ShardId>();
}

// Shards named so far, ascending.
void add_shard(std::vector<ShardId>& chosen, ShardId shard) {
  const auto at = std::lower_bound(chosen.begin(), chosen.end(), shard);
  if (at == chosen.end() || *at != shard) chosen.insert(at, shard);
}

// Adds the shard of one value, if any row can have it as its key; it may become a lookup instead.
Status add_value(const Topology& topology, const Pin& pin, const KeySource& source,
                 const KeyInput& input, const RouterSession& session, BindContext& context,
                 std::vector<ShardId>& chosen) {
  if (!is_readable(input, pin.key_type, session)) return needs_encoding();
  const Keyspace& keyspace = topology.keyspaces[pin.keyspace];
  const auto location = locate_key(keyspace, source, input, pin.use, context.key);
  if (!location) {
    // Beside numbers a string in IN may be read as one of another type.
    if (pin.more && input.form == KeyInput::Form::kString) {
      return refusal("a value in a list of shard keys is not of the key's type",
                     "Give values of the key's own type.");
    }
    return location.error();
  }
  switch (location->kind) {
    case KeyLocation::Kind::kShard:
      add_shard(chosen, location->shard);
      break;
    case KeyLocation::Kind::kNull:
      if (pin.use == KeyUse::kCompared) break;
      return null_key();
    case KeyLocation::Kind::kNobodys:
      if (pin.use == KeyUse::kCompared && !pin.stores_matches) break;
      return nobodys_key(keyspace, context.key);
    case KeyLocation::Kind::kNoMatch:
      break;
    case KeyLocation::Kind::kAskDirectory: {
      const auto shard = shard_by_directory(topology, pin, context);
      if (!shard) return shard.error();
      if (*shard) add_shard(chosen, **shard);
      break;
    }
  }
  return Ok{};
}

Status add_array(const Topology& topology, const Pin& pin, const KeyInput& array,
                 const RouterSession& session, BindContext& context, std::vector<ShardId>& chosen) {
  if (array.form == KeyInput::Form::kNull) return Ok{};
  KeySource each;
  each.cast = pin.source.cast;
  std::string scratch;
  KeyArrayReader reader(array, scratch);
  KeyInput element;
  while (true) {
    switch (reader.next(element)) {
      case KeyArrayReader::Step::kElement:
        if (const Status added = add_value(topology, pin, each, element, session, context, chosen);
            !added) {
          return added.error();
        }
        break;
      case KeyArrayReader::Step::kEnd:
        return Ok{};
      case KeyArrayReader::Step::kMalformed:
        return refusal("an array of shard keys is not in a form the proxy can read",
                       "Write it as '{1,2,3}', or bind an array of the key's type.");
    }
  }
}

Status add_source(const Topology& topology, const Pin& pin, const KeySource& source,
                  ParameterValues& values, const RouterSession& session, BindContext& context,
                  std::vector<ShardId>& chosen) {
  const auto input = input_of(source, values);
  if (!input) return input.error();
  if (pin.array) return add_array(topology, pin, *input, session, context, chosen);
  return add_value(topology, pin, source, *input, session, context, chosen);
}

Result<Route> bind_scatter(const Topology& topology, const StatementPlanData& plan,
                           ParameterValues& values, const RouterSession& session,
                           BindContext& context);

// Rows come from one shard and go to another as text.
Status check_rows_travel(const RouterSession& session) {
  if (session.exact_floats && !session.embeds_ascii) return Ok{};
  return refusal(
      "rows cannot be moved to another shard under this extra_float_digits or client_encoding",
      "Reset them.");
}

Result<Route> bind_merge_node(const Topology& topology, const StatementPlanData& plan,
                              const ParameterValues& values) {
  if (values.names_a_moment({})) return moment_refusal();
  Route route;
  route.kind = RouteKind::kMergeNode;
  route.writes = plan.writes;
  route.shards = topology.all_shards;
  route.merge_node = plan.merge_node;
  return route;
}

Result<Route> bind_insert_select(const StatementPlanData& plan, const RouterSession& session) {
  if (const Status exact = check_rows_travel(session); !exact) return exact.error();
  Route route;
  route.kind = RouteKind::kInsertSelect;
  route.writes = true;
  route.insert_select = plan.insert_select;
  return route;
}

// The old key's shard is the one chosen: is the new key's another?
Result<Route> bind_move(const Topology& topology, const StatementPlanData& plan,
                        ParameterValues& values, const RouterSession& session,
                        BindContext& context) {
  Route route;
  route.writes = true;
  route.move_from = context.chosen.front();
  const Pin& new_key = plan.move->new_key;
  if (const Status added =
          add_source(topology, new_key, new_key.source, values, session, context, context.chosen);
      !added) {
    return added.error();
  }
  if (!context.lookups.empty()) {
    route.kind = RouteKind::kLookup;
    route.lookups = context.lookups.list();
    return route;
  }
  route.shards = context.chosen;
  route.kind = context.chosen.size() == 1 ? RouteKind::kOneShard : RouteKind::kMoveRows;
  if (route.kind == RouteKind::kOneShard) return route;
  if (const Status exact = check_rows_travel(session); !exact) return exact.error();
  route.move = plan.move;
  return route;
}

Result<Route> bind_pinned(const Topology& topology, const StatementPlanData& plan,
                          ParameterValues& values, const RouterSession& session,
                          BindContext& context) {
  std::vector<ShardId>& chosen = context.chosen;
  chosen.clear();
  context.lookups.clear();
  if (plan.home) chosen.push_back(*plan.home);
  for (const Pin& pin : plan.pins) {
    // A number with a cast is read when the server plans: it has complained of literals before.
    std::optional<Error> late;
    const auto add = [&](const KeySource& source) -> Status {
      Status added = add_source(topology, pin, source, values, session, context, chosen);
      if (added || !pin.more || !source.cast) return added;
      const auto input = input_of(source, values);
      if (!input || input->form != KeyInput::Form::kNumber) return added;
      if (!late) late = added.error();
      return Ok{};
    };
    if (const Status added = add(pin.source); !added) return added.error();
    if (!pin.more) continue;
    for (const KeySource& source : *pin.more) {
      if (const Status added = add(source); !added) return added.error();
    }
    if (late) return *late;
  }
  Route route;
  route.writes = plan.writes;
  if (!context.lookups.empty()) {
    route.kind = RouteKind::kLookup;
    route.lookups = context.lookups.list();
    return route;
  }
  route.shards = chosen;
  if (chosen.empty()) return route;  // no row can match: any shard will say so
  if (plan.move) return bind_move(topology, plan, values, session, context);
  if (chosen.size() == 1) {
    route.kind = RouteKind::kOneShard;
    return route;
  }
  if (plan.several == RouteKind::kOneShard) return plan.several_refusal;
  if (plan.several == RouteKind::kInsertSelect) return bind_insert_select(plan, session);
  if (plan.several == RouteKind::kMergeNode) return bind_merge_node(topology, plan, values);
  if (values.names_a_moment(plan.text_parameters)) return moment_refusal();
  if (plan.several == RouteKind::kScatter) {
    auto scatter = bind_scatter(topology, plan, values, session, context);
    if (scatter) scatter->shards = chosen;
    return scatter;
  }
  route.kind = plan.several;
  route.fixes_moment = plan.fixes_moment;
  route.copy = plan.copy;
  return route;
}

// The number a LIMIT or OFFSET has; nothing for NULL and for an absent clause.
Result<std::optional<std::int64_t>> bind_count(const LimitSource& source, ParameterValues& values,
                                               bool is_limit) {
  std::optional<std::int64_t> count;
  switch (source.kind) {
    case LimitSource::Kind::kNone:
      return count;
    case LimitSource::Kind::kConstant:
      count = source.constant;
      break;
    case LimitSource::Kind::kParameter: {
      const auto bound = values.value(source.parameter);
      if (!bound) return bound.error();
      if (!*bound) return no_value();
      const KeyInput& input = **bound;
      if (input.form == KeyInput::Form::kNull) return count;
      const bool integer_type = input.type == type_oid::kInt2 || input.type == type_oid::kInt4 ||
                                input.type == type_oid::kInt8 || input.type == 0;
      if (!integer_type || input.form == KeyInput::Form::kBool) {
        return refusal("LIMIT and OFFSET over several shards take whole numbers",
                       "Bind a parameter of type bigint.");
      }
      const bool rounds = input.form == KeyInput::Form::kNumber &&
                          input.bytes.find_first_not_of("0123456789") != std::string_view::npos;
      if (rounds) {
        return refusal("LIMIT and OFFSET over several shards take whole numbers",
                       "Write the number without a point or exponent.");
      }
      const bool binary = input.form == KeyInput::Form::kBinary;
      const std::uint32_t type = binary && input.type != 0 ? input.type : type_oid::kInt8;
      const auto value =
          RowValue::decode(*value_type_of(type), binary ? kFormatBinary : kFormatText,
                           WireValue{false, input.bytes});
      if (!value) return value.error();
      count = value->integer();
      break;
    }
  }
  if (*count >= 0) return count;
  if (is_limit) return Error{kInvalidLimit, "LIMIT must not be negative", {}};
  return Error{kInvalidOffset, "OFFSET must not be negative", {}};
}

// The shards whose ranges can hold rows that meet the bounds. A bound whose value says nothing
// certain leaves them as they are: what is wrong with it the servers will say.
std::span<const ShardId> shards_within(const Topology& topology, const StatementPlanData& plan,
                                       ParameterValues& values, const RouterSession& session,
                                       BindContext& context) {
  using Op = KeyBound::Op;
  if (plan.bounds.empty()) return topology.all_shards;
  const Keyspace& keyspace = topology.keyspaces[plan.bounds.front().keyspace];
  KeyInterval interval;
  for (const KeyBound& bound : plan.bounds) {
    const auto input = input_of(bound.source, values);
    if (!input || !is_readable(*input, keyspace.key_type, session)) continue;
    context.key.clear();
    const auto read =
        hash_key(keyspace.key_type, bound.source, *input, KeyUse::kCompared, &context.key);
    if (!read || read->kind != KeyHash::Kind::kHash) continue;
    if (bound.op == Op::kLess || bound.op == Op::kLessOrEqual) {
      interval.lower_high(context.key, bound.op == Op::kLessOrEqual);
    } else {
      interval.raise_low(context.key, bound.op == Op::kGreaterOrEqual);
    }
  }
  if (!interval.low && !interval.high) return topology.all_shards;
  context.some_shards.clear();
  keyspace.range()->shards_in(interval, context.some_shards);
  // No row can match, but somebody has to describe the columns.
  if (context.some_shards.empty()) return std::span(topology.all_shards).first(1);
  return context.some_shards;
}

Result<Route> bind_scatter(const Topology& topology, const StatementPlanData& plan,
                           ParameterValues& values, const RouterSession& session,
                           BindContext& context) {
  const auto limit = bind_count(plan.limit, values, true);
  if (!limit) return limit.error();
  const auto offset = bind_count(plan.offset, values, false);
  if (!offset) return offset.error();
  Route route;
  route.kind = RouteKind::kScatter;
  route.writes = plan.writes;
  route.shards = shards_within(topology, plan, values, session, context);
  route.merge = &plan.merge;
  route.window.limit = limit->value_or(RowWindow::kNoLimit);
  route.window.offset = offset->value_or(0);
  route.window.same_encoding = session.same_encoding;
  route.window.exact_floats = session.exact_floats;
  route.window.iso_dates = session.iso_dates;
  return route;
}

Status check_settings(const StatementPlanData& plan, ParameterValues& values) {
  for (const KeySource& name : plan.settings) {
    KeyInput input = name.constant_input();
    if (name.kind == KeySource::Kind::kParameter) {
      const auto bound = values.value(name.parameter);
      if (!bound) return bound.error();
      if (!*bound) return set_config_refusal();
      input = **bound;
    }
    if (!changes_only_plans(input.bytes)) return set_config_refusal();
  }
  return Ok{};
}

Result<Route> bind_copy(const Topology& topology, const StatementPlanData& plan,
                        const RouterSession& session) {
  if (plan.kind == RouteKind::kCopySplit) {
    if (const Status readable = check_copy_encoding(*plan.copy, session); !readable) {
      return readable.error();
    }
  }
  Route route;
  route.kind = plan.kind;
  route.writes = plan.writes;
  route.shards = topology.all_shards;
  route.copy = plan.copy;
  route.write_lock = plan.write_lock;
  return route;
}

bool stores_rows(const StatementPlanData& plan) {
  return plan.copy || std::any_of(plan.pins.begin(), plan.pins.end(),
                                  [](const Pin& pin) { return pin.use != KeyUse::kCompared; });
}

// Of a write: the keys that it names must be the hinted shard's. A row that is stored elsewhere
// nobody would look for there, and one that is to be changed is not there. What only the server
// could tell of a key is left to the hint's author.
Status check_keys_of_hinted(const Topology& topology, const StatementPlanData& plan, ShardId shard,
                            ParameterValues& values, const RouterSession& session,
                            BindContext& context) {
  const auto add = [&](const Pin& pin, const KeySource& source) -> Status {
    const Status added =
        add_source(topology, pin, source, values, session, context, context.chosen);
    if (!added && added.error().code != sqlstate::kFeatureNotSupported) return added.error();
    return Ok{};
  };
  context.chosen.clear();
  for (const Pin& pin : plan.pins) {
    if (const Status added = add(pin, pin.source); !added) return added.error();
    if (!pin.more) continue;
    for (const KeySource& source : *pin.more) {
      if (const Status added = add(pin, source); !added) return added.error();
    }
  }
  for (const ShardId each : context.chosen) {
    if (each != shard) return key_not_where_hinted(topology, each, shard);
  }
  return Ok{};
}

Result<Route> bind_hinted(const Topology& topology, const StatementPlanData& plan,
                          ParameterValues& values, const RouterSession& session,
                          BindContext& context) {
  context.lookups.clear();
  const bool stores = stores_rows(plan);
  const auto shard = shard_of_hint(topology, *context.hint, session, context, stores);
  if (!shard) return shard.error();
  Route route;
  route.writes = plan.writes;
  route.hint = context.hint;
  if (*shard && plan.home && *plan.home != **shard) {
    return table_not_where_hinted(topology, *plan.home, **shard);
  }
  if (*shard) {
    const Status kept = check_keys_of_hinted(topology, plan, **shard, values, session, context);
    if (!kept) return kept.error();
  }
  if (!context.lookups.empty()) {
    route.kind = RouteKind::kLookup;
    route.lookups = context.lookups.list();
    return route;
  }
  if (plan.copy) {
    auto copy = bind_copy(topology, plan, session);
    if (!copy) return copy.error();
    auto kept = std::make_shared<CopyPlan>(*copy->copy);
    kept->only_shard = **shard;
    copy->copy = std::move(kept);
    copy->hint = context.hint;
    return copy;
  }
  route.kind = RouteKind::kOneShard;
  route.shards = std::span(topology.all_shards).subspan(**shard, 1);
  return route;
}

}  // namespace

Status add_constant(const Topology& topology, const Pin& pin, const RouterSession& session,
                    BindContext& context) {
  return add_value(topology, pin, pin.source, pin.source.constant_input(), session, context,
                   context.chosen);
}

Result<Route> bind_route(const Topology& topology, const StatementPlanData& plan,
                         ParameterValues& values, const RouterSession& session,
                         BindContext& context) {
  if (plan.unqualified && !session.default_search_path && plan.search_path.empty()) {
    return refusal("a table is named without its schema, and search_path is not the default one",
                   "Write schema.table, or reset search_path.");
  }
  if (plan.hinted && !(plan.unique_ids && !topology.unique_ids)) {
    return bind_hinted(topology, plan, values, session, context);
  }
  if (const Status ok = check_settings(plan, values); !ok) return ok.error();
  if (plan.kind == RouteKind::kMakeValues || plan.sequences_apart ||
      (plan.unique_ids && !topology.unique_ids)) {
    Route route;
    route.kind = RouteKind::kMakeValues;
    route.writes = plan.writes;
    if (plan.made && (!plan.unique_ids || topology.unique_ids)) route.made = plan.made->sources;
    return route;
  }
  if (plan.several_shards() && values.names_a_moment({})) return moment_refusal();
  switch (plan.kind) {
    case RouteKind::kOneShard:
      return bind_pinned(topology, plan, values, session, context);
    case RouteKind::kScatter:
      return bind_scatter(topology, plan, values, session, context);
    case RouteKind::kAnyShard:
    case RouteKind::kHomeShard:
    case RouteKind::kEveryShard:
    case RouteKind::kWriteShards:
    case RouteKind::kCopyQuery:
    case RouteKind::kCursor:
      break;
    case RouteKind::kInsertSelect:
      return bind_insert_select(plan, session);
    case RouteKind::kMergeNode:
      return bind_merge_node(topology, plan, values);
    case RouteKind::kMoveRows:  // never planned, and
    case RouteKind::kLookup:
    case RouteKind::kMakeValues:
      break;
    case RouteKind::kCopySplit:
    case RouteKind::kCopyMerge:
      return bind_copy(topology, plan, session);
  }
  Route route;
  route.kind = plan.kind;
  route.writes = plan.writes;
  if (plan.kind == RouteKind::kCopyQuery) route.copy = plan.copy;
  if (plan.kind == RouteKind::kEveryShard) {
    route.shards = topology.all_shards;
    route.write_lock = plan.write_lock;
    route.fixes_moment = plan.fixes_moment;
  }
  if (plan.kind == RouteKind::kWriteShards) {
    route.shards = topology.all_shards;
    route.alike = plan.alike;
    route.defines = plan.defines;
    route.fixes_moment = plan.fixes_moment;
  }
  if (plan.kind == RouteKind::kHomeShard) route.shards = std::span(topology.all_shards).first(1);
  return route;
}

Status bind_rows(const Topology& topology, const StatementPlanData& plan, ParameterValues& values,
                 const RouterSession& session, BindContext& context,
                 std::vector<std::uint16_t>& row_order) {
  const std::vector<ShardId>& chosen = context.chosen;
  row_order.clear();
  context.lookups.clear();
  std::vector<ShardId> one;
  for (const Pin& pin : plan.pins) {
    one.clear();
    if (const Status added = add_source(topology, pin, pin.source, values, session, context, one);
        !added) {
      return added.error();
    }
    if (one.empty() && !context.lookups.empty()) continue;
    if (one.empty()) return no_value();
    const auto at = std::lower_bound(chosen.begin(), chosen.end(), one.front());
    row_order.push_back(static_cast<std::uint16_t>(at - chosen.begin()));
  }
  return Ok{};
}

}  // namespace pgshunt
