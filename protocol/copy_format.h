// What COPY's options say of the bytes between client and server. (PostgreSQL manual, COPY.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace pgshunt {

enum class CopyFormat : std::uint8_t { kText, kCsv, kBinary };

struct CopyOptions {
  CopyFormat format = CopyFormat::kText;
  char delimiter = '\t';
  char quote = '"';   // kCsv
  char escape = '"';  // kCsv
  bool header = false;
  std::string null_text = "\\N";  // kCsv: "" unless it is given
  std::optional<std::string> default_text;
  // The servers are of version 18 or later: `\.` ends no CSV stream, and ends a text stream only
  // alone on its line.
  bool strict_end_marker = false;
};

// The longest row a server takes (MaxAllocSize of its line buffer), less what a frame adds.
inline constexpr std::size_t kMaxCopyRow = 0x3fffffff - 64;

}  // namespace pgshunt
