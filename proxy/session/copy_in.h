// COPY FROM STDIN on several shards: the client's rows, each to its own shard.
//
// It always runs inside a transaction on every shard, which the conversation ends: all keep their
// rows, or none does. When a row is refused, by a shard or on the way there, every shard gets
// CopyFail behind what it was sent before, and of the errors that come of it the one of the
// earliest line is told, as it would be by a server that reads the lines one by one.
//
// Memory is bounded: when a shard does not take its rows, the client is not read.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/directory/database_directory.h"
#include "proxy/session/copy_fan_out.h"
#include "router/copy_split.h"

namespace pgshunt {

class CopyIn;

class CopyInOwner : public CopyFanOutOwner {
 public:
  // The client may send its rows.
  virtual void on_copy_in_started() = 0;
  // CopyIn::lookups() are to be asked for, and CopyIn::keys_found() or give_up() to be called.
  virtual void on_copy_wants_keys(CopyIn& copy) = 0;
  // Appends `count` values of this source (router/made_values.h). False: there are not so many yet,
  // the client's bytes are served again when there are. `more`: others like them will be wanted.
  virtual Result<bool> on_copy_wants_values(const std::string& source, std::size_t count, bool more,
                                            std::vector<std::int64_t>& out) = 0;

 protected:
  ~CopyInOwner() = default;
};

class CopyIn final : public CopyFanOut {
 public:
  CopyIn(Session& session, CopyInOwner& owner, CopyShards shards,
         std::shared_ptr<const Topology> topology, std::shared_ptr<const CopyPlan> plan,
         const RouterSession& router_session, const KeyDirectory* directory);

  // The client was told to send. What it sends before is not looked at.
  bool copying() const { return stage_ == Stage::kCopying; }
  bool starting() const { return stage_ == Stage::kStarting; }
  // CopyData may be taken; at the end it is dropped.
  bool takes_data() const {
    return stage_ == Stage::kEnding || (copying() && !full_ && !wants_keys_);
  }
  // Rows wait for their keys' shards: what comes behind them has to wait too.
  bool waits_for_keys() const { return copying() && wants_keys_; }
  std::span<const KeyLookup> lookups() const { return splitter_.lookups(); }
  void keys_found(const std::vector<FoundKey>& keys);
  // Ends it with an error: the keys will not be known.
  void give_up(const Error& error);
  // Are the values that rows in `part`, which is to be taken next, are given there? Otherwise it
  // has to wait. `ahead`: all that has come of the client, from `part` on.
  bool has_values(std::string_view part, std::string_view ahead);
  // Any part of the body of a CopyData.
  void data(std::string_view part);
  // The client's CopyDone and CopyFail.
  void done();
  void fail(std::string_view reason);
  // Sends what data() has gathered, and asks for the keys it does not know.
  void flush();

  std::uint64_t rows() const override;
  void on_backend_drained(Backend& backend) override;

 private:
  enum class Stage : std::uint8_t {
    kStarting,  // a shard has not answered yet
    kCopying,
    kEnding,  // the shards were told of the end, good or bad
  };

  bool forwards_notices(const Source& source) const override;
  void on_started(Source& source) override;
  void on_shard_error(Source& source, std::string_view body) override;
  void on_shard_lost(Source& source) override;
  void refuse(const CopyFailure& failure);
  void end(bool good);
  void end_on(Source& source);
  void ask_for_keys();
  bool over_limit() const;

  CopyInOwner& in_owner_;
  const std::shared_ptr<const CopyPlan> plan_;
  CopySplitter splitter_;
  Stage stage_ = Stage::kStarting;
  bool good_end_ = false;  // kEnding by CopyDone
  bool full_ = false;
  bool wants_keys_ = false;
  bool drew_values_ = false;
  bool ends_with_keys_ = false;       // CopyDone has come, the rows that wait are the last
  std::vector<std::string> outputs_;  // by shard
  std::string last_bytes_;            // sent to each shard
  std::size_t gathered_ = 0;          // bytes taken since the last flush()
};

}  // namespace pgshunt
