#include "protocol/extended_state.h"

namespace pgshunt {
namespace {

bool is_local(RequestKind kind) {
  return kind == RequestKind::kLocal || kind == RequestKind::kLocalError ||
         kind == RequestKind::kLocalSync;
}

bool ends_skip(RequestKind kind) {
  return kind == RequestKind::kSync || kind == RequestKind::kLocalSync;
}

}  // namespace

bool ResponseTracker::push(RequestKind kind, ReplyUse use, std::uint32_t tag) {
  discarded_ = 0;
  if (skipping_) {
    // From here on the skip lasts to the client's next Sync, whatever the server makes of the last.
    stray_ends_skip_ = false;
    if (!ends_skip(kind)) return false;
    skipping_ = false;
  }
  if (copy_ == CopyState::kIn && !copy_ended_) {
    if (kind == RequestKind::kSync) {
      ++copy_syncs_;
      return true;
    }
    if (kind == RequestKind::kCopyEnd) {
      copy_ended_ = true;
      return true;
    }
  }
  // Outside COPY the server ignores a CopyDone.
  if (kind == RequestKind::kCopyEnd && size_ == 0) return true;
  if (kind == RequestKind::kLocalError) skipping_ = true;
  if (kind >= RequestKind::kParse && kind <= RequestKind::kClose) unsynced_ = true;
  append({kind, use, tag});
  return true;
}

std::optional<Request> ResponseTracker::pop_due_local() {
  if (!is_local(front_kind())) return std::nullopt;
  const Request local = front();
  pop_front();
  return local;
}

ResponseTracker::Owed ResponseTracker::owed() const {
  Owed owed;
  owed.open_pipeline = unsynced_;
  for (std::uint32_t i = 0; i < size_; ++i) {
    const Request& request = slots()[(head_ + i) & mask_];
    if (request.use == ReplyUse::kSwallow || request.kind == RequestKind::kCopyEnd) continue;
    const bool ready = request.kind == RequestKind::kQuery ||
                       request.kind == RequestKind::kFunctionCall || ends_skip(request.kind);
    if (ready) ++owed.readies;
    owed.open_pipeline = !ready;
  }
  return owed;
}

Reply ResponseTracker::on_other_message(char type) {
  discarded_ = 0;
  switch (type) {
    case backend::kNoticeResponse:
    case backend::kParameterStatus:
    case backend::kNotificationResponse:
      return {ReplyOutcome::kAsync, current()};
    default:
      break;
  }
  if (lost_) return {};
  if (type == backend::kErrorResponse) return on_error();
  if (type == backend::kReadyForQuery) return on_ready_for_query();
  if (step_ == Step::kFailed) return {};
  switch (front_kind()) {
    case RequestKind::kQuery:
      return answer_query(type);
    case RequestKind::kExecute:
      return answer_execute(type);
    case RequestKind::kParse:
      return type == backend::kParseComplete ? complete() : Reply{};
    case RequestKind::kBind:
      return type == backend::kBindComplete ? complete() : Reply{};
    case RequestKind::kClose:
      return type == backend::kCloseComplete ? complete() : Reply{};
    case RequestKind::kDescribeStatement:
      return answer_describe(type, true);
    case RequestKind::kDescribePortal:
      return answer_describe(type, false);
    case RequestKind::kFunctionCall:
      if (type != backend::kFunctionCallResponse || step_ != Step::kWaiting) return {};
      return progress();
    default:
      return {};
  }
}

// Several statements in one Query answer one after the other, each with rows, a COPY or only a tag.
Reply ResponseTracker::answer_query(char type) {
  switch (type) {
    case backend::kCommandComplete:
      if (!copy_may_end()) return {};
      copy_ = CopyState::kNone;
      return progress();
    case backend::kRowDescription:
    case backend::kEmptyQueryResponse:
      return copy_ == CopyState::kNone ? progress() : Reply{};
    case backend::kCopyInResponse:
      return on_copy_in();
    case backend::kCopyOutResponse:
    case backend::kCopyBothResponse:
      if (copy_ != CopyState::kNone) return {};
      copy_ = type == backend::kCopyOutResponse ? CopyState::kOut : CopyState::kBoth;
      return progress();
    case backend::kCopyDone:
      if (copy_ != CopyState::kOut && copy_ != CopyState::kBoth) return {};
      copy_ = CopyState::kNone;
      return progress();
    default:
      return {};
  }
}

// CommandComplete ends a COPY: TO STDOUT only after the server's CopyDone; FROM STDIN only after
// the client's, up to which every Sync has been read and ignored.
bool ResponseTracker::copy_may_end() const {
  return copy_ != CopyState::kOut && (copy_ != CopyState::kIn || copy_ended_);
}

Reply ResponseTracker::answer_execute(char type) {
  switch (type) {
    case backend::kCommandComplete:
      return copy_may_end() ? complete() : Reply{};
    case backend::kEmptyQueryResponse:
    case backend::kPortalSuspended:
      return copy_ == CopyState::kNone ? complete() : Reply{};
    case backend::kCopyInResponse:
    case backend::kCopyOutResponse:
    case backend::kCopyBothResponse:
    case backend::kCopyDone:
      return answer_query(type);
    default:
      return {};
  }
}

Reply ResponseTracker::answer_describe(char type, bool statement) {
  if (type == backend::kParameterDescription) {
    return statement && step_ == Step::kWaiting ? progress() : Reply{};
  }
  if (type != backend::kRowDescription && type != backend::kNoData) return {};
  return !statement || step_ == Step::kStarted ? complete() : Reply{};
}

// From here on the server reads COPY data. It ignores Sync and Flush until CopyDone or CopyFail,
// "for the convenience of client libraries that may send those without noticing that the command
// they just sent was COPY" (copyfromparse.c): those that were sent already come off the queue.
// Anything else would be fatal to the connection.
Reply ResponseTracker::on_copy_in() {
  if (copy_ != CopyState::kNone) return {};
  copy_ = CopyState::kIn;
  copy_ended_ = false;
  copy_syncs_ = 0;
  std::uint32_t kept = 1;
  for (std::uint32_t i = 1; i < size_; ++i) {
    const Request request = at(i);
    if (!copy_ended_ && request.kind == RequestKind::kSync) {
      ++copy_syncs_;
    } else if (!copy_ended_ && request.kind == RequestKind::kCopyEnd) {
      copy_ended_ = true;
    } else {
      at(kept++) = request;
    }
  }
  size_ = kept;
  return progress();
}

Reply ResponseTracker::on_error() {
  if (size_ == 0) return {ReplyOutcome::kUnsolicited, {}};
  if (is_local(front().kind)) return {};  // the owner did not pop what was due
  const Request failed = front();
  // Where in the data did a COPY FROM STDIN fail, before or behind the Syncs? It does not say.
  const std::uint32_t doubtful = copy_ == CopyState::kIn ? copy_syncs_ : 0;
  if (doubtful != 0) {
    stray_syncs_ += doubtful;
  } else if (failed.kind != RequestKind::kSync) {
    stray_syncs_ = 0;
  }
  copy_ = CopyState::kNone;
  copy_syncs_ = 0;
  switch (failed.kind) {
    case RequestKind::kQuery:
    case RequestKind::kFunctionCall:
    case RequestKind::kSync:  // the commit it stands for has failed
      step_ = Step::kFailed;
      break;
    default: {
      const std::uint32_t skipped = discard_to_sync();
      if (doubtful != 0) {
        // Requests sent blindly behind such a COPY are skipped or executed, and again it does not
        // say.
        lost_ |= skipped != 0;
        stray_ends_skip_ = skipping_;
      }
      break;
    }
  }
  return {ReplyOutcome::kError, failed};
}

Reply ResponseTracker::on_ready_for_query() {
  const RequestKind kind = front_kind();
  const bool answered = kind == RequestKind::kSync ||
                        ((kind == RequestKind::kQuery || kind == RequestKind::kFunctionCall) &&
                         step_ != Step::kWaiting && copy_ == CopyState::kNone);
  if (answered) {
    const Request request = front();
    pop_front();
    // What is outstanding still may be the next pipeline.
    unsynced_ = unsynced_ && size_ > 0;
    return {ReplyOutcome::kComplete, request};
  }
  if (stray_syncs_ == 0 || copy_ != CopyState::kNone || is_local(kind)) return {};
  --stray_syncs_;
  unsynced_ = unsynced_ && size_ > 0;
  if (stray_ends_skip_) {
    skipping_ = false;
    stray_ends_skip_ = false;
    return {ReplyOutcome::kComplete, {RequestKind::kSync, ReplyUse::kForward, 0}};
  }
  return {ReplyOutcome::kStray, {}};
}

// The server answers in order: with this message, whatever was sent earlier is settled.
Reply ResponseTracker::progress() {
  stray_syncs_ = 0;
  step_ = Step::kStarted;
  return {ReplyOutcome::kProgress, front()};
}

Reply ResponseTracker::complete() {
  stray_syncs_ = 0;
  copy_ = CopyState::kNone;
  const Request request = front();
  pop_front();
  return {ReplyOutcome::kComplete, request};
}

void ResponseTracker::pop_front() {
  step_ = Step::kWaiting;
  do {
    ++head_;
    --size_;
  } while (front_kind() == RequestKind::kCopyEnd);
}

// ignore_till_sync (PostgresMain()): the server reads and drops everything, Query included, until a
// Sync.
std::uint32_t ResponseTracker::discard_to_sync() {
  std::uint32_t with_reply = 0;
  step_ = Step::kWaiting;
  ++head_;
  --size_;
  discarded_at_ = head_;
  while (size_ != 0 && !ends_skip(front().kind)) {
    if (front().kind != RequestKind::kCopyEnd) ++with_reply;
    ++head_;
    --size_;
    ++discarded_;
  }
  if (size_ == 0) skipping_ = true;
  return with_reply;
}

void ResponseTracker::append(const Request& request) {
  if (size_ > mask_) grow();
  slots()[(head_ + size_) & mask_] = request;
  ++size_;
}

void ResponseTracker::grow() {
  const std::size_t capacity = (std::size_t{mask_} + 1) * 2;
  auto bigger = std::make_unique<Request[]>(capacity);
  for (std::uint32_t i = 0; i < size_; ++i) bigger[i] = at(i);
  heap_ = std::move(bigger);
  mask_ = static_cast<std::uint32_t>(capacity - 1);
  head_ = 0;
}

}  // namespace pgshunt
