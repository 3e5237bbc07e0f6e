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
#include <string>
#include <string_view>
#include <vector>

#include "proxy/session/copy_fan_out.h"
#include "router/copy_split.h"

namespace pgshunt {

class CopyIn final : public CopyFanOut {
 public:
  CopyIn(Session& session, CopyFanOutOwner& owner, CopyShards shards,
         std::shared_ptr<const Topology> topology, std::shared_ptr<const CopyPlan> plan,
         const RouterSession& router_session);

  // The client was told to send. What it sends before is not looked at.
  bool copying() const { return stage_ == Stage::kCopying; }
  bool starting() const { return stage_ == Stage::kStarting; }
  // CopyData may be taken; at the end it is dropped.
  bool takes_data() const { return stage_ == Stage::kEnding || (copying() && !full_); }
  // Any part of the body of a CopyData.
  void data(std::string_view part);
  // The client's CopyDone and CopyFail.
  void done();
  void fail(std::string_view reason);
  // Sends what data() has gathered.
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
  bool over_limit() const;

  const std::shared_ptr<const CopyPlan> plan_;
  CopySplitter splitter_;
  Stage stage_ = Stage::kStarting;
  bool good_end_ = false;  // kEnding by CopyDone
  bool full_ = false;
  std::vector<std::string> outputs_;  // by shard
  std::string last_bytes_;            // sent to each shard
  std::size_t gathered_ = 0;          // bytes taken since the last flush()
};

}  // namespace pgshunt
