// A cursor or portal over several servers that is being opened or read. sharded_cursors.cc drives
// it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "proxy/session/merge_run.h"
#include "proxy/session/open_cursors.h"

namespace pgshunt {

struct CursorOpening {
  std::string name;
  // Merged from cursors on the shards, or read from one at the merge node; null: the merge node is
  // told all that the client says of it.
  std::unique_ptr<MergedCursor> merged;
  // The client's statement up to its query, if there is no `merged`.
  std::string declaration;
  bool hold = false;
  std::string answer;  // when it is open
  // If its rows turn out to have no order known here.
  std::optional<MergeInstead> instead;
};

struct CursorFetch {
  enum class Answer : std::uint8_t { kFetch, kMove, kExecute };

  MergedCursor* cursor = nullptr;
  Answer answer = Answer::kFetch;
  std::uint64_t skip = 0;    // rows that are passed over first
  std::uint64_t wanted = 0;  // then
  std::uint64_t rows = 0;    // of these, so far
  bool limited = false;      // by an Execute: with the last of `wanted` the portal is suspended
  bool client_slow = false;
  bool canceled = false;
};

}  // namespace pgshunt
