// A PostgreSQL server reduced to which message answers which request, and a client that sends it
// anything a client may send. Together they are the judge of ResponseTracker: the model knows the
// truth (every reply carries its request's tag), the tracker has to find it out.
//
// The model follows PostgresMain() and CopyGetData(): what it does around COPY, Sync and errors was
// compared with a PostgreSQL 15 server, message by message.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "protocol/extended_state.h"

namespace pgshunt::test {

// Yields a number below its argument: a random generator, or a fuzzer's bytes.
using Choose = std::function<std::uint32_t(std::uint32_t)>;

// What a statement does when it is run.
enum class Run : std::uint8_t {
  kRows,
  kEmpty,
  kSuspended,  // Execute with a row limit
  kError,
  kErrorAfterRows,
  kCopyOut,
  kCopyIn,
  kCopyInFailsBeforeData,  // a BEFORE STATEMENT trigger, say: after CopyInResponse, nothing read
  kCopyInFailsInData,
};

inline bool is_copy_in(Run run) { return run >= Run::kCopyIn; }

struct ModelRequest {
  char type = 0;  // the frontend message
  RequestKind kind = RequestKind::kNone;
  std::uint32_t tag = 0;
  bool fails = false;
  std::vector<Run> runs;  // Query: its statements; Execute: one
};

struct ModelReply {
  char type = 0;
  std::uint32_t tag = 0;
};

class ServerModel {
 public:
  std::deque<ModelRequest> input;
  std::deque<ModelReply> output;
  bool copy_failed_once = false;

  bool can_step() const {
    return !input.empty() || (running_ && copy_ == Run::kCopyInFailsBeforeData);
  }
  // Nothing owed and nothing that could still make it speak.
  bool quiet() const {
    for (const ModelRequest& request : input) {
      if (request.type != 'd' && request.type != 'c' && request.type != 'f') return false;
    }
    return output.empty() && !running_ && !skipping_;
  }

  // Reads one message, or fails the COPY that fails by itself.
  void step() {
    if (running_) {
      step_copy_in();
      return;
    }
    current_ = std::move(input.front());
    input.pop_front();
    if (skipping_ && current_.type != 'S') return;
    worked_ |= current_.type == 'E';
    switch (current_.type) {
      case 'Q':
      case 'E':
        statement_ = 0;
        run();
        break;
      case 'P':
        answer({'1'});
        break;
      case 'B':
        answer({'2'});
        break;
      case 'C':
        answer({'3'});
        break;
      case 'D':
        if (current_.kind == RequestKind::kDescribeStatement) {
          answer({'t', current_.tag % 2 == 0 ? 'T' : 'n'});
        } else {
          answer({current_.tag % 2 == 0 ? 'T' : 'n'});
        }
        break;
      case 'F':
        if (!current_.fails) emit('V');
        if (current_.fails) emit('E');
        emit('Z');
        break;
      case 'S':
        skipping_ = false;
        // Only a transaction that has done something can fail to commit.
        if (current_.fails && worked_) emit('E');
        worked_ = false;
        emit('Z');
        break;
      default:  // COPY messages outside COPY
        break;
    }
  }

 private:
  void emit(char type) { output.push_back({type, current_.tag}); }

  void answer(std::initializer_list<char> types) {
    if (current_.fails) {
      fail();
      return;
    }
    for (const char type : types) emit(type);
  }

  void fail() {
    emit('E');
    running_ = false;
    worked_ = false;
    if (current_.type == 'Q') {
      emit('Z');
    } else {
      skipping_ = true;
    }
  }

  // Runs statements until one waits for COPY data.
  void run() {
    running_ = false;
    for (; statement_ < current_.runs.size(); ++statement_) {
      switch (current_.runs[statement_]) {
        case Run::kRows:
          if (current_.type == 'Q') emit('T');
          emit('D');
          emit('D');
          emit('C');
          break;
        case Run::kEmpty:
          emit('I');
          break;
        case Run::kSuspended:
          if (current_.type == 'Q') emit('T');
          emit('D');
          emit(current_.type == 'Q' ? 'C' : 's');
          break;
        case Run::kErrorAfterRows:
          if (current_.type == 'Q') emit('T');
          emit('D');
          [[fallthrough]];
        case Run::kError:
          fail();
          return;
        case Run::kCopyOut:
          emit('H');
          emit('d');
          emit('c');
          emit('C');
          break;
        default:
          emit('G');
          copy_ = current_.runs[statement_];
          running_ = true;
          return;
      }
    }
    if (current_.type == 'Q') emit('Z');
  }

