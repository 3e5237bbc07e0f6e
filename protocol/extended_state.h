// What a server still owes: the queue of requests sent to it and not yet answered.
//
// One ResponseTracker belongs to one server connection and is used on its thread. Whoever sends a
// request pushes one small entry for it; whoever reads a reply hands over the message's type and
// learns which request it belongs to and whether that is now finished. Pipelines of any shape, the
// skip to the next Sync after an error, and COPY's eating of Syncs are all in here, so the rest of
// the proxy never guesses. (PostgreSQL manual, "Message Flow"; tcop/postgres.c, commands/
// copyfromparse.c.)
//
//   tracker.push(RequestKind::kParse, kForward, id);     // on every request sent
//   while (auto local = tracker.pop_due_local()) ...     // after every push and every completion
//   auto reply = tracker.on_message(type);               // on every reply
//
// Nothing is allocated until more than kInlineEntries requests are outstanding.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "protocol/backend.h"

namespace pgshunt {

enum class RequestKind : std::uint8_t {
  kNone,               // in a Reply only: the message answers no request
  kQuery,              // ends at ReadyForQuery
  kParse,              // ParseComplete
  kBind,               // BindComplete
  kDescribeStatement,  // ParameterDescription, then RowDescription or NoData
  kDescribePortal,     // RowDescription or NoData
  kExecute,            // CommandComplete, EmptyQueryResponse or PortalSuspended
  kClose,              // CloseComplete
  kSync,               // ReadyForQuery
  kFunctionCall,       // ends at ReadyForQuery
  // CopyDone or CopyFail, whether or not a COPY is on. Has no reply; it marks where COPY stops
  // eating Syncs.
  kCopyEnd,
  // Not sent to the server: the proxy answers these itself, when their turn comes.
  kLocal,
  kLocalError,  // an error in the proxy's own name; whatever is pushed behind it is skipped
  // A Sync answered by the proxy: ends a skip, as kSync does. Only if nothing was sent to the
  // server since its last Sync: a server that skips must get the real one.
  kLocalSync,
};

// Does the client see the replies?
enum class ReplyUse : std::uint8_t {
  kForward,
  kSwallow,  // the proxy's own request in between; its error is for the owner to judge
};

struct Request {
  RequestKind kind = RequestKind::kNone;
  ReplyUse use = ReplyUse::kForward;
  std::uint32_t tag = 0;  // the owner's, e.g. which prepared statement
  friend bool operator==(const Request&, const Request&) = default;
};

enum class CopyState : std::uint8_t { kNone, kIn, kOut, kBoth };

enum class ReplyOutcome : std::uint8_t {
  kProgress,  // part of `request`'s answer, more to come
  kComplete,  // the last part: the request is off the queue
  // ErrorResponse to `request`. kQuery, kFunctionCall and kSync stay on the queue until
  // ReadyForQuery; any other kind is off it, and so is everything up to the next Sync: see
  // discarded().
  kError,
  // Notice, ParameterStatus, Notification: may come at any time. `request` is the one being
  // answered, if any: the notices of a swallowed request are not the client's.
  kAsync,
  kUnsolicited,  // ErrorResponse with nothing outstanding: the server says why it hangs up
  kStray,        // ReadyForQuery for a Sync that a failed COPY was thought to have eaten: drop it
  kViolation,    // does not fit: the stream cannot be trusted any more, close it
};

struct Reply {
  ReplyOutcome outcome = ReplyOutcome::kViolation;
  Request request;
};

class ResponseTracker {
 public:
  ResponseTracker() = default;
  ResponseTracker(const ResponseTracker&) = delete;
  ResponseTracker& operator=(const ResponseTracker&) = delete;

  // Records a request. False: the server is skipping to the next Sync (or will be, after an error
  // pushed as kLocalError), so this request gets no reply; it is not recorded and need not be sent.
  bool push(RequestKind kind, ReplyUse use = ReplyUse::kForward, std::uint32_t tag = 0);

  // May the next message be a row? Rows change nothing here: after one, another may come.
  bool rows_fit() const {
    const RequestKind kind = front_kind();
    return (kind == RequestKind::kExecute || kind == RequestKind::kQuery) &&
           copy_ == CopyState::kNone && step_ != Step::kFailed && !lost_;
  }
  // Rows, if they fit, are for the client to see.
  bool forwards_rows() const { return rows_fit() && front().use == ReplyUse::kForward; }

