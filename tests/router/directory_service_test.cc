#include "router/directory/directory_service.h"

#include <atomic>
#include <future>

#include "tests/router/directory_support.h"

namespace pgshunt {
namespace {

using Question = DirectoryService::Question;
using Questions = std::vector<Question>;

Question question(int key, bool assign) { return {1, user_key(key), assign}; }

TEST(DirectoryService, AnswersEverythingItAccepted) {
  TemporaryFolder folder;
  const auto directory = make_directory(folder / "d");
  std::atomic<int> found{0};
  std::atomic<int> absent{0};
  int accepted = 0;
  {
    DirectoryService service(*directory);
    std::promise<StableShardId> assigned;
    ASSERT_TRUE(service.post({{question(1, true)}, [&](const Questions& answered) {
                                assigned.set_value(answered.at(0).answer->shard);
                              }}));
    const StableShardId shard = assigned.get_future().get();
    EXPECT_EQ(directory->find(1, user_key(1))->shard, shard);
    for (int i = 0; i < 200; ++i) {
      accepted += service.post({{question(1000 + i, i % 2 == 0)}, [&](const Questions& answered) {
                                  ASSERT_TRUE(answered.at(0).answer);
                                  const auto kind = answered.at(0).answer->kind;
                                  ++(kind == KeyAnswer::Kind::kFound ? found : absent);
                                }});
    }
    service.stop();
    EXPECT_FALSE(service.post({{question(1, false)}, {}}));
  }
  EXPECT_EQ(accepted, 200);
  EXPECT_EQ(found, 100);
  EXPECT_EQ(absent, 100);
}

TEST(DirectoryService, ManyKeysOfOneRequestAreOneCommit) {
  TemporaryFolder folder;
  const auto directory = make_directory(folder / "d");
  ASSERT_TRUE(directory->assign(1, user_key(7)));
  const std::uint64_t before = directory->stats().commits;
  std::promise<Questions> answers;
  {
    DirectoryService service(*directory);
    Questions questions;
    for (int i = 0; i < 1000; ++i) questions.push_back(question(i, i % 10 != 0));
    ASSERT_TRUE(service.post(
        {questions, [&](Questions answered) { answers.set_value(std::move(answered)); }}));
  }
  EXPECT_EQ(directory->stats().commits, before + 1);
  const Questions answered = answers.get_future().get();
  ASSERT_EQ(answered.size(), 1000u);
  for (int i = 0; i < 1000; ++i) {
    const auto there = directory->find(1, user_key(i));
    ASSERT_TRUE(answered[i].answer);
    EXPECT_EQ(answered[i].encoded_key, user_key(i));
    EXPECT_EQ(answered[i].answer->kind, there->kind);
    EXPECT_EQ(answered[i].answer->shard, there->shard);
    EXPECT_EQ(there->kind, i % 10 == 0 ? KeyAnswer::Kind::kAbsent : KeyAnswer::Kind::kFound);
  }
}

TEST(DirectoryService, RefusesWhatIsTooMuch) {
  TemporaryFolder folder;
  const auto directory = make_directory(folder / "d", NewKeyPolicy::kRefuse);
  DirectoryService service(*directory, 2);
  std::promise<void> entered;
  std::promise<void> leave;
  std::atomic<int> refused{0};
  ASSERT_TRUE(service.post({{question(1, false)}, [&](const Questions&) {
                              entered.set_value();
                              leave.get_future().wait();
                            }}));
  entered.get_future().wait();
  const auto count = [&](const Questions& answered) { refused += !answered.at(0).answer; };
  EXPECT_TRUE(service.post({{question(2, true)}, count}));
  EXPECT_TRUE(service.post({{question(3, true)}, count}));
  EXPECT_FALSE(service.post({{question(4, true)}, count}));
  leave.set_value();
  service.stop();
  EXPECT_EQ(refused, 2);
}

}  // namespace
}  // namespace pgshunt
