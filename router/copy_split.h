// A COPY FROM STDIN spread over shards: the client's bytes in, CopyData messages for each shard
// out.
//
// One for each COPY, on its session's thread. It holds at most one row, the one that crosses from
// chunk to chunk; what it appends to the outputs is what was put in (times the shards, for a
// reference table), so that whoever drains them bounds the memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/copy_rows.h"
#include "protocol/result.h"
#include "router/copy_lines.h"
#include "router/copy_plan.h"
#include "router/router.h"
#include "router/topology.h"

namespace pgshunt {

// Why a COPY cannot go on. The client gets `error` with `context`; every shard gets CopyFail.
struct CopyFailure {
  Error error;
  std::string context;  // "COPY users, line 7, column id: \"x\""
};

class CopySplitter {
 public:
  // `strict_end_marker`: see CopyOptions.
  CopySplitter(std::shared_ptr<const Topology> topology, std::shared_ptr<const CopyPlan> plan,
               const RouterSession& session, bool strict_end_marker = false);

  // A CopyData's body, or any part of one. Appends whole CopyData messages to outputs[shard], for
  // every shard of the topology. False: failure(), for good; what was appended may be thrown away.
  bool take(std::string_view payload, std::span<std::string> outputs);
  // The client's CopyDone: the last row, if it had no line end. CopyDone itself is the caller's.
  bool finish(std::span<std::string> outputs);

  const CopyFailure& failure() const { return failure_; }
  // How far the lines of the client's stream have been read.
  std::uint64_t lines_read() const { return reader_.line_number(); }
  // The CONTEXT of a shard's error, in lines of the client's stream.
  std::string translate_context(ShardId shard, std::string_view context) const {
    return lines_.translate(shard, plan_->table, context);
  }

 private:
  bool drain(std::span<std::string> outputs);
  bool place(const CopyRow& row, std::span<std::string> outputs);
  void append(const CopyRow& row, ShardId shard, std::string& output);
  void close(ShardId shard, std::string& output);
  // The shard of a row of a sharded table.
  bool find_shard(const CopyRow& row, ShardId& shard);
  bool locate(const CopyRow& row, std::string_view value, ShardId& shard);
  bool check_moments(const CopyRow& row);
  bool check_field_count(const CopyRow& row);
  bool check_no_extra_field(const CopyRow& row);
  enum class Shows : std::uint8_t { kLine, kRow, kValue };
  bool fail(Error error, Shows shows, std::string_view column = {}, std::string_view text = {});

  const std::shared_ptr<const Topology> topology_;
  const std::shared_ptr<const CopyPlan> plan_;
  const bool same_encoding_;
  CopyRowReader reader_;
  CopyLines lines_;
  CopyFailure failure_;
  std::string scratch_;
  std::string key_;  // canonical, of the last row whose keyspace needs it
  // Where the CopyData message now being filled begins in its shard's output.
  std::vector<std::size_t> open_;
};

}  // namespace pgshunt
