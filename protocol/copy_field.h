// One field of a row of COPY's text or CSV format: where it stands, and what it says.
// (copyfromparse.c: CopyReadAttributesText, CopyReadAttributesCSV.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/copy_format.h"
#include "protocol/result.h"

namespace pgshunt {

struct CopyField {
  enum class State : std::uint8_t {
    kValue,
    kNull,          // the NULL string
    kDefault,       // the DEFAULT string
    kMissing,       // the row has fewer fields
    kUnterminated,  // kCsv: a quote is not closed before the row ends
  };
  State state = State::kMissing;
  bool quoted = false;   // kCsv: some part of it is in quotes
  bool escaped = false;  // raw is not the value: see decode_copy_field()
  std::string_view raw;  // as it stands in the row; kBinary: the value
};

// Field `index` (from 0) of a row without its line end. For kText and kCsv.
CopyField find_copy_field(const CopyOptions& options, std::string_view line, std::size_t index);

// The value of a field that is kValue: raw itself, or what its quotes and escapes resolve to, kept
// in `scratch`.
std::string_view decode_copy_field(const CopyOptions& options, const CopyField& field,
                                   std::string& scratch);

}  // namespace pgshunt
