// Which line of the client's COPY a shard means. A shard that refuses a row counts the lines it was
// given; the client wants the line it has sent ("COPY users, line 7").
//
// Only the last rows of each shard are remembered: a server reads as fast as it is sent to, and
// refuses a row soon after it came.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/copy_rows.h"
#include "router/topology.h"

namespace pgshunt {

class CopyLines {
 public:
  static constexpr std::size_t kRemembered = 1 << 16;  // rows of a shard, eight bytes each

  explicit CopyLines(std::size_t shards) : shards_(shards) {}

  // `row`, of line `line` of the client's stream, goes to `shard`.
  void add(ShardId shard, const CopyRow& row, std::uint64_t line) {
    Sent& sent = shards_[shard];
    sent.lines += sent.rows == 0 ? row.lines_if_first : row.lines;
    const Entry entry{static_cast<std::uint32_t>(sent.lines), static_cast<std::uint32_t>(line)};
    if (sent.last.size() < kRemembered) {
      sent.last.push_back(entry);
    } else {
      sent.last[sent.rows % kRemembered] = entry;
    }
    ++sent.rows;
  }
  // The client's line that is `line` of what `shard` was sent; nothing if it is not remembered.
  std::optional<std::uint64_t> find(ShardId shard, std::uint64_t line) const;
  struct Mention {
    std::uint64_t number = 0;
    std::size_t begin = 0;  // of ", line 7"
    std::size_t end = 0;
  };
  // The line that a CONTEXT about a COPY of `table` is about.
  static std::optional<Mention> find_line(std::string_view table, std::string_view context);
  // A server's CONTEXT about a COPY of `table`, the line replaced, or left out if it is not known.
  std::string translate(ShardId shard, std::string_view table, std::string_view context) const;

 private:
  struct Entry {  // numbers of lines, modulo 2^32
    std::uint32_t in_shard;
    std::uint32_t in_stream;
  };
  struct Sent {
    std::uint64_t lines = 0;
    std::uint64_t rows = 0;
    std::vector<Entry> last;  // a ring, once it is full
  };
  std::vector<Sent> shards_;
};

}  // namespace pgshunt
