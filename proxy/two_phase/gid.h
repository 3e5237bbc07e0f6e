// Names of prepared transactions: recognisable, so that any proxy can finish them, and impossible
// to decide for who has not begun them.
//
//   pgshunt:<database>:<proxy>:<mark>:<decider>[:last]
//
// These names are on servers' disks: the format must not change.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pgshunt {

struct Gid {
  std::string text;  // at most 199 bytes; letters, digits and - _ . % : only
  std::string key;   // shown to nobody but pgshunt.decide()
};

struct GidParts {
  std::string_view database;  // as gid_name() writes it
  std::string_view proxy;
  std::string_view mark;
  std::string_view decider;  // a shard, as gid_name() writes it
  bool first_last = false;   // the first shard commits its prepared part after all others
};

// A name as it stands in a gid: odd bytes escaped, long ones shortened to a hash.
std::string gid_name(std::string_view name);
// What the gids of a database begin with.
std::string gid_prefix(std::string_view database);
// Eight hexadecimal digits, this process's own.
const std::string& proxy_id();

Gid make_gid(std::string_view database, std::string_view decider, bool first_last);
std::optional<GidParts> parse_gid(std::string_view text);

}  // namespace pgshunt
