#include "router/hint_plan.h"

#include <algorithm>
#include <string>
#include <utility>

#include "router/insert_plan.h"
#include "router/key_location.h"
#include "router/refusal.h"

namespace pgshunt {
namespace {

Error bad_hint(std::string message, std::string hint) {
  return {sqlstate::kInvalidParameterValue, std::move(message), std::move(hint)};
}

template <class Named>
std::string names_of(const std::vector<Named>& all) {
  std::string out;
  for (const Named& each : all) out.append(out.empty() ? "" : ", ").append(each.name);
  return out;
}

// Looks at every target of a write; what is not declared is the author's business.
class WriteCheck {
 public:
  WriteCheck(const Topology& topology, const SearchPath* path,
             const std::vector<std::uint32_t>& types, StatementPlanData& out)
      : topology_(topology), path_(path), types_(types), out_(out) {}

  Status add_query(const Query& query, std::vector<std::string> ctes = {}) {
    for (const CommonTable& cte : query.with) ctes.push_back(cte.name);
    for (const CommonTable& cte : query.with) {
      if (const Status ok = add_part(cte.query.get(), ctes); !ok) return ok.error();
    }
    for (const Query* part : {query.left.get(), query.right.get(), query.source.get()}) {
      if (const Status ok = add_part(part, ctes); !ok) return ok.error();
    }
    return query.target ? add_target(query, *query.target, ctes) : Status(Ok{});
  }

  // Of a command that writes, as far as is known, all tables it names.
  Status add_tables(const std::vector<TableName>& names) {
    for (const TableName& name : names) {
      out_.unqualified |= name.schema.empty();
      const auto table = resolve_table(topology_, path_, name);
      if (table && table->placement == TableClass::kReference)
        return hinted_reference_write(name.name);
    }
    return Ok{};
  }

 private:
  using Names = std::vector<std::string>;

  Status add_part(const Query* query, const Names& ctes) {
    return query ? add_query(*query, ctes) : Status(Ok{});
  }

  Status add_target(const Query& query, const TableName& name, const Names& ctes) {
    out_.unqualified |= name.schema.empty();
    const auto table = resolve_table(topology_, path_, name);
    if (!table) return Ok{};
    if (const Status ok = check_write_target(*table, name); !ok) return ok.error();
    if (table->placement == TableClass::kReference) return hinted_reference_write(name.name);
    if (table->placement == TableClass::kUnsharded) return add_home(table->home);
    if (table->placement != TableClass::kSharded) return Ok{};
    for (const Target& assignment : query.assignments) {
      if (assignment.name != table->table->key_column) continue;
      return refusal("a hint does not allow to set the shard key " + quoted(assignment.name),
                     "Delete the row and insert it anew.");
    }
    if (query.verb != QueryVerb::kInsert) {
      add_changed_rows(query, name, ctes);
      return Ok{};
    }
    auto pins = told_insert_pins(topology_, types_, query, *table->table);
    if (!pins) return pins.error();
    for (Pin& pin : *pins) out_.pins.push_back(std::move(pin));
    return Ok{};
  }

  Status add_home(ShardId home) {
    if (out_.home && *out_.home != home) {
      return refusal("unsharded tables of different shards cannot be written in one statement",
                     "Write them one after the other.");
    }
    out_.home = home;
    return Ok{};
  }

  // What an UPDATE or DELETE says of its target's key, unless there is a table in it that could
  // have a column of that name and is not known.
  void add_changed_rows(const Query& query, const TableName& target, const Names& ctes) {
    TableScope scope(topology_, path_, types_, nullptr);
    if (!scope.add_target(target) || !scope.add_from(query.from, ctes)) return;
    if (query.where) scope.add_where(*query.where);
    scope.resolve_pins();
    if (const auto& pin = scope.tables().front().pin) out_.pins.push_back(*pin);
  }

