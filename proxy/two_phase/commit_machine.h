// One commit over several shards, as steps to take and answers to them: no sockets, no clock, so
// that a test can fail it at every step. See README.md.
//
//   CommitMachine machine(gid, participants);
//   machine.start();
//   while (...) { for (const auto& step : machine.take_steps()) ...; machine.answered(...); }
//
// Whoever drives it sends each kSend to its participant and reports exactly one answered() or
// lost() for it. Steps are to be taken only after the call that made them has returned.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/result.h"
#include "proxy/two_phase/gid.h"

namespace pgshunt {

struct CommitParticipant {
  std::string shard;
  bool wrote = false;
};

class CommitMachine {
 public:
  struct Step {
    enum Kind : std::uint8_t {
      kSend,    // `sql` to participant `index`
      kAsk,     // the decider's shard, by another connection: outcome()
      kFinish,  // COMMIT PREPARED on participant `index`, by another connection: finished()
      kDone,
    };
    Kind kind = kDone;
    std::size_t index = 0;
    std::string sql;
  };
  struct Answer {
    std::string tag;  // of the last CommandComplete
    std::optional<Error> error;
    std::string error_message;    // as the server sent it; empty: `error` is our own
    bool in_transaction = false;  // as ReadyForQuery said
  };
  enum class Outcome : std::uint8_t { kCommitted, kAborted, kUnknown };

  // Participants by ascending shard. `first_last`: the first one's locks go last.
  CommitMachine(std::string database, std::vector<CommitParticipant> participants, bool first_last);

  void start();
  void answered(std::size_t index, const Answer& answer);
  // Its connection is gone, whether or not something was asked of it.
  void lost(std::size_t index, const Error& error);
  // To kAsk; nothing: it cannot be known.
  void outcome(std::optional<bool> committed);
  // To kFinish; false: left to recovery.
  void finished(std::size_t index, bool done);
  // What it waits for after the decision takes too long: the rest is left to recovery.
  void out_of_time();

  std::vector<Step> take_steps();

  // The decision's name; empty while nothing needs one. A participant's has its number, too.
  const std::string& gid() const { return gid_.text; }
  std::string gid_of(std::size_t index) const { return gid_of_part(gid_.text, index); }
  // It is decided, or will be undone: nobody has to be asked any more, only told.
  bool settling() const { return phase_ == Phase::kCommitting || phase_ == Phase::kAborting; }
  // A cancel request may still stop it.
  bool can_be_stopped() const { return phase_ == Phase::kPreparing || phase_ == Phase::kDeciding; }
  bool done() const { return phase_ == Phase::kDone; }
  // Does it wait for this participant's answer?
  bool asked(std::size_t index) const { return parts_[index].asked; }

  // --- once it is done ---
  Outcome result() const { return outcome_; }
  const Error& error() const { return error_; }
  const std::string& error_message() const { return error_message_; }
  // Something may be prepared still: for recovery, at once.
  bool in_doubt() const { return in_doubt_; }
  // A server did not do what two-phase commits need: its fitness is to be looked at again.
  bool unfit() const { return unfit_; }

 private:
  enum class Phase : std::uint8_t {
    kNew,
    kPreparing,
    kDeciding,
    kAsking,
    kCommitting,
    kAborting,
    kDone,
  };
  struct Part {
    std::string shard;
    bool wrote = false;
    bool open = true;       // in its transaction, as far as is known
    bool prepared = false;  // ... or has that waiting
    bool asked = false;
    bool finishing = false;
    bool gone = false;
  };

  void send(std::size_t index, std::string sql);
  void fail(Error error, std::string message = {});
  void decide();
  void commit_prepared();
  void commit_first();
  void abort();
  void finish_by_other(std::size_t index);
  void go_on();
  bool waiting() const;
  void become_done(Outcome outcome);

  std::string database_;
  std::vector<Part> parts_;
  bool first_last_ = false;
  std::size_t decider_ = 0;
  bool two_phase_ = false;  // more than one has written
  Gid gid_;
  Phase phase_ = Phase::kNew;
  Outcome outcome_ = Outcome::kAborted;
  bool failed_ = false;
  bool in_doubt_ = false;
  bool unfit_ = false;
  bool first_told_ = false;
  Error error_;
  std::string error_message_;
  std::vector<Step> steps_;
};

}  // namespace pgshunt