  // A message came from the server. Every local entry that was due must have been popped.
  Reply on_message(char type) {
    // Rows and COPY data are nearly all there is; the rest costs a call.
    if (type == backend::kDataRow) {
      return rows_fit() ? Reply{ReplyOutcome::kProgress, front()} : Reply{};
    }
    if (type == backend::kCopyData) {
      if (copy_ == CopyState::kOut || copy_ == CopyState::kBoth) {
        return {ReplyOutcome::kProgress, front()};
      }
      return {};
    }
    return on_other_message(type);
  }

  // The local entry at the front, if there is one: its turn has come. Its reply goes to the client
  // before anything the server sends next.
  std::optional<Request> pop_due_local();

  // After kError: how many later requests the server will skip, and which. Valid until the next
  // push() or on_message().
  std::size_t discarded_count() const { return discarded_; }
  const Request& discarded(std::size_t index) const {
    assert(index < discarded_);
    return slots()[(discarded_at_ + index) & mask_];
  }

  // What the client still waits for, when no more will come from this server.
  struct Owed {
    std::uint32_t readies = 0;   // ReadyForQuery
    bool open_pipeline = false;  // behind the last of these, requests without their Sync
  };
  Owed owed() const;

  // Requests outstanding, local ones included.
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // The request being answered; kind kNone if there is none.
  Request current() const { return size_ == 0 ? Request{} : front(); }
  // The request pushed last, if it is outstanding still.
  Request newest() const { return size_ == 0 ? Request{} : slots()[(head_ + size_ - 1) & mask_]; }
  CopyState copy() const { return copy_; }
  // The server ignores everything until a Sync.
  bool skipping() const { return skipping_; }
  // Requests of the extended protocol stand before a Sync that has not come, answered (Flush) or
  // not.
  bool pipeline_open() const { return unsynced_; }
  // Provably nothing in flight: what a server must be to serve somebody else. False for a while
  // after a failed COPY FROM STDIN of the extended protocol; answering any further request (an
  // empty query will do) proves the rest. False also while a pipeline lacks its Sync, for all of it
  // may be answered (Flush), and its transaction open.
  bool clean() const {
    return size_ == 0 && !unsynced_ && copy_ == CopyState::kNone && !skipping_ &&
           stray_syncs_ == 0 && !lost_;
  }

  static constexpr std::size_t kInlineEntries = 16;

 private:
  // How far the answer to the front request has come.
  enum class Step : std::uint8_t { kWaiting, kStarted, kFailed };

  Request* slots() { return heap_ ? heap_.get() : inline_.data(); }
  const Request* slots() const { return heap_ ? heap_.get() : inline_.data(); }
  Request& at(std::size_t index) { return slots()[(head_ + index) & mask_]; }
  const Request& front() const { return slots()[head_ & mask_]; }
  RequestKind front_kind() const { return size_ == 0 ? RequestKind::kNone : front().kind; }

  Reply on_other_message(char type);
  Reply on_error();
  Reply on_ready_for_query();
  Reply on_copy_in();
  Reply progress();
  Reply complete();
  Reply answer_query(char type);
  Reply answer_execute(char type);
  Reply answer_describe(char type, bool statement);
  bool copy_may_end() const;
  void pop_front();
  // The number of requests among the discarded ones that would have had replies.
  std::uint32_t discard_to_sync();
  void append(const Request& request);
  void grow();

  std::array<Request, kInlineEntries> inline_{};
  std::unique_ptr<Request[]> heap_;          // replaces inline_ once it was too small
  std::uint32_t mask_ = kInlineEntries - 1;  // capacity - 1, a power of two
  std::uint32_t head_ = 0;                   // wraps
  std::uint32_t size_ = 0;
  std::uint32_t discarded_at_ = 0;
  std::uint32_t discarded_ = 0;
  // Syncs that were sent into the COPY FROM STDIN now on and before its end. The server ignores
  // them, if it lives to read them.
  std::uint32_t copy_syncs_ = 0;
  // The same, of a COPY that failed: the server may have ignored them, or may yet answer them.
  std::uint32_t stray_syncs_ = 0;
  Step step_ = Step::kWaiting;
  CopyState copy_ = CopyState::kNone;
  bool copy_ended_ = false;  // CopyDone or CopyFail was sent for the COPY FROM STDIN now on
  bool skipping_ = false;
  // The skip is a failed COPY's, and if that had not eaten its Syncs, the first of them ends it.
  bool stray_ends_skip_ = false;
  bool unsynced_ = false;  // requests of the extended protocol came since the last ReadyForQuery
  bool lost_ = false;  // requests were sent of which nobody can say whether they will be answered
};

}  // namespace pgshunt