  const Topology& topology_;
  const SearchPath* path_;
  const std::vector<std::uint32_t>& types_;
  StatementPlanData& out_;
};

// Anything but a provably read-only SELECT.
bool may_write(const Query& query, StatementAnalysis& analysis) {
  if (query.verb == QueryVerb::kOther || !analysis.add_query(query)) return true;
  const StatementFacts& facts = analysis.facts();
  return !analysis.writes().empty() || facts.locking || facts.into || facts.advisory_lock ||
         !facts.unknown_function.empty() || !facts.reading_function.empty();
}

// Of a hash, range, list or directory keyspace: what says where its keys are.
Result<std::uint16_t> keyspace_of(const Topology& topology, const RouteHint& hint) {
  std::optional<std::uint16_t> found;
  for (std::size_t i = 0; i < topology.keyspaces.size(); ++i) {
    if (hint.keyspace ? topology.keyspaces[i].name != *hint.keyspace
                      : topology.keyspaces[i].schema() != nullptr) {
      continue;
    }
    if (found) {
      return bad_hint("the hint's key may be of several keyspaces",
                      (hint.of_session ? "SET pgshunt.keyspace to one of them, or RESET "
                                         "pgshunt.key: "
                                       : "Say which by keyspace=name: ") +
                          names_of(topology.keyspaces) + ".");
    }
    found = static_cast<std::uint16_t>(i);
  }
  if (found) return *found;
  if (!hint.keyspace) return bad_hint("the hint has a key, but no keyspace has keys", {});
  return bad_hint("the hint names keyspace " + quoted(*hint.keyspace) + ", which does not exist",
                  "There are: " + names_of(topology.keyspaces) + ".");
}

Result<ShardId> named_shard(const Topology& topology, const std::string& name) {
  for (ShardId shard = 0; shard < topology.shards.size(); ++shard) {
    if (topology.shards[shard].name == name) return shard;
  }
  return bad_hint("the hint names shard " + quoted(name) + ", which does not exist",
                  "There are: " + names_of(topology.shards) + ".");
}

// Nothing: the directory knows.
Result<std::optional<ShardId>> shard_of_key(const Topology& topology, std::uint16_t index,
                                            const std::string& text, const RouterSession& session,
                                            BindContext& context, bool stores) {
  const Keyspace& keyspace = topology.keyspaces[index];
  if (keyspace.schema() != nullptr) {
    const auto* placement = keyspace.schema();
    if (const auto shard = placement->find(text)) return std::optional<ShardId>(*shard);
    return bad_hint("keyspace " + quoted(keyspace.name) + " has no schema " + quoted(text), {});
  }
  Pin pin;
  pin.keyspace = index;
  pin.key_type = keyspace.key_type;
  if (stores) pin.use = KeyUse::kStoredUnmodified;
  pin.source.form = KeyInput::Form::kString;
  pin.source.constant = text;
  context.chosen.clear();
  context.lookups.clear();
  if (const Status added = add_constant(topology, pin, session, context); !added) {
    Error error = added.error();
    if (error.code != sqlstate::kFeatureNotSupported) error.code = sqlstate::kInvalidParameterValue;
    error.message =
        "the hint's key is not one of keyspace " + quoted(keyspace.name) + ": " + error.message;
    return error;
  }
  if (!context.lookups.empty()) return std::optional<ShardId>();
  if (!context.chosen.empty()) return std::optional<ShardId>(context.chosen.front());
  return bad_hint(
      "no shard has the hint's key " + quoted(text) + " of keyspace " + quoted(keyspace.name), {});
}

}  // namespace

Error hinted_reference_write(std::string_view table) {
  return refusal("a hint may not send a write to reference table " + quoted(table) +
                     " to one shard: every shard has a copy",
                 "Leave the hint out, or reset pgshunt.shard and pgshunt.key: it goes to every "
                 "shard then.");
}

Error key_not_where_hinted(const Topology& topology, ShardId key_shard, ShardId hinted) {
  return {sqlstate::kInvalidParameterValue,
          "a row's shard key belongs to shard " + quoted(topology.shards[key_shard].name) +
              ", not to " + quoted(topology.shards[hinted].name) + " as the hint says",
          "Leave the hint out: the key says where the row is."};
}

Error table_not_where_hinted(const Topology& topology, ShardId home, ShardId hinted) {
  return {sqlstate::kInvalidParameterValue,
          "the table to be written is on shard " + quoted(topology.shards[home].name) +
              ", not on " + quoted(topology.shards[hinted].name) + " as the hint says",
          "Leave the hint out: the table says where it is."};
}

Status plan_hinted(const Topology& topology, const SqlStatement& statement, const SearchPath* path,
                   const std::vector<std::uint32_t>& types, StatementAnalysis& analysis,
                   StatementPlanData& out) {
  out.hinted = true;
  out.kind = RouteKind::kOneShard;
  WriteCheck writes(topology, path, types, out);
  switch (statement.kind) {
    case StatementKind::kEmpty:
    case StatementKind::kSetting:
    case StatementKind::kFetch:
      return Ok{};
    case StatementKind::kNotify:
      out.hinted = false;
      out.kind = RouteKind::kHomeShard;  // as always: where LISTEN is
      out.writes = true;
      return Ok{};
    case StatementKind::kQuery:
    case StatementKind::kExplain:
    case StatementKind::kCopy:
    case StatementKind::kCursor:
      break;
    case StatementKind::kLock:
    case StatementKind::kDefinition:
      out.writes = true;
      return Ok{};
    case StatementKind::kTruncate:
    case StatementKind::kOther:  // PREPARE has a statement in it that was not looked at
      out.writes = true;
      return writes.add_tables(statement.tables);
  }
  if (!statement.query) {
    out.writes = statement.kind == StatementKind::kExplain;  // EXECUTE
    return Ok{};
  }
  out.writes = may_write(*statement.query, analysis);
  if (statement.kind == StatementKind::kExplain) {
    out.writes &= statement.analyze;
    if (!statement.analyze) return Ok{};
  }
  return statement.query->verb == QueryVerb::kOther ? writes.add_tables(statement.tables)
                                                    : writes.add_query(*statement.query);
}

Result<std::optional<ShardId>> shard_of_hint(const Topology& topology, const RouteHint& hint,
                                             const RouterSession& session, BindContext& context,
                                             bool stores) {
  std::optional<ShardId> shard;
  if (hint.shard) {
    const auto named = named_shard(topology, *hint.shard);
    if (!named) return named.error();
    shard = *named;
  }
  if (!hint.key) return shard;
  const auto keyspace = keyspace_of(topology, hint);
  if (!keyspace) return keyspace.error();
  const auto keyed = shard_of_key(topology, *keyspace, *hint.key, session, context, stores);
  if (!keyed) return keyed.error();
  if (!*keyed || !shard || *shard == **keyed) return *keyed;
  if (hint.of_session) {
    return bad_hint("the session's settings contradict each other: key " + quoted(*hint.key) +
                        " of pgshunt.key is on shard " + quoted(topology.shards[**keyed].name) +
                        ", but pgshunt.shard is " + quoted(*hint.shard),
                    "RESET pgshunt.shard, or RESET pgshunt.key; what was SET LOCAL ends with the "
                    "transaction.");
  }
  return bad_hint("hints contradict each other: key " + quoted(*hint.key) + " is on shard " +
                      quoted(topology.shards[**keyed].name) + ", not on " + quoted(*hint.shard),
                  "Give one of them.");
}

Status check_hint(const Topology& topology, const RouteHint& hint) {
  if (hint.shard) {
    if (const auto named = named_shard(topology, *hint.shard); !named) return named.error();
  }
  if (!hint.key && !hint.keyspace) return Ok{};
  const auto keyspace = keyspace_of(topology, hint);
  if (!keyspace) return hint.keyspace ? Status(keyspace.error()) : Status(Ok{});
  if (!hint.key) return Ok{};
  BindContext context;
  const auto keyed = shard_of_key(topology, *keyspace, *hint.key, {}, context, false);
  // What only the server can tell is seen when it is used.
  if (!keyed && keyed.error().code != sqlstate::kFeatureNotSupported) return keyed.error();
  return Ok{};
}

}  // namespace pgshunt
