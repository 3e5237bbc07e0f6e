#include "proxy/two_phase/recovery.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>

#include "proxy/log/log.h"
#include "proxy/two_phase/gid.h"

namespace pgshunt {
namespace {

constexpr Sqlstate kUndefinedObject{"42704"};
constexpr Sqlstate kLockNotAvailable{"55P03"};
constexpr auto kPatience = std::chrono::milliseconds(4000);
constexpr auto kLongestRound = std::chrono::seconds(30);  // for clean-up to trust its lists

// Decisions are kept for at least a minute, so that nobody's clock or list can be that old.
constexpr std::string_view kForget =
    "DELETE FROM pgshunt.decision WHERE committed AND starts_with(gid, $1) AND "
    "at < pg_catalog.now() - interval '60 s' AND NOT gid = ANY ($2::text[])";
// Hidden backends (of users that pg_read_all_stats would show) count as old ones.
constexpr std::string_view kForgetTombstones =
    "DELETE FROM pgshunt.decision WHERE NOT committed AND starts_with(gid, $1) AND "
    "at < pg_catalog.now() - interval '1 hour' AND NOT EXISTS (SELECT FROM "
    "pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database() AND pid <> "
    "pg_catalog.pg_backend_pid() AND (xact_start <= at OR query = '<insufficient privilege>'))";

struct Prepared {
  std::size_t shard = 0;
  std::string gid;
  std::size_t part = 0;
  std::string owner;
  double age = 0;
};

std::string text_array(const std::set<std::string>& values) {
  // Gids need no quoting.
  std::string out = "{";
  for (const std::string& value : values) {
    if (out.size() > 1) out += ',';
    out += '"' + value + '"';
  }
  return out + "}";
}

class Round {
 public:
  Round(const Config& config, const DatabaseConfig& database, const RecoveryRules& rules,
        const std::atomic<bool>& stop)
      : config_(config), database_(database), rules_(rules), stop_(stop) {
    connections_.resize(database.shards.size());
  }

  RecoveryRound run(bool clean_up) {
    connect();
    std::map<std::string, std::vector<Prepared>> found;
    list(found);
    for (const auto& [gid, where] : found) {
      if (stop_) break;
      settle(gid, where);
    }
    if (clean_up && out_.complete && !stop_) forget_decisions();
    return std::move(out_);
  }

 private:
  void connect() {
    const auto user = control_user(config_, database_);
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      const ShardConfig& shard = database_.shards[i];
      if (stop_) return;
      if (!user) {
        problem(i, "no user with a known password to recover transactions with");
        continue;
      }
      auto opened = ControlConnection::open(config_, database_, shard, *user, "pgshunt recovery",
                                            kPatience, stop_);
      if (!opened) {
        problem(i, opened.error().message);
        continue;
      }
      connections_[i] = std::make_unique<ControlConnection>(std::move(*opened));
    }
  }

  void problem(std::size_t shard, const std::string& what) {
    out_.complete = false;
    log_event(LogLevel::kWarning, "recovery_not_possible",
              {.database = database_.name, .shard = database_.shards[shard].name}, what);
  }

  // By decision.
  void list(std::map<std::string, std::vector<Prepared>>& found, bool again = false) {
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      if (!connections_[i]) continue;
      const auto rows = connections_[i]->query(
          "SELECT gid, owner, extract(epoch FROM pg_catalog.clock_timestamp() - prepared) "
          "FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database() "
          "AND starts_with(gid, $1)",
          {gid_prefix(database_.name)});
      if (!rows) {
        problem(i, rows.error().message);
        connections_[i].reset();
        continue;
      }
      for (const auto& row : *rows) {
        const auto parts = parse_gid(row[0]);
        const Prepared one{i, row[0], parts && parts->part ? *parts->part : 0, row[1],
                           std::strtod(row[2].c_str(), nullptr)};
        if (!parts || !parts->part) {
          if (!again) leave(one, {}, "it is not a name that pgshunt gives");
        } else {
          found[std::string(parts->decision)].push_back(one);
        }
      }
    }
  }

  void leave(const Prepared& where, std::string_view decision, const std::string& why) {
    out_.left.push_back({database_.name, where.gid, database_.shards[where.shard].name, where.owner,
                         where.age, std::chrono::steady_clock::now(), std::string(decision), why});
    if (why.empty()) return;
    log_event(LogLevel::kWarning, "transaction_in_doubt",
              {.database = database_.name, .shard = database_.shards[where.shard].name},
              where.gid + ": " + why);
  }

  void leave_all(const std::vector<Prepared>& where, const std::string& why) {
    for (const Prepared& each : where) leave(each, {}, why);
  }

