// The canonical bytes of a key: what the directory stores, what bounds of ranges are compared as.
//
// One value has one encoding, whatever text or binary form it came in, and encodings compare by
// memcmp() as PostgreSQL's btree operators compare the values (text as bytes). They are on disk, so
// they must never change:
//
//   smallint, integer, bigint   8 bytes: the value with its sign bit flipped, big-endian. One width
//                               for all three, so that a column may be widened.
//   date                        4 bytes: days since 2000-01-01, likewise; the ends are infinities
//   timestamp[tz]               8 bytes: microseconds since 2000-01-01 (UTC), likewise
//   uuid                        its 16 bytes
//   text, varchar, bytea        the bytes themselves
//   numeric                     1 byte of kind: 0x10 -Infinity, 0x20 below zero, 0x30 zero, 0x40
//   above
//                               zero, 0x50 Infinity, 0x60 NaN; for 0x20 and 0x40 then 3 bytes of
//                               weight + 2^23 big-endian, each base-10000 digit + 1 in 2 bytes, and
//                               two zero bytes; for 0x20 all behind the kind is complemented
//
// Text and bytea do not end themselves, so an encoding stands last in whatever holds it.
//
// Any thread; allocates in the caller's string only, but for numeric.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/result.h"
#include "protocol/row_value.h"
#include "router/key_type.h"

namespace pgshunt {

// Of an encoding. PostgreSQL's own limit for a key of a btree index is 2,704 bytes.
inline constexpr std::size_t kMaxEncodedKey = 8192;

// Appends to `out`. `value` is of value_type_of(oid_of(type)). NULL is no key: 23502; more than
// kMaxEncodedKey bytes: 54000.
Status append_encoded_key(ShardKeyType type, const RowValue& value, std::string& out);

// From a value as a client sends it, or as export wrote it. Errors of RowValue::decode() too.
Result<std::string> encode_key(ShardKeyType type, std::uint16_t format, std::string_view bytes);
inline Result<std::string> encode_key_text(ShardKeyType type, std::string_view text) {
  return encode_key(type, kFormatText, text);
}

// Whether append_encoded_key() could have made these bytes. What comes from a file or a disk is
// asked before the functions below see it.
bool is_encoded_key(ShardKeyType type, std::string_view encoded);

// PostgreSQL's hash of the value; its low bits are the bucket.
std::uint64_t hash_encoded_key(ShardKeyType type, std::string_view encoded);

// The value's text, which encode_key_text() reads back: ISO dates, timestamptz in UTC, bytea in
// hex.
std::string encoded_key_text(ShardKeyType type, std::string_view encoded);

}  // namespace pgshunt
