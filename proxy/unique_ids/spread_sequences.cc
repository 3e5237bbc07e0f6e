#include "proxy/unique_ids/spread_sequences.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <set>

namespace pgshunt {
namespace {

// As many shards may be there, by their slots, before the steps become wider: a sequence of 32 bits
// has 130 million numbers for each then.
constexpr std::int64_t kFewShards = 16;
constexpr std::int64_t kManyShards = 1024;

struct Position {
  std::int64_t increment = 1;
  std::int64_t next = 1;
  std::int64_t min = 1;
  bool used = false;
};

Error cannot(const ShardSequences& where, const std::string& sequence, const std::string& why) {
  return {sqlstate::kObjectNotInPrerequisiteState,
          "sequence " + sequence + " cannot be set apart on shard \"" + where.shard + "\": " + why,
          "Make the proxy's user its owner, or use pgshunt.unique_id() for the column's default."};
}

bool read(const std::string& text, std::int64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

Result<Position> read_position(const ShardSequences& where, const std::string& sequence) {
  const auto rows = where.connection->query(
      "SELECT s.seqincrement, r.last_value, r.is_called, s.seqmin, s.seqcycle FROM " + sequence +
      " r, pg_catalog.pg_sequence s WHERE s.seqrelid = r.tableoid");
  if (!rows) return cannot(where, sequence, rows.error().message);
  Position out;
  if (rows->size() != 1 || !read(rows->front()[0], out.increment) ||
      !read(rows->front()[1], out.next) || !read(rows->front()[3], out.min)) {
    return cannot(where, sequence, "its state is not understood");
  }
  out.used = rows->front()[2] == "t";
  if (out.increment <= 0 || rows->front()[4] == "t") {
    return cannot(where, sequence, "it counts downwards or cycles");
  }
  if (out.used) out.next += out.increment;
  return out;
}

// Somebody else may have done it.
Result<bool> are_apart(std::span<const ShardSequences> shards, const std::string& sequence) {
  std::vector<Position> known;
  for (const ShardSequences& each : shards) {
    const auto there = read_position(each, sequence);
    if (!there) return there.error();
    for (const Position& other : known) {
      if ((there->next - other.next) % std::gcd(there->increment, other.increment) == 0)
        return false;
    }
    known.push_back(*there);
  }
  return true;
}

Status run(const ShardSequences& where, const std::string& sequence, const std::string& sql) {
  const auto done = where.connection->query(sql);
  if (done) return Ok{};
  return cannot(where, sequence, done.error().message);
}

}  // namespace

std::vector<std::string> sequences_to_spread(const Topology& topology, bool used) {
  std::set<std::string> names;
  for (const Table& table : topology.tables) {
    if (table.placement != TablePlacement::kSharded) continue;
    for (const Column& column : table.columns) {
      if (column.numbers == SequenceNumbers::kUnused ||
          (used && column.numbers == SequenceNumbers::kCollide)) {
        names.insert(column.sequence);
      }
    }
  }
  return {names.begin(), names.end()};
}

Status spread_sequence(std::span<const ShardSequences> shards, const std::string& sequence,
                       bool used) {
  std::int64_t stride = kFewShards;
  for (const ShardSequences& each : shards) {
    if (each.slot >= kFewShards) stride = kManyShards;
  }
  const auto apart = are_apart(shards, sequence);
  if (!apart) return apart.error();
  if (*apart) return Ok{};
  const auto first = read_position(shards.front(), sequence);
  if (!first) return first.error();
  // Of one that was set apart before, the application's own increment.
  std::int64_t increment = first->increment;
  if (increment % stride == 0) increment /= stride;
  const std::string steps = std::to_string(increment * stride);
  // From here on nobody else takes a number, until all are done.
  std::int64_t next = first->next;
  for (const ShardSequences& each : shards) {
    const Status locked = run(each, sequence,
                              "BEGIN; SET LOCAL lock_timeout = '2s'; ALTER SEQUENCE " + sequence +
                                  " INCREMENT BY " + std::to_string(increment));
    if (!locked) return locked.error();
    const auto there = read_position(each, sequence);
    if (!there) return there.error();
    if (there->used && !used) {
      return cannot(each, sequence, "it has given numbers meanwhile");
    }
    next = std::max(next, there->next);
  }
  for (const ShardSequences& each : shards) {
    const std::int64_t own = increment * each.slot;
    const Status set =
        run(each, sequence,
            "ALTER SEQUENCE " + sequence + " INCREMENT BY " + steps + " START WITH " +
                std::to_string(first->min + own) + " RESTART WITH " + std::to_string(next + own));
    if (!set) return set.error();
  }
  for (const ShardSequences& each : shards) {
    if (const Status done = run(each, sequence, "COMMIT"); !done) return done.error();
  }
  return Ok{};
}

}  // namespace pgshunt
