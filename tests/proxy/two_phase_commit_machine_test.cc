#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <string>

#include "proxy/two_phase/commit_machine.h"
#include "proxy/two_phase/schema.h"

namespace pgshunt {
namespace {

using Step = CommitMachine::Step;
using Outcome = CommitMachine::Outcome;

const Error kLost{sqlstate::kConnectionFailure, "gone", {}};

CommitMachine::Answer ok(std::string tag) {
  CommitMachine::Answer answer;
  answer.tag = std::move(tag);
  return answer;
}
CommitMachine::Answer error(std::string_view code, std::string message = "no",
                            bool in_transaction = false) {
  CommitMachine::Answer answer;
  answer.error = Error{Sqlstate(code), std::move(message), {}};
  answer.in_transaction = in_transaction;
  return answer;
}

std::string text_of(const Step& step) {
  switch (step.kind) {
    case Step::kSend:
      return std::to_string(step.index) + " " + step.sql.substr(0, step.sql.find(" '")) +
             (step.sql.find("decide") != std::string::npos ? " decide" : "");
    case Step::kAsk:
      return "ask";
    case Step::kFinish:
      return std::to_string(step.index) + " finish";
    case Step::kDone:
      return "done";
  }
  return {};
}

// The steps that are due, in short.
std::string steps(CommitMachine& machine) {
  std::string out;
  for (const Step& step : machine.take_steps()) {
    out +=
        (out.empty() ? "" : ", ") +
        (step.sql.starts_with("SELECT") ? std::to_string(step.index) + " decide" : text_of(step));
  }
  return out;
}

CommitMachine three_writers(bool first_last = false) {
  return CommitMachine("app", {{"a", true}, {"b", true}, {"c", true}}, first_last);
}

TEST(CommitMachine, PreparesTheOthersThenDecidesThenTellsThem) {
  CommitMachine machine = three_writers();
  machine.start();
  EXPECT_EQ(steps(machine), "1 PREPARE TRANSACTION, 2 PREPARE TRANSACTION");
  machine.answered(2, ok("PREPARE TRANSACTION"));
  EXPECT_EQ(steps(machine), "");
  machine.answered(1, ok("PREPARE TRANSACTION"));
  EXPECT_EQ(steps(machine), "0 decide");
  machine.answered(0, ok("COMMIT"));
  EXPECT_EQ(steps(machine), "1 COMMIT PREPARED, 2 COMMIT PREPARED");
  machine.answered(1, ok("COMMIT PREPARED"));
  machine.answered(2, ok("COMMIT PREPARED"));
  EXPECT_EQ(steps(machine), "done");
  EXPECT_EQ(machine.result(), Outcome::kCommitted);
  EXPECT_FALSE(machine.in_doubt());
}

TEST(CommitMachine, ReadersCommitFirstAndOneWriterNeedsNoGid) {
  CommitMachine machine("app", {{"a", false}, {"b", true}}, false);
  machine.start();
  EXPECT_EQ(steps(machine), "0 COMMIT");
  EXPECT_EQ(machine.gid(), "");
  machine.answered(0, ok("COMMIT"));
  EXPECT_EQ(steps(machine), "1 COMMIT");
  machine.answered(1, ok("COMMIT"));
  EXPECT_EQ(steps(machine), "done");
  EXPECT_EQ(machine.result(), Outcome::kCommitted);
}

TEST(CommitMachine, AReaderThatFailsStopsTheWriter) {
  CommitMachine machine("app", {{"a", false}, {"b", true}}, false);
  machine.start();
  steps(machine);
  machine.answered(0, error("40001"));
  EXPECT_EQ(steps(machine), "1 ROLLBACK");
  machine.answered(1, ok("ROLLBACK"));
  EXPECT_EQ(steps(machine), "done");
  EXPECT_EQ(machine.result(), Outcome::kAborted);
  EXPECT_EQ(machine.error().code, Sqlstate("40001"));
}

TEST(CommitMachine, TheFirstErrorIsTheClients) {
  CommitMachine machine = three_writers();
  machine.start();
  steps(machine);
  machine.answered(1, error("23503", "foreign key"));
  EXPECT_EQ(steps(machine), "");
  machine.answered(2, ok("PREPARE TRANSACTION"));
  EXPECT_EQ(steps(machine), "0 ROLLBACK, 2 ROLLBACK PREPARED");
  machine.answered(0, ok("ROLLBACK"));
  machine.answered(2, error("XX000"));
  EXPECT_EQ(steps(machine), "done");
  EXPECT_EQ(machine.result(), Outcome::kAborted);
  EXPECT_EQ(machine.error().message, "foreign key");
  EXPECT_TRUE(machine.in_doubt());
}

TEST(CommitMachine, APrepareThatRolledBackIsNoSuccess) {
  CommitMachine machine = three_writers();
  machine.start();
  steps(machine);
  machine.answered(1, ok("ROLLBACK"));
  machine.answered(2, ok("PREPARE TRANSACTION"));
  EXPECT_EQ(steps(machine), "0 ROLLBACK, 2 ROLLBACK PREPARED");
}

TEST(CommitMachine, ADecisionThatFailsRollsBackEverywhere) {
  CommitMachine machine = three_writers();
  machine.start();
  steps(machine);
  machine.answered(1, ok("PREPARE TRANSACTION"));
  machine.answered(2, ok("PREPARE TRANSACTION"));
  steps(machine);
  machine.answered(0, error("23505", "violates \"" + std::string(kDecisionKey) + "\"", true));
  EXPECT_EQ(steps(machine), "0 ROLLBACK, 1 ROLLBACK PREPARED, 2 ROLLBACK PREPARED");
  EXPECT_EQ(machine.error().code, Sqlstate("40001"));
}

TEST(CommitMachine, ALostDeciderIsAskedFor) {
  for (const std::optional<bool> answer : {std::optional(true), std::optional(false), {}}) {
    CommitMachine machine = three_writers();
    machine.start();
    steps(machine);
    machine.answered(1, ok("PREPARE TRANSACTION"));
    machine.answered(2, ok("PREPARE TRANSACTION"));
    steps(machine);
    machine.lost(0, kLost);
    EXPECT_EQ(steps(machine), "ask");
    machine.outcome(answer);
    if (!answer) {
      EXPECT_EQ(steps(machine), "done");
      EXPECT_EQ(machine.result(), Outcome::kUnknown);
      EXPECT_EQ(machine.error().code, sqlstate::kTransactionResolutionUnknown);
      EXPECT_NE(machine.error().hint.find(machine.gid()), std::string::npos);
      EXPECT_TRUE(machine.in_doubt());
    } else if (*answer) {
      EXPECT_EQ(steps(machine), "1 COMMIT PREPARED, 2 COMMIT PREPARED");
    } else {
      EXPECT_EQ(steps(machine), "1 ROLLBACK PREPARED, 2 ROLLBACK PREPARED");
    }
  }
}

TEST(CommitMachine, AParticipantLostAfterTheDecisionIsFinishedByOthers) {
  CommitMachine machine = three_writers();
  machine.start();
  steps(machine);
  machine.answered(1, ok("PREPARE TRANSACTION"));
  machine.answered(2, ok("PREPARE TRANSACTION"));
  steps(machine);
  machine.lost(2, kLost);
  machine.answered(0, ok("COMMIT"));
  EXPECT_EQ(steps(machine), "1 COMMIT PREPARED, 2 finish");
  machine.lost(1, kLost);
  EXPECT_EQ(steps(machine), "1 finish");
  machine.finished(2, true);
  machine.finished(1, false);
  EXPECT_EQ(steps(machine), "done");
  EXPECT_EQ(machine.result(), Outcome::kCommitted);
  EXPECT_TRUE(machine.in_doubt());
}

TEST(CommitMachine, TimeEndsOnlyWhatIsDecided) {
  CommitMachine machine = three_writers();
  machine.start();
  machine.out_of_time();
  EXPECT_FALSE(machine.done());
  machine.answered(1, ok("PREPARE TRANSACTION"));
  machine.answered(2, ok("PREPARE TRANSACTION"));
  machine.answered(0, ok("COMMIT"));
  machine.answered(1, ok("COMMIT PREPARED"));
  machine.out_of_time();
  EXPECT_TRUE(machine.done());
  EXPECT_TRUE(machine.asked(2));
  EXPECT_TRUE(machine.in_doubt());
  EXPECT_EQ(machine.result(), Outcome::kCommitted);
}

TEST(CommitMachine, WhereTheFirstGoesLastTheLastDecides) {
  CommitMachine machine = three_writers(true);
  machine.start();
  EXPECT_EQ(steps(machine), "0 PREPARE TRANSACTION, 1 PREPARE TRANSACTION");
  machine.answered(0, ok("PREPARE TRANSACTION"));
  machine.answered(1, ok("PREPARE TRANSACTION"));
  EXPECT_EQ(steps(machine), "2 decide");
  machine.answered(2, ok("COMMIT"));
  EXPECT_EQ(steps(machine), "1 COMMIT PREPARED");
  machine.answered(1, ok("COMMIT PREPARED"));
  EXPECT_EQ(steps(machine), "0 COMMIT PREPARED");
  machine.answered(0, ok("COMMIT PREPARED"));
  EXPECT_EQ(steps(machine), "done");
  EXPECT_FALSE(machine.in_doubt());
}

TEST(CommitMachine, TheFirstWaitsForRecoveryIfAnotherIsLeft) {
  CommitMachine machine = three_writers(true);
  machine.start();
  machine.answered(0, ok("PREPARE TRANSACTION"));
  machine.answered(1, ok("PREPARE TRANSACTION"));
  machine.answered(2, ok("COMMIT"));
  steps(machine);
  machine.lost(1, kLost);
  EXPECT_EQ(steps(machine), "1 finish");
  machine.finished(1, false);
  EXPECT_EQ(steps(machine), "done");
  EXPECT_TRUE(machine.in_doubt());
}

// --- everything that can go wrong, at random ---

// Servers that do what they are asked, or fail, or are lost before or after they have done it.
class Shards {
 public:
  Shards(std::mt19937& random, std::size_t count) : random_(random), states_(count) {}