  void settle(const std::string& gid, const std::vector<Prepared>& where) {
    if (rules_.is_live(gid)) return leave_all(where, {});
    double oldest = 0;
    for (const Prepared& each : where) oldest = std::max(oldest, each.age);
    if (oldest < rules_.grace.count() && !rules_.is_abandoned(gid)) {
      return leave_all(where, {});
    }
    const auto parts = parse_gid(gid);
    std::size_t decider = 0;
    while (decider < database_.shards.size() &&
           gid_name(database_.shards[decider].name) != parts->decider) {
      ++decider;
    }
    if (decider == database_.shards.size()) {
      return leave_all(where, "the configuration has no shard of its decider's name");
    }
    if (!connections_[decider]) {
      return leave_all(where,
                       "its decider \"" + database_.shards[decider].name + "\" cannot be asked");
    }
    // Is it still there? Whoever has finished it may have deleted its decision, too.
    std::vector<Prepared> still;
    for (const Prepared& each : where) {
      ControlConnection* connection = connections_[each.shard].get();
      if (!connection || connection->broken()) continue;
      const auto rows = connection->query(
          "SELECT 1 FROM pg_catalog.pg_prepared_xacts WHERE gid = $1", {each.gid});
      if (!rows || !rows->empty()) still.push_back(each);
    }
    if (still.empty()) return;
    const Result<bool> committed = resolve(*connections_[decider], gid);
    if (!committed) {
      const bool under_way = committed.error().code == kLockNotAvailable;
      return leave_all(still,
                       under_way ? "" : "its decider does not say: " + committed.error().message);
    }
    const std::string_view decision = *committed ? "commit" : "abort";
    // The first part comes last, and where that matters only if nothing is left of the others.
    std::sort(still.begin(), still.end(),
              [](const Prepared& a, const Prepared& b) { return a.part > b.part; });
    bool all = true;
    for (const Prepared& each : still) {
      if (parts->first_last && each.part == 0 && (!all || !out_.complete)) {
        leave(each, decision, "the other shards come first");
        continue;
      }
      ControlConnection* connection = connections_[each.shard].get();
      const Status done = finish_prepared(config_, database_, database_.shards[each.shard],
                                          *connection, each.gid, *committed, stop_);
      if (!done) {
        all = false;
        leave(each, decision, done.error().message);
        continue;
      }
      log_event(LogLevel::kInfo, *committed ? "transaction_committed" : "transaction_rolled_back",
                {.database = database_.name, .shard = database_.shards[each.shard].name}, each.gid);
    }
  }

  // The decisions were made before this list is read, so their transactions are on it or finished.
  void forget_decisions() {
    const auto begun = std::chrono::steady_clock::now();
    std::map<std::string, std::vector<Prepared>> found;
    list(found, true);
    if (!out_.complete) return;
    std::set<std::string> gids;
    for (const auto& [gid, where] : found) gids.insert(gid);
    const std::string prefix = gid_prefix(database_.name);
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      if (!connections_[i] || std::chrono::steady_clock::now() - begun > kLongestRound) return;
      const auto installed =
          connections_[i]->query("SELECT pg_catalog.to_regclass('pgshunt.decision') IS NOT NULL");
      if (!installed || installed->empty() || installed->front().front() != "t") continue;
      for (const Status& done :
           {to_status(connections_[i]->query(kForget, {prefix, text_array(gids)})),
            to_status(connections_[i]->query(kForgetTombstones, {prefix}))}) {
        if (done) continue;
        log_event(LogLevel::kWarning, "decisions_not_cleaned_up",
                  {.database = database_.name, .shard = database_.shards[i].name},
                  done.error().message);
      }
    }
  }

  static Status to_status(const Result<std::vector<ControlConnection::Row>>& rows) {
    if (!rows) return rows.error();
    return Ok{};
  }

  const Config& config_;
  const DatabaseConfig& database_;
  const RecoveryRules& rules_;
  const std::atomic<bool>& stop_;
  std::vector<std::unique_ptr<ControlConnection>> connections_;
  RecoveryRound out_;
};

// A connection that may do what the role may: as its own user; else as one who may become it, which
// whoever has prepared a transaction after SET ROLE could.
Result<ControlConnection> stand_in(const Config& config, const DatabaseConfig& database,
                                   const ShardConfig& shard, const std::string& role,
                                   const std::string& quoted_role, const std::atomic<bool>& stop) {
  std::vector<ControlUser> users = known_users(config, database);
  std::stable_partition(users.begin(), users.end(),
                        [&](const ControlUser& user) { return user.name == role; });
  for (ControlUser& user : users) {
    auto opened =
        ControlConnection::open(config, database, shard, user, "pgshunt recovery", kPatience, stop);
    if (!opened) continue;
    if (user.name == role || opened->query("SET ROLE " + quoted_role)) return opened;
  }
  return Error{sqlstate::kInsufficientPrivilege,
               "only a superuser, its owner \"" + role +
                   "\" or who may SET ROLE to that may finish it, and none of them is known here "
                   "with a password",
               {}};
}

}  // namespace

Result<bool> resolve(ControlConnection& decider, const std::string& gid) {
  if (const auto set = decider.query("SET lock_timeout = '1s'"); !set) return set.error();
  const auto rows = decider.query("SELECT pgshunt.resolve($1)", {gid});
  if (!rows) return rows.error();
  if (rows->empty()) return Error{sqlstate::kConnectionFailure, "no answer", {}};
  return rows->front().front() == "t";
}

Status finish_prepared(const Config& config, const DatabaseConfig& database,
                       const ShardConfig& shard, ControlConnection& connection,
                       const std::string& gid, bool commit, const std::atomic<bool>& stop) {
  const std::string sql = std::string(commit ? "COMMIT" : "ROLLBACK") + " PREPARED '" + gid + "'";
  auto done = connection.query(sql);
  if (!done && done.error().code == sqlstate::kInsufficientPrivilege) {
    const auto owner = connection.query(
        "SELECT pg_catalog.quote_ident(owner), owner FROM pg_catalog.pg_prepared_xacts WHERE gid = "
        "$1",
        {gid});
    if (!owner) return owner.error();
    if (owner->empty()) return Ok{};
    const std::string& role = owner->front()[1];
    auto as_owner = stand_in(config, database, shard, role, owner->front()[0], stop);
    if (!as_owner) return as_owner.error();
    done = as_owner->query(sql);
  }
  if (!done && done.error().code != kUndefinedObject) return done.error();
  return Ok{};
}

RecoveryRound recover(const Config& config, const DatabaseConfig& database,
                      const RecoveryRules& rules, bool clean_up, const std::atomic<bool>& stop) {
  return Round(config, database, rules, stop).run(clean_up);
}

}  // namespace pgshunt
