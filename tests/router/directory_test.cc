// What the directory keeps and how it answers, within one process.

#include "router/directory/directory.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <random>
#include <semaphore>
#include <thread>

#include "router/directory/record.h"
#include "tests/router/directory_support.h"

namespace pgshunt {
namespace {

constexpr KeyspaceId kUsers = 1;

StableShardId found(const Directory& directory, std::int64_t id) {
  const auto lookup = directory.find(kUsers, user_key(id));
  EXPECT_TRUE(lookup) << lookup.error().message;
  return lookup && lookup->kind == KeyAnswer::Kind::kFound ? lookup->shard : StableShardId{0};
}

TEST(Directory, KeepsItsMapOverAReopening) {
  TemporaryFolder folder;
  using namespace map_change;
  const std::string lower = user_key(10);
  {
    const auto directory = make_directory(folder / "d");
    MapChange change{
        AddKeyspace{"days", ShardKeyType::kInt8, KeyspaceKind::kRange},
        SetRanges{3, {{{}, lower, 1}, {lower, user_key(20), 2}, {user_key(30), {}, 3}}},
        AddKeyspace{"lands", ShardKeyType::kText, KeyspaceKind::kList},
        SetValues{4, {{"de", 1}, {"", 2}}, 3},
        SetOverride{1, user_key(-7), 3},
        SetShardState{2, ShardState::kClosed},
        SetJob{77, "state"}};
    ASSERT_EQ(*directory->apply(1, change), 2u);
  }
  const auto directory = open_directory(folder / "d", DirectoryMode::kReadWrite);
  const auto map = directory->map();
  EXPECT_EQ(map->epoch, 2u);
  EXPECT_EQ(map->shard_named("s2")->state, ShardState::kClosed);
  const auto& days = *map->keyspace_named("days");
  ASSERT_EQ(days.ranges.size(), 3u);
  EXPECT_FALSE(days.ranges[0].from);
  EXPECT_EQ(days.ranges[1].from, lower);
  EXPECT_EQ(days.ranges[2].shard, 3);
  const auto& lands = *map->keyspace_named("lands");
  EXPECT_EQ(lands.values.at(""), 2);
  EXPECT_EQ(lands.value_default, StableShardId{3});
  EXPECT_EQ(map->keyspace(1)->overrides.at(user_key(-7)), 3);
  EXPECT_EQ(directory->jobs()->at(77), "state");
  ASSERT_TRUE(directory->apply(2, {SetOverride{1, user_key(-7), {}}, SetRanges{3, {}}}));
  EXPECT_TRUE(directory->map()->keyspace(1)->overrides.empty());
  EXPECT_TRUE(directory->verify());
}

TEST(Directory, ChangesTheMapOnlyFromTheEpochExpected) {
  TemporaryFolder folder;
  const auto directory = make_directory(folder / "d");
  const auto stale = directory->apply(0, {map_change::AddShard{"s4"}});
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error().code.view(), "40001");
  // The second step cannot be made: the first is not made either.
  EXPECT_FALSE(directory->apply(1, {map_change::AddShard{"s4"}, map_change::AddShard{"s1"}}));
  EXPECT_FALSE(directory->map()->shard_named("s4"));
  EXPECT_EQ(directory->map()->epoch, 1u);
  EXPECT_FALSE(directory->apply(
      1, {map_change::SetRanges{1, {{{}, user_key(9), 1}, {user_key(8), {}, 1}}}}));
}

TEST(Directory, PlacesNewKeysByPolicy) {
  TemporaryFolder folder;
  const auto directory = make_directory(folder / "d");
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(directory->assign(kUsers, user_key(i)));
  for (StableShardId shard = 1; shard <= 3; ++shard) {
    EXPECT_EQ(directory->stats().keys.at({kUsers, shard}), 10u);
  }
  EXPECT_EQ(*directory->assign(kUsers, user_key(100), NewKeyPolicy::kFixed), 2);
  const std::string key = user_key(101);
  const auto hash = hash_encoded_key(ShardKeyType::kInt8, key);
  EXPECT_EQ(*directory->assign(kUsers, key, NewKeyPolicy::kHash),
            directory->map()->keyspace(kUsers)->owners[hash % kBucketCount]);
  EXPECT_FALSE(directory->assign(kUsers, user_key(102), NewKeyPolicy::kRefuse));
  EXPECT_EQ(found(*directory, 102), 0);
  EXPECT_EQ(*directory->assign(kUsers, user_key(100), NewKeyPolicy::kRefuse), 2);
}

TEST(Directory, SetsAndErasesWithCountersThatFit) {
  TemporaryFolder folder;
  const auto directory = make_directory(folder / "d");
  const std::string a = user_key(1);
  std::vector<KeyWrite> writes{{KeyWrite::Kind::kPut, 1, a, 1}, {KeyWrite::Kind::kPut, 1, a, 2},
                               {KeyWrite::Kind::kAssign, 1, a}, {KeyWrite::Kind::kErase, 1, a},
                               {KeyWrite::Kind::kErase, 1, a},  {KeyWrite::Kind::kPut, 1, a, 9},
                               {KeyWrite::Kind::kPut, 9, a, 1}, {KeyWrite::Kind::kPut, 1, "x", 1},
                               {KeyWrite::Kind::kPut, 1, a, 3}};
  ASSERT_TRUE(directory->write(writes));
  EXPECT_EQ(*writes[2].outcome, 2);
  EXPECT_EQ(*writes[3].outcome, 2);
  EXPECT_EQ(*writes[4].outcome, 0);
  for (const std::size_t bad : {5, 6, 7}) EXPECT_FALSE(writes[bad].outcome) << bad;
  EXPECT_EQ(found(*directory, 1), 3);
  EXPECT_EQ(directory->stats().keys, (KeyCounts{{{1, 3}, 1}}));
  EXPECT_TRUE(directory->verify());
}

TEST(Directory, ThreadsThatAssignOneKeyAgree) {
  TemporaryFolder folder;
  const auto directory = make_directory(folder / "d");
  constexpr int kThreads = 4;
  constexpr int kKeys = 200;
  std::vector<std::vector<StableShardId>> seen(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kKeys; ++i) {
        // Each begins elsewhere, so that they are first in turns.
        const auto shard = directory->assign(kUsers, user_key((i + t * 7) % kKeys));
        seen[t].push_back(shard ? *shard : StableShardId{0});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int t = 0; t < kThreads; ++t) {
    for (int i = 0; i < kKeys; ++i) {
      ASSERT_EQ(seen[t][i], found(*directory, (i + t * 7) % kKeys)) << t << " " << i;
    }
  }
  std::uint64_t total = 0;
  for (const auto& [ids, count] : directory->stats().keys) total += count;
  EXPECT_EQ(total, std::uint64_t{kKeys});
  EXPECT_TRUE(directory->verify());
}

TEST(Directory, AnswersFromMemoryWithoutTheDisk) {
  TemporaryFolder folder;
  make_directory(folder / "d");
  {
    const auto directory = open_directory(folder / "d", DirectoryMode::kReadWrite);
    std::string key;
    std::int64_t next = 0;
    const auto loaded =
        directory->load_sorted(kUsers, [&](std::string_view& encoded, StableShardId& shard) {
          key = user_key(next * 2);
          encoded = key;
          shard = static_cast<StableShardId>(1 + next % 3);
          return next++ < 5000;
        });
    ASSERT_TRUE(loaded) << loaded.error().message;
  }
  const auto directory = open_directory(folder / "d", DirectoryMode::kReadWrite);
  EXPECT_EQ(directory->try_find(kUsers, user_key(8))->kind, KeyAnswer::Kind::kNotInMemory);
  EXPECT_EQ(found(*directory, 8), 2);
  EXPECT_EQ(directory->try_find(kUsers, user_key(8))->kind, KeyAnswer::Kind::kFound);
  int absent = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto lookup = directory->try_find(kUsers, user_key(i * 2 + 1));
    absent += lookup->kind == KeyAnswer::Kind::kAbsent;
  }
  EXPECT_GT(absent, 950);
  EXPECT_TRUE(directory->verify());
}

