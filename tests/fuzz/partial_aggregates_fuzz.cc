// Any bytes as a statement whose aggregates might be put together from what shards say: that is
// either left alone, or becomes two texts that parse, of as many columns as each other expects.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "router/key_type.h"
#include "router/level_text.h"
#include "router/parse_tree.h"
#include "router/partial_aggregates.h"
#include "router/statement_analysis.h"

namespace pgshunt {
namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

std::shared_ptr<const Topology> make_topology() {
  TopologyBuilder builder;
  for (const char* shard : {"s0", "s1"}) check(builder.add_shard(shard).ok());
  const auto must = [](const Status& status) { check(static_cast<bool>(status)); };
  const auto column = [](const char* name, std::uint32_t type) {
    Column out;
    out.name = name;
    out.type_oid = type;
    return out;
  };
  must(builder.add_keyspace("users", ShardKeyType::kInt8));
  must(builder.add_sharded_table("public", "users", "users", "id"));
  must(builder.add_sharded_table("public", "posts", "users", "user_id"));
  must(builder.add_reference_table("public", "countries"));
  builder.set_columns("public", "users",
                      {column("id", type_oid::kInt8), column("name", type_oid::kText),
                       column("day", type_oid::kDate)});
  builder.set_columns("public", "posts",
                      {column("id", type_oid::kInt8), column("user_id", type_oid::kInt8),
                       column("likes", type_oid::kInt4)});
  builder.set_columns("public", "countries", {column("code", type_oid::kText)});
  return *builder.build(1);
}

std::unique_ptr<Query> must_parse(const std::string& text) {
  auto statement = parse_statement(text);
  check(statement.ok() && statement->query != nullptr);
  check(statement->query->verb == QueryVerb::kSelect);
  return std::move(statement->query);
}

}  // namespace
}  // namespace pgshunt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgshunt;
  static const std::shared_ptr<const Topology> topology = make_topology();
  const std::string_view sql(reinterpret_cast<const char*>(data), size);
  const auto level = LevelText::read(sql);
  const auto statement = parse_statement(sql);
  if (!level || !statement || statement->kind != StatementKind::kQuery) return 0;
  const Query& query = *statement->query;
  if (query.verb != QueryVerb::kSelect) return 0;
  const std::vector<std::uint32_t> types;
  StatementAnalysis analysis(*topology, nullptr, types);
  if (!analysis.add_query(query)) return 0;
  // Its caller has refused these.
  if (analysis.facts().locking || analysis.facts().into) return 0;
  const auto partial = plan_partial_aggregates(*topology, *level, query, analysis);
  if (!partial) return 0;

  const auto shards = must_parse(partial->select);
  check(must_parse(partial->text)->targets.size() == query.targets.size());
  std::string text = partial->text;
  std::size_t last = text.size();
  for (auto sum = partial->sums.rbegin(); sum != partial->sums.rend(); ++sum) {
    check(sum->behind > 0 && sum->behind <= last);
    check(sum->column < shards->targets.size());
    last = sum->behind - 1;
    text.insert(sum->behind, "::pg_catalog.int8");
  }
  must_parse(text);
  return 0;
}
