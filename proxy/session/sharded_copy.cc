// COPY over several shards. Of a COPY FROM that is not in a transaction block an implicit
// transaction is made, which ends with the COPY (a simple query) or with the client's Sync.
#include "proxy/database.h"
#include "proxy/session/bind_parts.h"
#include "proxy/session/copy_out.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/worker.h"

namespace pgshunt {

// Of a simple query.
ShardedConversation::Verdict ShardedConversation::run_copy(const Route& route,
                                                           std::string_view sql) {
  const std::vector<ShardId> shards(route.shards.begin(), route.shards.end());
  if (route.kind == RouteKind::kCopySplit) {
    if (const auto held = hold_write(shards)) return *held;
  }
  if (!acquire(shards)) return Verdict::kWait;
  sync_behind_copy_ = false;
  if (route.kind == RouteKind::kCopySplit && !transaction_.open()) {
    transaction_.begin_implicit();
    acquire(shards);  // they join
  }
  begin_copy(route, shards, sql);
  return Verdict::kTaken;
}

// COPY (query) TO whose rows have to be merged first: they are read as the query's own.
ShardedConversation::Verdict ShardedConversation::copy_query(const Route& route,
                                                             std::string_view sql,
                                                             std::uint32_t effects,
                                                             std::string preface) {
  FanOutPlan plan;
  plan.copy = route.copy;
  plan.preface = std::move(preface);
  const bool binary = plan.copy->options.format == CopyFormat::kBinary;
  if (!binary && (plan.copy->encoding_given || router_session().embeds_ascii)) {
    return refuse({sqlstate::kFeatureNotSupported,
                   "COPY of this query in an encoding of its own is not supported over several "
                   "shards",
                   "Leave out ENCODING, and set client_encoding to UTF8."});
  }
  plan.result_formats = binary ? std::string("\0\1\0\1", 4) : std::string(2, '\0');
  const std::string query(query_of_copy(sql));
  if (const Status good = check_no_parameters(query); !good) return refuse(good.error());
  const auto inside = route_inside(query, nullptr, nullptr);
  if (!inside) return refuse(inside.error());
  if (inside->kind == RouteKind::kLookup) return look_up_keys(inside->lookups);
  if (inside->kind == RouteKind::kMergeNode) {
    if (const auto verdict = prepare_merge(*inside, effects, nullptr, nullptr)) return *verdict;
    begin_merge(std::move(plan));
    return Verdict::kTaken;
  }
  MergeInstead instead;
  instead.sql = query;
  instead.effects = effects;
  instead.asked = plan;
  plan.use = FanOutPlan::Use::kMerge;
  plan.merge = *inside->merge;
  plan.window = inside->window;
  plan.may_be_unmergeable = !plan.merge.keys.empty() || plan.merge.groups;
  Statement statement;
  statement.text = inside->sql.empty() ? std::string_view(query) : inside->sql;
  const std::vector<ShardId> shards(inside->shards.begin(), inside->shards.end());
  if (!acquire(shards)) return Verdict::kWait;
  if (plan.may_be_unmergeable) merge_instead_ = std::move(instead);
  std::vector<ServerLink*> links;
  for (const ShardId shard : shards) links.push_back(&link(shard));
  after_ = After::kReply;
  const auto shared = std::make_shared<const Statement>(std::move(statement));
  const std::string message = bind_for({}, {}, *plan.result_formats);
  std::vector<FanOutShare> shares(links.size(), FanOutShare{shared, message});
  fan_out_ = std::make_unique<FanOut>(session_, *this, std::move(links), std::move(plan));
  fan_out_->send_shares(std::move(shares), {});
  return Verdict::kTaken;
}

// All of `shards` are acquired, for COPY FROM in a transaction.
void ShardedConversation::begin_copy(const Route& route, std::span<const ShardId> shards,
                                     std::string_view sql) {
  CopyShards there;
  for (const ShardId shard : shards) there.links.push_back(&link(shard));
  there.shards.assign(shards.begin(), shards.end());
  there.sql = route.copy->shard_text(sql, session_.standard_conforming_strings());
  if (route.kind == RouteKind::kCopyMerge) {
    copy_ = std::make_unique<CopyOut>(session_, *this, std::move(there), *route.copy);
    return;
  }
  if (route.copy->every_shard) {
    begin_write_everywhere(there.links, route.write_lock);
  } else {
    transaction_.wrote_everywhere = true;
    for (const ShardId shard : shards) note_write(shard, true);
  }
  auto copy = std::make_unique<CopyIn>(session_, *this, std::move(there), router_.shared_topology(),
                                       route.copy, router_session(), keys_.directory());
  copy_in_ = copy.get();
  copy_ = std::move(copy);
}

// The client's bytes while a COPY FROM is under way: how many were taken, 0 if they have to wait.
std::size_t ShardedConversation::serve_copy(std::string_view bytes) {
  if (passing_ > 0) {
    if (!copy_in_->takes_data()) return 0;
    const std::size_t step = std::min(passing_, bytes.size());
    if (!copy_in_->has_values(bytes.substr(0, step), bytes)) return 0;
    copy_in_->data(bytes.substr(0, step));
    passing_ -= step;
    return step;
  }
  if (copy_in_->starting()) return 0;
  FrameHeader header;
  const FrameStatus status = read_frontend_header(bytes, FrontendPhase::kReady, header);
  if (status == FrameStatus::kNeedMore) return 0;
  if (status == FrameStatus::kMalformed) {
    session_.close_with(frontend_frame_error(bytes, FrontendPhase::kReady));
    return 0;
  }
  if (!session_.may_send(header.body_size)) return 0;
  const bool whole = bytes.size() >= header.frame_size();
  const std::string_view body =
      whole ? bytes.substr(kFrameHeaderSize, header.body_size) : std::string_view();
  const std::size_t taken = whole ? header.frame_size() : 0;
  switch (header.type) {
    case frontend::kTerminate:
      session_.close("client ended the session");
      return 0;
    case frontend::kCopyData:
      if (!copy_in_->takes_data()) return 0;
      if (!whole) {
        passing_ = header.body_size;
        passing_to_ = nullptr;
        return kFrameHeaderSize;
      }
      if (!copy_in_->has_values(body, bytes)) return 0;
      copy_in_->data(body);
      return taken;
    case frontend::kCopyDone:
      if (copy_in_->waits_for_keys()) return 0;
      if (whole) copy_in_->done();
      return taken;
    case frontend::kCopyFail:
      if (copy_in_->waits_for_keys()) return 0;
      if (whole) copy_in_->fail(decode_copy_fail(body) ? *decode_copy_fail(body) : body);
      return taken;
    case frontend::kSync:
      if (ignore_sync_) {
        ignore_sync_ = false;
        return taken;
      }
      return copy_in_->copying() ? taken : 0;
    case frontend::kFlush:
      return copy_in_->copying() ? taken : 0;
    default:
      break;
  }
  if (!copy_in_->copying()) return 0;  // the next request
  constexpr char kHex[] = "0123456789ABCDEF";
  const auto type = static_cast<unsigned char>(header.type);
  session_.close_with({sqlstate::kProtocolViolation,
                       std::string("unexpected message type 0x") + kHex[type >> 4] +
                           kHex[type & 15] + " during COPY from stdin",
                       {}});
  return 0;
}

void ShardedConversation::on_copy_in_started() { ignore_sync_ = sync_behind_copy_; }

void ShardedConversation::on_copy_done(CopyFanOut& copy) {
  if (merge_run_) return rows_brought(copy);
  std::unique_ptr<CopyFanOut> finished = std::move(copy_);
  copy_in_ = nullptr;
  keys_.drop();
  std::string reply;
  const bool failed = copy.failed();
  if (failed) {
    reply = copy.error_response();
  } else {
    append_command_complete(reply, "COPY", copy.rows());
  }
  const bool broken = copy.broken();
  const Error& loss = copy.loss();  // buried, it lives on until a later turn
  worker_.bury(std::move(finished));

  if (broken && transaction_.open() && !transaction_.implicit()) {
    session_.close_with(loss);
    return;
  }
  if (failed && transaction_.open()) transaction_.fail();
  if (transaction_.implicit() && ready_owed_) {
    // Nothing is visible yet: the reply waits for the commit.
    if (failed) {
      session_.enqueue(reply);
    } else {
      end_reply_ = std::move(reply);
    }
    end_implicit_transaction();
    return;
  }
  worker_.client_out().append(reply);
  unit_done(failed);
}

}  // namespace pgshunt
