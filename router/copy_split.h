// A COPY FROM STDIN spread over shards: the client's bytes in, CopyData messages for each shard
// out.
//
// One for each COPY, on its session's thread. What it appends to the outputs is what was put in
// (times the shards, for a reference table), so that whoever drains them bounds the memory. It
// holds the row that crosses from chunk to chunk, and of a directory keyspace the rows from the
// first on whose key is not in memory: what has come by then is read on, so that their keys are
// asked for together. Whoever puts in no more while there are lookups() bounds that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "protocol/copy_rows.h"
#include "protocol/result.h"
#include "router/copy_lines.h"
#include "router/copy_plan.h"
#include "router/key_directory.h"
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
  // `strict_end_marker`: see CopyOptions. `directory`: of directory keyspaces, outlives this; if it
  // is null every key is looked up.
  CopySplitter(std::shared_ptr<const Topology> topology, std::shared_ptr<const CopyPlan> plan,
               const RouterSession& session, bool strict_end_marker = false,
               const KeyDirectory* directory = nullptr);

  // Values for the fields that the plan has made. Before bytes are taken, so many of each must be
  // there: as many as they may end rows, and one for the row that finish() may end. 0: none is
  // made.
  std::size_t values_wanted(std::string_view payload) const;
  std::size_t values_left(std::size_t field) const { return supplies_[field].left(); }
  void add_values(std::size_t field, std::span<const std::int64_t> values) {
    supplies_[field].add(values);
  }

  // A CopyData's body, or any part of one. Appends whole CopyData messages to outputs[shard], for
  // every shard of the topology. False: failure(), for good; what was appended may be thrown away.
  bool take(std::string_view payload, std::span<std::string> outputs);
  // The client's CopyDone: the last row, if it had no line end. CopyDone itself is the caller's.
  bool finish(std::span<std::string> outputs);

  // What the directory is to be asked for before the rows that are held go on. Empty: none is held.
  std::span<const KeyLookup> lookups() const { return lookups_.list(); }
  // The answer to one of lookups(): kShard, kAbsent, or why it cannot be known.
  void learn(const KeyLookup& lookup, const Result<KeyPlace>& place);
  // All answers were learned: the rows go on, and lookups() is empty. False: failure().
  bool go_on(std::span<std::string> outputs);

  const CopyFailure& failure() const { return failure_; }
  // How far the lines of the client's stream have been read.
  std::uint64_t lines_read() const { return reader_.line_number(); }
  // The CONTEXT of a shard's error, in lines of the client's stream.
  std::string translate_context(ShardId shard, std::string_view context) const;

 private:
  // A row that waits, itself or behind another. Without a key it is for `shard`, or for all.
  struct Held {
    CopyRow row;  // but for its views, which end with the chunk
    std::string bytes;
    std::uint64_t line = 0;
    std::optional<ShardId> shard;
    std::string key;
  };

  // What one of the plan's made fields is given, row by row.
  class Supply {
   public:
    std::size_t left() const { return values_.size() - used_; }
    std::int64_t next() { return values_[used_++]; }
    void add(std::span<const std::int64_t> values) {
      values_.erase(values_.begin(), values_.begin() + static_cast<std::ptrdiff_t>(used_));
      used_ = 0;
      values_.insert(values_.end(), values.begin(), values.end());
    }

   private:
    std::vector<std::int64_t> values_;
    std::size_t used_ = 0;
  };

  bool drain(std::span<std::string> outputs);
  bool place(const CopyRow& row, std::span<std::string> outputs);
  bool is_elsewhere(ShardId shard) const;
  Error not_where_hinted(ShardId shard) const;
  void send(const CopyRow& row, std::uint64_t line, std::optional<ShardId> shard,
            std::span<std::string> outputs);
  void append(const CopyRow& row, std::uint64_t line, ShardId shard, std::string& output);
  void close(ShardId shard, std::string& output);
  void close_all(std::span<std::string> outputs);
  // The shard of a row of a sharded table; none: key_ has to be looked up.
  bool find_shard(const CopyRow& row, std::optional<ShardId>& shard);
  bool locate(const CopyRow& row, std::string_view value, bool binary,
              std::optional<ShardId>& shard);
  // The row's bytes with made values before its own fields: in filled_, until the next row.
  bool fill(const CopyRow& row);
  bool fill_binary(const CopyRow& row);
  void fill_header(const CopyRow& row);
  bool check_moments(const CopyRow& row);
  bool check_field_count(const CopyRow& row);
  bool check_no_extra_field(const CopyRow& row);
  enum class Shows : std::uint8_t { kLine, kRow, kValue };
  bool fail(Error error, Shows shows, std::string_view column = {}, std::string_view text = {});
  bool fail_at(std::uint64_t line, Error error, Shows shows, std::string_view column = {},
               std::string_view text = {});

  const std::shared_ptr<const Topology> topology_;
  const std::shared_ptr<const CopyPlan> plan_;
  const KeyDirectory* const directory_;
  const bool same_encoding_;
  CopyRowReader reader_;
  CopyLines lines_;
  CopyFailure failure_;
  std::vector<Supply> supplies_;  // by made field
  std::string filled_;
  std::string made_key_;  // of the last row, as text
  std::string scratch_;
  std::string key_;  // canonical, of the last row whose keyspace needs it
  std::vector<Held> held_;
  KeyLookups lookups_;
  std::unordered_map<std::string, Result<KeyPlace>> learned_;  // by key, until go_on()
  // What is wrong with the stream behind the rows that are held: those come first.
  std::optional<CopyFailure> late_failure_;
  // Where the CopyData message now being filled begins in its shard's output.
  std::vector<std::size_t> open_;
};

}  // namespace pgshunt
