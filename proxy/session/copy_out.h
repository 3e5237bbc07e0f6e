// COPY TO STDOUT on several shards: their rows, whole and in any order, as one COPY. Nothing is
// held back: rows go to the client as they come, and shards wait for a client that is slow.
#pragma once

#include <string_view>

#include "protocol/copy_merge.h"
#include "proxy/session/copy_fan_out.h"
#include "router/copy_plan.h"

namespace pgshunt {

class CopyOut final : public CopyFanOut {
 public:
  CopyOut(Session& session, CopyFanOutOwner& owner, CopyShards shards, const CopyPlan& plan);

  void client_slow(bool slow) override;
  std::uint64_t rows() const override;

 private:
  bool must_wait(const Source& source) const override;
  bool forwards_notices(const Source& source) const override;
  void on_started(Source& source) override;
  void on_copy_data(Source& source, std::string_view frame) override;
  void on_shard_error(Source& source, std::string_view body) override;
  void on_shard_lost(Source& source) override;
  void on_turn_ends() override;
  void on_all_finished() override;
  void give_up();
  void forward(std::string_view frame);
  void read_all();

  CopyMerger merger_;
  bool copying_ = false;  // the client has been told so
  bool slow_ = false;
  // Messages that go to the client as they are, one behind the other in what is being read.
  std::string_view verbatim_;
};

}  // namespace pgshunt
