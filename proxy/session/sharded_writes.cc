// A statement that writes rows of its own on each of several shards: UPDATE and DELETE over them,
// and INSERTs whose rows belong to several.
//
// The shards do it one after the other, by ascending number. Two such statements that meet on some
// rows then meet first on the same shard, and the later one waits there before it has locked rows
// on a shard further on. If shards worked at once, each of two writers could lock a row that the
// other waits for on another server, and no server would see the deadlock.
//
// Outside of a transaction block the statement has one of its own, which its shards end together.
#include <algorithm>
#include <chrono>
#include <ctime>

#include "protocol/frame_writer.h"
#include "proxy/database.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/worker.h"
#include "router/fixed_moments.h"
#include "router/insert_split.h"

namespace pgshunt {
namespace {

// With its offset and in ISO order, which is read alike under any DateStyle and TimeZone.
std::string timestamp_text(ShardTransaction::SystemClock::time_point at) {
  using std::chrono::duration_cast;
  using std::chrono::microseconds;
  const auto since_epoch = duration_cast<microseconds>(at.time_since_epoch()).count();
  const std::time_t seconds = since_epoch / 1'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40];
  const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  std::string fraction = std::to_string(since_epoch % 1'000'000);
  fraction.insert(0, 6 - fraction.size(), '0');
  return std::string(text, size) + "." + fraction + "+00";
}

}  // namespace

// As hold_write(), for one statement on all of `shards`.
std::optional<ShardedConversation::Verdict> ShardedConversation::hold_writes(
    std::span<const ShardId> shards) {
  const DatabaseConfig& config = session_.database()->config;
  if (shards.size() > 1 && config.on_cross_shard_write == CrossShardWrite::kRefuse) {
    return refuse({sqlstate::kFeatureNotSupported,
                   "this statement would write on shards \"" + config.shards[shards[0]].name +
                       "\" and \"" + config.shards[shards[1]].name + "\"",
                   "Give one shard key, or set on_cross_shard_write to allow writes on several "
                   "shards."});
  }
  return hold_write(shards);
}

// A simple query. `texts`: one for each of the shards, or one for all.
ShardedConversation::Verdict ShardedConversation::write_on_shards(std::vector<ShardId> shards,
                                                                  bool fixes_moment,
                                                                  std::vector<std::string> texts,
                                                                  FanOutPlan plan) {
  const Verdict verdict = begin_write(std::move(shards), fixes_moment, std::move(plan));
  if (verdict == Verdict::kTaken && fan_out_) fan_out_->send_queries(std::move(texts));
  return verdict;
}

ShardedConversation::Verdict ShardedConversation::begin_write(std::vector<ShardId> shards,
                                                              bool fixes_moment, FanOutPlan plan) {
  if (const auto held = hold_writes(shards)) return *held;
  const bool alone = !transaction_.open();
  if (alone) transaction_.begin_implicit();
  if (!acquire(shards)) {
    if (alone) transaction_.end();
    return Verdict::kWait;
  }
  std::vector<ServerLink*> links;
  for (const ShardId shard : shards) {
    note_write(shard, true);
    links.push_back(&link(shard));
  }
  plan.clients_text &= !fixes_moment;
  if (fixes_moment) tell_moment(links);
  if (plan.use == FanOutPlan::Use::kCommand) {
    plan.use = FanOutPlan::Use::kSum;
    plan.streams = plan.row_order.empty();
  }
  plan.order = FanOutPlan::Order::kAscending;
  after_ = alone ? After::kEndWrite : After::kReply;
  fan_out_ = std::make_unique<FanOut>(session_, *this, std::move(links), std::move(plan));
  return Verdict::kTaken;
}

FixedMoments ShardedConversation::moments() const {
  const auto now = ShardTransaction::SystemClock::now();
  const auto began = transaction_.open() ? transaction_.began_at() : now;
  // A statement does not begin before its transaction, should the clock have been set back.
  return {timestamp_text(began), timestamp_text(std::max(now, began))};
}

// What time it is to a statement that several shards run (router/fixed_moments.h). They are inside
// a transaction, or have been told to begin one.
void ShardedConversation::tell_moments(std::span<ServerLink* const> links,
                                       const FixedMoments& moments) {
  const std::string sql = "SET LOCAL " + std::string(kTransactionMoment) + " = '" +
                          moments.transaction + "';SET LOCAL " + std::string(kStatementMoment) +
                          " = '" + moments.statement + "'";
  for (ServerLink* each : links) each->inject(sql);
}

// Its statement is done: what it says waits for the end of its transaction.
void ShardedConversation::end_write(bool failed, std::string reply) {
  if (failed) transaction_.fail();
  end_reply_ = std::move(reply);
  end_implicit_transaction();
}

// A Bind of an INSERT whose rows belong to several shards: a statement and a Bind for each of them.
std::vector<FanOutShare> ShardedConversation::shares_of(const Route& route, const BindView& bind,
                                                        const Statement& prepared,
                                                        std::string_view result_formats,
                                                        std::string_view prefix) {
  std::vector<WireValue> values;
  for (const WireValue& value : bind.values) values.push_back(value);
  StatementTable& table = worker_.statements();
  const std::uint64_t scope = ~session_.database()->scope;
  std::vector<FanOutShare> shares;
  for (std::uint16_t i = 0; i < route.shards.size(); ++i) {
    InsertPart part = part_of_insert(*route.split, route.row_order, i);
    FanOutShare& share = shares.emplace_back();
    Statement statement;
    statement.text = std::string(prefix).append(part.text);
    statement.settings = prepared.settings;
    statement.conforming_strings = prepared.conforming_strings;
    for (const std::uint16_t parameter : part.parameters) {
      statement.types.push_back(parameter < prepared.types.size() ? prepared.types[parameter] : 0);
    }
    if (route.split->uniform) {
      share.statement = table.find(scope, statement.text, statement.types, statement.settings);
      if (!share.statement) share.statement = table.add(scope, std::move(statement));
    } else {
      share.statement = std::make_shared<const Statement>(std::move(statement));
    }
    FrameWriter writer(share.bind, frontend::kBind);
    writer.cstring(bind.portal);
    writer.cstring(share.statement->server_name);
    const auto count = static_cast<std::uint16_t>(part.parameters.size());
    writer.be16(count);
    for (const std::uint16_t parameter : part.parameters) writer.be16(bind.formats.of(parameter));
    writer.be16(count);
    for (const std::uint16_t parameter : part.parameters) {
      const WireValue& value = values[parameter];
      if (value.is_null) {
        writer.be32(0xFFFFFFFF);
      } else {
        writer.be32(static_cast<std::uint32_t>(value.bytes.size()));
        writer.bytes(value.bytes);
      }
    }
    writer.bytes(result_formats);
  }
  return shares;
}

}  // namespace pgshunt