TEST(Directory, ReadersSeeAWholeStateWhileItIsWritten) {
  TemporaryFolder folder;
  const auto writer = make_directory(folder / "d");
  // A share of commits for each reader: where the disk is fast, the writer would outgrow what they
  // can verify.
  constexpr int kCommitsAReader = 50;
  std::counting_semaphore<> commits{0};
  std::atomic<bool> stop{false};
  std::thread thread([&] {
    // Two keys a commit, one of them big, so that logs become tables often.
    for (std::int64_t i = 0; commits.acquire(), !stop; ++i) {
      const std::string name(500, static_cast<char>('a' + i % 26));
      const std::string key = name + std::to_string(i);
      const std::string user = user_key(i);
      std::vector<KeyWrite> pair{{KeyWrite::Kind::kAssign, kUsers, user},
                                 {KeyWrite::Kind::kAssign, 2, key}};
      ASSERT_TRUE(writer->write(pair));
    }
  });
  std::uint64_t last = 0;
  for (int i = 0; i < 40; ++i) {
    commits.release(kCommitsAReader);
    const auto reader = Directory::open(folder / "d", DirectoryMode::kReadOnly);
    EXPECT_TRUE(reader) << reader.error().message;
    if (!reader) break;
    const Status good = (*reader)->verify();
    // A table that the writer has merged away meanwhile is an error, never another answer.
    if (!good && good.error().message.find("No such file") != std::string::npos) continue;
    EXPECT_TRUE(good) << good.error().message;
    std::uint64_t count[3] = {};
    for (const auto& [ids, keys] : (*reader)->stats().keys) count[ids.first] += keys;
    EXPECT_EQ(count[1], count[2]);
    EXPECT_GE(count[1], last);
    last = count[1];
    EXPECT_FALSE((*reader)->put_job(1, "x"));
  }
  stop = true;
  commits.release();
  thread.join();
}

