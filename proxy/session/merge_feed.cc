#include "proxy/session/merge_feed.h"

#include <algorithm>
#include <utility>

#include "protocol/frontend.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

constexpr std::size_t kFull = 1024 * 1024;

// The merge node is one more server, the last.
CopyShards with_sink(CopyShards shards, ServerLink& into) {
  shards.links.push_back(&into);
  shards.shards.push_back(0);
  return shards;
}

}  // namespace

MergeFeed::MergeFeed(Session& session, CopyFanOutOwner& owner, CopyShards shards, ServerLink& into,
                     std::string in_sql, CopyFormat format, MergeAllowance& allowance)
    : CopyFanOut(session, owner, with_sink(std::move(shards), into)),
      merger_(format, false, sources_.size() - 1),
      allowance_(allowance) {
  for (Source& source : sources_) ask(source, is_sink(source) ? in_sql : sql_);
}

std::uint64_t MergeFeed::rows() const { return sink().rows; }

// Nothing is brought before the merge node takes it, and no more than it takes.
bool MergeFeed::must_wait(const Source& source) const {
  if (is_sink(source) || failed()) return false;
  return source.started && (full_ || !sink().started);
}

void MergeFeed::on_started(Source& source) {
  if (failed()) {
    if (is_sink(source)) end(false);
    return;
  }
  if (is_sink(source)) {
    read_all();
  } else if (!sink().started) {
    source.backend->pause_reading();
  }
}

void MergeFeed::on_copy_data(Source& source, std::string_view frame) {
  if (failed() || is_sink(source)) return;
  const std::string_view body = frame.substr(kFrameHeaderSize);
  const auto piece = merger_.take(static_cast<std::size_t>(&source - sources_.data()), body);
  if (!piece) {
    std::string message;
    append_error_response(message, Severity::kError, piece.error());
    offer_error(std::move(message), 0);
    give_up();
    return;
  }
  if (allowance_.rows == 0) return exceed("rows");
  if (allowance_.bytes < body.size()) return exceed("bytes");
  --allowance_.rows;
  allowance_.bytes -= body.size();
  append_copy_data(out_, *piece);
}

void MergeFeed::exceed(std::string_view what) {
  std::string message;
  append_error_response(
      message, Severity::kError,
      {sqlstate::kProgramLimitExceeded,
       "the merge node would need more " + std::string(what) +
           " of this statement's tables than merge_" + std::string(what) + " allows",
       "Give the shard key or narrower conditions, or raise the limit. EXPLAIN "
       "(PGSHUNT) shows what is brought."});
  offer_error(std::move(message), 0);
  give_up();
}

void MergeFeed::on_turn_ends() {
  Source& into = sink();
  if (!out_.empty()) {
    if (into.backend && !failed()) into.backend->send(out_);
    out_.clear();
  }
  if (failed()) return;
  if (into.backend && !full_ && into.backend->stream().queued() > kFull) {
    full_ = true;
    for (const Source& source : sources_) {
      if (!is_sink(source) && source.backend && !source.finished) source.backend->pause_reading();
    }
  }
  const bool all = std::all_of(sources_.begin(), sources_.end() - 1,
                               [](const Source& source) { return source.finished; });
  if (all && into.started) end(true);
}

void MergeFeed::on_backend_drained(Backend& backend) {
  if (!full_ || &backend != sink().backend) return;
  full_ = false;
  read_all();
}

void MergeFeed::end(bool whole) {
  if (std::exchange(ended_, true) || !sink().backend || sink().failed) return;
  std::string message;
  if (!whole) {
    append_copy_fail(message, "the rows did not come");
  } else {
    if (const std::string_view last = merger_.finish(); !last.empty()) {
      append_copy_data(message, last);
    }
    append_copy_done(message);
  }
  sink().backend->tracker.push(RequestKind::kCopyEnd, ReplyUse::kSwallow);
  sink().backend->send(message);
}

void MergeFeed::on_shard_error(Source& source, std::string_view body) {
  std::string message(1, backend::kErrorResponse);
  message.append(4, '\0').append(body);
  store_be32(message.data() + 1, static_cast<std::uint32_t>(message.size() - 1));
  offer_error(std::move(message), 0);
  if (is_sink(source)) ended_ = true;
  give_up();
}

void MergeFeed::on_shard_lost(Source&) { give_up(); }

// What the others are still doing is for nothing.
void MergeFeed::give_up() {
  for (const Source& source : sources_) {
    if (!is_sink(source) && !source.failed) cancel_on_server(source);
  }
  if (sink().started) end(false);
  read_all();
}

void MergeFeed::read_all() {
  for (const Source& source : sources_) {
    if (source.backend && !must_wait(source)) source.backend->resume_reading();
  }
}

}  // namespace pgshunt
