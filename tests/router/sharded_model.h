// A small sharded database without a proxy: one server, a database with all the data and one for
// each shard, a Router that says where statements run, and the obvious loop that carries it out.
// Tests hold the answers of the two against each other.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/wire_value.h"
#include "router/router.h"
#include "router/statement_plan.h"
#include "tests/support/pg_client.h"

namespace pgshunt {

class ShardedModel {
 public:
  static constexpr std::size_t kShards = 3;

  // The one of this process, with its tables filled; null if there is no PostgreSQL.
  //   sharded by bigint: users (id), posts (user_id), comments (user_id)
  //   sharded by text:   accounts (login), in a keyspace of its own
  //   reference:         countries
  //   unsharded:         notes, on the second shard
  static ShardedModel* shared();

  // What a statement did: rows, or why not.
  struct Answer {
    bool refused = false;  // by the router
    std::string error;     // its message, or a server's
    std::string sqlstate;
    std::optional<RouteKind> kind;
    std::vector<std::vector<std::optional<std::string>>> rows;  // values as sent
    std::string tag;
    std::uint16_t columns = 0;
    std::vector<std::uint32_t> types;  // of the columns
    bool grouped = false;              // groups of the shards were put together here
  };

  // Through the router.
  Answer run(const std::string& sql);
  Answer run_prepared(const std::string& sql, const std::vector<PgClient::Parameter>& parameters,
                      std::uint16_t result_format);
  // By the database that holds everything.
  Answer run_whole(const std::string& sql);
  Answer run_whole_prepared(const std::string& sql,
                            const std::vector<PgClient::Parameter>& parameters,
                            std::uint16_t result_format);
  // In every database, past the router.
  void everywhere(const std::string& sql);

  Router& router() { return *router_; }
  std::shared_ptr<const Topology> topology() const { return topology_; }
  PgClient& shard(ShardId id) { return *shards_[id]; }

 private:
  // Row by row, each to the shard of its key.
  Answer insert_selected(const InsertSelect& statement);
  template <class Execute>
  Answer carry_out(const Route& route, std::uint16_t hidden, std::uint16_t result_format,
                   Execute execute);
  void merge(const Route& route, std::vector<PgResult>& results, std::uint16_t result_format,
             Answer& out);
  void merge_groups(const Route& route, std::vector<PgResult>& results, const FormatList& formats,
                    Answer& out);

  std::vector<std::unique_ptr<PgClient>> shards_;
  std::unique_ptr<PgClient> whole_;
  std::shared_ptr<const Topology> topology_;
  std::unique_ptr<Router> router_;
};

}  // namespace pgshunt