TEST(Directory, ThreadsReadTheMapWhileItChanges) {
  TemporaryFolder folder;
  const auto directory = make_directory(folder / "d");
  const std::uint64_t first = directory->map()->epoch;
  constexpr std::uint64_t kChanges = 50;
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      std::uint64_t last = first;
      while (last < first + kChanges) {
        const std::shared_ptr<const ShardMap> map = directory->map();
        ASSERT_GE(map->epoch, last);
        last = map->epoch;
        // Each change adds a shard.
        ASSERT_EQ(map->shards.size(), 3 + last - first);
      }
    });
  }
  for (std::uint64_t i = 0; i < kChanges; ++i) {
    const auto changed =
        directory->apply(first + i, {map_change::AddShard{"more" + std::to_string(i)}});
    EXPECT_TRUE(changed) << changed.error().message;
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Directory, NamesWhoHasItOpen) {
  TemporaryFolder folder;
  const auto holder = make_directory(folder / "d");
  const auto second = Directory::open(folder / "d", DirectoryMode::kReadWrite);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code.view(), "55006");
  EXPECT_NE(second.error().message.find("this process"), std::string::npos);
}

TEST(Directory, IsNotMadeTwiceNorOpenedWhereNoneIs) {
  TemporaryFolder folder;
  EXPECT_FALSE(Directory::open(folder / "none", DirectoryMode::kReadWrite));
  EXPECT_FALSE(Directory::open(folder / "none", DirectoryMode::kReadOnly));
  make_directory(folder / "d");
  EXPECT_FALSE(Directory::open(folder / "d", DirectoryMode::kCreate));
}

