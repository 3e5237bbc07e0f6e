// TRANSACTIONS: what recovery has found prepared on the shards and not finished yet.
#include "proxy/admin/show_rows.h"

namespace pgshunt {

void show_transactions(ResultSet& out, const TwoPhase& two_phase) {
  const auto now = std::chrono::steady_clock::now();
  for (const InDoubt& each : two_phase.in_doubt()) {
    const std::chrono::duration<double> since = now - each.seen;
    out.add(each.database).add(each.gid).add(each.shard);
    out.add(static_cast<std::int64_t>(each.age + since.count())).add(each.owner);
    each.decision.empty() ? out.add_null() : out.add(each.decision);
    each.problem.empty() ? out.add_null() : out.add(each.problem);
  }
}

}  // namespace pgshunt