  enum State : std::uint8_t { kOpen, kPrepared, kCommitted, kAborted };
  State& at(std::size_t shard) { return states_[shard]; }
  std::optional<bool> decision;

  CommitMachine::Answer run(std::size_t shard, const std::string& sql, bool fail) {
    State& state = states_[shard];
    if (sql.starts_with("PREPARE")) {
      state = fail ? kAborted : kPrepared;
      return fail ? error("23503") : ok("PREPARE TRANSACTION");
    }
    if (sql.starts_with("SELECT")) {
      if (decision) {  // a tombstone
        return error("23505", std::string(kDecisionKey), true);
      }
      if (fail) {
        state = kAborted;
        return error("23503");
      }
      decision = true;
      state = kCommitted;
      return ok("COMMIT");
    }
    if (sql == "COMMIT") {
      state = fail ? kAborted : kCommitted;
      return fail ? error("40001") : ok("COMMIT");
    }
    if (sql == "ROLLBACK") {
      EXPECT_EQ(state, kOpen);
      state = kAborted;
      return ok("ROLLBACK");
    }
    const bool commit = sql.starts_with("COMMIT PREPARED");
    if (state != kPrepared) return error("42704");
    if (fail) return error("XX000");
    state = commit ? kCommitted : kAborted;
    return ok(commit ? "COMMIT PREPARED" : "ROLLBACK PREPARED");
  }
  // What the server does with a connection that is cut.
  void cut(std::size_t shard) {
    if (states_[shard] == kOpen) states_[shard] = kAborted;
  }
  bool resolve() {
    if (!decision) decision = false;
    return *decision;
  }
  void recover() {
    const bool commit = resolve();
    for (State& state : states_) {
      if (state == kPrepared) state = commit ? kCommitted : kAborted;
    }
  }

