// What a statement's author says about where it runs: in a comment at either end of its text,
//
//   /* pgshunt: shard=shard2 */ SELECT report()
//   DELETE FROM log /* pgshunt: key='acme', keyspace=tenants role=primary */
//
// or by settings of the session (pgshunt.shard and so on), which a comment goes before. Comments
// anywhere else are only comments: the ends are where ORMs put theirs, and two looks at a text
// without one cost nothing.
//
// At the ends a comment that begins with "pgshunt:" is a hint, and an error if it is not
// understood. So is one that begins with "pgshunt name=" of a hint's name, without the colon, and a
// `--` comment that begins in either way: they are meant, and would not be heeded. Any other
// comment is one, whatever it says of pgshunt.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/result.h"

namespace pgshunt {

// Read, but without replicas everything is the primary.
enum class HintRole : std::uint8_t { kNone, kPrimary, kReplica, kAny };

struct RouteHint {
  std::optional<std::string> shard;
  std::optional<std::string> key;       // as text, to be read as the keyspace's type
  std::optional<std::string> keyspace;  // of `key`; may be left out if there is only one
  HintRole role = HintRole::kNone;
  bool of_session = false;  // its settings say so, not a comment

  // Says on which shard a statement runs.
  bool places() const { return shard.has_value() || key.has_value(); }
};

// "shard=shard2 key=42", for people.
std::string hint_words(const RouteHint& hint);

// What the names of settings begin with.
inline constexpr std::string_view kHintSettingPrefix = "pgshunt.";
// Those there are, by which RouteHint is known.
inline constexpr std::string_view kHintNames[] = {"shard", "key", "keyspace", "role"};

// Gives one setting its value. 22023 for a name there is not, naming those there are; for one given
// twice with different values; for a role there is not.
Status set_hint(std::string_view name, std::string_view value, RouteHint& out);

// Could there be a hint in the text? Looks at its ends, and for a line comment, which a hint may
// stand before.
bool may_have_hint(std::string_view sql);

// Adds what the comments at both ends of `statement` say, semicolons and white space aside. 22023
// for a hint that is not understood.
Status read_comment_hints(std::string_view statement, bool standard_conforming_strings,
                          RouteHint& out);

// What stands behind the last of several statements: 22023 for a hint, which would be none of
// theirs, and for one that is not understood.
Status check_no_hint(std::string_view behind);

}  // namespace pgshunt
