// What a sharded session has asked the key directory: one question of one or many keys at a time.
//
// The answers are told to the router right before the statement they were asked for is routed
// again, by teach(): another session's statement in between may have used up what was learned. That
// a key is absent is kept no longer than the statement, drop() sees to that.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "proxy/directory/database_directory.h"
#include "proxy/net/event_loop.h"

namespace pgshunt {

class Router;
class Session;

class KeyInquiry {
 public:
  KeyInquiry(Session& session, DatabaseDirectory* directory)
      : session_(session), directory_(directory) {}

  DatabaseDirectory* directory() const { return directory_; }

  // The answer comes by Conversation::on_keys_found(), and joins those that are there, which the
  // same statement needs too. `assign`: may new keys be given shards? An Error if nothing could be
  // asked.
  Status ask(std::span<const KeyLookup> lookups, bool assign = true);
  bool waiting() const { return since_ != TimePoint{}; }
  TimePoint since() const { return since_; }
  // False: it is not the answer that is waited for.
  bool take(std::uint64_t question, std::vector<FoundKey> keys);

  void teach(Router& router) const;
  // All of `lookups` were asked, and answered.
  bool answered(std::span<const KeyLookup> lookups) const;
  // Why one of them cannot be known.
  std::optional<Error> failure(std::span<const KeyLookup> lookups) const;
  std::vector<FoundKey> take_answers() { return std::exchange(answers_, {}); }
  // What was asked is of no use any more, answered or not.
  void drop();

 private:
  Session& session_;
  DatabaseDirectory* const directory_;
  std::uint64_t question_ = 0;
  TimePoint since_{};  // waits for the answer
  bool assigns_ = true;
  std::vector<FoundKey> answers_;
};

}  // namespace pgshunt
