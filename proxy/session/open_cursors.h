// The cursors and portals of a sharded session that are still there when the message that made them
// is over, by name: PostgreSQL has one namespace for both. Where each is, or, if its rows come from
// several servers, how far it has been read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "proxy/session/shard_rows.h"
#include "router/topology.h"

namespace pgshunt {

// One whose rows are merged here, from a cursor of the proxy's on each of its servers.
struct MergedCursor {
  MergedCursor(std::string name_there, ShardRows shard_rows)
      : server_name(std::move(name_there)), rows(std::move(shard_rows)) {}

  std::string server_name;
  ShardRows rows;
  bool binary = false;  // DECLARE ... BINARY
  // The result formats that its rows come in, as in a Bind; of a cursor those of its first FETCH.
  std::optional<std::string> formats;
  std::size_t asked_rows = 0;  // of each server, by the FETCH under way
  std::uint64_t position = 0;  // of the current row, from 1; 0: before the first
  bool at_end = false;         // behind the last
  bool failed = false;         // an error ended it
};

inline Error cannot_run_error(std::string_view name) {
  return {sqlstate::kObjectNotInPrerequisiteState,
          "portal \"" + std::string(name) + "\" cannot be run",
          {}};
}

struct OpenCursor {
  enum class Place : std::uint8_t {
    kServer,  // on `server`, which is told all there is to it
    kMerged,  // in `merged`
    kRead,    // nowhere any more: a read that fanned out is at its end
    kDone,    // the same of what cannot be run twice
  };
  Place place = Place::kServer;
  ShardId server = 0;
  std::unique_ptr<MergedCursor> merged;
  bool hold = false;       // DECLARE ... WITH HOLD
  std::string settings;    // how values were to be written when it was opened
  bool put_by = false;     // its server has been told to
  bool committed = false;  // so was the transaction that declared it
  std::size_t depth = 0;   // savepoints that were there
};

class OpenCursors {
 public:
  bool empty() const { return cursors_.empty(); }
  OpenCursor* find(std::string_view name) {
    const auto found = cursors_.find(std::string(name));
    return found == cursors_.end() ? nullptr : &found->second;
  }
  // In place of what had the name.
  OpenCursor& add(std::string_view name, OpenCursor cursor) {
    return cursors_.insert_or_assign(std::string(name), std::move(cursor)).first->second;
  }
  void remove(std::string_view name) { cursors_.erase(std::string(name)); }
  void clear() { cursors_.clear(); }

  // ROLLBACK TO a savepoint before which there were `depth` others.
  void roll_back_to(std::size_t depth) {
    std::erase_if(cursors_, [&](const auto& each) {
      return each.second.depth > depth && !each.second.committed;
    });
  }
  // RELEASE of it: what was opened behind it belongs to what is around it.
  void release(std::size_t depth) {
    for (auto& [name, cursor] : cursors_) cursor.depth = std::min(cursor.depth, depth);
  }
  void end_transaction(bool committed) {
    std::erase_if(cursors_, [&](const auto& each) {
      const OpenCursor& cursor = each.second;
      return !cursor.committed && !(cursor.hold && committed);
    });
    for (auto& [name, cursor] : cursors_) {
      cursor.committed = true;
      cursor.depth = 0;
    }
  }

  // An error there has ended what was on this server.
  void fail(ShardId server) {
    for (auto& [name, cursor] : cursors_) {
      if (cursor.place == OpenCursor::Place::kServer && cursor.server == server) {
        cursor.place = OpenCursor::Place::kDone;
      }
    }
  }
  // Does any of them need this server?
  bool need(ShardId server) const {
    return std::any_of(cursors_.begin(), cursors_.end(), [&](const auto& each) {
      const OpenCursor& cursor = each.second;
      if (cursor.place == OpenCursor::Place::kServer) return cursor.server == server;
      return cursor.merged && cursor.merged->rows.reads(server);
    });
  }
  template <class Do>
  void for_each(Do action) {
    for (auto& [name, cursor] : cursors_) action(name, cursor);
  }

 private:
  std::unordered_map<std::string, OpenCursor> cursors_;
};

}  // namespace pgshunt
