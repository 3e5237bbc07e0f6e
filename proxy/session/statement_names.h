// A session's prepared statements by the names its client gave them.
//
// A client may send Parse, Close, PREPARE and DEALLOCATE in a pipeline, long before it or we know
// whether they succeed. So each change of a name is made when it is requested, and noted until it
// is answered: confirmed when the server (or the proxy) has done it, undone when it failed or was
// skipped behind an error.
//
//   request:  tag = names.add("s", statement)     the tag travels with the request
//   reply:    names.confirm(tag)   or   names.undo(tag), newest first
//
// What stands behind a Sync does not share the fate of what stands before it. There, a name that an
// unanswered request has changed is undecided(), and its user waits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proxy/session/statement.h"

namespace pgshunt {

// Identifies one change of a name: 1 to kMaxChangeTag.
using ChangeTag = std::uint32_t;

Error duplicate_statement(std::string_view name);
Error no_such_statement(std::string_view name);

class StatementNames {
 public:
  static constexpr ChangeTag kMaxChangeTag = (1u << 29) - 1;

  // What `name` stands for if all that was requested succeeds; null: nothing. Lives until the next
  // change.
  const StatementPtr* find(std::string_view name) const;
  // The client's name for a statement, be its removal under way; empty if it has none. Looks
  // through all of them.
  std::string_view name_of(std::uint64_t statement_id) const;
  // Must a request wait that uses or changes `name` (or, the second form, any name)?
  bool undecided(std::string_view name) const;
  bool undecided() const { return first_ < changes_.size() && changes_[first_].segment < segment_; }
  std::size_t size() const { return statements_.size(); }

  ChangeTag add(std::string_view name, StatementPtr statement);
  ChangeTag remove(std::string_view name);
  ChangeTag remove_all();
  // A Sync, or whatever else ends with ReadyForQuery, was requested.
  void end_segment() { ++segment_; }

  // Both return the statement that add() gave the name; null for a removal.
  StatementPtr confirm(ChangeTag tag);
  StatementPtr undo(ChangeTag tag);
  // The server that should have answered is gone.
  void undo_all();
  // After DISCARD ALL.
  void clear();

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const {
      return std::hash<std::string_view>()(name);
    }
  };
  using Statements = std::unordered_map<std::string, StatementPtr, Hash, std::equal_to<>>;
  struct Change {
    ChangeTag tag = 0;
    std::uint64_t segment = 0;
    bool all = false;  // remove_all(): `others` were there before
    std::string name;
    StatementPtr before;
    StatementPtr after;
    Statements others;
  };

  Change& note(std::string_view name);
  void forget(std::size_t index);
  void put(const std::string& name, StatementPtr statement);
  StatementPtr undo(Change& change);

  Statements statements_;
  // Unanswered, oldest first, from first_ on.
  std::vector<Change> changes_;
  std::size_t first_ = 0;
  std::uint64_t segment_ = 0;
  ChangeTag last_tag_ = 0;
};

}  // namespace pgshunt
