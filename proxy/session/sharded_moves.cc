// An UPDATE that gives rows a shard key of another shard (router/move_plan.h): three statements in
// one transaction. The old shard does the UPDATE and returns the rows, then deletes them; the new
// one inserts them, and what it returns is the client's.
#include "protocol/frame_writer.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/worker.h"
#include "router/move_plan.h"

namespace pgshunt {
namespace {

// The rows of one move are all in memory, twice.
constexpr std::size_t kMostMovedBytes = 16 * 1024 * 1024;

// Could a value be read as another than it was written as? The settings are the session's, as any
// server has reported them.
bool reads_as_written(const NameValues& known) {
  const std::string* date_style = known.find("DateStyle");
  const std::string* interval_style = known.find("IntervalStyle");
  return date_style && date_style->starts_with("ISO") && interval_style &&
         (*interval_style == "postgres" || *interval_style == "iso_8601");
}

// False: a message is not a row as it should be.
bool read_rows(std::string_view reply, MovedRows& out) {
  std::vector<WireValue> values;
  FrameHeader header;
  for (std::size_t at = 0; at < reply.size(); at += header.frame_size()) {
    read_frame_header(reply.substr(at), kMaxBodySize, header);
    if (header.type != backend::kDataRow) continue;
    const auto row = decode_data_row(reply.substr(at + kFrameHeaderSize, header.body_size));
    if (!row) return false;
    values.clear();
    for (const WireValue& value : *row) values.push_back(value);
    if (!out.add(values)) return false;
  }
  return true;
}

}  // namespace

// Nothing: its servers are ready and part of the transaction, `move_` is made.
std::optional<ShardedConversation::Verdict> ShardedConversation::begin_move(const Route& route) {
  // Acquiring may route again.
  const std::vector<ShardId> shards(route.shards.begin(), route.shards.end());
  Move move;
  move.plan = route.move;
  move.from = route.move_from;
  move.to = shards[0] == route.move_from ? shards[1] : shards[0];
  if (const auto held = hold_writes(shards)) return held;
  move.alone = !transaction_.open();
  if (move.alone) transaction_.begin_implicit();
  if (!acquire(shards)) {
    if (move.alone) transaction_.end();
    return Verdict::kWait;
  }
  if (const Status exact = check_rows_read_as_written(); !exact) return refuse(exact.error());
  for (const ShardId shard : shards) note_write(shard, true);
  move_ = std::move(move);
  return std::nullopt;
}

Status ShardedConversation::check_rows_read_as_written() const {
  if (reads_as_written(*session_.state().known)) return Ok{};
  return Error{sqlstate::kFeatureNotSupported,
               "rows cannot be moved to another shard under this DateStyle or IntervalStyle",
               "Set DateStyle to ISO and IntervalStyle to postgres."};
}

FanOutPlan ShardedConversation::plan_of_move() const {
  FanOutPlan plan;
  plan.use = FanOutPlan::Use::kSum;
  plan.describe = false;
  plan.most_bytes = kMostMovedBytes;
  plan.result_formats = std::string(2, '\0');  // all in text
  return plan;
}

// A simple query; `update` is the shards' text.
ShardedConversation::Verdict ShardedConversation::move_rows(const Route& route,
                                                            std::string_view update) {
  const std::string text(update);
  if (const auto verdict = begin_move(route)) return *verdict;
  move_->insert.describe = true;
  after_ = After::kMove;
  begin_fan_out({&link(move_->from)}, plan_of_move(), text);
  return Verdict::kTaken;
}

// The step that was under way is done: `reply` is what the shard said, of so many rows.
void ShardedConversation::continue_move(bool failed, std::string reply, std::uint64_t affected) {
  if (failed) return end_move(true, std::move(reply));
  switch (move_->step) {
    case Move::Step::kUpdate: {
      MovedRows rows(*move_->plan);
      if (!read_rows(reply, rows)) {
        return fail_move("a row could not be read");
      }
      move_->insert_sql = rows.insert_sql();
      move_->rows = rows.count();
      move_->step = Move::Step::kDelete;
      begin_fan_out({&link(move_->from)}, plan_of_move(), rows.remove_sql());
      return;
    }
    case Move::Step::kDelete: {
      if (affected != move_->rows) {
        return fail_move("not every row could be deleted from its old shard");
      }
      move_->step = Move::Step::kInsert;
      FanOutPlan plan = std::move(move_->insert);
      plan.use = FanOutPlan::Use::kSum;
      plan.tag = "UPDATE";
      plan.clients_text = false;
      const bool simple = !plan.result_formats;
      std::string bind;
      if (!simple) {
        FrameWriter writer(bind, frontend::kBind);
        writer.cstring({});
        writer.cstring({});
        writer.be16(0);
        writer.be16(0);
        writer.bytes(*plan.result_formats);
      }
      fan_out_ = std::make_unique<FanOut>(
          session_, *this, std::vector<ServerLink*>{&link(move_->to)}, std::move(plan));
      if (simple) {
        fan_out_->send_query(move_->insert_sql);
        return;
      }
      Statement insert;
      insert.text = std::move(move_->insert_sql);
      std::vector<FanOutShare> shares(1);
      shares[0].statement = std::make_shared<const Statement>(std::move(insert));
      shares[0].bind = std::move(bind);
      fan_out_->send_shares(std::move(shares), {});
      return;
    }
    case Move::Step::kInsert:
      if (affected != move_->rows) {
        return fail_move("not every row could be inserted on its new shard");
      }
      return end_move(false, std::move(reply));
  }
}

void ShardedConversation::fail_move(std::string_view what) {
  std::string complaint;
  append_error_response(
      complaint, Severity::kError,
      {sqlstate::kInternalError, "rows were not moved: " + std::string(what), {}});
  end_move(true, std::move(complaint));
}

void ShardedConversation::end_move(bool failed, std::string reply) {
  const bool alone = move_->alone;
  move_.reset();
  if (alone) return end_write(failed, std::move(reply));
  if (failed) transaction_.fail();
  worker_.client_out().append(reply);
  unit_done(failed);
}

}  // namespace pgshunt
