#include "proxy/session/copy_fan_out.h"

#include <algorithm>

#include "protocol/copy_merge.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

// Marks the one request whose ReadyForQuery ends a shard's part; those before it (BEGIN, settings)
// have none.
constexpr std::uint32_t kCopyTag = 1;

}  // namespace

CopyFanOut::CopyFanOut(Session& session, CopyFanOutOwner& owner, CopyShards shards)
    : session_(session), owner_(owner), sql_(std::move(shards.sql)) {
  sources_.resize(shards.links.size());
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    Source& source = sources_[i];
    source.link = shards.links[i];
    source.shard = shards.shards[i];
    source.backend = source.link->backend();
    source.backend->driver = this;
  }
}

CopyFanOut::~CopyFanOut() {
  for (const Source& source : sources_) {
    if (source.backend) source.link->take_over_again();
  }
}

void CopyFanOut::ask(Source& source, std::string_view sql) {
  if (!source.backend) return;
  Backend& backend = *source.backend;
  source.asked = true;
  backend.request_at = session_.worker().loop().now();
  backend.memory.unnamed_tag = 0;
  backend.tracker.push(RequestKind::kQuery, ReplyUse::kSwallow, kCopyTag);
  std::string message;
  append_query(message, sql);
  source.link->note_driven(sql, false);
  backend.send(message);
}

bool CopyFanOut::all_started() const {
  return std::all_of(sources_.begin(), sources_.end(), [](const Source& s) { return s.started; });
}

bool CopyFanOut::responses_agree() {
  for (const Source& source : sources_) {
    if (source.response == sources_.front().response) continue;
    std::string message;
    append_error_response(message, Severity::kError,
                          {sqlstate::kFeatureNotSupported,
                           "shards \"" + sources_.front().link->pool().spec().shard + "\" and \"" +
                               source.link->pool().spec().shard + "\" copy different columns",
                           "The tables have drifted apart: compare their columns."});
    offer_error(std::move(message), 0);
    return false;
  }
  return true;
}

void CopyFanOut::offer_error(std::string message, std::uint64_t line) {
  if (failed() && error_line_ <= line) return;
  error_response_ = std::move(message);
  error_line_ = line;
}

void CopyFanOut::cancel_on_server(const Source& source) {
  if (source.backend && source.asked && !source.finished) {
    session_.worker().cancel_on_server(*source.backend);
  }
}

void CopyFanOut::cancel() {
  canceled_ = true;
  for (const Source& source : sources_) cancel_on_server(source);
}

CopyFanOut::Source& CopyFanOut::source_of(const Backend& backend) {
  return *std::find_if(sources_.begin(), sources_.end(),
                       [&](const Source& source) { return source.backend == &backend; });
}

std::size_t CopyFanOut::on_backend_bytes(Backend& backend, std::string_view bytes) {
  Source& source = source_of(backend);
  std::size_t at = 0;
  while (at < bytes.size() && !must_wait(source)) {
    const std::string_view rest = bytes.substr(at);
    FrameHeader header;
    const FrameStatus status = read_frame_header(rest, kMaxBodySize, header);
    if (status == FrameStatus::kNeedMore) break;
    if (status == FrameStatus::kComplete && rest.size() < header.frame_size()) break;
    const bool good = status == FrameStatus::kComplete &&
                      on_message(source, header.type, rest.substr(0, header.frame_size()));
    if (!good) {
      on_backend_lost(backend, {sqlstate::kProtocolViolation, "server broke the protocol", {}});
      return bytes.size();
    }
    at += header.frame_size();
  }
  on_turn_ends();
  finish_if_done();
  return at;
}

// False if it is not what a server may say now.
bool CopyFanOut::on_message(Source& source, char type, std::string_view frame) {
  Backend& backend = *source.backend;
  const std::string_view body = frame.substr(kFrameHeaderSize);
  const Reply reply = backend.tracker.on_message(type);
  const bool ours = reply.request.tag == kCopyTag;
  switch (reply.outcome) {
    case ReplyOutcome::kViolation:
      return false;
    case ReplyOutcome::kAsync:
      if (type == backend::kParameterStatus) note_parameter_status(backend, body);
      if (type == backend::kNoticeResponse && ours && forwards_notices(source)) {
        session_.enqueue(frame);
        session_.flush_later();
      }
      return true;
    case ReplyOutcome::kError:
    case ReplyOutcome::kUnsolicited:
      on_error(source, body);
      return true;
    default:
      break;
  }
  if (type == backend::kReadyForQuery) {
    const auto transaction = decode_ready_for_query(body);
    if (transaction) backend.transaction = *transaction;
    source.finished |= ours;
    return true;
  }
  if (!ours) return true;
  switch (type) {
    case backend::kCopyInResponse:
    case backend::kCopyOutResponse:
      source.started = true;
      source.response = frame;
      on_started(source);
      break;
    case backend::kCopyData:
      on_copy_data(source, frame);
      break;
    case backend::kCommandComplete:
      if (const auto tag = decode_command_complete(body)) {
        source.rows = copy_row_count(*tag).value_or(0);
      }
      break;
    default:
      break;
  }
  return true;
}

void CopyFanOut::on_error(Source& source, std::string_view body) {
  const std::string deadlock = session_.error_of_deadlock(body);
  if (!deadlock.empty()) body = std::string_view(deadlock).substr(kFrameHeaderSize);
  const auto error = decode_error_response(body);
  // What comes behind the first is its consequence.
  if (!error || std::exchange(source.failed, true)) return;
  session_.note_error(source.link->pool(), *error);
  if (!error->fatal()) {
    on_shard_error(source, body);
    return;
  }
  // The connection ends, but not the client's.
  loss_ = error->to_error();
  std::string message;
  append_error_response(message, Severity::kError, loss_);
  offer_error(std::move(message), 0);
  on_shard_lost(source);
}

void CopyFanOut::on_backend_lost(Backend& backend, const Error& error) {
  Source& source = source_of(backend);
  source.backend = nullptr;
  source.finished = true;
  source.link->forget_server(error.message);
  broken_ = true;
  if (loss_.message.empty()) loss_ = error;
  if (!std::exchange(source.failed, true)) {
    std::string message;
    append_error_response(message, Severity::kError, error);
    offer_error(std::move(message), 0);
  }
  on_shard_lost(source);
  on_turn_ends();
  finish_if_done();
}

void CopyFanOut::finish_if_done() {
  if (done_) return;
  for (const Source& source : sources_) {
    if (!source.finished) return;
  }
  done_ = true;
  on_all_finished();
  for (Source& source : sources_) {
    if (!source.backend) continue;
    source.backend->resume_reading();
    source.link->take_over_again();
    source.backend = nullptr;
  }
  owner_.on_copy_done(*this);
}

}  // namespace pgshunt
