// Directory keys as files: CSV (RFC 4180, columns key and shard, the header optional) and NDJSON
// ({"key": "...", "shard": "..."} a line). Keys are in their text form, shards by name.
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <ostream>
#include <string_view>

#include "protocol/result.h"
#include "router/directory/directory.h"

namespace pgshunt {

enum class KeyFileFormat : std::uint8_t { kCsv, kNdjson };

struct ImportReport {
  std::uint64_t rows = 0;
  std::uint64_t added = 0;
};

// `phase` is "reading" (in bytes; total 0 if not known), then "writing" (in keys).
using ImportProgress =
    std::function<void(std::string_view phase, std::uint64_t done, std::uint64_t total)>;

// All rows or none. An error names its line: of a bad key, an unknown shard, a key that is on
// another shard already, or both lines of a key that the file puts on two. A row that says what is
// known already is fine. Takes some 40 bytes of memory a row, and the key.
Result<ImportReport> import_keys(Directory& directory, KeyspaceId keyspace, std::istream& in,
                                 KeyFileFormat format, std::uint64_t bytes,
                                 const ImportProgress& progress = {});

// In order of the keys. Returns how many.
Result<std::uint64_t> export_keys(const Directory& directory, KeyspaceId keyspace,
                                  std::ostream& out, KeyFileFormat format,
                                  const KeyProgress& progress = {});

}  // namespace pgshunt
