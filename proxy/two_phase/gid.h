// Names of prepared transactions: recognisable, so that any proxy can finish them, and impossible
// to decide for who has not begun them.
//
//   pgshunt:<database>:<proxy>:<mark>:<decider>[:last]         the decision
//   pgshunt:<database>:<proxy>:<mark>:<decider>[:last]:<n>     participant n's prepared transaction
//
// The latter differ since one server may have several shards, and knows a gid only once.
//
// These names are on servers' disks: the format must not change.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgshunt {

struct Gid {
  std::string
      text;  // the decision's; with a number at most 199 bytes; letters, digits and - _ . % : only
  std::string key;  // shown to nobody but pgshunt.decide()
};

struct GidParts {
  std::string_view database;  // as gid_name() writes it
  std::string_view proxy;
  std::string_view mark;
  std::string_view decider;           // a shard, as gid_name() writes it
  bool first_last = false;            // participant 0 commits its prepared part after all others
  std::string_view decision;          // without the number
  std::optional<std::uint32_t> part;  // the number
};

// A name as it stands in a gid: odd bytes escaped, long ones shortened to a hash.
std::string gid_name(std::string_view name);
// What the gids of a database begin with.
std::string gid_prefix(std::string_view database);
// Eight hexadecimal digits, this process's own.
const std::string& proxy_id();

Gid make_gid(std::string_view database, std::string_view decider, bool first_last);
std::string gid_of_part(std::string_view decision, std::size_t part);
std::optional<GidParts> parse_gid(std::string_view text);

}  // namespace pgshunt
