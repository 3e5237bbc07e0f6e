// The extended protocol on a sharded database: a batch of messages is cut into parts that go the
// same way, which are served one after the other.
//
// A part that is not the batch's last is ended by a Sync of the proxy's own. Inside a transaction
// block that changes nothing; outside, a part that writes begins a transaction which the client's
// Sync ends, so that no half of a pipeline can be committed without the other.
#include <algorithm>

#include "proxy/database.h"
#include "proxy/session/batch_part.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/session/statement_reading.h"
#include "proxy/worker.h"
#include "router/insert_select.h"
#include "router/statement_plan.h"

namespace pgshunt {

namespace {

constexpr std::size_t kNone = std::string_view::npos;

char last_type(std::string_view batch) {
  std::size_t at = 0;
  Message message;
  while (next_message(batch, at, message)) continue;
  return message.header.type;
}

Error no_portions_error() {
  return {sqlstate::kFeatureNotSupported,
          "rows of RETURNING from several shards cannot be fetched in portions",
          "Fetch all rows (fetch size 0), or pin the statement to one key."};
}

bool closes_statement(const Message& message) {
  if (message.header.type != frontend::kClose) return false;
  const auto target = decode_close(message.body);
  return target && target->kind == TargetKind::kStatement;
}

// Does what follows its Bind ask for all rows of a portal, before anything else and without a
// portion's limit? Nobody comes back to an unnamed one behind a Sync outside of a transaction.
bool runs_at_once(std::string_view rest, std::string_view portal, bool in_transaction) {
  std::size_t at = 0;
  Message message;
  if (!next_message(rest, at, message)) return false;
  if (message.header.type == frontend::kDescribe) {
    const auto target = decode_describe(message.body);
    if (!target || target->kind != TargetKind::kPortal || target->name != portal) return false;
    if (!next_message(rest, at, message)) return false;
  }
  if (message.header.type != frontend::kExecute) return false;
  const auto execute = decode_execute(message.body);
  if (!execute || execute->portal != portal) return false;
  if (execute->max_rows == 0) return true;
  return portal.empty() && !in_transaction && next_message(rest, at, message) &&
         message.header.type == frontend::kSync;
}

bool is_control(Verb verb) {
  return verb == Verb::kBegin || verb == Verb::kCommit || verb == Verb::kRollback ||
         verb == Verb::kSavepoint || verb == Verb::kReleaseSavepoint || verb == Verb::kRollbackTo ||
         verb == Verb::kPrepareTransaction || verb == Verb::kSetLocal;
}

bool is_unrouted(Verb verb) {
  switch (verb) {
    case Verb::kEmpty:
    case Verb::kSet:
    case Verb::kSetSessionAuthorization:
    case Verb::kSetCharacteristics:
    case Verb::kReset:
    case Verb::kResetAll:
    case Verb::kDiscardAll:
    case Verb::kDiscard:
    case Verb::kListen:
    case Verb::kUnlisten:
    case Verb::kUnlistenAll:
    case Verb::kShow:
      return true;
    default:
      return is_control(verb);
  }
}

}  // namespace

Result<std::shared_ptr<const StatementPlan>> ShardedConversation::plan(const Statement& statement) {
  if (is_control(statement.effect.verb)) {
    if (const Status good = Router::check_syntax(statement.text); !good) return good.error();
  }
  if (is_unrouted(statement.effect.verb)) return std::shared_ptr<const StatementPlan>();
  const auto explain = read_explain_route(statement.text, session_.standard_conforming_strings());
  if (explain && !*explain) return explain->error();
  if (explain) return plan_explain(statement, **explain);
  return router_.prepare(statement.text, statement.types, router_session());
}

StatementPtr ShardedConversation::find_statement(std::string_view name) const {
  if (name.empty()) return unnamed_;
  const StatementPtr* found = session_.state().names.find(name);
  return found ? *found : nullptr;
}

// The same for a message of `part`, whose own Parses have not been served yet.
StatementPtr ShardedConversation::statement_in(const Part& part, std::string_view name) const {
  for (std::size_t i = part.parses.size(); i-- > 0;) {
    if (part.parses[i].first == name) return part.parses[i].second;
  }
  return find_statement(name);
}

// The one shard that can describe it. Whoever made the statement may have had another hint.
std::optional<ShardId> ShardedConversation::home_of(const StatementPtr& statement) {
  if (!statement || !statement->plan) return std::nullopt;
  const auto plan = router_.refresh(statement->plan, router_session());
  if (!plan) return std::nullopt;
  return router_.home_of(**plan, router_session());
}

// A server analyses a prepared statement anew when search_path has changed
// (utils/cache/plancache.c). Where that names tenants it is another statement then, for another
// shard: the name comes to stand for that one.
StatementPtr ShardedConversation::under_search_path(std::string_view name, StatementPtr statement) {
  if (!statement || !statement->plan || !router_.topology().has_tenant_schemas()) return statement;
  auto plan = router_.refresh(statement->plan, router_session());
  if (!plan || (*plan)->data().search_path == statement->plan->data().search_path) return statement;
  SessionState& state = session_.state();
  if (name.empty() || state.names.undecided(name)) return statement;
  Statement fresh = *statement;
  fresh.settings = state.parse_settings();
  fresh.conforming_strings = session_.standard_conforming_strings();
  fresh.plan = std::move(*plan);
  StatementPtr made = state.has_local_settings
                          ? own_statement(std::move(fresh))
                          : worker_.statements().add(session_.database()->scope, std::move(fresh));
  state.names.confirm(state.names.add(name, made));
  return made;
}

// A literal that says the time was read by the Parse; the merge node reads it with the Bind.
Status ShardedConversation::check_parsed_now(const Route& route, const Part& part,
                                             const StatementPtr& statement) {
  if (!route.merge_node || !route.merge_node->parsed_clock) return Ok{};
  for (const auto& [name, made] : part.parses) {
    if (made == statement) return Ok{};
  }
  return Error{sqlstate::kFeatureNotSupported,
               "a literal such as 'now' or 'today' in a prepared statement over several shards "
               "says when it was prepared",
               "Write now() or the time itself."};
}

// A Parse that no server is asked about.
Status ShardedConversation::remember_statement(const ParseView& parse) {
  auto statement = statement_of(session_, parse);
  if (!statement) return statement.error();
  if (parse.statement.empty()) {
    remember_unnamed(session_, parse);
    unnamed_ = std::move(*statement);
    return Ok{};
  }
  if (const Status free = free_name(session_, parse.statement); !free) return free.error();
  StatementNames& names = session_.state().names;
  names.confirm(names.add(parse.statement, std::move(*statement)));
  return Ok{};
}

void ShardedConversation::close_statement(std::string_view body) {
  const auto target = decode_close(body);
  if (!target || target->kind != TargetKind::kStatement) return;
  const std::string_view name = target->name;
  if (name.empty()) {
    unnamed_.reset();
    session_.state().unnamed.tag = 0;
    return;
  }
  StatementNames& names = session_.state().names;
  if (names.find(name)) names.confirm(names.remove(name));
}

Result<Route> ShardedConversation::route_bind(const BindView& bind, const Statement& statement) {
  values_.clear();
  std::size_t index = 0;
  for (const WireValue& value : bind.values) {
    BoundValue bound;
    bound.is_null = value.is_null;
    bound.binary = bind.formats.of(index) == kFormatBinary;
    bound.type = index < statement.types.size() ? statement.types[index] : 0;
    bound.bytes = value.bytes;
    values_.push_back(bound);
    ++index;
  }
  auto plan = router_.refresh(statement.plan, router_session());
  if (!plan) return plan.error();
  keys_.teach(router_);
  return router_.bind(**plan, values_, router_session());
}

// A pipeline's keys are asked for together, and not one by one as its parts are served. What is
// wrong with `rest` is found when its turn comes, and keys that are still not known then.
void ShardedConversation::gather_lookups(std::string_view rest, Part& part) {
  std::size_t at = 0;
  Message message;
  while (next_message(rest, at, message)) {
    if (message.header.type == frontend::kParse) {
      const auto parse = decode_parse(message.body);
      auto statement = parse ? statement_of(session_, *parse) : Result<StatementPtr>(parse.error());
      if (!statement) return;
      part.parses.emplace_back(parse->statement, std::move(*statement));
    } else if (message.header.type == frontend::kBind) {
      const auto bind = decode_bind(message.body);
      const StatementPtr statement = bind ? statement_in(part, bind->statement) : nullptr;
      if (!statement) return;
      if (!statement->plan || statement->explain) continue;
      const auto route = route_bind(*bind, *statement);
      if (!route) return;
      const bool unknown = route->kind == RouteKind::kLookup && !keys_.failure(route->lookups);
      if (unknown) part.lookups.add(route->lookups);
    }
  }
}

// The longest run of messages at the front of the batch that can be served as one.
Result<ShardedConversation::Part> ShardedConversation::next_part(std::string_view batch) {
  Part part;
  std::size_t at = 0;
  Message message;
  std::size_t own_parse = kNone;  // the Parse that no Bind has followed yet
  bool decided = false;           // a statement of this part has been placed
  // What a Bind or Parse asks for; false: it has to wait for the next part.
  const auto place = [&](Part::Way way, std::optional<ShardId> shard) {
    if (!decided || (part.way == Part::Way::kShard && !part.shard && way == Part::Way::kShard)) {
      part.way = way;
      part.shard = shard;
      decided = true;
      return true;
    }
    if (part.way != way) return false;
    return way == Part::Way::kControl ||
           (way == Part::Way::kShard && (!shard || part.shard == shard));
  };
  std::vector<std::string_view> bound;       // portals of this part
  std::vector<std::string_view> to_explain;  // those of EXPLAIN (PGSHUNT)
  const auto has = [](const std::vector<std::string_view>& portals, std::string_view portal) {
    return std::find(portals.begin(), portals.end(), portal) != portals.end();
  };
  const auto explains = [&](std::string_view portal) {
    if (has(bound, portal)) return has(to_explain, portal);
    return !explain_portals_.empty() && explain_portals_.contains(std::string(portal));
  };
  // A portal of an earlier message is on the server it was bound on, or its rows are read here.
  const auto place_portal = [&](std::string_view portal) {
    if (has(bound, portal)) return true;
    if (decided && part.way != Part::Way::kShard) return false;
    const OpenCursor* known = cursors_.find(portal);
    if (known == nullptr) return decided || place(Part::Way::kShard, std::nullopt);
    return place(Part::Way::kShard, known->server);
  };
  const auto place_cursor = [&](const OpenCursor& cursor, const Statement& statement) {
    // With its cursor a server that is kept goes too.
    const bool released = cursor.server >= kKeptServers && statement.effect.verb == Verb::kClose;
    const bool there = cursor.place == OpenCursor::Place::kServer && !released;
    return there ? place(Part::Way::kShard, cursor.server)
                 : place(Part::Way::kCursor, std::nullopt);
  };
  const auto read_here = [&](std::string_view portal) {
    if (has(bound, portal)) return false;
    const OpenCursor* known = cursors_.find(portal);
    return known != nullptr && known->place != OpenCursor::Place::kServer;
  };
  // Nothing but Parses, the last of them of the statement that is bound now, and Closes of others.
  bool only_parses = true;
  const auto only_parsed = [&] {
    return part.way == Part::Way::kShard && only_parses && bound.empty();
  };
  // The last message of a part: a Sync or Flush right behind belongs to it.
  const auto ends_part = [&] {
    std::size_t next = at;
    Message following;
    if (next_message(batch, next, following) &&
        (following.header.type == frontend::kSync || following.header.type == frontend::kFlush)) {
      part.synced = following.header.type == frontend::kSync;
      part.flushed = !part.synced;
      at = next;
    }
    part.size = at;
  };
  // What goes before it has its answers first.
  const auto fails = [&](const Error& error, std::size_t begin) -> Result<Part> {
    if (begin == 0) return error;
    if (begin == own_parse) part.parses.pop_back();
    part.size = begin;
    return std::move(part);
  };
  while (next_message(batch, at, message)) {
    const std::size_t begin = at - message.frame.size();
    bool fits = true;
    switch (message.header.type) {
      case frontend::kParse: {
        const auto parse = decode_parse(message.body);
        if (!parse) return fails(parse.error(), begin);
        auto statement = statement_of(session_, *parse);
        if (!statement) return fails(statement.error(), begin);
        if (lacks_unique_id_function(**statement)) {
          part.wants = Part::Wants::kFunction;
          return part;
        }
        own_parse = begin;
        if (is_control((*statement)->effect.verb)) {
          fits = begin == 0 && place(Part::Way::kControl, std::nullopt);
        } else if (decided && part.way != Part::Way::kShard) {
          fits = false;  // it is no part of what is answered here
        } else if (closes_all(**statement)) {
          fits = place(Part::Way::kCursor, std::nullopt);
        } else if (const OpenCursor* cursor = cursor_of(**statement)) {
          fits = place_cursor(*cursor, **statement);
        } else if (const auto home = home_of(*statement)) {
          fits = place(Part::Way::kShard, home);
        }
        if (fits) part.parses.emplace_back(parse->statement, std::move(*statement));
        break;
      }
      case frontend::kBind: {
        const auto bind = decode_bind(message.body);
        if (!bind) return fails(bind.error(), begin);
        const auto current = with_current_values(
            bind->statement,
            under_search_path(bind->statement, statement_in(part, bind->statement)));
        if (!current) return fails(current.error(), own_parse != kNone ? own_parse : begin);
        const StatementPtr& statement = *current;
        if (statement && statement->by_sql) {
          return fails({sqlstate::kFeatureNotSupported,
                        "a statement that was prepared by SQL cannot be bound by the protocol on a "
                        "sharded database",
                        "Use EXECUTE, or prepare it by the protocol."},
                       begin);
        }
        if (statement && statement->made_values > 0 && given_.empty()) {
          part.wants = Part::Wants::kValues;
          return part;
        }
        if (!statement) {
          fits = place(Part::Way::kShard, std::nullopt);  // the link words the error
          break;
        }
        const OpenCursor* named = cursor_of(*statement);
        if (is_control(statement->effect.verb)) {
          fits = place(Part::Way::kControl, std::nullopt);
        } else if (closes_all(*statement)) {
          if (part.way == Part::Way::kCursor && bound.empty()) decided = false;
          fits = place(Part::Way::kCursor, std::nullopt);
        } else if (named != nullptr) {
          const Status same = check_looks(*named);
          if (!same && statement->effect.verb != Verb::kClose) return fails(same.error(), begin);
          if (part.way == Part::Way::kCursor && bound.empty()) decided = false;
          fits = place_cursor(*named, *statement);
        } else if (!statement->plan) {
          const CompletionEffect& effect = statement->effect;
          const Status good = check_setting(effect.name, effect.verb, effect.text);
          if (!good) return fails(good.error(), own_parse != kNone ? own_parse : begin);
          fits = place(Part::Way::kShard, home_shard());
          part.moves_names |= fits && (effect.name == "search_path" ||
                                       is_hint_setting(effect.name) || router_session().hint);
        } else if (is_taken_cursor(*statement)) {
          if (only_parsed()) decided = false;
          fits = place(Part::Way::kEverywhere, std::nullopt);
        } else if (statement->explain) {
          // Servers check and describe it. Where what it explains goes is asked when it is
          // executed.
          fits = place(Part::Way::kShard, home_of(statement));
          part.explains |= fits;
          if (fits) to_explain.push_back(bind->portal);
        } else {
          const auto route = route_bind(*bind, *statement);
          if (!route) return fails(route.error(), own_parse != kNone ? own_parse : begin);
          if (route->kind == RouteKind::kLookup) {
            if (const auto failed = keys_.failure(route->lookups)) {
              return fails(*failed, own_parse != kNone ? own_parse : begin);
            }
            part.lookups.add(route->lookups);
            gather_lookups(batch.substr(at), part);
            return part;
          }
          if (route->kind == RouteKind::kMakeValues) {
            part.wants = Part::Wants::kFunction;
            return part;
          }
          if (route->alike == Alike::kOneByOne && !transaction_.open()) {
            return fails({sqlstate::kFeatureNotSupported,
                          "a command that runs outside of transactions cannot be sent to several "
                          "shards by the extended protocol",
                          "Send it as a simple query."},
                         own_parse != kNone ? own_parse : begin);
          }
          if (route->kind == RouteKind::kHomeShard && !cursors_.empty()) {
            const Status shown = check_view_of_cursors(statement->text);
            if (!shown) return fails(shown.error(), own_parse != kNone ? own_parse : begin);
          }
          const bool reads =
              route->kind == RouteKind::kScatter || route->kind == RouteKind::kMergeNode;
          if (out_of_place(route->alike)) {
            fits = place(Part::Way::kShard, home_shard());
          } else if (reads && !runs_at_once(batch.substr(at), bind->portal, transaction_.open())) {
            if (only_parsed()) decided = false;
            fits = place(Part::Way::kOpenPortal, std::nullopt);
          } else if (route->kind == RouteKind::kScatter || route->kind == RouteKind::kEveryShard ||
                     route->kind == RouteKind::kWriteShards ||
                     route->kind == RouteKind::kMoveRows ||
                     route->kind == RouteKind::kInsertSelect ||
                     route->kind == RouteKind::kMergeNode || route->kind == RouteKind::kCursor ||
                     route->copy) {
            if (only_parsed()) decided = false;
            fits = place(Part::Way::kEverywhere, std::nullopt);
            if (fits) {
              part.copies = route->copy != nullptr;
              part.copies_in = route->kind == RouteKind::kCopySplit;
            }
          } else {
            fits = place(Part::Way::kShard, shard_of(*route, statement->effect.effects));
          }
          if (fits) part.writes |= route->writes;
          if (fits && part.way == Part::Way::kEverywhere) {
            part.several_write |= route->kind == RouteKind::kWriteShards ||
                                  route->kind == RouteKind::kMoveRows ||
                                  route->kind == RouteKind::kInsertSelect;
          }
        }
        const bool elsewhere = part.way != Part::Way::kShard;
        if (fits && (elsewhere || cursors_.find(bind->portal) == nullptr ||
                     cursors_.find(bind->portal)->server != part.shard)) {
          const Status free = free_cursor_name(bind->portal);
          if (!free && bound.empty()) {
            // What goes before it is only its Parse.
            part.way = Part::Way::kShard;
            part.shard.reset();
          }
          if (!free) return fails(free.error(), begin);
        }
        if (fits && part.way == Part::Way::kOpenPortal) {
          ends_part();
          return part;
        }
        if (fits) {
          part.declares |= statement->effect.verb == Verb::kDeclare;
          part.moves_names |= named != nullptr || part.declares;
          part.effects |= statement->effect.effects;
          part.ddl |= statement->effect.verb == Verb::kDdl;
          part.listens |= statement->effect.verb == Verb::kListen;
          bound.push_back(bind->portal);
          ++part.open_portals;
          own_parse = kNone;
        } else if (own_parse != kNone) {
          // The statement's own Parse goes with it.
          at = own_parse + message.frame.size();
          part.parses.pop_back();
        }
        break;
      }
      case frontend::kExecute: {
        const auto execute = decode_execute(message.body);
        if (!execute) return fails(execute.error(), begin);
        if (explains(execute->portal)) {
          // What goes before it has its answers first.
          fits = begin == 0;
          if (!fits) break;
          const Status looked_at = look_at_explain(execute->portal, part);
          if (!looked_at) return looked_at.error();
          if (!part.lookups.empty()) return part;
          break;
        }
        if (read_here(execute->portal)) {
          fits = begin == 0;
          if (!fits) break;
          part.way = Part::Way::kPortal;
          part.executes = true;
          ends_part();
          return part;
        }
        fits = place_portal(execute->portal);
        part.executes |= fits;
        if (execute->max_rows == 0 && part.open_portals > 0) --part.open_portals;
        break;
      }
      case frontend::kDescribe:
      case frontend::kClose: {
        const auto target = decode_describe(message.body);
        if (!target) return fails(target.error(), begin);
        if (target->kind == TargetKind::kPortal && read_here(target->name)) {
          fits = begin == 0;
          if (!fits) break;
          part.way = Part::Way::kPortal;
          ends_part();
          return part;
        }
        if (target->kind == TargetKind::kStatement) {
          own_parse = kNone;  // it is asked about where it is parsed
        }
        if (target->kind == TargetKind::kPortal) {
          fits = place_portal(target->name);
        } else if (decided && part.way != Part::Way::kShard) {
          const StatementPtr statement = statement_in(part, target->name);
          const bool own = statement && (is_control(statement->effect.verb) ||
                                         closes_all(*statement) || cursor_of(*statement));
          fits = own || message.header.type == frontend::kClose;
        } else if (!decided) {
          const StatementPtr statement = statement_in(part, target->name);
          const OpenCursor* cursor = statement ? cursor_of(*statement) : nullptr;
          fits = cursor != nullptr ? place_cursor(*cursor, *statement)
                                   : place(Part::Way::kShard, home_of(statement));
        }
        break;
      }
      case frontend::kSync:
        part.synced = true;
        part.size = at;
        return part;
      case frontend::kFlush:
        part.flushed = true;
        part.size = at;
        return part;
      default:
        break;
    }
    if (!fits) {
      part.size = at - message.frame.size();
      return part;
    }
    if (message.header.type == frontend::kParse && !decided) {
      part.way = Part::Way::kShard;
    }
    if (message.header.type != frontend::kParse && !closes_statement(message)) {
      only_parses = false;
      own_parse = kNone;
    }
    if (message.header.type == frontend::kExecute &&
        (part.way == Part::Way::kControl || part.way == Part::Way::kEverywhere ||
         part.way == Part::Way::kExplain || part.way == Part::Way::kCursor || part.moves_names)) {
      // One statement a part, or what follows is read with other names.
      ends_part();
      return part;
    }
  }
  part.size = at;
  return part;
}

ShardedConversation::Verdict ShardedConversation::serve_batch(std::string_view batch,
                                                              std::size_t& taken) {
  if (given_.empty()) return serve_messages(batch, taken);
  const Verdict verdict = serve_messages(given_.bytes, taken);
  if (verdict != Verdict::kWait) taken = given_.consume(taken);
  return verdict;
}

ShardedConversation::Verdict ShardedConversation::serve_messages(std::string_view batch,
                                                                 std::size_t& taken) {
  std::size_t at = 0;
  Message message;
  taken = batch.size();
  if (std::exchange(synced_, false) && !transaction_.open()) explain_portals_.clear();
  if (std::exchange(ignore_sync_, false) && batch[0] == frontend::kSync) {
    return Verdict::kTaken;  // of a COPY that has failed since
  }
  if (skipping_) {
    if (last_type(batch) != frontend::kSync) return Verdict::kTaken;
    if (!no_late_cancels()) return Verdict::kWait;
    skipping_ = false;
    return sync();
  }
  next_message(batch, at, message);
  if (message.header.type == frontend::kFlush) return Verdict::kTaken;
  if (message.header.type == frontend::kSync) return sync();
  if (!catalog_ready()) return Verdict::kWait;
  auto part = next_part(batch);
  if (!part) {
    // Only the grammar is asked before the state of the transaction.
    const bool late = transaction_.failed() && part.error().code != sqlstate::kSyntaxError;
    return refuse_batch(late ? failed_transaction_error() : part.error(), batch, taken);
  }
  if (part->wants == Part::Wants::kFunction) {
    const Status asked = want_unique_id_function();
    return asked ? Verdict::kWait : refuse_batch(asked.error(), batch, taken);
  }
  if (part->wants == Part::Wants::kValues) {
    const auto given = give_values_to_batch(batch);
    if (!given) return Verdict::kWait;
    return *given ? serve_batch(batch, taken) : refuse_batch(given->error(), batch, taken);
  }
  if (!part->lookups.empty()) {
    const Status asked = want_keys(part->lookups.list());
    return asked ? Verdict::kWait : refuse_batch(asked.error(), batch, taken);
  }
  taken = part->size;
  if (taken == 0) {
    return refuse_batch({sqlstate::kFeatureNotSupported,
                         "these messages of the extended protocol cannot be told apart by shard",
                         "Execute each statement before the next one is bound."},
                        batch, taken);
  }
  const bool opens = part->way == Part::Way::kOpenPortal;
  const bool asks = part->executes || opens || !part->parses.empty();
  if (transaction_.failed() && part->way != Part::Way::kControl && asks) {
    return refuse_batch(failed_transaction_error(), batch, taken);
  }
  // A COPY FROM ignores the Sync behind it, unless it fails to begin.
  const bool synced = part->synced;
  sync_behind_copy_ = part->copies_in && part->synced;
  const bool waits_for_sync = part->writes && (!part->synced || part->copies_in);
  // Up to the client's Sync a portal is still there.
  const bool keeps = part->way == Part::Way::kShard && !part->synced && part->open_portals > 0;
  if (!transaction_.open() &&
      (opens || keeps || (part->executes && (part->several_write || waits_for_sync)))) {
    transaction_.begin_implicit();
  }
  if (sync_behind_copy_ || (transaction_.implicit() && part->synced)) {
    // The Sync comes by itself then, and ends it.
    constexpr std::size_t kSyncSize = kFrameHeaderSize;
    part->synced = false;
    taken = part->size -= kSyncSize;
  }
  ready_owed_ = part->synced;
  if (part->ddl && part->executes) note_ddl();
  const std::string_view messages = batch.substr(0, part->size);
  const Verdict verdict = serve_part(*part, messages);
  if (verdict == Verdict::kTaken && (part->explains || !explain_portals_.empty())) {
    note_explain_portals(*part, messages);
  }
  synced_ = synced && verdict == Verdict::kTaken;
  return verdict;
}

ShardedConversation::Verdict ShardedConversation::sync() {
  if (!no_late_cancels()) return Verdict::kWait;
  ready_owed_ = true;
  synced_ = true;
  if (transaction_.implicit()) return end_implicit_transaction();
  unit_done(false);
  return Verdict::kTaken;
}

// An Execute of an EXPLAIN (PGSHUNT): with ANALYZE the part is what the explained statement's would
// be.
Status ShardedConversation::look_at_explain(std::string_view portal, Part& part) {
  part.way = Part::Way::kExplain;
  part.executes = true;
  const ExplainPortal& known = explain_portals_.find(std::string(portal))->second;
  if (known.rows || !known.statement->explain->analyze) return Ok{};
  const auto route = route_bind(*decode_bind(known.bind), *known.statement);
  if (!route) return route.error();
  part.writes = route->writes;
  part.several_write = route->kind == RouteKind::kWriteShards;
  if (route->kind == RouteKind::kLookup) part.lookups.add(route->lookups);
  return Ok{};
}

ShardedConversation::Verdict ShardedConversation::refuse_batch(const Error& error,
                                                               std::string_view batch,
                                                               std::size_t& taken) {
  // The Sync that may end it is looked at by itself.
  const bool synced = last_type(batch) == frontend::kSync;
  taken = batch.size() - (synced ? kFrameHeaderSize : 0);
  ready_owed_ = false;
  return refuse(error);
}

ShardedConversation::Verdict ShardedConversation::serve_part(const Part& part,
                                                             std::string_view messages) {
  switch (part.way) {
    case Part::Way::kNowhere:
      return Verdict::kTaken;
    case Part::Way::kControl:
      return part_of_control(part, messages);
    case Part::Way::kShard:
      return part_on_shard(part, messages);
    case Part::Way::kEverywhere:
      return part_everywhere(part, messages);
    case Part::Way::kExplain: {
      std::size_t at = 0;
      Message message;
      next_message(messages, at, message);
      return execute_explain(*decode_execute(message.body));
    }
    case Part::Way::kOpenPortal:
      return open_portal(part, messages);
    case Part::Way::kPortal:
      return part_of_portal(messages);
    case Part::Way::kCursor:
      return part_of_cursor(part, messages);
  }
  return Verdict::kTaken;
}

// Which portals are those of EXPLAIN (PGSHUNT) behind these messages.
void ShardedConversation::note_explain_portals(const Part& part, std::string_view messages) {
  std::size_t at = 0;
  Message message;
  while (next_message(messages, at, message)) {
    if (message.header.type == frontend::kBind) {
      const auto bind = decode_bind(message.body);
      if (!bind) continue;
      StatementPtr statement = statement_in(part, bind->statement);
      if (statement && statement->explain) {
        explain_portals_[std::string(bind->portal)] = {std::move(statement),
                                                       std::string(message.body), std::nullopt, 0};
      } else {
        explain_portals_.erase(std::string(bind->portal));
      }
    } else if (message.header.type == frontend::kClose) {
      const auto target = decode_close(message.body);
      if (target && target->kind == TargetKind::kPortal) {
        explain_portals_.erase(std::string(target->name));
      }
    }
  }
}

ShardedConversation::Verdict ShardedConversation::part_on_shard(const Part& part,
                                                                std::string_view messages) {
  const ShardId shard = part.shard.value_or(any_shard(part.effects));
  if (part.writes) {
    if (const auto held = hold_write({&shard, 1})) return *held;
  }
  if (!acquire({&shard, 1})) return Verdict::kWait;
  ServerLink& chosen = link(shard);
  chosen.withhold_ready(is_kept(chosen));
  std::size_t at = 0;
  Message message;
  while (part.listens && next_message(messages, at, message)) {
    if (message.header.type != frontend::kBind) continue;
    const auto bind = decode_bind(message.body);
    const StatementPtr statement = bind ? statement_in(part, bind->statement) : nullptr;
    if (!statement || statement->effect.verb != Verb::kListen) continue;
    const ServerLink::Take heard = chosen.hear_channel(statement->effect.name);
    if (heard == ServerLink::Take::kWait) return Verdict::kWait;
    if (heard == ServerLink::Take::kInvalid) return refuse(chosen.error());
  }
  note_write(shard, part.writes);
  at = 0;
  while (part.executes && !transaction_.locals().empty() && next_message(messages, at, message)) {
    if (message.header.type != frontend::kBind) continue;
    const auto bind = decode_bind(message.body);
    const StatementPtr statement = bind ? statement_in(part, bind->statement) : nullptr;
    if (!statement || statement->plan) continue;
    const CompletionEffect& effect = statement->effect;
    end_locals(effect.name, effect.verb, effect.text);
  }
  at = 0;
  std::size_t parsed = 0;
  while (next_message(messages, at, message)) {
    if (message.header.type == frontend::kFlush) continue;
    if (message.header.type == frontend::kParse) {
      const auto& [name, statement] = part.parses[parsed++];
      if (name.empty()) unnamed_ = statement;
    } else if (message.header.type == frontend::kBind) {
      if (const auto bind = decode_bind(message.body)) note_bound(part, *bind, shard);
    } else if (message.header.type == frontend::kClose) {
      const auto target = decode_close(message.body);
      if (target && target->kind == TargetKind::kPortal) cursors_.remove(target->name);
    }
    if (chosen.request(message.header, message.frame) == ServerLink::Take::kInvalid) {
      const Error error = chosen.error();
      if (chosen.busy()) {
        chosen.refuse(error, false);
        continue;
      }
      return refuse(error);
    }
  }
  if (!part.synced) chosen.sync_silently();
  chosen.flush();
  if (chosen.busy()) running_ = &chosen;
  return Verdict::kTaken;
}

ShardedConversation::Verdict ShardedConversation::part_everywhere(const Part& part,
                                                                  std::string_view messages) {
  std::size_t at = 0;
  Message message;
  FanOutPlan plan;
  plan.describe = false;
  std::optional<BindView> bind;
  StatementPtr prepared;
  while (next_message(messages, at, message)) {
    switch (message.header.type) {
      case frontend::kParse:
        append_parse_complete(plan.preface);
        break;
      case frontend::kBind:
        bind = *decode_bind(message.body);
        prepared = statement_in(part, bind->statement);
        append_bind_complete(plan.preface);
        break;
      case frontend::kDescribe: {
        const auto target = decode_describe(message.body);
        if (target && part.copies) {
          if (target->kind == TargetKind::kStatement)
            append_parameter_description(plan.preface, {});
          append_no_data(plan.preface);
          break;
        }
        if (!target || target->kind == TargetKind::kStatement) {
          return refuse({sqlstate::kFeatureNotSupported,
                         "a statement that fans out must be described before it is bound",
                         {}});
        }
        plan.describe = true;
        break;
      }
      case frontend::kExecute: {
        // Outside of a transaction a limit means the first rows, mostly one, and no others.
        const auto execute = decode_execute(message.body);
        if (execute && execute->max_rows != 0 && !part.copies) {
          if (!execute->portal.empty()) return refuse(no_portions_error());
          plan.max_rows = execute->max_rows;
        }
        break;
      }
      case frontend::kClose:
        append_close_complete(plan.preface);
        break;
      default:
        break;
    }
  }
  if (!bind || !prepared) return refuse({sqlstate::kProtocolViolation, "nothing was bound", {}});
  if (is_taken_cursor(*prepared)) return part_of_declare(*bind, *prepared, messages, plan);
  const auto route = route_bind(*bind, *prepared);
  if (!route) return refuse(route.error());
  if (route->kind == RouteKind::kLookup) return look_up_keys(route->lookups);
  if (route->kind == RouteKind::kCursor && part.executes) {
    return part_of_declare(*bind, *prepared, messages, plan);
  }
  if (part.copies && !part.executes) {
    return refuse({sqlstate::kFeatureNotSupported,
                   "a COPY over several shards must be executed before the Sync behind its Bind",
                   {}});
  }
  // Its portal could only be on many shards at once; running it now is not what was asked for.
  if (!part.executes) {
    return refuse({sqlstate::kFeatureNotSupported,
                   "a statement on several shards must be executed before the Sync or Flush behind "
                   "its Bind",
                   "Send Execute with the Bind, or pin the statement to one key."});
  }
  const bool selects = route->kind == RouteKind::kInsertSelect;
  std::size_t wanted = prepared->types.size();
  if (selects) wanted = std::max(wanted, uses_of_parameters(prepared->text).size());
  if ((part.copies || selects) && bind->values.size() != wanted) {
    return refuse({sqlstate::kProtocolViolation,
                   "bind message supplies " + std::to_string(bind->values.size()) +
                       " parameters, but prepared statement \"" + std::string(bind->statement) +
                       "\" requires " + std::to_string(wanted),
                   {}});
  }
  if (route->kind == RouteKind::kCopyQuery) {
    if (const Status good = check_parses(messages); !good) return refuse(good.error());
    const Verdict verdict =
        copy_query(*route, prepared->text, prepared->effect.effects, std::move(plan.preface));
    if (verdict == Verdict::kTaken) static_cast<void>(serve_parses(messages));
    if (verdict == Verdict::kTaken && transaction_.open()) {
      note_portal(bind->portal, OpenCursor::Place::kDone, 0);
    }
    return verdict;
  }
  const bool writes = route->kind == RouteKind::kEveryShard;
  plan.use = writes ? FanOutPlan::Use::kAgree : FanOutPlan::Use::kMerge;
  if (writes) plan.order = FanOutPlan::Order::kFirstAlone;
  if (route->merge) plan.merge = *route->merge;
  plan.window = route->window;
  const std::vector<ShardId> shards(route->shards.begin(), route->shards.end());
  if ((writes && in_two_phases()) || route->kind == RouteKind::kCopySplit) {
    if (const auto held = hold_write(shards)) return *held;
  }
  const bool several_write = route->kind == RouteKind::kWriteShards;
  if (several_write) {
    plan.use = FanOutPlan::Use::kSum;
    plan.order = FanOutPlan::Order::kAscending;
    if (route->alike != Alike::kNo) plan.use = FanOutPlan::Use::kAgree;
    plan.streams = route->alike == Alike::kNo && !route->split;
    if (const auto held = hold_writes(shards)) return *held;
  }
  const bool moves = route->kind == RouteKind::kMoveRows;
  if (moves) {
    if (const auto verdict = begin_move(*route)) return *verdict;
  }
  if (selects) {
    const auto verdict = begin_insert_select(*route, prepared->effect.effects, &*bind, &*prepared);
    if (verdict) return *verdict;
  }
  const bool at_merge_node = route->kind == RouteKind::kMergeNode;
  const Status timely = check_parsed_now(*route, part, prepared);
  if (!timely) return refuse(timely.error());
  if (at_merge_node) {
    const auto verdict = prepare_merge(*route, prepared->effect.effects, &*bind, &*prepared);
    if (verdict) return *verdict;
  } else if (!acquire(shards)) {
    return Verdict::kWait;
  }
  for (const ShardId shard : shards) note_write(shard, several_write);
  if (route->defines) note_ddl();
  if (route->alike != Alike::kNo) transaction_.wrote_everywhere = true;
  if (const auto kept = serve_parses(messages); !kept) return refuse(kept.error());
  if (transaction_.open()) {
    const bool reads = route->kind == RouteKind::kScatter || at_merge_node;
    note_portal(bind->portal, reads ? OpenCursor::Place::kRead : OpenCursor::Place::kDone, 0);
  }
  if (route->copy) {
    session_.enqueue(plan.preface);
    begin_copy(*route, shards, prepared->text);
    return Verdict::kTaken;
  }

  // Hidden columns come in text; a list of formats of one entry stands for all as it is.
  std::string formats(2, '\0');
  const std::string_view asked = bind->result_formats.raw();
  const std::size_t count = bind->result_formats.size();
  const std::size_t hidden = count > 1 ? plan.merge.hidden_columns : 0;
  store_be16(formats.data(), static_cast<std::uint16_t>(count + hidden));
  formats.append(asked).append(hidden * 2, '\0');
  plan.result_formats = std::move(formats);
  plan.clients_text = !route->fixes_moment;

  const bool typed = !plan.merge.keys.empty() || plan.merge.groups;  // it matters what types it has
  if (route->kind == RouteKind::kScatter && typed && route->hint == nullptr) {
    plan.may_be_unmergeable = true;
    MergeInstead& instead = merge_instead_.emplace();
    instead.sql = prepared->text;
    instead.effects = prepared->effect.effects;
    instead.prepared = prepared;
    instead.bind.append(2, '\0').append(bind->after_names);
    instead.asked.preface = plan.preface;
    instead.asked.describe = plan.describe;
    instead.asked.max_rows = plan.max_rows;
    std::string& without_hidden = instead.asked.result_formats.emplace(2, '\0');
    store_be16(without_hidden.data(), static_cast<std::uint16_t>(count));
    without_hidden.append(asked);
  }
  if (selects) {
    open_select(std::move(plan));
    return Verdict::kTaken;
  }
  if (at_merge_node) {
    begin_merge(std::move(plan));
    return Verdict::kTaken;
  }
  if (route->split) {
    std::vector<FanOutShare> shares = shares_of(*route, *bind, *prepared, *plan.result_formats);
    plan.row_order.assign(route->row_order.begin(), route->row_order.end());
    std::vector<ServerLink*> links;
    for (const ShardId shard : shards) links.push_back(&link(shard));
    if (route->fixes_moment) tell_moment(links);
    after_ = After::kReply;
    fan_out_ = std::make_unique<FanOut>(session_, *this, std::move(links), std::move(plan));
    fan_out_->send_shares(std::move(shares), bind->portal);
    return Verdict::kTaken;
  }

  // The plan that was routed by: the map may be another than when the statement was prepared.
  const auto current = router_.refresh(prepared->plan, router_session());
  if (!current) return refuse(current.error());
  Statement shard_statement;
  shard_statement.text = (*current)->shard_text();
  shard_statement.types = prepared->types;  // the first shard's OIDs
  shard_statement.settings = prepared->settings;
  shard_statement.conforming_strings = prepared->conforming_strings;
  StatementTable& table = worker_.statements();
  // Not the statement that a client may have prepared with this very text: it has another plan.
  const std::uint64_t scope = ~session_.database()->scope;
  StatementPtr statement =
      table.find(scope, shard_statement.text, shard_statement.types, shard_statement.settings);
  if (!statement) statement = table.add(scope, std::move(shard_statement));

  if (moves) {
    move_->insert = std::move(plan);
    after_ = After::kMove;
    fan_out_ = std::make_unique<FanOut>(
        session_, *this, std::vector<ServerLink*>{&link(move_->from)}, plan_of_move());
    fan_out_->send_extended(statement, *bind);
    return Verdict::kTaken;
  }
  std::vector<ServerLink*> links;
  for (const ShardId shard : shards) links.push_back(&link(shard));
  after_ = After::kReply;
  if (writes) begin_write_everywhere(links, route->write_lock);
  if (route->fixes_moment) tell_moment(links);
  fan_out_ = std::make_unique<FanOut>(session_, *this, std::move(links), std::move(plan));
  fan_out_->send_extended(statement, *bind);
  return Verdict::kTaken;
}

// BEGIN, SET LOCAL and their kin: what the messages are owed, then the command itself.
ShardedConversation::Verdict ShardedConversation::part_of_control(const Part& part,
                                                                  std::string_view messages) {
  if (!no_late_cancels()) return Verdict::kWait;
  std::string& out = worker_.client_out();
  std::size_t at = 0;
  Message message;
  StatementPtr prepared;
  std::string replies;
  while (next_message(messages, at, message)) {
    if (message.header.type != frontend::kBind) continue;
    const auto bind = decode_bind(message.body);
    const StatementPtr statement = bind ? statement_in(part, bind->statement) : nullptr;
    if (!statement || statement->effect.verb != Verb::kSetLocal) continue;
    if (!can_be_said()) return Verdict::kWait;
  }
  at = 0;
  while (next_message(messages, at, message)) {
    switch (message.header.type) {
      case frontend::kParse: {
        const Status kept = remember_statement(*decode_parse(message.body));
        if (!kept) return refuse(kept.error());
        append_parse_complete(replies);
        break;
      }
      case frontend::kBind:
        if (const auto bind = decode_bind(message.body)) prepared = find_statement(bind->statement);
        append_bind_complete(replies);
        break;
      case frontend::kDescribe: {
        const auto target = decode_describe(message.body);
        if (target && target->kind == TargetKind::kStatement) {
          append_parameter_description(replies, {});
        }
        append_no_data(replies);
        break;
      }
      case frontend::kClose:
        close_statement(message.body);
        append_close_complete(replies);
        break;
      default:
        break;
    }
  }
  out.append(replies);
  if (!part.executes || !prepared) {
    unit_done(false);
    return Verdict::kTaken;
  }
  StatementEffects statement;
  StatementScanner scan(prepared->text, session_.standard_conforming_strings());
  scan.next(statement);
  session_.enqueue(out);
  out.clear();
  return control_transaction(statement);
}

}  // namespace pgshunt