  void step_copy_in() {
    if (copy_ == Run::kCopyInFailsBeforeData) {
      copy_failed_once = true;
      fail();
      return;
    }
    const char type = input.front().type;
    input.pop_front();
    const bool data = type == 'd' || type == 'c';
    if (type == 'f' || (data && copy_ == Run::kCopyInFailsInData)) {
      copy_failed_once = true;
      fail();
    } else if (type == 'c') {
      emit('C');
      ++statement_;
      run();
    }
    // A Sync in here is read and forgotten.
  }

  ModelRequest current_;
  std::size_t statement_ = 0;
  bool running_ = false;  // waiting for COPY data
  Run copy_ = Run::kRows;
  bool skipping_ = false;
  bool worked_ = false;  // in the implicit transaction that the next Sync ends
};

// Makes up the messages of one client, a segment ending in ReadyForQuery at a time.
class ClientModel {
 public:
  explicit ClientModel(Choose choose) : choose_(std::move(choose)) {}

  std::deque<ModelRequest> segment() {
    out_.clear();
    if (choose_(3) == 0) {
      simple_query();
    } else {
      const std::uint32_t length = choose_(6);
      // A sane client waits for the end of a COPY before it asks for more.
      const bool sane = choose_(4) != 0;
      for (std::uint32_t i = 0; i < length; ++i) {
        const bool copied = extended_message();
        if (copied && sane) break;
        blind_ |= copied && i + 1 < length;
      }
      add('S', RequestKind::kSync, choose_(8) == 0);
    }
    return std::move(out_);
  }
  // It has sent more requests behind a COPY FROM STDIN without waiting for its end.
  bool blind() const { return blind_; }

 private:
  void add(char type, RequestKind kind, bool fails = false, std::vector<Run> runs = {}) {
    out_.push_back({type, kind, next_tag_++, fails, std::move(runs)});
  }

  // What a client sends for a COPY FROM STDIN, without waiting to see whether there is one: a Sync
  // that it sent before it noticed, data, the end.
  void copy_data() {
    if (choose_(2) == 0) add('S', RequestKind::kSync);
    if (choose_(4) == 0) add('S', RequestKind::kSync);
    for (std::uint32_t i = choose_(3); i > 0; --i) add('d', RequestKind::kNone);
    if (choose_(8) == 0) add('S', RequestKind::kSync);
    add(choose_(4) == 0 ? 'f' : 'c', RequestKind::kCopyEnd);
  }

  void simple_query() {
    if (choose_(6) == 0) {
      add('F', RequestKind::kFunctionCall, choose_(2) == 0);
      return;
    }
    std::vector<Run> runs;
    for (std::uint32_t i = choose_(3) + 1; i > 0; --i) runs.push_back(static_cast<Run>(choose_(9)));
    add('Q', RequestKind::kQuery, false, runs);
    for (const Run run : runs) {
      if (is_copy_in(run)) copy_data();
    }
  }

  // True if it was a COPY FROM STDIN.
  bool extended_message() {
    const bool fails = choose_(10) == 0;
    switch (choose_(9)) {
      case 0:
        add('P', RequestKind::kParse, fails);
        return false;
      case 1:
        add('B', RequestKind::kBind, fails);
        return false;
      case 2:
        add('D', RequestKind::kDescribeStatement, fails);
        return false;
      case 3:
        add('D', RequestKind::kDescribePortal, fails);
        return false;
      case 4:
        add('C', RequestKind::kClose, fails);
        return false;
      case 5:
        add(0, choose_(6) == 0 ? RequestKind::kLocalError : RequestKind::kLocal);
        return false;
      default:
        break;
    }
    const Run run = static_cast<Run>(choose_(9));
    add('E', RequestKind::kExecute, false, {run});
    if (!is_copy_in(run)) return false;
    copy_data();
    return true;
  }

