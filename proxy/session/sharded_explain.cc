// EXPLAIN (PGSHUNT): the route as text. With ANALYZE every shard runs EXPLAIN (ANALYZE) of its
// part, by the way the part itself would go: in the same order, transaction and commit.
//
// By the extended protocol a server prepares, binds and describes an EXPLAIN of its own in its
// place, so that parameters and errors are as they should be; only Execute is served here.
#include <algorithm>

#include "protocol/frontend.h"
#include "proxy/database.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/worker.h"
#include "router/insert_split.h"
#include "router/statement_plan.h"

namespace pgshunt {

// --- statements ----------------------------------------------------------------------------------

Result<std::shared_ptr<const StatementPlan>> ShardedConversation::plan_explain(
    const Statement& statement, const ExplainRequest& explain) {
  if (statement.effect.verb == Verb::kExecute) {
    return Error{sqlstate::kFeatureNotSupported,
                 "EXPLAIN (PGSHUNT) of an EXECUTE is answered as a simple query only",
                 "Explain the statement that it executes."};
  }
  return router_.prepare(explain.statement, statement.types, router_session());
}

// False: it is another statement.
bool ShardedConversation::rewrite_explain(Statement& statement) {
  auto explain = read_explain_route(statement.text, session_.standard_conforming_strings());
  if (!explain || !*explain) return false;
  ExplainRequest& request = **explain;
  statement.written =
      std::exchange(statement.text, request.route ? request.server_text : request.statement);
  if (!request.route) return true;
  request.effects = std::exchange(statement.effect, {}).effects;
  statement.explain = std::make_shared<const ExplainRequest>(std::move(request));
  return true;
}

// --- where they would run ------------------------------------------------------------------------

ShardedConversation::Verdict ShardedConversation::explain_statement(const ExplainRequest& request,
                                                                    std::uint32_t effects) {
  if (!request.route) return explain_by_server(request.statement);
  const auto route = this->route(request.statement, router_session());
  if (!route) return refuse(route.error());
  return explain(request, *route, effects, nullptr);
}

// (PGSHUNT off): the same statement without that option.
ShardedConversation::Verdict ShardedConversation::explain_by_server(std::string_view sql) {
  std::string frame;
  append_query(frame, sql);
  FrameHeader header;
  read_frame_header(frame, kMaxBodySize, header);
  StatementScanner scan(sql, session_.standard_conforming_strings());
  StatementEffects statement;
  scan.next(statement);
  return serve_routed(header, frame, sql, statement);
}

// Of a portal that there is.
ShardedConversation::Verdict ShardedConversation::execute_explain(const ExecuteView& execute) {
  ExplainPortal& portal = explain_portals_.find(std::string(execute.portal))->second;
  if (portal.rows) {
    append_portion(worker_.client_out(), portal, execute.max_rows);
    unit_done(false);
    return Verdict::kTaken;
  }
  const StatementPtr statement = portal.statement;
  const ExplainExecution execution{*statement, *decode_bind(portal.bind), execute};
  // The plan that it is routed by: the map may be another than when the statement was prepared.
  const auto plan = router_.refresh(statement->plan, router_session());
  if (!plan) return refuse(plan.error());
  auto route = route_bind(execution.bind, *statement);
  if (!route) return refuse(route.error());
  if (route->kind != RouteKind::kOneShard && route->kind != RouteKind::kAnyShard) {
    route->sql = (*plan)->shard_text();
  }
  std::vector<std::string> texts;
  for (std::uint16_t i = 0; route->split && i < route->shards.size(); ++i) {
    texts.push_back(part_of_insert(*route->split, route->row_order, i).text);
  }
  route->texts = texts;
  return explain(*statement->explain, *route, statement->explain->effects, &execution);
}

ShardedConversation::Verdict ShardedConversation::explain(const ExplainRequest& request,
                                                          const Route& route, std::uint32_t effects,
                                                          const ExplainExecution* execution) {
  if (route.kind == RouteKind::kLookup) {
    if (request.analyze) return look_up_keys(route.lookups);
    // Keys are looked for, but none is given a shard: nothing runs.
    if (const auto failed = keys_.failure(route.lookups)) return refuse(*failed);
    if (!keys_.answered(route.lookups)) {
      const Status asked = keys_.ask(route.lookups, false);
      return asked ? Verdict::kWait : refuse(asked.error());
    }
  }
  if (route.kind == RouteKind::kMakeValues && request.analyze && !execution) {
    // It runs, with values of its own, where they say.
    return make_values(route,
                       std::string("EXPLAIN (PGSHUNT, ANALYZE") +
                           (request.json ? ", FORMAT JSON" : "") + request.shard_options + ") ",
                       {});
  }
  const bool open = route.shards.empty();
  const ShardId one = open ? shard_of(route, effects) : 0;
  const bool shown = !open || request.analyze;
  const std::span<const ShardId> shards = open ? std::span(&one, shown ? 1 : 0) : route.shards;
  ExplainedRoute explained = explain_route(request, route, shards, router_.topology());
  if (!route.made.empty() && !execution) explained.text = router_.with_places(route.made.size());
  if (!request.analyze) {
    std::string& out = worker_.client_out();
    if (execution) {
      ExplainPortal& portal = explain_portals_[std::string(execution->execute.portal)];
      portal.rows = explained_rows(explained);
      append_portion(out, portal, execution->execute.max_rows);
    } else {
      append_explained_route(out, explained);
    }
    unit_done(false);
    return Verdict::kTaken;
  }
  if (!is_explained_query(request.statement, session_.standard_conforming_strings()) ||
      route.copy || route.alike != Alike::kNo || route.move || route.insert_select ||
      route.kind == RouteKind::kMakeValues || (effects & ~kLeavesNothing) != kEffectNone) {
    return refuse(
        {sqlstate::kFeatureNotSupported,
         "EXPLAIN (PGSHUNT, ANALYZE) runs SELECT, INSERT, UPDATE and DELETE only, without "
         "values that the proxy makes, and nothing that would be left on a server",
         "Leave out ANALYZE."});
  }
  if (route.merge_node) {
    return analyze_merge(request, std::move(explained), route, effects, execution);
  }
  return analyze(request, std::move(explained), route, shards, execution);
}

// --- ANALYZE -------------------------------------------------------------------------------------

ShardedConversation::Verdict ShardedConversation::analyze(const ExplainRequest& request,
                                                          ExplainedRoute explained,
                                                          const Route& route,
                                                          std::span<const ShardId> route_shards,
                                                          const ExplainExecution* execution) {
  // Acquiring may route again.
  const std::vector<ShardId> shards(route_shards.begin(), route_shards.end());
  const std::string prefix = analyzing_prefix(request);
  std::vector<std::string> texts;
  std::vector<FanOutShare> shares;
  BindView bind;
  if (execution) {
    bind = execution->bind;
    bind.portal = {};  // on a server the client's is that of the EXPLAIN that stands for it
  }
  if (!execution) {
    for (const ExplainedRoute::Part& part : explained.parts) texts.push_back(prefix + part.text);
  } else if (route.split) {
    shares = shares_of(route, bind, execution->prepared, std::string(2, '\0'), prefix);
  } else {
    for (const ExplainedRoute::Part& part : explained.parts) {
      Statement statement;
      statement.text = prefix + part.text;
      statement.types = execution->prepared.types;
      FanOutShare& share = shares.emplace_back();
      share.statement = std::make_shared<const Statement>(std::move(statement));
      append_bind_renamed(share.bind, bind, {});
    }
  }
  const auto send = [&] {
    if (execution) {
      fan_out_->send_shares(std::move(shares), {});
    } else {
      fan_out_->send_queries(std::move(texts));
    }
  };
  Analysis analysis{std::move(explained), Clock::now(), std::nullopt, 0};
  if (execution) {
    analysis.portal = execution->execute.portal;
    analysis.max_rows = execution->execute.max_rows;
  }
  FanOutPlan plan;
  plan.use = FanOutPlan::Use::kSum;
  plan.clients_text = false;
  if (route.writes && route.kind != RouteKind::kEveryShard) {
    const Verdict verdict = begin_write(shards, route.fixes_moment, std::move(plan));
    if (verdict == Verdict::kTaken && fan_out_) {
      analysis_ = std::move(analysis);
      send();
    }
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
  analysis_ = std::move(analysis);
  fan_out_ = std::make_unique<FanOut>(session_, *this, std::move(links), std::move(plan));
  send();
  return Verdict::kTaken;
}

// The merge node runs it: its tables are brought, and the statement is explained there.
ShardedConversation::Verdict ShardedConversation::analyze_merge(const ExplainRequest& request,
                                                                ExplainedRoute explained,
                                                                const Route& route,
                                                                std::uint32_t effects,
                                                                const ExplainExecution* execution) {
  Statement statement;
  statement.text = request.statement;
  if (execution) statement.types = execution->prepared.types;
  const BindView* bind = execution ? &execution->bind : nullptr;
  if (const auto verdict = prepare_merge(route, effects, bind, &statement)) return *verdict;
  if (merge_run_->plan != route.merge_node) {
    // Of groups, or in a transaction, another one will do.
    Route taken = route;
    taken.merge_node = merge_run_->plan;
    explained = explain_route(request, taken, route.shards, router_.topology());
  }
  merge_run_->analyzes = analyzing_prefix(request);
  analysis_.emplace(Analysis{std::move(explained), Clock::now(), std::nullopt, 0});
  if (execution) {
    analysis_->portal = execution->execute.portal;
    analysis_->max_rows = execution->execute.max_rows;
  }
  begin_merge({});
  return Verdict::kTaken;
}

// All shards have done it.
std::string ShardedConversation::analyzed_reply(const FanOut& fan_out) {
  ExplainedRoute& explained = analysis_->explained;
  explained.elapsed = Clock::now() - analysis_->since;
  if (merge_run_) {
    for (std::size_t i = 0; i < explained.parts.size(); ++i) {
      explained.parts[i].brought = std::move(merge_run_->brought[i]);
    }
    explained.merge_plan = plan_of_rows(fan_out.rows_from(0));
  } else {
    for (std::size_t i = 0; i < explained.parts.size(); ++i) {
      explained.parts[i].plan = plan_of_rows(fan_out.rows_from(i));
    }
  }
  std::string out;
  if (analysis_->portal) {
    ExplainPortal& portal = explain_portals_[*analysis_->portal];
    portal.rows = explained_rows(explained);
    append_portion(out, portal, analysis_->max_rows);
  } else {
    append_explained_route(out, explained);
  }
  return out;
}

// What one Execute of a portal that has run is answered; 0: all that is left.
void ShardedConversation::append_portion(std::string& out, ExplainPortal& portal,
                                         std::uint32_t max_rows) {
  std::uint32_t sent = 0;
  for (; portal.next_row < portal.rows->size() && (max_rows == 0 || sent < max_rows); ++sent) {
    const std::string_view row = (*portal.rows)[portal.next_row++];
    append_text_row(out, {&row, 1});
  }
  if (max_rows != 0 && sent == max_rows) {
    append_portal_suspended(out);  // as PostgreSQL, which does not look for one row more
  } else {
    append_command_complete(out, "EXPLAIN");
  }
}

}  // namespace pgshunt
