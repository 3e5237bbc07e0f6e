#include "proxy/session/commit_coordinator.h"

#include <algorithm>

#include "proxy/database.h"
#include "proxy/log/log.h"
#include "proxy/proxy.h"
#include "proxy/session/session.h"
#include "proxy/two_phase/two_phase.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

// Marks the requests whose ReadyForQuery is a participant's answer.
constexpr std::uint32_t kCommitTag = 1;

// How long the client waits for shards to do what has been decided.
constexpr auto kSettleTime = std::chrono::seconds(15);

std::vector<CommitParticipant> participants_of(
    const std::vector<CommitCoordinator::Writer>& writers) {
  std::vector<CommitParticipant> out;
  for (const CommitCoordinator::Writer& each : writers) {
    out.push_back({each.link->pool().spec().shard, each.wrote});
  }
  return out;
}

}  // namespace

CommitCoordinator::CommitCoordinator(Session& session, CommitOwner& owner,
                                     const std::vector<Writer>& links, bool first_last)
    : session_(session),
      owner_(owner),
      machine_(session.database()->config.name, participants_of(links), first_last),
      timer_(session.worker().loop(),
             [this] {
               machine_.out_of_time();
               take_steps();
             }),
      anchor_(std::make_shared<CommitCoordinator*>(this)) {
  for (const Writer& each : links) {
    sources_.push_back({.link = each.link, .backend = each.link->backend(), .answer = {}});
    sources_.back().backend->driver = this;
  }
}

CommitCoordinator::~CommitCoordinator() {
  for (Source& source : sources_) {
    if (source.backend) source.link->take_over_again();
  }
  if (begun_) session_.worker().proxy().two_phase().end(machine_.gid(), true);
}

void CommitCoordinator::start() {
  machine_.start();
  if (!machine_.gid().empty()) {
    begun_ = true;
    session_.worker().proxy().two_phase().begin(machine_.gid());
  }
  take_steps();
}

// May end in on_commit_done(), after which only the caller's return is left to do.
void CommitCoordinator::take_steps() {
  TwoPhase& two_phase = session_.worker().proxy().two_phase();
  for (const CommitMachine::Step& step : machine_.take_steps()) {
    const std::weak_ptr<CommitCoordinator*> anchor = anchor_;
    Worker* worker = &session_.worker();
    switch (step.kind) {
      case CommitMachine::Step::kSend: {
        Source& source = sources_[step.index];
        source.answer = {};
        source.backend->request_at = session_.worker().loop().now();
        source.backend->tracker.push(RequestKind::kQuery, ReplyUse::kSwallow, kCommitTag);
        source.backend->memory.unnamed_tag = 0;
        std::string message;
        append_query(message, step.sql);
        source.backend->send(message);
        break;
      }
      case CommitMachine::Step::kAsk:
        two_phase.ask(*session_.database(), machine_.gid(),
                      [anchor, worker](std::optional<bool> committed) {
                        worker->post([anchor, committed](Worker&) {
                          if (const auto self = anchor.lock()) {
                            (*self)->machine_.outcome(committed);
                            (*self)->take_steps();
                          }
                        });
                      });
        break;
      case CommitMachine::Step::kFinish:
        two_phase.finish(*session_.database(), machine_.gid_of(step.index),
                         sources_[step.index].link->pool().spec().shard,
                         [anchor, worker, index = step.index](bool done) {
                           worker->post([anchor, index, done](Worker&) {
                             if (const auto self = anchor.lock()) {
                               (*self)->machine_.finished(index, done);
                               (*self)->take_steps();
                             }
                           });
                         });
        break;
      case CommitMachine::Step::kDone:
        return be_done();
    }
  }
  if (machine_.settling() && !timer_.armed()) timer_.arm_after(kSettleTime);
}

