// Rows of several shards into a temporary table of the merge node (router/merge_node.h): COPY TO
// on each shard, COPY FROM there, and their bytes from one to the other. Shards wait while the
// merge node has more than it takes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/copy_merge.h"
#include "proxy/session/copy_fan_out.h"

namespace pgshunt {

// What may still be brought for one statement.
struct MergeAllowance {
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;
};

class MergeFeed final : public CopyFanOut {
 public:
  // `into`: the merge node, ready; it must be none of the shards' links. `in_sql` is what it runs,
  // the shards' texts are in `shards`. `allowance` is reduced by what is brought, and must outlive
  // this.
  MergeFeed(Session& session, CopyFanOutOwner& owner, CopyShards shards, ServerLink& into,
            std::string in_sql, CopyFormat format, MergeAllowance& allowance);

  std::uint64_t rows() const override;
  void on_backend_drained(Backend& backend) override;

 private:
  bool must_wait(const Source& source) const override;
  bool forwards_notices(const Source&) const override { return false; }
  void on_started(Source& source) override;
  void on_copy_data(Source& source, std::string_view frame) override;
  void on_shard_error(Source& source, std::string_view body) override;
  void on_shard_lost(Source& source) override;
  void on_turn_ends() override;

  Source& sink() { return sources_.back(); }
  const Source& sink() const { return sources_.back(); }
  bool is_sink(const Source& source) const { return &source == &sources_.back(); }
  void exceed(std::string_view what);
  void give_up();
  void end(bool whole);
  void read_all();

  CopyMerger merger_;
  MergeAllowance& allowance_;
  std::string out_;     // for the merge node
  bool full_ = false;   // it has more than it takes
  bool ended_ = false;  // CopyDone or CopyFail has been sent
};

}  // namespace pgshunt
