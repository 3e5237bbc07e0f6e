// The messages of a batch of the extended protocol, and the runs of them that a sharded session
// serves as one (sharded_batch.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/frame.h"
#include "protocol/frontend.h"
#include "proxy/session/sharded_conversation.h"
#include "router/key_directory.h"

namespace pgshunt {

struct Message {
  FrameHeader header;
  std::string_view frame;
  std::string_view body;
};

// The message at `at`, which moves behind it. The batch is known to be whole.
inline bool next_message(std::string_view batch, std::size_t& at, Message& out) {
  if (at >= batch.size()) return false;
  read_frame_header(batch.substr(at), kMaxBodySize, out.header);
  out.frame = batch.substr(at, out.header.frame_size());
  out.body = out.frame.substr(kFrameHeaderSize);
  at += out.frame.size();
  return true;
}

struct ShardedConversation::Part {
  enum class Way : std::uint8_t {
    kNowhere,     // a lone Sync or Flush
    kControl,     // BEGIN, COMMIT, ... : answered here
    kShard,       // `shard`; unset: any will do (statements are only parsed or described)
    kEverywhere,  // one Bind and Execute that fan out
    kExplain,     // an Execute of EXPLAIN (PGSHUNT): answered here
    kOpenPortal,  // a Bind that would fan out, whose rows are asked for later, or in portions
    kPortal,      // one message about such a portal
    kCursor,      // FETCH, MOVE or CLOSE of a cursor that is not on one server
  };
  Way way = Way::kNowhere;
  std::optional<ShardId> shard;
  std::size_t size = 0;  // bytes of the batch
  bool synced = false;   // ends with the client's Sync
  bool flushed = false;  // ends with the client's Flush
  bool executes = false;
  std::size_t open_portals = 0;  // bound, and not run to their ends
  bool writes = false;
  bool ddl = false;
  bool listens = false;        // binds a LISTEN
  bool moves_names = false;    // sets search_path or a hint, opens or closes a cursor
  bool declares = false;       // binds a DECLARE
  bool explains = false;       // binds an EXPLAIN (PGSHUNT)
  bool copies = false;         // kEverywhere: it is a COPY
  bool copies_in = false;      // FROM STDIN
  bool several_write = false;  // on several shards, each its own rows
  std::uint32_t effects = kEffectNone;
  // Not to be served yet: keys that must be known first, of this part and of what follows it.
  KeyLookups lookups;
  enum class Wants : std::uint8_t { kNothing, kFunction, kValues };
  Wants wants = Wants::kNothing;  // not to be served before it has them, sharded_ids.cc
  // What its Parse messages make, by the client's names.
  std::vector<std::pair<std::string_view, StatementPtr>> parses;
};

}  // namespace pgshunt
