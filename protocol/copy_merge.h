// COPY TO of several servers as one: the rows of each, whole, in the order they come; the header
// and the trailer once. A server sends a row, or CSV's header line, as one CopyData (manual, "COPY
// Operations"), so that rows need no looking at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/copy_format.h"
#include "protocol/result.h"

namespace pgshunt {

class CopyMerger {
 public:
  CopyMerger(CopyFormat format, bool header, std::size_t servers);

  // What goes to the client, as one CopyData, of a CopyData body of `server`: a part of it, or
  // nothing (empty). XX000 if it is not what a server sends.
  Result<std::string_view> take(std::size_t server, std::string_view body);
  // All servers have said CopyDone: what is still to be sent, as one CopyData; may be empty.
  std::string_view finish() const;

 private:
  const CopyFormat format_;
  bool header_given_ = false;
  std::vector<bool> header_due_;  // by server
};

// "COPY 5": the number of rows. Nothing if the tag is another one.
std::optional<std::uint64_t> copy_row_count(std::string_view tag);

}  // namespace pgshunt
