// TRUNCATE, LOCK TABLE and definitions on all shards.
//
// In one transaction where PostgreSQL allows it. What cannot run in a transaction block is done by
// one shard after the other: the client is told of each, and if one fails, which of them have done
// it, so that the command can be repeated with IF NOT EXISTS or IF EXISTS.
#include "proxy/database.h"
#include "proxy/proxy.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/worker.h"

namespace pgshunt {

// Will every shard refuse it where the client stands? Then one may say so.
bool ShardedConversation::out_of_place(Alike alike) const {
  return (alike == Alike::kInBlock && !transaction_.open()) ||
         (alike == Alike::kOneByOne && transaction_.open());
}

// A simple query.
ShardedConversation::Verdict ShardedConversation::command_on_shards(const Route& route,
                                                                    const FrameHeader& header,
                                                                    std::string_view frame,
                                                                    std::string_view sql) {
  if (out_of_place(route.alike)) return run_on_shard(home_shard(), header, frame);
  FanOutPlan plan;
  plan.use = FanOutPlan::Use::kAgree;
  if (route.alike != Alike::kOneByOne) {
    if (route.defines) note_ddl();
    const Verdict verdict =
        write_on_shards({route.shards.begin(), route.shards.end()}, route.fixes_moment,
                        {std::string(sql)}, std::move(plan));
    if (verdict == Verdict::kTaken && fan_out_) {
      // Writers of a reference table wait for each other on the first shard.
      transaction_.wrote_everywhere = true;
    }
    return verdict;
  }
  const std::vector<ShardId> shards(route.shards.begin(), route.shards.end());
  if (!acquire(shards)) return Verdict::kWait;
  std::vector<ServerLink*> links;
  for (const ShardId shard : shards) links.push_back(&link(shard));
  plan.order = FanOutPlan::Order::kAscending;
  after_ = After::kOneByOne;
  begin_fan_out(std::move(links), std::move(plan), sql);
  return Verdict::kTaken;
}

// `done`: how many shards have done it.
void ShardedConversation::end_one_by_one(const Error& error, std::string_view reply,
                                         std::size_t done) {
  const auto& shards = session_.database()->config.shards;
  std::string& out = worker_.client_out();
  std::string names;
  for (std::size_t i = 0; i < done; ++i) {
    names.append(i == 0 ? "\"" : ", \"").append(shards[i].name).append("\"");
  }
  if (done < shards.size()) {
    append_error_response(
        out, Severity::kError,
        {error.code, "shard \"" + shards[done].name + "\" failed: " + error.message,
         done == 0 ? std::string("No shard has done it.")
                   : "It is done on " + names +
                         ": repeat the command in a form that these accept, such as with IF NOT "
                         "EXISTS or IF EXISTS."});
  } else {
    append_notice_response(out, Severity::kNotice, Sqlstate("00000"), "done on " + names);
    out.append(reply);
  }
  if (done > 0) catalog_changed();
  unit_done(done < shards.size());
}

// The shards' schema may be another one from here on: what the router knows of it is to be read
// anew.
void ShardedConversation::catalog_changed() {
  ddl_ = false;
  catalog_awaited_ = worker_.proxy().catalog_changed(catalog_name());
}

}  // namespace pgshunt