void CommitCoordinator::be_done() {
  if (done_) return;
  done_ = true;
  timer_.cancel();
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    Source& source = sources_[i];
    if (!source.backend) continue;
    source.backend = nullptr;
    source.link->take_over_again();
    if (!machine_.asked(i)) continue;
    lost_server_ = true;
    source.link->forget_server("did not answer COMMIT in time");
  }
  TwoPhase& two_phase = session_.worker().proxy().two_phase();
  if (std::exchange(begun_, false)) two_phase.end(machine_.gid(), machine_.in_doubt());
  if (machine_.unfit()) two_phase.forget_fitness(session_.database()->config.name);
  if (machine_.in_doubt()) {
    session_.log(LogLevel::kWarning, "commit_in_doubt",
                 machine_.gid() + " is left to recovery on some shard");
  }
  owner_.on_commit_done(*this);
}

void CommitCoordinator::cancel() {
  if (!machine_.can_be_stopped()) return;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (sources_[i].backend && machine_.asked(i)) {
      session_.worker().cancel_on_server(*sources_[i].backend);
    }
  }
}

std::string CommitCoordinator::error_response() const {
  if (!machine_.error_message().empty()) return machine_.error_message();
  std::string out;
  append_error_response(out, Severity::kError, machine_.error());
  return out;
}

std::size_t CommitCoordinator::on_backend_bytes(Backend& backend, std::string_view bytes) {
  const auto found = std::find_if(sources_.begin(), sources_.end(),
                                  [&](const Source& source) { return source.backend == &backend; });
  const auto index = static_cast<std::size_t>(found - sources_.begin());
  std::size_t at = 0;
  // Another source may end the commit, but not while these bytes are read.
  while (at < bytes.size() && found->backend) {
    const std::string_view rest = bytes.substr(at);
    FrameHeader header;
    const FrameStatus status = read_frame_header(rest, kMaxBodySize, header);
    if (status == FrameStatus::kNeedMore) break;
    if (status == FrameStatus::kMalformed) {
      on_backend_lost(backend, {sqlstate::kProtocolViolation, "server broke the protocol", {}});
      return bytes.size();
    }
    if (rest.size() < header.frame_size()) break;
    at += header.frame_size();
    if (!on_message(index, header.type, rest.substr(0, header.frame_size()))) break;
  }
  return at;
}

// False: the server is no longer this coordinator's.
bool CommitCoordinator::on_message(std::size_t index, char type, std::string_view frame) {
  Source& source = sources_[index];
  Backend& backend = *source.backend;
  const std::string_view body = frame.substr(kFrameHeaderSize);
  const Reply reply = backend.tracker.on_message(type);
  if (reply.outcome == ReplyOutcome::kViolation) {
    on_backend_lost(backend, {sqlstate::kProtocolViolation, "server broke the protocol", {}});
    return false;
  }
  if (reply.outcome == ReplyOutcome::kAsync) {
    if (type == backend::kParameterStatus) note_parameter_status(backend, body);
    if (type == backend::kNoticeResponse) session_.enqueue(frame);
    return true;
  }
  if (reply.outcome == ReplyOutcome::kError || reply.outcome == ReplyOutcome::kUnsolicited) {
    const std::string deadlock = session_.error_of_deadlock(body);
    const std::string_view said = deadlock.empty() ? frame : std::string_view(deadlock);
    const auto error = decode_error_response(said.substr(kFrameHeaderSize));
    if (error && !source.answer.error) {
      source.answer.error = error->to_error();
      if (error->severity() == "ERROR") source.answer.error_message = said;
    }
    return true;
  }
  if (type == backend::kCommandComplete) {
    if (const auto tag = decode_command_complete(body)) source.answer.tag = *tag;
  }
  if (type != backend::kReadyForQuery) return true;
  const auto transaction = decode_ready_for_query(body);
  if (transaction) backend.transaction = *transaction;
  if (reply.request.tag != kCommitTag) return true;
  source.answer.in_transaction = backend.transaction != TransactionStatus::kIdle;
  machine_.answered(index, source.answer);
  take_steps();
  return !done_;
}

void CommitCoordinator::on_backend_lost(Backend& backend, const Error& error) {
  const auto found = std::find_if(sources_.begin(), sources_.end(),
                                  [&](const Source& source) { return source.backend == &backend; });
  found->backend = nullptr;
  lost_server_ = true;
  found->link->forget_server(error.message);
  machine_.lost(static_cast<std::size_t>(found - sources_.begin()), error);
  take_steps();
}

}  // namespace pgshunt