  Choose choose_;
  std::deque<ModelRequest> out_;
  std::uint32_t next_tag_ = 1;
  bool blind_ = false;
};

// Lets client, server and tracker run against each other in an order that `choose` picks. Returns
// what went wrong, empty if nothing did.
inline std::string run_tracker_model(const Choose& choose, std::uint32_t segments) {
  ClientModel client(choose);
  ServerModel server;
  ResponseTracker tracker;
  std::deque<ModelRequest> to_send;
  bool gave_up = false;
  std::uint32_t last_settled = 0;  // requests are settled in the order they were made

  const auto settle = [&last_settled](std::uint32_t tag) {
    const bool in_order = tag >= last_settled;
    last_settled = tag;
    return in_order;
  };
  const auto pop_local = [&]() -> std::string {
    while (const auto local = tracker.pop_due_local()) {
      if (!settle(local->tag)) return "a local reply out of order";
    }
    return {};
  };
  const auto send_one = [&]() -> std::string {
    const ModelRequest request = to_send.front();
    to_send.pop_front();
    const bool local =
        request.kind == RequestKind::kLocal || request.kind == RequestKind::kLocalError;
    // Data has no entry of its own.
    const bool wanted = request.kind == RequestKind::kNone ||
                        tracker.push(request.kind, ReplyUse::kForward, request.tag);
    if (!local && wanted) server.input.push_back(request);
    return pop_local();
  };
  const auto receive_one = [&]() -> std::string {
    const ModelReply truth = server.output.front();
    server.output.pop_front();
    const Reply reply = tracker.on_message(truth.type);
    switch (reply.outcome) {
      case ReplyOutcome::kViolation:
        if (client.blind() && server.copy_failed_once) {
          gave_up = true;  // rightly: nobody could know
          return {};
        }
        return std::string("took ") + truth.type + " for a violation";
      case ReplyOutcome::kUnsolicited:
      case ReplyOutcome::kAsync:
        return std::string("misjudged ") + truth.type;
      case ReplyOutcome::kStray:
        if (truth.type != 'Z' || !server.copy_failed_once) return "a stray without a failed COPY";
        return {};
      default:
        break;
    }
    // Only a Sync that a failed COPY may have eaten can be taken for another Sync.
    if (reply.request.tag != truth.tag) {
      if (truth.type == 'Z' && server.copy_failed_once) return pop_local();
      return std::string(1, truth.type) + " of request " + std::to_string(truth.tag) +
             " credited to " + std::to_string(reply.request.tag);
    }
    if (!settle(truth.tag)) return "a reply out of order";
    return pop_local();
  };
  const auto check_clean = [&]() -> std::string {
    return tracker.clean() && !server.quiet() ? "called a busy server clean" : "";
  };

  for (std::uint32_t made = 0; !gave_up;) {
    std::string failure;
    if (to_send.empty() && made < segments) {
      to_send = client.segment();
      ++made;
    }
    std::vector<int> possible;
    if (!to_send.empty()) possible.push_back(0);
    if (server.can_step()) possible.push_back(1);
    if (!server.output.empty()) possible.push_back(2);
    if (possible.empty()) break;
    switch (possible[choose(static_cast<std::uint32_t>(possible.size()))]) {
      case 0:
        failure = send_one();
        break;
      case 1:
        server.step();
        break;
      default:
        failure = receive_one();
        break;
    }
    if (failure.empty()) failure = check_clean();
    if (!failure.empty()) return failure;
  }
  if (gave_up) return {};
  if (!server.copy_failed_once && !tracker.clean()) return "an idle server is not called clean";
  // An empty query settles what a failed COPY left open.
  tracker.push(RequestKind::kQuery, ReplyUse::kSwallow);
  server.input.push_back({'Q', RequestKind::kQuery, 0, false, {Run::kEmpty}});
  while (server.can_step()) server.step();
  for (; !server.output.empty(); server.output.pop_front()) {
    if (tracker.on_message(server.output.front().type).outcome == ReplyOutcome::kViolation) {
      return "a violation in the last query";
    }
  }
  return tracker.clean() ? "" : "not clean after the last query";
}

}  // namespace pgshunt::test
