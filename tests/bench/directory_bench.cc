// What the directory costs: look-ups, assigns, loading and memory.
//
//   directory_bench <folder> [keys, 1000000] [block cache in MB, 256]

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "router/directory/directory.h"
#include "router/key_encoding.h"

namespace {

using namespace pgshunt;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::string key_of(std::uint64_t id) {
  std::string key;
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(id >> shift));
  key[0] = static_cast<char>(key[0] ^ 0x80);
  return key;
}

template <class T>
T must(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(1);
}

// Random existing keys out of `range`: found and not found from memory, and time a look-up.
void look_up(const Directory& directory, const char* what, std::uint64_t range, std::uint64_t odd,
             bool blocking, int count) {
  std::mt19937_64 random(1);
  std::vector<std::string> keys;
  for (int i = 0; i < count; ++i) keys.push_back(key_of(random() % range * 2 + odd));
  int kinds[3] = {};
  const auto begin = Clock::now();
  for (const std::string& key : keys) {
    const auto got = blocking ? directory.find(1, key) : directory.try_find(1, key);
    ++kinds[static_cast<int>(must(got).kind)];
  }
  std::printf("%-34s %8.2f us   found %d, absent %d, not in memory %d\n", what,
              seconds_since(begin) * 1e6 / count, kinds[0], kinds[1], kinds[2]);
}

void assign_many(Directory& directory, int threads, int each) {
  std::vector<std::thread> running;
  const auto begin = Clock::now();
  for (int t = 0; t < threads; ++t) {
    running.emplace_back([&directory, t, threads, each] {
      for (int i = 0; i < each; ++i) {
        const std::uint64_t id =
            (std::uint64_t{1} << 50) + static_cast<std::uint64_t>(threads) * 10'000'000 +
            static_cast<std::uint64_t>(t) * 1'000'000 + static_cast<std::uint64_t>(i);
        must(directory.assign(1, key_of(id)));
      }
    });
  }
  for (std::thread& thread : running) thread.join();
  std::printf("assign, %3d threads                %8.0f a second\n", threads,
              threads * each / seconds_since(begin));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "directory_bench <folder> [keys] [cache in MB]\n");
    return 2;
  }
  const std::string path = std::string(argv[1]) + "/directory_bench";
  const std::uint64_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1'000'000;
  const std::size_t cache = (argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 256) << 20;
  std::filesystem::remove_all(path);
  {
    const auto directory = must(Directory::open(path, DirectoryMode::kCreate));
    using namespace map_change;
    MapChange change{AddShard{"s1"}, AddShard{"s2"}, AddShard{"s3"}, AddShard{"s4"}};
    change.push_back(AddKeyspace{"k", ShardKeyType::kInt8, KeyspaceKind::kDirectory,
                                 NewKeyPolicy::kLeastLoaded});
    must(directory->apply(0, change));
    std::uint64_t next = 0;
    std::string key;
    const auto begin = Clock::now();
    must(directory->load_sorted(1, [&](std::string_view& encoded, StableShardId& shard) {
      key = key_of(next * 2);
      encoded = key;
      shard = static_cast<StableShardId>(1 + next * 2654435761u % 4);
      return next++ < count;
    }));
    std::printf("load, sorted                       %8.0f a second\n",
                static_cast<double>(count) / seconds_since(begin));
  }
  const auto opening = Clock::now();
  const auto directory =
      must(Directory::open(path, DirectoryMode::kReadWrite, {.block_cache_bytes = cache}));
  std::printf("open                               %8.1f ms\n", seconds_since(opening) * 1e3);
  look_up(*directory, "absent key, nothing cached", count, 1, false, 200'000);
  look_up(*directory, "cold key (system's cache is warm)", count, 0, true, 20'000);
  const std::uint64_t hot = std::min<std::uint64_t>(count, 500'000);
  look_up(*directory, "warming", hot, 0, true, 1'000'000);
  look_up(*directory, "cached key", hot, 0, false, 1'000'000);
  look_up(*directory, "absent key", count, 1, false, 1'000'000);
  for (const int threads : {1, 4, 32}) assign_many(*directory, threads, 6400 / threads / 4);
  const DirectoryStats stats = directory->stats();
  const auto per_key = [count](std::uint64_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(count);
  };
  std::printf("on disk %.2f bytes a key; filters and indexes %.2f bytes a key, %.1f MB in all\n",
              per_key(stats.disk_bytes), per_key(stats.filter_and_index_bytes),
              static_cast<double>(stats.filter_and_index_bytes) / 1e6);
  return 0;
}
