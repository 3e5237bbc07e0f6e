// From a key's value, as a client wrote or bound it, to its hash.
//
// SQL's typing rules decide what a value means: 5, 5.0, '5' and a binary int4 are all the same
// bigint key, 5.5 equals none, '5'::text cannot be compared with one. What cannot be decided
// without the server's help (a rounding cast, a time zone) is refused, never guessed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/result.h"
#include "router/key_type.h"

namespace pgshunt {

// A value before it is typed by the key column.
struct KeyInput {
  enum class Form : std::uint8_t {
    kNull,
    kNumber,  // an unquoted number in SQL: digits, at most one point, an exponent; may be signed
    kString,  // a quoted literal's value (quotes and escapes resolved): of no type yet
    kBool,    // TRUE or FALSE
    kText,    // a bound parameter in text format, of `type`
    kBinary,  // a bound parameter in binary format, of `type`
  };
  Form form = Form::kNull;
  std::uint32_t type = 0;  // kText, kBinary: declared type's OID, 0 if left to the server
  std::string_view bytes;
};

// Where a statement takes a key's value from, and what it does to it on the way.
struct KeySource {
  enum class Kind : std::uint8_t { kConstant, kParameter };
  Kind kind = Kind::kConstant;
  std::uint16_t parameter = 0;                  // zero-based
  KeyInput::Form form = KeyInput::Form::kNull;  // kConstant
  std::string constant;                         // kConstant
  bool negated = false;                         // a minus sign stands before it
  std::uint32_t cast = 0;                       // `::type`'s OID, 0 for none

  KeyInput constant_input() const { return {form, 0, constant}; }
};

// What a key value comes to.
struct KeyHash {
  enum class Kind : std::uint8_t {
    kHash,     // rows with this key are in hash's bucket
    kNull,     // NULL
    kNoMatch,  // of a comparable type, but no key can equal it: 5.5 or 10^30 for a bigint
  };
  Kind kind = Kind::kNull;
  std::uint64_t hash = 0;
};

// How the value is used.
enum class KeyUse : std::uint8_t {
  kCompared,          // key = value
  kStored,            // INSERT into a column that may have a type modifier: varchar(10)
  kStoredUnmodified,  // INSERT into a column known to have none
};

// Errors: 22P02 and 22003 for what the server would refuse as well; 0A000 where only the server
// could say what the value comes to (the hint tells what to write instead). `input` is
// source.constant_input(), or the bound parameter. `canonical`, if given, gets the key's canonical
// bytes appended (router/key_encoding.h) where the outcome is kHash.
Result<KeyHash> hash_key(ShardKeyType type, const KeySource& source, const KeyInput& input,
                         KeyUse use, std::string* canonical = nullptr);

// Is a value of type `oid` (0: left open) comparable with a key of `type` such that `=` means
// equality of values, so that hash_key can place it? False means the predicate pins nothing.
bool comparable_with_key(ShardKeyType type, std::uint32_t oid);

}  // namespace pgshunt
