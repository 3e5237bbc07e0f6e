#include "proxy/session/copy_out.h"

#include "protocol/frontend.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

namespace pgshunt {

CopyOut::CopyOut(Session& session, CopyFanOutOwner& owner, CopyShards shards, const CopyPlan& plan)
    : CopyFanOut(session, owner, std::move(shards)),
      merger_(plan.options.format, plan.options.header, sources_.size()) {
  for (Source& source : sources_) ask(source, sql_);
}

std::uint64_t CopyOut::rows() const {
  std::uint64_t sum = 0;
  for (const Source& source : sources_) sum += source.rows;
  return sum;
}

// No row is shown before every shard has accepted the statement, as no server shows any before it
// has.
bool CopyOut::must_wait(const Source& source) const {
  return source.started && !copying_ && !failed();
}

// What the statement says, all shards say.
bool CopyOut::forwards_notices(const Source& source) const { return &source == &sources_.front(); }

void CopyOut::on_started(Source& source) {
  if (failed()) return;
  if (!all_started()) {
    source.backend->pause_reading();
    return;
  }
  if (!responses_agree()) {
    give_up();
    return;
  }
  copying_ = true;
  session_.enqueue(sources_.front().response);
  read_all();
}

void CopyOut::on_copy_data(Source& source, std::string_view frame) {
  if (failed()) return;
  const std::string_view body = frame.substr(kFrameHeaderSize);
  const auto piece = merger_.take(static_cast<std::size_t>(&source - sources_.data()), body);
  if (!piece) {
    std::string message;
    append_error_response(message, Severity::kError, piece.error());
    offer_error(std::move(message), 0);
    give_up();
  } else if (piece->size() == body.size()) {
    forward(frame);
  } else if (!piece->empty()) {
    std::string changed;
    append_copy_data(changed, *piece);
    forward({});
    session_.enqueue(changed);
  }
}

void CopyOut::forward(std::string_view frame) {
  if (!frame.empty() && verbatim_.data() + verbatim_.size() == frame.data()) {
    verbatim_ = {verbatim_.data(), verbatim_.size() + frame.size()};
    return;
  }
  session_.enqueue(verbatim_);
  verbatim_ = frame;
}

void CopyOut::on_turn_ends() {
  forward({});
  session_.flush();  // may call client_slow()
}

void CopyOut::on_shard_error(Source&, std::string_view body) {
  std::string message(1, backend::kErrorResponse);
  message.append(4, '\0').append(body);
  store_be32(message.data() + 1, static_cast<std::uint32_t>(message.size() - 1));
  offer_error(std::move(message), 0);
  give_up();
}

void CopyOut::on_shard_lost(Source&) { give_up(); }

// What the others are still doing is for nothing.
void CopyOut::give_up() {
  for (const Source& source : sources_) {
    if (!source.failed) cancel_on_server(source);
  }
  read_all();
}

void CopyOut::on_all_finished() {
  if (failed()) return;
  std::string end;
  if (const std::string_view last = merger_.finish(); !last.empty()) append_copy_data(end, last);
  append_copy_done(end);
  session_.enqueue(end);
}

void CopyOut::client_slow(bool slow) {
  slow_ = slow;
  if (!slow) {
    read_all();
  } else if (!failed()) {
    for (const Source& source : sources_) {
      if (source.backend) source.backend->pause_reading();
    }
  }
}

void CopyOut::read_all() {
  if (slow_ && !failed()) return;
  for (const Source& source : sources_) {
    if (source.backend && !must_wait(source)) source.backend->resume_reading();
  }
}

}  // namespace pgshunt
