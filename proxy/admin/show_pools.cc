#include "proxy/admin/show_rows.h"

namespace pgshunt {

// A sharded database has a row for each shard. Its clients, who belong to no shard, are counted in
// the first one's, so that sums over rows stay true.
void show_pools(ResultSet& out, Reports reports) {
  for (const auto& [key, pool] : add_up_pools(reports)) {
    const auto& [database, user, shard] = key;
    const Pool::Counts& counts = pool.counts;
    out.add(database).add(user);
    out.add(pool.clients - pool.waiting).add(counts.waiting).add(0).add(0);
    out.add(counts.active).add(0).add(counts.being_canceled).add(counts.idle).add(counts.used);
    out.add(counts.tested).add(counts.login);
    out.add(whole_seconds(counts.longest_wait)).add(micros_beyond_seconds(counts.longest_wait));
    out.add(show_mode(pool.mode)).add_null().add(pool.shard).add(pool.pinned);
  }
}

}  // namespace pgshunt
