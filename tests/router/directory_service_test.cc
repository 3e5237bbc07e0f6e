#include "router/directory/directory_service.h"

#include <atomic>
#include <future>

#include "tests/router/directory_support.h"

namespace pgshunt {
namespace {

using Request = DirectoryService::Request;

TEST(DirectoryService, AnswersEverythingItAccepted) {
  TemporaryFolder folder;
  const auto directory = make_directory(folder / "d");
  std::atomic<int> found{0};
  std::atomic<int> absent{0};
  int accepted = 0;
  {
    DirectoryService service(*directory);
    std::promise<StableShardId> assigned;
    ASSERT_TRUE(
        service.post({Request::Kind::kAssign, 1, user_key(1), {}, [&](Result<KeyLookup> got) {
                        assigned.set_value(got->shard);
                      }}));
    const StableShardId shard = assigned.get_future().get();
    EXPECT_EQ(directory->find(1, user_key(1))->shard, shard);
    for (int i = 0; i < 200; ++i) {
      const auto kind = i % 2 == 0 ? Request::Kind::kAssign : Request::Kind::kFind;
      accepted += service.post({kind, 1, user_key(1000 + i), {}, [&](Result<KeyLookup> got) {
                                  ASSERT_TRUE(got);
                                  ++(got->kind == KeyLookup::Kind::kFound ? found : absent);
                                }});
    }
    service.stop();
    EXPECT_FALSE(service.post({Request::Kind::kFind, 1, user_key(1), {}, {}}));
  }
  EXPECT_EQ(accepted, 200);
  EXPECT_EQ(found, 100);
  EXPECT_EQ(absent, 100);
}

TEST(DirectoryService, RefusesWhatIsTooMuch) {
  TemporaryFolder folder;
  const auto directory = make_directory(folder / "d", NewKeyPolicy::kRefuse);
  DirectoryService service(*directory, 2);
  std::promise<void> entered;
  std::promise<void> leave;
  std::atomic<int> refused{0};
  ASSERT_TRUE(service.post({Request::Kind::kFind, 1, user_key(1), {}, [&](Result<KeyLookup>) {
                              entered.set_value();
                              leave.get_future().wait();
                            }}));
  entered.get_future().wait();
  const auto count = [&](Result<KeyLookup> got) { refused += !got; };
  EXPECT_TRUE(service.post({Request::Kind::kAssign, 1, user_key(2), {}, count}));
  EXPECT_TRUE(service.post({Request::Kind::kAssign, 1, user_key(3), {}, count}));
  EXPECT_FALSE(service.post({Request::Kind::kAssign, 1, user_key(4), {}, count}));
  leave.set_value();
  service.stop();
  EXPECT_EQ(refused, 2);
}

}  // namespace
}  // namespace pgshunt
