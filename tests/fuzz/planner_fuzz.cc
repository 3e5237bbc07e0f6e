// Any bytes as a statement: planned by its text and through the template cache. Beyond not
// crashing, a plan must keep its promises: a scatter's text parses, has the columns it says, and
// names a window; a route's shards exist.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "router/planner.h"
#include "router/router.h"

namespace {

using namespace pgshunt;

std::shared_ptr<const Topology> make_topology() {
  TopologyBuilder builder;
  for (const char* shard : {"s0", "s1", "s2"}) {
    if (!builder.add_shard(shard)) std::abort();
  }
  const auto must = [](const Status& status) {
    if (!status) std::abort();
  };
  must(builder.add_keyspace("users", ShardKeyType::kInt8));
  must(builder.add_keyspace("logins", ShardKeyType::kText));
  must(builder.add_keyspace("days", ShardKeyType::kDate));
  must(builder.add_sharded_table("public", "users", "users", "id"));
  must(builder.add_sharded_table("public", "posts", "users", "user_id"));
  must(builder.add_sharded_table("public", "accounts", "logins", "login"));
  must(builder.add_sharded_table("public", "days", "days", "day"));
  must(builder.add_reference_table("public", "countries"));
  must(builder.add_unsharded_table("public", "notes", "s1"));
  return *builder.build(1);
}

void check(bool promise) {
  if (!promise) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::shared_ptr<const Topology> topology = make_topology();
  static Router router(topology, 64);
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  const auto plan = plan_statement(*topology, {text, {}, 0});
  if (!plan) check(!plan.error().message.empty());
  if (plan && plan->kind == RouteKind::kScatter && !plan->shard_text.empty()) {
    // It is still one statement of the same kind, and planning it anew adds nothing.
    const auto again = plan_statement(*topology, {plan->shard_text, {}, 0});
    check(again.ok() || again.error().code.view() != "42601");
  }
  for (int round = 0; round < 2; ++round) {  // the second time from the cache
    const auto route = router.route(text);
    if (!route) continue;
    for (const ShardId shard : route->shards) check(shard < topology->shards.size());
    check((route->kind == RouteKind::kScatter) == (route->merge != nullptr));
    check(route->kind != RouteKind::kOneShard || route->shards.size() == 1);
    check((route->copy != nullptr) ==
          (route->kind == RouteKind::kCopySplit || route->kind == RouteKind::kCopyMerge));
    check(route->window.offset >= 0);
  }
  const auto prepared = router.prepare(text, {});
  if (prepared) {
    const BoundValue values[] = {
        {false, false, 0, "7"}, {true, false, 0, {}}, {false, true, 0, {"\0\0\0\0\0\0\0\7", 8}}};
    const auto bound = router.bind(**prepared, values);
    if (bound) check(bound->shards.size() <= topology->shards.size());
  }
  return 0;
}
