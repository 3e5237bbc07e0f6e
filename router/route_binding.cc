#include "router/route_binding.h"

#include <algorithm>
#include <string>

#include "protocol/row_value.h"
#include "router/builtin.h"
#include "router/copy_plan.h"
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

// The shard a pin names; nothing if no row can match it.
Result<std::optional<ShardId>> shard_of(const Topology& topology, const Pin& pin,
                                        ParameterValues& values, const RouterSession& session) {
  KeyInput input;
  if (pin.source.kind == KeySource::Kind::kConstant) {
    input = pin.source.constant_input();
  } else {
    const auto bound = values.value(pin.source.parameter);
    if (!bound) return bound.error();
    if (!*bound) return no_value();
    input = **bound;
  }
  if (!session.same_encoding && is_string(pin.key_type) && !is_ascii(input.bytes)) {
    return needs_encoding();
  }
  const auto hash = hash_key(pin.key_type, pin.source, input, pin.use);
  if (!hash) return hash.error();
  switch (hash->kind) {
    case KeyHash::Kind::kHash:
      return std::optional<ShardId>(topology.owner(pin.keyspace, hash->hash));
    case KeyHash::Kind::kNull:
      if (pin.use == KeyUse::kCompared) break;
      return Error{sqlstate::kNotNullViolation, "null value in the shard key",
                   "Give the key a value: it decides which shard the row goes to."};
    case KeyHash::Kind::kNoMatch:
      break;
  }
  return std::optional<ShardId>();
}

Result<Route> bind_one_shard(const Topology& topology, const StatementPlanData& plan,
                             ParameterValues& values, const RouterSession& session,
                             ShardId& one_shard) {
  std::optional<ShardId> shard = plan.home;
  for (const Pin& pin : plan.pins) {
    const auto named = shard_of(topology, pin, values, session);
    if (!named) return named.error();
    if (!*named) continue;
    if (shard && *shard != **named) {
      return refusal("the statement's rows live on several shards",
                     "Write one statement for each shard key.");
    }
    shard = **named;
  }
  Route route;
  route.writes = plan.writes;
  if (!shard) return route;  // no row can match: any shard will say so
  one_shard = *shard;
  route.kind = RouteKind::kOneShard;
  route.shards = {&one_shard, 1};
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

Result<Route> bind_scatter(const Topology& topology, const StatementPlanData& plan,
                           ParameterValues& values, const RouterSession& session) {
  const auto limit = bind_count(plan.limit, values, true);
  if (!limit) return limit.error();
  const auto offset = bind_count(plan.offset, values, false);
  if (!offset) return offset.error();
  Route route;
  route.kind = RouteKind::kScatter;
  route.writes = plan.writes;
  route.shards = topology.all_shards;
  route.merge = &plan.merge;
  route.window.limit = limit->value_or(RowWindow::kNoLimit);
  route.window.offset = offset->value_or(0);
  route.window.same_encoding = session.same_encoding;
  route.window.exact_floats = session.exact_floats;
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
  return route;
}

}  // namespace

Result<Route> bind_route(const Topology& topology, const StatementPlanData& plan,
                         ParameterValues& values, const RouterSession& session,
                         ShardId& one_shard) {
  if (plan.unqualified && !session.default_search_path) {
    return refusal("a table is named without its schema, and search_path is not the default one",
                   "Write schema.table, or reset search_path.");
  }
  if (const Status ok = check_settings(plan, values); !ok) return ok.error();
  if (plan.several_shards() && values.names_a_moment()) {
    return refusal("a literal such as 'now' or 'today' would mean another moment on every shard",
                   "Write the date or time itself.");
  }
  switch (plan.kind) {
    case RouteKind::kOneShard:
      return bind_one_shard(topology, plan, values, session, one_shard);
    case RouteKind::kScatter:
      return bind_scatter(topology, plan, values, session);
    case RouteKind::kAnyShard:
    case RouteKind::kHomeShard:
    case RouteKind::kEveryShard:
      break;
    case RouteKind::kCopySplit:
    case RouteKind::kCopyMerge:
      return bind_copy(topology, plan, session);
  }
  Route route;
  route.kind = plan.kind;
  route.writes = plan.writes;
  if (plan.kind == RouteKind::kEveryShard) {
    route.shards = topology.all_shards;
    route.write_lock = plan.write_lock;
  }
  if (plan.kind == RouteKind::kHomeShard) route.shards = std::span(topology.all_shards).first(1);
  return route;
}

}  // namespace pgshunt
