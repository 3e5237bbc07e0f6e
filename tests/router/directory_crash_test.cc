// kill -9 at random instants: what was acknowledged is there, nothing is there by half.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "protocol/frame.h"
#include "tests/router/directory_support.h"

namespace pgshunt {
namespace {

constexpr KeyspaceId kUsers = 1;
constexpr int kPerBatch = 5;
constexpr const char* kPathVariable = "PGSHUNT_CRASH_PATH";
constexpr const char* kBatchVariable = "PGSHUNT_CRASH_BATCH";

// Batch n puts keys of its own, erases the last key of the batch before, and assigns one more.
void write_batch(Directory& directory, std::int64_t n) {
  std::vector<std::string> keys;
  for (int i = 0; i <= kPerBatch; ++i) keys.push_back(user_key(n * 100 + i));
  keys.push_back(user_key((n - 1) * 100 + kPerBatch - 1));
  std::vector<KeyWrite> writes;
  for (int i = 0; i < kPerBatch; ++i) {
    writes.push_back(
        {KeyWrite::Kind::kPut, kUsers, keys[i], static_cast<StableShardId>(1 + n % 3)});
  }
  writes.push_back({KeyWrite::Kind::kAssign, kUsers, keys[kPerBatch]});
  writes.push_back({KeyWrite::Kind::kErase, kUsers, keys[kPerBatch + 1]});
  if (!directory.write(writes)) std::abort();
}

// The child: the parent runs this binary again with this test alone.
TEST(DirectoryCrashChild, DISABLED_Writes) {
  const char* const path = std::getenv(kPathVariable);
  const char* const batch = std::getenv(kBatchVariable);
  if (path == nullptr || batch == nullptr) return;
  std::int64_t n = std::atoll(batch);
  const auto directory = open_directory(path, DirectoryMode::kReadWrite);
  for (;; ++n) {
    if (n % 7 == 3) {
      const std::uint64_t epoch = directory->map()->epoch;
      const map_change::SetJob job{1, std::to_string(epoch + 1)};
      if (!directory->apply(epoch, {job, map_change::SetPolicy{2, NewKeyPolicy::kHash}})) abort();
    }
    write_batch(*directory, n);
    char acknowledged[8];
    store_be64(acknowledged, static_cast<std::uint64_t>(n));
    if (::write(STDOUT_FILENO, acknowledged, sizeof acknowledged) != sizeof acknowledged) return;
  }
}

pid_t start_child(const std::string& path, std::int64_t batch, int out) {
  ::setenv(kPathVariable, path.c_str(), 1);
  ::setenv(kBatchVariable, std::to_string(batch).c_str(), 1);
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::dup2(out, STDOUT_FILENO);
  ::execl("/proc/self/exe", "router_tests", "--gtest_also_run_disabled_tests", "--gtest_brief=1",
          "--gtest_output=", "--gtest_filter=DirectoryCrashChild.*", nullptr);
  ::_exit(127);
}

// The last batch that the child acknowledged before it was killed, or `before`. GoogleTest's own
// lines come first; a batch's number begins with a zero byte, which they do not have.
std::int64_t last_acknowledged(int in, std::int64_t before, pid_t child, int batches) {
  std::string bytes;
  char chunk[512];
  bool killed = false;
  for (;;) {
    const ssize_t got = ::read(in, chunk, sizeof chunk);
    if (got <= 0) break;
    bytes.append(chunk, static_cast<std::size_t>(got));
    const auto first = bytes.find('\0');
    if (!killed && first != std::string::npos &&
        (bytes.size() - first) / 8 >= static_cast<std::size_t>(batches)) {
      ::kill(child, SIGKILL);
      killed = true;
    }
  }
  const auto first = bytes.find('\0');
  if (first == std::string::npos) return before;
  const std::size_t whole = (bytes.size() - first) / 8;
  return whole == 0 ? before
                    : static_cast<std::int64_t>(load_be64(bytes.data() + first + (whole - 1) * 8));
}

TEST(DirectoryCrash, NothingAcknowledgedIsLostAndNothingIsHalfDone) {
  TemporaryFolder folder;
  make_directory(folder / "d");
  std::mt19937 random(5);
  std::int64_t last = 0;
  for (int round = 0; round < 25; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = start_child(folder / "d", last + 1, ends[1]);
    ::close(ends[1]);
    const std::int64_t told =
        last_acknowledged(ends[0], last, child, 1 + static_cast<int>(random() % 40));
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;

    const auto directory = open_directory(folder / "d", DirectoryMode::kReadWrite);
    ASSERT_TRUE(directory);
    const Status good = directory->verify();
    ASSERT_TRUE(good) << good.error().message;
    // The map and the job's record were changed together.
    const auto jobs = directory->jobs();
    ASSERT_EQ(jobs->contains(1) ? jobs->at(1) : "1", std::to_string(directory->map()->epoch));
    std::set<std::int64_t> there;
    ASSERT_TRUE(directory->for_each_key(kUsers, {}, [&](std::string_view key, StableShardId shard) {
      const std::int64_t id = std::stoll(encoded_key_text(ShardKeyType::kInt8, key));
      there.insert(id);
      EXPECT_TRUE(id % 100 == kPerBatch || shard == 1 + id / 100 % 3) << id;
      return true;
    }));
    // One more batch may be there than was acknowledged: whole.
    const bool one_more = there.contains((told + 1) * 100);
    const std::int64_t end = told + (one_more ? 1 : 0);
    std::set<std::int64_t> expected;
    for (std::int64_t n = 1; n <= end; ++n) {
      for (int i = 0; i <= kPerBatch; ++i) {
        if (i != kPerBatch - 1 || n == end) expected.insert(n * 100 + i);
      }
    }
    ASSERT_EQ(there, expected) << "round " << round;
    last = end;
  }
  EXPECT_GT(last, 100);
}

TEST(DirectoryCrash, AnotherProcessThatHoldsItIsNamed) {
  TemporaryFolder folder;
  make_directory(folder / "d");
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = start_child(folder / "d", 1, ends[1]);
  ::close(ends[1]);
  char byte = 1;
  while (byte != 0 && ::read(ends[0], &byte, 1) == 1) {
  }
  const auto second = Directory::open(folder / "d", DirectoryMode::kReadWrite);
  const auto reader = Directory::open(folder / "d", DirectoryMode::kReadOnly);
  ::kill(child, SIGKILL);
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("process " + std::to_string(child)), std::string::npos)
      << second.error().message;
  EXPECT_TRUE(reader) << reader.error().message;
}

}  // namespace
}  // namespace pgshunt
