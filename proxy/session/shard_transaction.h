// A client's transaction over shards that have not all heard of it: what was said to begin it,
// which shards take part, and what a shard that joins later must be told.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "router/router.h"

namespace pgshunt {

class ShardTransaction {
 public:
  using SystemClock = std::chrono::system_clock;

  bool open() const { return open_; }
  // What now() is where several shards have to agree on it: when it was begun here, which is before
  // any shard has heard of it.
  SystemClock::time_point began_at() const { return began_at_; }
  // An error was reported inside it: only its end is listened to.
  bool failed() const { return failed_; }
  void fail() { failed_ = true; }

  void begin(std::string_view statement) {
    *this = {};
    open_ = true;
    began_at_ = SystemClock::now();
    prelude_.push_back({Said::kMode, {}, std::string(statement)});
  }
  // What a pipeline does up to its Sync, where its first half must not be committed without the
  // second. To the client there is no transaction block.
  void begin_implicit() {
    begin("BEGIN");
    implicit_ = true;
  }
  bool implicit() const { return implicit_; }
  void make_explicit() { implicit_ = false; }
  void end() { *this = {}; }
  // AND CHAIN: the next one has the modes of this one.
  void chain() {
    std::vector<Said> modes = std::move(prelude_);
    std::erase_if(modes, [](const Said& said) { return said.kind != Said::kMode; });
    *this = {};
    open_ = true;
    began_at_ = SystemClock::now();
    prelude_ = std::move(modes);
  }

  // What every participant is told, in order: SAVEPOINT, SET LOCAL, SET TRANSACTION (a mode).
  void set_mode(std::string_view statement) {
    prelude_.push_back({Said::kMode, {}, std::string(statement)});
  }
  void set_local(std::string_view name, std::string_view statement) {
    prelude_.push_back({Said::kSetting, canonical(name), std::string(statement)});
  }
  // A SET or RESET is to hold from here on: what SET LOCAL said before it ends with it, until a
  // ROLLBACK TO takes both back.
  void clear_local(std::string_view name) {
    if (!local(name).empty()) prelude_.push_back({Said::kCleared, canonical(name), {}});
  }
  // The SET LOCAL by which the setting is another than the session's in this transaction, or empty.
  std::string_view local(std::string_view name) const {
    for (std::size_t i = prelude_.size(); i-- > 0;) {
      const Said& said = prelude_[i];
      const bool about = said.kind == Said::kSetting || said.kind == Said::kCleared;
      if (about && said.name == canonical(name)) return said.statement;
    }
    return {};
  }
  // The settings that are, in the order of their SET LOCALs.
  std::vector<std::string> locals() const {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < prelude_.size(); ++i) {
      if (holds(i)) names.push_back(prelude_[i].name);
    }
    return names;
  }
  // For a shard whose settings have been set since: one query.
  std::string local_statements() const {
    std::string sql;
    for (std::size_t i = 0; i < prelude_.size(); ++i) {
      if (holds(i)) sql.append(prelude_[i].statement).push_back(';');
    }
    return sql;
  }
  void savepoint(std::string_view name, std::string_view statement) {
    prelude_.push_back({Said::kSavepoint, std::string(name), std::string(statement)});
  }
  // False: there is no such savepoint.
  bool has_savepoint(std::string_view name) const { return find(name) != prelude_.rend(); }
  // How many there are, and how many were there before the latest of that name.
  std::size_t savepoints() const { return count_savepoints(prelude_.cend()); }
  std::size_t savepoints_before(std::string_view name) const {
    const auto found = find(name);
    return found == prelude_.rend() ? 0 : count_savepoints(std::prev(found.base()));
  }
  // Those made after it go with it; what was said in them stays.
  void release(std::string_view name) {
    const auto found = find(name);
    if (found == prelude_.rend()) return;
    const auto from = prelude_.begin() + (std::prev(found.base()) - prelude_.cbegin());
    prelude_.erase(std::remove_if(from, prelude_.end(),
                                  [](const Said& said) { return said.kind == Said::kSavepoint; }),
                   prelude_.end());
  }
  void rollback_to(std::string_view name) {
    const auto found = find(name);
    if (found != prelude_.rend()) prelude_.erase(found.base(), prelude_.end());
    failed_ = false;
  }
  // For a shard that joins: one query.
  std::string opening() const {
    std::string sql;
    for (std::size_t i = 0; i < prelude_.size(); ++i) {
      const Said& said = prelude_[i];
      const bool over = said.kind == Said::kSetting && said_later(i, Said::kCleared);
      if (said.kind != Said::kCleared && !over) sql.append(said.statement).push_back(';');
    }
    return sql;
  }

  const std::vector<ShardId>& shards() const { return shards_; }
  bool takes_part(ShardId shard) const {
    return std::find(shards_.begin(), shards_.end(), shard) != shards_.end();
  }
  void join(ShardId shard) { shards_.push_back(shard); }
  // A reference table was written: the first shard, where its writers wait, commits last.
  bool wrote_everywhere = false;
  // The shards written to, in the order of their first writes.
  const std::vector<ShardId>& writers() const { return writers_; }
  bool has_written(ShardId shard) const {
    return std::find(writers_.begin(), writers_.end(), shard) != writers_.end();
  }
  void write(ShardId shard) {
    if (!has_written(shard)) writers_.push_back(shard);
  }

 private:
  struct Said {
    enum Kind : std::uint8_t { kMode, kSetting, kCleared, kSavepoint };
    Kind kind = kMode;
    std::string name;
    std::string statement;
  };
  static std::string canonical(std::string_view name) {
    return std::string(name == "time zone" ? "timezone" : name);
  }
  bool said_later(std::size_t index, Said::Kind kind) const {
    return std::any_of(
        prelude_.begin() + static_cast<std::ptrdiff_t>(index) + 1, prelude_.end(),
        [&](const Said& said) { return said.kind == kind && said.name == prelude_[index].name; });
  }
  // Is it the SET LOCAL of its setting that counts?
  bool holds(std::size_t index) const {
    return prelude_[index].kind == Said::kSetting && !said_later(index, Said::kSetting) &&
           !said_later(index, Said::kCleared);
  }
  std::size_t count_savepoints(std::vector<Said>::const_iterator end) const {
    return static_cast<std::size_t>(std::count_if(
        prelude_.cbegin(), end, [](const Said& said) { return said.kind == Said::kSavepoint; }));
  }
  std::vector<Said>::const_reverse_iterator find(std::string_view name) const {
    return std::find_if(prelude_.rbegin(), prelude_.rend(), [&](const Said& said) {
      return said.kind == Said::kSavepoint && said.name == name;
    });
  }

  bool open_ = false;
  bool failed_ = false;
  bool implicit_ = false;
  SystemClock::time_point began_at_{};
  std::vector<Said> prelude_;
  std::vector<ShardId> shards_;
  std::vector<ShardId> writers_;
};

}  // namespace pgshunt