 private:
  std::mt19937& random_;
  std::vector<State> states_;
};

TEST(CommitMachine, IsAtomicWhateverFails) {
  std::mt19937 random(20240229);
  const auto chance = [&](unsigned percent) { return random() % 100 < percent; };
  std::map<Outcome, int> seen;
  for (int round = 0; round < 20000; ++round) {
    const std::size_t count = 2 + random() % 3;
    const bool first_last = chance(30);
    const auto trouble = static_cast<unsigned>(chance(20) ? 0 : random() % 30);
    std::vector<CommitParticipant> participants;
    std::vector<bool> wrote;
    for (std::size_t i = 0; i < count; ++i) {
      wrote.push_back(first_last || chance(75));
      participants.push_back({std::string(1, static_cast<char>('a' + i)), wrote.back()});
    }
    CommitMachine machine("app", participants, first_last);
    Shards shards(random, count);
    std::vector<bool> connected(count, true);
    std::deque<Step> pending;
    const auto take = [&] {
      for (Step& step : machine.take_steps()) pending.push_back(std::move(step));
    };
    bool early_recovery = false;
    machine.start();
    take();
    int turns = 0;
    while (!machine.done()) {
      ASSERT_LT(++turns, 1000) << "it does not end";
      if (chance(trouble / 3)) {  // a connection with nothing to do
        const std::size_t shard = random() % count;
        if (connected[shard] && !machine.asked(shard)) {
          connected[shard] = false;
          shards.cut(shard);
          machine.lost(shard, kLost);
          take();
          continue;
        }
      }
      if (chance(trouble / 5) && !machine.gid().empty()) {
        early_recovery = true;
        shards.recover();
      }
      if (machine.settling() && chance(trouble / 5)) {
        machine.out_of_time();
        take();
        continue;
      }
      ASSERT_FALSE(pending.empty()) << "it waits for nothing";
      const std::size_t at = random() % pending.size();
      const Step step = pending[at];
      pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(at));
      switch (step.kind) {
        case Step::kSend: {
          ASSERT_TRUE(connected[step.index]);
          if (chance(trouble)) {
            connected[step.index] = false;
            if (chance(50)) {
              shards.run(step.index, step.sql, chance(trouble));
            }
            shards.cut(step.index);
            machine.lost(step.index, kLost);
          } else {
            machine.answered(step.index, shards.run(step.index, step.sql, chance(trouble)));
          }
          break;
        }
        case Step::kAsk:
          machine.outcome(chance(trouble) ? std::nullopt : std::optional(shards.resolve()));
          break;
        case Step::kFinish:
          if (chance(trouble)) {
            machine.finished(step.index, false);
          } else {
            shards.run(step.index, "COMMIT PREPARED", false);
            machine.finished(step.index, true);
          }
          break;
        case Step::kDone:
          break;
      }
      take();
    }
    ++seen[machine.result()];
    // Who has not answered loses its connection.
    for (std::size_t i = 0; i < count; ++i) {
      if (machine.asked(i)) shards.cut(i);
    }
    bool prepared = false;
    for (std::size_t i = 0; i < count; ++i) prepared |= shards.at(i) == Shards::kPrepared;
    EXPECT_TRUE(!prepared || machine.in_doubt()) << "recovery must be told";
    shards.recover();
    int committed = 0;
    int aborted = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (!wrote[i]) continue;
      // A server is given back without a transaction.
      EXPECT_NE(shards.at(i), Shards::kOpen);
      committed += shards.at(i) == Shards::kCommitted;
      aborted += shards.at(i) == Shards::kAborted;
    }
    ASSERT_TRUE(committed == 0 || aborted == 0) << "round " << round;
    ASSERT_TRUE(machine.result() != Outcome::kCommitted || aborted == 0);
    ASSERT_TRUE(machine.result() != Outcome::kAborted || committed == 0);
    const bool smooth = trouble == 0 && !early_recovery;
    ASSERT_TRUE(!smooth || machine.result() == Outcome::kCommitted);
  }
  EXPECT_GT(seen[Outcome::kCommitted], 1000);
  EXPECT_GT(seen[Outcome::kAborted], 1000);
  EXPECT_GT(seen[Outcome::kUnknown], 50);
}

}  // namespace
}  // namespace pgshunt
