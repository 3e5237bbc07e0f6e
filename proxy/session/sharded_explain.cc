// EXPLAIN (PGSHUNT): the route as text. With ANALYZE every shard runs EXPLAIN (ANALYZE) of its
// part, by the way the part itself would go: in the same order, transaction and commit.
#include <algorithm>
#include <iterator>

#include "proxy/database.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/worker.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

// What a statement leaves on its server is looked after on the way that it goes by itself.
constexpr std::uint32_t kHarmless = kEffectSequenceWrite | kEffectLocalConfig;

// By its first word; EXPLAIN runs others too (CREATE TABLE AS, DECLARE).
bool is_query(std::string_view statement, bool standard_conforming_strings) {
  SqlLexer lexer(statement, standard_conforming_strings);
  SqlToken token;
  lexer.next(token);
  constexpr std::string_view kFirst[] = {"select", "with",   "values", "table",
                                         "insert", "update", "delete", "merge"};
  return lexer.is_symbol(token, '(') ||
         std::any_of(std::begin(kFirst), std::end(kFirst),
                     [&](std::string_view word) { return word_is(lexer.text(token), word); });
}

}  // namespace

ShardedConversation::Verdict ShardedConversation::explain_statement(const ExplainRequest& request,
                                                                    std::uint32_t effects) {
  const auto route = this->route(request.statement, router_session());
  if (!route) return refuse(route.error());
  if (route->kind == RouteKind::kLookup) {
    if (request.analyze) return look_up_keys(route->lookups);
    // Keys are looked for, but none is given a shard: nothing runs.
    if (const auto failed = keys_.failure(route->lookups)) return refuse(*failed);
    if (!keys_.answered(route->lookups)) {
      const Status asked = keys_.ask(route->lookups, false);
      return asked ? Verdict::kWait : refuse(asked.error());
    }
  }
  if (route->kind == RouteKind::kMakeValues && request.analyze) {
    // It runs, with values of its own, where they say.
    return make_values(
        *route,
        request.json ? "EXPLAIN (PGSHUNT, ANALYZE, FORMAT JSON) " : "EXPLAIN (PGSHUNT, ANALYZE) ",
        {});
  }
  const bool open = route->shards.empty();
  const ShardId one = open ? shard_of(*route, effects) : 0;
  const bool shown = !open || request.analyze;
  const std::span<const ShardId> shards = open ? std::span(&one, shown ? 1 : 0) : route->shards;
  ExplainedRoute explained = explain_route(request, *route, shards, router_.topology());
  if (!route->made.empty()) explained.text = router_.with_places(route->made.size());
  if (!request.analyze) {
    append_explained_route(worker_.client_out(), explained);
    unit_done(false);
    return Verdict::kTaken;
  }
  if (!is_query(request.statement, session_.standard_conforming_strings()) || route->copy ||
      route->alike != Alike::kNo || route->move || (effects & ~kHarmless) != kEffectNone) {
    return refuse({sqlstate::kFeatureNotSupported,
                   "EXPLAIN (PGSHUNT, ANALYZE) runs SELECT, INSERT, UPDATE and DELETE only, and "
                   "nothing that would be left on a server",
                   "Leave out ANALYZE."});
  }
  return analyze_statement(std::move(explained), *route, shards);
}

ShardedConversation::Verdict ShardedConversation::analyze_statement(
    ExplainedRoute explained, const Route& route, std::span<const ShardId> route_shards) {
  // Acquiring may route again.
  const std::vector<ShardId> shards(route_shards.begin(), route_shards.end());
  std::vector<std::string> texts;
  for (const ExplainedRoute::Part& part : explained.parts) texts.push_back(analyzing(part.text));
  FanOutPlan plan;
  plan.use = FanOutPlan::Use::kSum;
  analyzed_since_ = Clock::now();
  if (route.writes && route.kind != RouteKind::kEveryShard) {
    const Verdict verdict =
        write_on_shards(shards, route.fixes_moment, std::move(texts), std::move(plan));
    if (verdict == Verdict::kTaken && fan_out_) analyzed_ = std::move(explained);
    return verdict;
  }
  const bool everywhere = route.kind == RouteKind::kEveryShard;
  const std::int64_t lock = route.write_lock;
  const bool fixes_moment = route.fixes_moment;
  if (everywhere && in_two_phases()) {
    if (const auto held = hold_write(shards)) return *held;
  }
  if (!acquire(shards)) return Verdict::kWait;
  std::vector<ServerLink*> links;
  for (const ShardId shard : shards) links.push_back(&link(shard));
  after_ = After::kReply;
  if (everywhere) {
    plan.order = FanOutPlan::Order::kFirstAlone;
    begin_write_everywhere(links, lock);
  }
  if (fixes_moment) tell_moment(links);
  analyzed_ = std::move(explained);
  fan_out_ = std::make_unique<FanOut>(session_, *this, std::move(links), std::move(plan));
  fan_out_->send_queries(std::move(texts));
  return Verdict::kTaken;
}

// All shards have done it.
std::string ShardedConversation::analyzed_reply(const FanOut& fan_out) {
  ExplainedRoute explained = std::move(*analyzed_);
  explained.elapsed = Clock::now() - analyzed_since_;
  for (std::size_t i = 0; i < explained.parts.size(); ++i) {
    explained.parts[i].plan = plan_of_rows(fan_out.rows_from(i));
  }
  std::string out;
  append_explained_route(out, explained);
  return out;
}

}  // namespace pgshunt
