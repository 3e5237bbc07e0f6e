#include "proxy/session/pooled_conversation.h"

#include <algorithm>

#include "proxy/database.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

namespace pgshunt {

PooledConversation::PooledConversation(Session& session, Pool& pool)
    : session_(session), link_(session, *this, pool) {}

std::size_t PooledConversation::on_client_bytes(std::string_view bytes) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::string_view rest = bytes.substr(at);
    if (passing_ > 0) {
      const std::size_t step = std::min(passing_, rest.size());
      if (!passing_dropped_ && link_.ready()) link_.pass(rest.substr(0, step));
      passing_ -= step;
      at += step;
      continue;
    }
    FrameHeader header;
    const FrameStatus status = read_frontend_header(rest, FrontendPhase::kReady, header);
    if (status == FrameStatus::kNeedMore) break;
    if (status == FrameStatus::kMalformed) {
      session_.close_with(frontend_frame_error(rest, FrontendPhase::kReady));
      return at;
    }
    if (!session_.may_send(header.body_size)) return at;
    if (header.type == frontend::kTerminate) {
      session_.close("client ended the session");
      return at;
    }
    if (rest.size() < header.frame_size()) {
      if (header.type != frontend::kCopyData) break;
      passing_ = header.frame_size();
      passing_dropped_ = !link_.ready();
      if (!passing_dropped_) link_.begin_pass(passing_);
      continue;
    }
    const Verdict verdict = serve_message(header, rest.substr(0, header.frame_size()));
    if (verdict == Verdict::kEnd) return at;
    if (verdict == Verdict::kWait) break;
    at += header.frame_size();
  }
  if (link_.ready()) {
    link_.flush();
    if (link_.backend() && link_.backend()->stream().queued() >
                               session_.worker().snapshot()->config->client_output_limit) {
      session_.pause_reading();
    }
  }
  return at;
}

PooledConversation::Verdict PooledConversation::serve_message(const FrameHeader& header,
                                                              std::string_view frame) {
  if (skipping_) {
    if (header.type != frontend::kSync) return Verdict::kTaken;
    skipping_ = false;
    if (!link_.held()) return serve_without_server(header.type);
  }
  if (!link_.held()) {
    switch (header.type) {
      case frontend::kSync:
      case frontend::kFlush:
      case frontend::kCopyData:
      case frontend::kCopyDone:
      case frontend::kCopyFail:
        return serve_without_server(header.type);
      default:
        break;
    }
  }
  if (!link_.acquire()) return Verdict::kWait;
  switch (link_.request(header, frame)) {
    case ServerLink::Take::kDone:
      return Verdict::kTaken;
    case ServerLink::Take::kWait:
      return Verdict::kWait;
    case ServerLink::Take::kInvalid:
      break;
  }
  return refuse_request(header, link_.error());
}

// A request that must not reach the server. Whatever the pipeline did before it is undone, as it
// would be had the server itself found the error.
PooledConversation::Verdict PooledConversation::refuse_request(const FrameHeader& header,
                                                               const Error& error) {
  const bool simple = header.type == frontend::kQuery || header.type == frontend::kFunctionCall;
  if (link_.busy() || (link_.pipeline_open() && !simple)) {
    switch (link_.refuse(error, simple)) {
      case ServerLink::Take::kDone:
        skipping_ = true;
        return Verdict::kTaken;
      case ServerLink::Take::kWait:
        return Verdict::kWait;
      case ServerLink::Take::kInvalid:
        break;
    }
    session_.close_with(error);
    return Verdict::kEnd;
  }
  TransactionStatus status = link_.transaction();
  if (status == TransactionStatus::kInTransaction) {
    // The block must fail as a whole.
    link_.fail_transaction();
    status = TransactionStatus::kFailed;
  }
  session_.send_error(error, status, simple);
  skipping_ = !simple;
  session_.worker().defer_release(link_);
  return Verdict::kTaken;
}

PooledConversation::Verdict PooledConversation::serve_without_server(char type) {
  if (type == frontend::kSync) {
    std::string& out = session_.worker().client_out();
    append_ready_for_query(out, TransactionStatus::kIdle);
    session_.enqueue(out);
    out.clear();
    session_.flush_later();
  }
  return Verdict::kTaken;
}

void PooledConversation::on_client_slow(bool slow) {
  if (slow) {
    link_.pause_replies();
  } else {
    link_.resume_replies();
  }
}

void PooledConversation::deliver(std::string_view message) {
  held_.append(message);
  deliver_held();
}

void PooledConversation::deliver_held() {
  if (held_.empty() || link_.busy() || link_.transaction() != TransactionStatus::kIdle) return;
  session_.enqueue(held_);
  session_.flush_later();
  held_.clear();
}

void PooledConversation::on_cancel() {
  if (link_.waiting()) {
    give_up_waiting(canceled_by_user());
  } else {
    link_.cancel_request();
  }
}

bool PooledConversation::idle() const {
  return !link_.waiting() && !link_.busy() && link_.transaction() == TransactionStatus::kIdle;
}

bool PooledConversation::idle_in_transaction() const {
  return link_.held() && !link_.busy() && link_.transaction() != TransactionStatus::kIdle;
}

TimePoint PooledConversation::waiting_since() const {
  return link_.waiting() ? link_.waiting_since() : TimePoint{};
}

TimePoint PooledConversation::request_since() const {
  if (link_.waiting()) return link_.waiting_since();
  return link_.busy() ? link_.backend()->request_at : TimePoint{};
}

void PooledConversation::give_up_waiting(const Error& error) {
  link_.stop_waiting();
  fail_request(error);
}

std::string PooledConversation::server_address() const {
  return link_.held() ? link_.backend()->identity.address : std::string();
}

void PooledConversation::on_link_ready(ServerLink&) { session_.resume(); }

void PooledConversation::on_link_refused(ServerLink&, const Error& error) { fail_request(error); }

// The request that waits at the front of the client's bytes gets an error instead of a server.
void PooledConversation::fail_request(const Error& error) {
  const char type = session_.next_message_type();
  if (type == frontend::kQuery || type == frontend::kFunctionCall) {
    session_.drop_next_message();
    session_.send_error(error, TransactionStatus::kIdle, true);
  } else {
    session_.send_error(error, TransactionStatus::kIdle, false);
    skipping_ = true;
  }
  session_.resume();
}

void PooledConversation::on_link_broken(ServerLink& link, const Error& error, bool in_transaction) {
  if (in_transaction) {
    // What the client believes to be open is gone; going on would run the rest of its transaction
    // outside of it.
    if (link.told()) return session_.close(error.message);
    return session_.close_with(error);
  }
  // Whatever was sent to that server fails, each request or pipeline for itself: who knows how far
  // it came.
  const auto [readies, open_pipeline] = link.owed();
  for (std::uint32_t i = 0; i < readies; ++i) {
    if (i == 0 && link.told()) {
      serve_without_server(frontend::kSync);
    } else {
      session_.send_error(error, TransactionStatus::kIdle, true);
    }
  }
  if (open_pipeline) {
    if (readies > 0 || !link.told()) session_.send_error(error, TransactionStatus::kIdle, false);
    skipping_ = true;
  }
  session_.resume();
}

void PooledConversation::on_link_request_done(ServerLink& link) {
  if (!link.busy()) deliver_held();
}

void PooledConversation::on_link_drained(ServerLink&) { session_.resume(); }

}  // namespace pgshunt
