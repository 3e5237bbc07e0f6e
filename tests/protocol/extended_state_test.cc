#include "protocol/extended_state.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/protocol/server_model.h"

namespace pgshunt {
namespace {

using enum RequestKind;

// Every reply of `types` in turn; what each was taken for, one letter a message:
// p(rogress) c(omplete) e(rror) a(sync) u(nsolicited) s(tray) V(iolation).
std::string feed(ResponseTracker& tracker, std::string_view types) {
  std::string outcomes;
  for (const char type : types) {
    switch (tracker.on_message(type).outcome) {
      case ReplyOutcome::kProgress:
        outcomes += 'p';
        break;
      case ReplyOutcome::kComplete:
        outcomes += 'c';
        break;
      case ReplyOutcome::kError:
        outcomes += 'e';
        break;
      case ReplyOutcome::kAsync:
        outcomes += 'a';
        break;
      case ReplyOutcome::kUnsolicited:
        outcomes += 'u';
        break;
      case ReplyOutcome::kStray:
        outcomes += 's';
        break;
      case ReplyOutcome::kViolation:
        outcomes += 'V';
        break;
    }
  }
  return outcomes;
}

// A tracker with these requests pushed, tagged 1, 2, 3 ...
struct Pushed {
  explicit Pushed(std::initializer_list<RequestKind> kinds) {
    std::uint32_t tag = 0;
    for (const RequestKind kind : kinds) tracker.push(kind, ReplyUse::kForward, ++tag);
  }
  ResponseTracker tracker;
};

// The same, from a fresh tracker.
std::string feed_fresh(std::initializer_list<RequestKind> kinds, std::string_view types) {
  Pushed pushed(kinds);
  return feed(pushed.tracker, types);
}

TEST(ResponseTracker, EachRequestEndsWithItsOwnReply) {
  Pushed p{kParse, kBind, kDescribePortal, kExecute, kClose, kSync};
  EXPECT_EQ(feed(p.tracker, "12TDDDC3Z"), "cccpppccc");
  EXPECT_TRUE(p.tracker.clean());
}

TEST(ResponseTracker, IsNotCleanWhileAPipelineLacksItsSync) {
  Pushed p{kParse, kBind, kExecute};
  EXPECT_EQ(feed(p.tracker, "12C"), "ccc");
  EXPECT_TRUE(p.tracker.empty());
  EXPECT_FALSE(p.tracker.clean());
  p.tracker.push(kSync);
  p.tracker.push(kBind);
  EXPECT_EQ(feed(p.tracker, "Z2"), "cc");
  EXPECT_FALSE(p.tracker.clean());
  p.tracker.push(kSync);
  EXPECT_EQ(feed(p.tracker, "Z"), "c");
  EXPECT_TRUE(p.tracker.clean());
}

TEST(ResponseTracker, KnowsWhatALostServerOwes) {
  const auto owed = [](std::initializer_list<RequestKind> kinds, std::string_view answered) {
    Pushed p(kinds);
    feed(p.tracker, answered);
    const ResponseTracker::Owed left = p.tracker.owed();
    return std::to_string(left.readies) + (left.open_pipeline ? " and more" : "");
  };
  EXPECT_EQ(owed({}, ""), "0");
  EXPECT_EQ(owed({kQuery}, "CZ"), "0");
  EXPECT_EQ(owed({kQuery, kQuery}, "C"), "2");
  EXPECT_EQ(owed({kParse, kBind, kExecute}, "12C"), "0 and more");
  EXPECT_EQ(owed({kParse, kBind, kExecute, kSync, kParse, kSync, kBind}, "12CZ"), "1 and more");
  EXPECT_EQ(owed({kExecute, kBind, kSync}, "E"), "1");
  EXPECT_EQ(owed({kQuery, kCopyEnd}, "G"), "1");
  ResponseTracker probed;
  probed.push(kQuery, ReplyUse::kSwallow);
  EXPECT_EQ(probed.owed().readies, 0u);
}

TEST(ResponseTracker, RepliesCarryTheOwnersTagAndUse) {
  ResponseTracker tracker;
  tracker.push(kParse, ReplyUse::kSwallow, 77);
  tracker.push(kBind, ReplyUse::kForward, 78);
  EXPECT_EQ(tracker.on_message('1').request, (Request{kParse, ReplyUse::kSwallow, 77}));
  EXPECT_EQ(tracker.current(), (Request{kBind, ReplyUse::kForward, 78}));
  EXPECT_EQ(tracker.on_message('2').request, (Request{kBind, ReplyUse::kForward, 78}));
}

TEST(ResponseTracker, QueryEndsAtReadyForQueryOnly) {
  Pushed p{kQuery};
  EXPECT_EQ(feed(p.tracker, "TDDCTCICZ"), "ppppppppc");
  Pushed failing{kQuery};
  EXPECT_EQ(feed(failing.tracker, "TDEZ"), "ppec");
  EXPECT_TRUE(failing.tracker.clean());
}

TEST(ResponseTracker, QueryMustAnswerBeforeItIsReady) {
  Pushed p{kQuery};
  EXPECT_EQ(feed(p.tracker, "Z"), "V");
}

TEST(ResponseTracker, DescribeStatementHasTwoReplies) {
  Pushed rows{kDescribeStatement, kDescribeStatement};
  EXPECT_EQ(feed(rows.tracker, "tTtn"), "pcpc");
  EXPECT_EQ(feed_fresh({kDescribeStatement}, "T"), "V");
  EXPECT_EQ(feed_fresh({kDescribeStatement}, "tt"), "pV");
  EXPECT_EQ(feed_fresh({kDescribePortal}, "t"), "V");
  EXPECT_EQ(feed_fresh({kDescribePortal}, "n"), "c");
}

TEST(ResponseTracker, ExecuteEndsInThreeWays) {
  Pushed p{kExecute, kExecute, kExecute};
  EXPECT_EQ(feed(p.tracker, "DCDsI"), "pcpcc");
}

TEST(ResponseTracker, FunctionCallEndsAtReadyForQuery) {
  EXPECT_EQ(feed_fresh({kFunctionCall}, "VZ"), "pc");
  EXPECT_EQ(feed_fresh({kFunctionCall}, "EZ"), "ec");
  EXPECT_EQ(feed_fresh({kFunctionCall}, "Z"), "V");
  EXPECT_EQ(feed_fresh({kFunctionCall}, "VV"), "pV");
}

TEST(ResponseTracker, AsynchronousMessagesFitAnywhere) {
  Pushed p{kParse, kSync};
  EXPECT_EQ(feed(p.tracker, "NSA1NSAZNSA"), "aaacaaacaaa");
  Pushed swallowed{};
  swallowed.tracker.push(kQuery, ReplyUse::kSwallow, 5);
  EXPECT_EQ(swallowed.tracker.on_message('N').request.use, ReplyUse::kSwallow);
}

TEST(ResponseTracker, WhatDoesNotFitIsAViolation) {
  for (const char type : std::string("123CDGHITVWZcdnst")) {
    Pushed idle{};
    EXPECT_EQ(feed(idle.tracker, std::string(1, type)), "V") << type;
  }
  EXPECT_EQ(feed_fresh({kParse}, "2"), "V");
  EXPECT_EQ(feed_fresh({kParse}, "Z"), "V");
  EXPECT_EQ(feed_fresh({kSync}, "C"), "V");
  EXPECT_EQ(feed_fresh({kExecute}, "T"), "V");
  EXPECT_EQ(feed_fresh({kExecute}, "Z"), "V");
  EXPECT_EQ(feed_fresh({kQuery}, "1"), "V");
  EXPECT_EQ(feed_fresh({kQuery}, "ED"), "eV");
  EXPECT_EQ(feed_fresh({kQuery}, "EC"), "eV");
  EXPECT_EQ(feed_fresh({kQuery}, "R"), "V");
}

TEST(ResponseTracker, ErrorOfAnIdleServerIsUnsolicited) { EXPECT_EQ(feed_fresh({}, "E"), "u"); }

TEST(ResponseTracker, ErrorDiscardsUpToTheNextSync) {
  Pushed p{kParse, kBind, kDescribePortal, kExecute, kSync, kParse, kSync};
  EXPECT_EQ(feed(p.tracker, "1"), "c");
  const Reply reply = p.tracker.on_message('E');
  EXPECT_EQ(reply.outcome, ReplyOutcome::kError);
  EXPECT_EQ(reply.request.tag, 2u);
  ASSERT_EQ(p.tracker.discarded_count(), 2u);
  EXPECT_EQ(p.tracker.discarded(0).tag, 3u);
  EXPECT_EQ(p.tracker.discarded(1).tag, 4u);
  EXPECT_EQ(feed(p.tracker, "Z1Z"), "ccc");
  EXPECT_EQ(p.tracker.discarded_count(), 0u);
  EXPECT_TRUE(p.tracker.clean());
}

TEST(ResponseTracker, AfterAnErrorEverythingIsSkippedUntilASync) {
  Pushed p{kParse, kBind};
  EXPECT_EQ(feed(p.tracker, "E"), "e");
  EXPECT_EQ(p.tracker.discarded_count(), 1u);
  EXPECT_TRUE(p.tracker.skipping());
  EXPECT_FALSE(p.tracker.clean());
  EXPECT_FALSE(p.tracker.push(kExecute));
  EXPECT_FALSE(p.tracker.push(kQuery)) << "a server skips Query as well";
  EXPECT_TRUE(p.tracker.push(kSync));
  EXPECT_TRUE(p.tracker.push(kParse));
  EXPECT_TRUE(p.tracker.push(kSync));
  EXPECT_EQ(feed(p.tracker, "Z1Z"), "ccc");
  EXPECT_TRUE(p.tracker.clean());
}

TEST(ResponseTracker, SyncItselfMayFail) {
  Pushed p{kExecute, kSync, kQuery};
  EXPECT_EQ(feed(p.tracker, "CEZCZ"), "cecpc");
  EXPECT_EQ(p.tracker.discarded_count(), 0u);
  EXPECT_TRUE(p.tracker.clean());
}

TEST(ResponseTracker, LocalRepliesWaitForTheirTurn) {
  Pushed p{kParse, kLocal, kLocal, kBind, kLocal, kSync};
  EXPECT_FALSE(p.tracker.pop_due_local());
  EXPECT_EQ(feed(p.tracker, "1"), "c");
  EXPECT_EQ(p.tracker.pop_due_local()->tag, 2u);
  EXPECT_EQ(p.tracker.pop_due_local()->tag, 3u);
  EXPECT_FALSE(p.tracker.pop_due_local());
  EXPECT_EQ(feed(p.tracker, "2"), "c");
  EXPECT_EQ(p.tracker.pop_due_local()->tag, 5u);
  EXPECT_EQ(feed(p.tracker, "Z"), "c");
  EXPECT_TRUE(p.tracker.clean());
}

TEST(ResponseTracker, LocalRepliesBehindAnErrorAreDiscarded) {
  Pushed p{kParse, kLocal, kSync, kLocal};
  EXPECT_EQ(feed(p.tracker, "E"), "e");
  ASSERT_EQ(p.tracker.discarded_count(), 1u);
  EXPECT_EQ(p.tracker.discarded(0).kind, kLocal);
  EXPECT_FALSE(p.tracker.pop_due_local());
  EXPECT_EQ(feed(p.tracker, "Z"), "c");
  EXPECT_EQ(p.tracker.pop_due_local()->tag, 4u);
}

TEST(ResponseTracker, ALocalErrorSkipsToSyncInItsTurn) {
  Pushed p{kParse, kLocalError};
  EXPECT_FALSE(p.tracker.push(kBind)) << "need not be sent";
  EXPECT_TRUE(p.tracker.push(kSync, ReplyUse::kForward, 9));
  EXPECT_EQ(feed(p.tracker, "1"), "c");
  EXPECT_EQ(p.tracker.pop_due_local()->kind, kLocalError);
  EXPECT_EQ(feed(p.tracker, "Z"), "c");
  EXPECT_TRUE(p.tracker.clean());
}

TEST(ResponseTracker, AnEarlierServerErrorReplacesALocalOne) {
  Pushed p{kParse, kLocalError, kSync};
  EXPECT_EQ(feed(p.tracker, "E"), "e");
  ASSERT_EQ(p.tracker.discarded_count(), 1u);
  EXPECT_EQ(p.tracker.discarded(0).kind, kLocalError);
  EXPECT_FALSE(p.tracker.pop_due_local());
  EXPECT_EQ(feed(p.tracker, "Z"), "c");
}

TEST(ResponseTracker, ALocalSyncEndsALocalError) {
  Pushed p{kLocalError, kParse, kLocalSync, kLocal};
  EXPECT_EQ(p.tracker.pop_due_local()->kind, kLocalError);
  EXPECT_EQ(p.tracker.pop_due_local()->kind, kLocalSync);
  EXPECT_EQ(p.tracker.pop_due_local()->tag, 4u);
  EXPECT_TRUE(p.tracker.clean());
}

TEST(ResponseTracker, CopyOutEndsWithCopyDoneAndItsTag) {
  Pushed p{kQuery, kExecute, kSync};
  EXPECT_EQ(feed(p.tracker, "HddcCZ"), "pppppc");
  EXPECT_EQ(feed(p.tracker, "H"), "p");
  EXPECT_EQ(p.tracker.copy(), CopyState::kOut);
  EXPECT_FALSE(p.tracker.clean());
  EXPECT_EQ(feed(p.tracker, "dcCZ"), "ppcc");
  EXPECT_TRUE(p.tracker.clean());
  EXPECT_EQ(feed_fresh({kQuery}, "HdC"), "ppV");
  EXPECT_EQ(feed_fresh({kQuery}, "HD"), "pV");
  EXPECT_EQ(feed_fresh({kQuery}, "d"), "V");
  EXPECT_EQ(feed_fresh({kQuery}, "HdEZ"), "ppec");
}

TEST(ResponseTracker, CopyInOfASimpleQuery) {
  Pushed p{kQuery};
  EXPECT_EQ(feed(p.tracker, "G"), "p");
  EXPECT_EQ(p.tracker.copy(), CopyState::kIn);
  EXPECT_EQ(feed(p.tracker, "N"), "a");
  EXPECT_TRUE(p.tracker.push(kCopyEnd));
  EXPECT_EQ(feed(p.tracker, "CZ"), "pc");
  EXPECT_TRUE(p.tracker.clean());
  EXPECT_EQ(feed_fresh({kQuery}, "GC"), "pV") << "nobody has ended it";
  EXPECT_EQ(feed_fresh({kQuery}, "Gd"), "pV");
  EXPECT_EQ(feed_fresh({kQuery}, "GZ"), "pV");
}

TEST(ResponseTracker, CopyInEatsTheSyncSentBeforeItsEnd) {
  Pushed early{kExecute, kSync};
  EXPECT_EQ(feed(early.tracker, "G"), "p");
  early.tracker.push(kCopyEnd);
  early.tracker.push(kSync);
  EXPECT_EQ(feed(early.tracker, "CZ"), "cc");
  EXPECT_TRUE(early.tracker.clean());

  Pushed late{kExecute};
  EXPECT_EQ(feed(late.tracker, "G"), "p");
  late.tracker.push(kSync);
  late.tracker.push(kCopyEnd);
  late.tracker.push(kSync);
  EXPECT_EQ(feed(late.tracker, "CZ"), "cc");
  EXPECT_TRUE(late.tracker.clean());

  Pushed blind{kExecute, kSync, kCopyEnd, kSync};
  EXPECT_EQ(feed(blind.tracker, "GCZ"), "pcc");
  EXPECT_TRUE(blind.tracker.clean());
}

TEST(ResponseTracker, ACopyThatNeverStartedEatsNothing) {
  Pushed p{kExecute, kSync, kCopyEnd, kSync, kQuery};
  EXPECT_EQ(feed(p.tracker, "EZZCZ"), "eccpc");
  EXPECT_TRUE(p.tracker.clean());
  Pushed rows{kQuery, kCopyEnd, kQuery};
  EXPECT_EQ(feed(rows.tracker, "CZCZ"), "pcpc");
  EXPECT_TRUE(rows.tracker.clean());
}

// The server fails on bad data, behind the Sync it ignored: E Z.
TEST(ResponseTracker, AfterAFailedCopyOnlyALaterAnswerProvesItClean) {
  Pushed p{kExecute, kSync, kCopyEnd, kSync};
  EXPECT_EQ(feed(p.tracker, "GEZ"), "pec");
  EXPECT_FALSE(p.tracker.clean());
  p.tracker.push(kQuery);
  EXPECT_EQ(feed(p.tracker, "I"), "p");
  EXPECT_EQ(feed(p.tracker, "Z"), "c");
  EXPECT_TRUE(p.tracker.clean());
}

TEST(ResponseTracker, AnyLaterAnswerProvesItClean) {
  Pushed p{kExecute, kSync, kCopyEnd, kSync, kParse, kSync};
  EXPECT_EQ(feed(p.tracker, "GEZ1Z"), "peccc");
  EXPECT_TRUE(p.tracker.clean());
}

// The server fails before it reads anything: E Z Z.
TEST(ResponseTracker, ASyncThatAFailedCopyDidNotEatIsStray) {
  Pushed p{kExecute, kSync, kCopyEnd, kSync};
  EXPECT_EQ(feed(p.tracker, "GEZ"), "pec");
  p.tracker.push(kQuery);
  EXPECT_EQ(feed(p.tracker, "ZIZ"), "spc") << "not credited to the query";
  EXPECT_TRUE(p.tracker.clean());
}

TEST(ResponseTracker, ASyncThatAFailedCopyDidNotEatEndsTheSkip) {
  Pushed p{kExecute, kSync};
  EXPECT_EQ(feed(p.tracker, "GE"), "pe");
  EXPECT_TRUE(p.tracker.skipping());
  EXPECT_EQ(p.tracker.on_message('Z').request.kind, kSync);
  EXPECT_FALSE(p.tracker.skipping());
  EXPECT_TRUE(p.tracker.clean());
}

TEST(ResponseTracker, WhatAFailedCopySkipsIsNotSentAndNotAnswered) {
  Pushed p{kExecute, kSync};
  EXPECT_EQ(feed(p.tracker, "GE"), "pe");
  EXPECT_FALSE(p.tracker.push(kParse));
  EXPECT_EQ(feed(p.tracker, "Z"), "s") << "the client's skip lasts until it sends a Sync";
  p.tracker.push(kSync);
  EXPECT_EQ(feed(p.tracker, "Z"), "c");
}

TEST(ResponseTracker, RequestsSentBlindlyBehindAFailedCopyAreGivenUp) {
  Pushed p{kExecute, kSync, kCopyEnd, kExecute, kSync};
  EXPECT_EQ(feed(p.tracker, "GE"), "pe");
  EXPECT_FALSE(p.tracker.clean());
  EXPECT_EQ(feed(p.tracker, "Z"), "V");
  // Without a Sync inside the COPY there is no doubt.
  EXPECT_EQ(feed_fresh({kExecute, kCopyEnd, kExecute, kSync}, "GEZ"), "pec");
}

TEST(ResponseTracker, CopyBothFlowsBothWays) {
  Pushed p{kQuery};
  EXPECT_EQ(feed(p.tracker, "Wdd"), "ppp");
  EXPECT_EQ(p.tracker.copy(), CopyState::kBoth);
  p.tracker.push(kCopyEnd);
  EXPECT_EQ(feed(p.tracker, "cCZ"), "ppc");
  EXPECT_TRUE(p.tracker.clean());
}

TEST(ResponseTracker, ManyMoreRequestsThanFitInline) {
  ResponseTracker tracker;
  constexpr std::uint32_t kCount = 1000;
  // Off the ring's start, so that growing has to unroll it.
  for (std::uint32_t i = 0; i < 11; ++i) tracker.push(kBind);
  EXPECT_EQ(feed(tracker, "22222222222"), "ccccccccccc");
  for (std::uint32_t i = 0; i < kCount; ++i) tracker.push(kBind, ReplyUse::kForward, i);
  EXPECT_EQ(tracker.size(), kCount);
  for (std::uint32_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(tracker.on_message('2').request.tag, i);
  }
  tracker.push(kSync);
  EXPECT_EQ(feed(tracker, "Z"), "c");
  EXPECT_TRUE(tracker.clean());
}

TEST(ResponseTracker, DiscardedRequestsSurviveTheRingsEdge) {
  for (std::uint32_t offset = 0; offset < 2 * ResponseTracker::kInlineEntries; ++offset) {
    ResponseTracker tracker;
    for (std::uint32_t i = 0; i < offset; ++i) {
      tracker.push(kBind);
      tracker.on_message('2');
    }
    for (std::uint32_t i = 0; i < 10; ++i) tracker.push(kBind, ReplyUse::kForward, i);
    EXPECT_EQ(tracker.on_message('E').request.tag, 0u);
    ASSERT_EQ(tracker.discarded_count(), 9u);
    for (std::uint32_t i = 0; i < 9; ++i) EXPECT_EQ(tracker.discarded(i).tag, i + 1);
  }
}

// Any conversation in any interleaving: replies are credited to the request they answer, and a
// server that owes something is never called clean.
TEST(ResponseTracker, AgreesWithTheServerModel) {
  for (std::uint32_t seed = 0; seed < 20000; ++seed) {
    std::mt19937 random(seed);
    const auto choose = [&random](std::uint32_t below) {
      return static_cast<std::uint32_t>(random() % below);
    };
    ASSERT_EQ(test::run_tracker_model(choose, 6), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace pgshunt
