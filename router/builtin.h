// What is known of PostgreSQL's built-in functions and operators: may a call be made on several
// shards, each for its own rows, and give what one server would?
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "router/topology.h"

namespace pgshunt {

enum class FunctionClass : std::uint8_t {
  kPortable,   // a scalar that depends on its arguments and tracked settings only
  kMoment,     // now() and its kin: reads the clock
  kAggregate,  // one row of many
  kWindow,
  kLocal,    // reads something of the one server or session: version(), random(), pg_get_*()
  kMayRead,  // the user's own, which may read any table
  kUnknown,  // anything else: it may write
};

// `names`: as written, with or without schema. A name that also exists outside pg_catalog is taken
// for the worse of the two, as the types of the arguments decide which is called.
FunctionClass classify_function(const Topology& topology, std::span<const std::string> names);

// Of kLocal and kUnknown: does it nonetheless depend on nothing that the server stores, so that the
// statement may run as a whole on any one server? Sets of rows (unnest), the session's own, chance,
// and what has an order or form of its own (points, words of a text).
// Of the user's functions: those of SQL or PL/pgSQL that read nothing, as the catalog has found.
bool runs_on_any_server(const Topology& topology, std::span<const std::string> names);

// Advisory locks and their release: they must be taken where everybody takes them.
bool is_advisory_lock(std::span<const std::string> names);

// currval() and lastval(): they answer for the last nextval() of one session on one server.
bool is_sequence_read(std::span<const std::string> names);
// nextval() and setval().
bool is_sequence_call(std::span<const std::string> names);
bool is_set_config(std::span<const std::string> names);
// Settings that say how an answer is found (or who asks), not what it is: where they differ between
// servers, answers do not. Drivers turn `jit` off by set_config().
bool changes_only_plans(std::string_view setting);

// An operator that is built in, and immutable or stable for all its types.
bool is_builtin_operator(std::span<const std::string> names);

// OID of a built-in type that a key may have or be compared with, by the name the grammar gives it
// ("int8" for bigint), with or without pg_catalog.
std::optional<std::uint32_t> builtin_type_oid(std::span<const std::string> names);
// The way back, without pg_catalog; empty for other types.
std::string_view builtin_type_name(std::uint32_t oid);

// regclass, regtype, ...: values are OIDs, which differ from shard to shard.
bool is_oid_type(std::span<const std::string> names);

// Collations under which text sorts as its bytes: C, POSIX, ucs_basic, C.UTF-8.
bool is_bytewise_collation(std::span<const std::string> names);

// ctid, xmin, tableoid, ...: what they hold belongs to one server.
bool is_system_column(std::string_view name);

}  // namespace pgshunt