TEST(Directory, CopiesItselfWhole) {
  TemporaryFolder folder;
  const auto directory = make_directory(folder / "d");
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(directory->assign(kUsers, user_key(i)));
  ASSERT_TRUE(directory->put_job(5, "bytes"));
  const Status copied = directory->copy_to(folder / "copy");
  ASSERT_TRUE(copied) << copied.error().message;
  EXPECT_FALSE(directory->copy_to(folder / "copy"));
  const auto copy = open_directory(folder / "copy", DirectoryMode::kReadWrite);
  EXPECT_EQ(copy->stats().keys, directory->stats().keys);
  EXPECT_EQ(copy->map()->epoch, 1u);
  EXPECT_EQ(copy->jobs()->at(5), "bytes");
  for (int i = 0; i < 300; ++i) ASSERT_EQ(found(*copy, i), found(*directory, i));
  EXPECT_TRUE(copy->verify());
  ASSERT_TRUE(copy->assign(kUsers, user_key(999)));
}

TEST(DirectoryRecord, ACorruptByteOrANewerFormatIsTold) {
  using namespace directory_record;
  const std::string value = seal("key", "payload");
  EXPECT_EQ(*unseal("key", value), "payload");
  EXPECT_FALSE(unseal("kez", value));
  for (std::size_t i = 0; i < value.size(); ++i) {
    std::string flipped = value;
    flipped[i] = static_cast<char>(flipped[i] ^ 4);
    EXPECT_FALSE(unseal("key", flipped)) << i;
  }
  EXPECT_EQ(crc32c("1234", "56789"), 0xe3069283u);
  Meta meta;
  meta.creation_id = std::string(16, 'x');
  EXPECT_TRUE(read_meta(meta_payload(meta)));
  meta.format = kFormatVersion + 1;
  EXPECT_EQ(read_meta(meta_payload(meta)).error().code.view(), "0A000");
}

// Any byte of any file: the directory says so, or answers as before.
TEST(Directory, FlippedBytesNeverGiveAWrongShard) {
  TemporaryFolder folder;
  constexpr int kKeys = 400;
  std::vector<StableShardId> expected;
  {
    const auto directory = make_directory(folder / "d");
    for (int i = 0; i < kKeys / 2; ++i) ASSERT_TRUE(directory->assign(kUsers, user_key(i)));
    ASSERT_TRUE(directory->copy_to(folder / "tables"));
    const auto both = open_directory(folder / "tables", DirectoryMode::kReadWrite);
    for (int i = kKeys / 2; i < kKeys; ++i) ASSERT_TRUE(both->assign(kUsers, user_key(i)));
    for (int i = 0; i < kKeys; ++i) expected.push_back(found(*both, i));
  }
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "tables")) {
    const std::string name = entry.path().filename();
    if (name.ends_with(".sst") || name.ends_with(".log") || name == "COMMITTED" ||
        name.starts_with("MANIFEST")) {
      files.push_back(name);
    }
  }
  ASSERT_GE(files.size(), 4u);
  std::mt19937 random(11);
  int noticed = 0;
  for (int round = 0; round < 60; ++round) {
    const std::string bad = folder / "bad";
    std::filesystem::remove_all(bad);
    std::filesystem::copy(folder / "tables", bad);
    const std::string file = bad + "/" + files[round % files.size()];
    const auto size = std::filesystem::file_size(file);
    if (size == 0) continue;
    {
      std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
      const auto at = static_cast<std::streamoff>(random() % size);
      bytes.seekg(at);
      const int byte = bytes.get();
      bytes.seekp(at);
      bytes.put(static_cast<char>(byte ^ (1 << random() % 8)));
    }
    const auto directory = Directory::open(bad, DirectoryMode::kReadWrite);
    if (!directory) {
      ++noticed;
      continue;
    }
    for (int i = 0; i < kKeys; ++i) {
      const auto lookup = (*directory)->find(kUsers, user_key(i));
      if (!lookup) {
        ++noticed;
        break;
      }
      ASSERT_EQ(lookup->kind, KeyAnswer::Kind::kFound) << file << " key " << i;
      ASSERT_EQ(lookup->shard, expected[i]) << file << " key " << i;
    }
  }
  EXPECT_GT(noticed, 20);
}

}  // namespace
}  // namespace pgshunt
