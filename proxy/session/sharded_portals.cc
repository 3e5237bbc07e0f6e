// Portals and cursors by the extended protocol: a Bind whose rows are asked for later or in
// portions opens a cursor over its shards (sharded_cursors.cc), which Execute, Describe and Close
// are about; FETCH, MOVE and CLOSE of such a cursor are answered here, as are the Parse and Bind
// before them.
#include "proxy/session/batch_part.h"
#include "proxy/session/bind_parts.h"
#include "proxy/session/result_formats.h"
#include "proxy/session/session.h"
#include "proxy/session/statement_reading.h"
#include "proxy/worker.h"
#include "router/cursor_command.h"
#include "router/insert_select.h"
#include "router/statement_plan.h"

namespace pgshunt {
// A Bind on a server, which is remembered as long as its portal may be asked for.
void ShardedConversation::note_bound(const Part& part, const BindView& bind, ShardId server) {
  const StatementPtr statement = statement_in(part, bind.statement);
  if (part.executes && statement && statement->effect.verb == Verb::kDeclare) {
    note_declared(statement->text, server);
  }
  if (part.executes && statement && cursor_of(*statement) != nullptr) {
    const CursorCommand command = *read_cursor_command(statement->text);
    if (command.kind == CursorCommand::Kind::kClose) cursors_.remove(command.name);
  }
  if (transaction_.open()) note_portal(bind.portal, OpenCursor::Place::kServer, server);
}

void ShardedConversation::note_portal(std::string_view name, OpenCursor::Place place,
                                      ShardId server) {
  drop_cursor(name);
  OpenCursor portal;
  portal.place = place;
  portal.server = server;
  portal.depth = transaction_.savepoints();
  cursors_.add(name, std::move(portal));
}

// Can serve_parses() do so?
Status ShardedConversation::check_parses(std::string_view messages) {
  std::size_t at = 0;
  Message message;
  while (next_message(messages, at, message)) {
    if (message.header.type != frontend::kParse) continue;
    const Status free = free_name(session_, decode_parse(message.body)->statement);
    if (!free) return free.error();
  }
  return Ok{};
}

// Keeps the statements that a part's Parse messages make; what the client reads for them.
Result<std::string> ShardedConversation::serve_parses(std::string_view messages) {
  std::string replies;
  std::size_t at = 0;
  Message message;
  while (next_message(messages, at, message)) {
    if (message.header.type == frontend::kClose) close_statement(message.body);
    if (message.header.type != frontend::kParse) continue;
    const Status kept = remember_statement(*decode_parse(message.body));
    if (!kept) return kept.error();
    append_parse_complete(replies);
  }
  return replies;
}

ShardedConversation::Verdict ShardedConversation::open_portal(const Part& part,
                                                              std::string_view messages) {
  std::optional<BindView> bind;
  std::size_t at = 0;
  Message message;
  while (next_message(messages, at, message)) {
    if (message.header.type == frontend::kBind) bind = *decode_bind(message.body);
  }
  const StatementPtr prepared = statement_in(part, bind->statement);
  auto route = route_bind(*bind, *prepared);
  if (route && route->merge && route->merge->groups) {
    route = router_.route_to_merge_node(prepared->text, prepared->types,
                                        "groups of several shards are not read in portions",
                                        router_session());
  }
  if (!route) return refuse(route.error());
  const Status timely = check_parsed_now(*route, part, prepared);
  if (!timely) return refuse(timely.error());
  CursorOpening opening;
  opening.name = bind->portal;
  ShardRows rows({route->shards.begin(), route->shards.end()},
                 route->merge ? *route->merge : MergeSpec{}, route->window);
  const bool at_merge_node = route->kind == RouteKind::kMergeNode;
  if (at_merge_node) {
    const auto verdict = prepare_merge(*route, prepared->effect.effects, &*bind, &*prepared);
    if (verdict) return *verdict;
  } else if (!acquire(rows.shards())) {
    return Verdict::kWait;
  }
  drop_cursor(bind->portal);
  auto replies = serve_parses(messages);
  if (!replies) return refuse(replies.error());
  opening.answer = std::move(*replies);
  append_bind_complete(opening.answer);
  opening.merged = std::make_unique<MergedCursor>(next_cursor_name(), std::move(rows));
  opening.merged->formats.emplace(2, '\0');
  store_be16(opening.merged->formats->data(),
             static_cast<std::uint16_t>(bind->result_formats.size()));
  opening.merged->formats->append(bind->result_formats.raw());
  if (at_merge_node) {
    opening_ = std::move(opening);
    begin_merge({});
    return Verdict::kTaken;
  }
  MergeInstead& instead = opening.instead.emplace();
  instead.sql = prepared->text;
  instead.effects = prepared->effect.effects;
  instead.prepared = prepared;
  instead.bind.append(2, '\0').append(bind->after_names);
  const auto current = router_.refresh(prepared->plan, router_session());
  if (!current) return refuse(current.error());
  open_on_shards(std::move(opening), (*current)->shard_text(), &*bind, prepared->types);
  return Verdict::kTaken;
}

// Execute, Describe or Close of a portal whose rows are not on one server.
ShardedConversation::Verdict ShardedConversation::part_of_portal(std::string_view messages) {
  std::size_t at = 0;
  Message message;
  next_message(messages, at, message);
  std::string& out = worker_.client_out();
  switch (message.header.type) {
    case frontend::kExecute: {
      const auto execute = decode_execute(message.body);
      return execute_portal(execute->portal, execute->max_rows);
    }
    case frontend::kClose:
      drop_cursor(decode_close(message.body)->name);
      append_close_complete(out);
      break;
    default: {
      const OpenCursor& cursor = *cursors_.find(decode_describe(message.body)->name);
      if (!cursor.merged) {
        return refuse({sqlstate::kFeatureNotSupported,
                       "a portal over several shards cannot be described when it has run",
                       "Describe it before Execute."});
      }
      const MergedCursor& merged = *cursor.merged;
      const std::string_view formats =
          merged.formats ? std::string_view(*merged.formats) : kTextFormats;
      append_description(out, merged.rows.description(), formats);
      break;
    }
  }
  unit_done(false);
  return Verdict::kTaken;
}

// Execute on such a portal, for so many rows; 0: for all.
ShardedConversation::Verdict ShardedConversation::execute_portal(std::string_view name,
                                                                 std::uint32_t max_rows) {
  OpenCursor& cursor = *cursors_.find(name);
  if (cursor.place == OpenCursor::Place::kRead) {
    append_command_complete(worker_.client_out(), "SELECT", 0);
    unit_done(false);
    return Verdict::kTaken;
  }
  if (cursor.place == OpenCursor::Place::kDone || cursor.merged->failed) {
    return refuse(cannot_run_error(name));
  }
  if (const Status same = check_looks(cursor); !same) return refuse(same.error());
  MergedCursor& merged = *cursor.merged;
  if (!merged.formats) {
    if (const Status set = fetch_in(merged, std::string(kTextFormats)); !set) {
      return refuse(set.error());
    }
  }
  if (!acquire(merged.rows.shards())) return Verdict::kWait;
  CursorFetch fetch;
  fetch.cursor = &merged;
  fetch.answer = CursorFetch::Answer::kExecute;
  fetch.limited = max_rows != 0;
  fetch.wanted = max_rows != 0 ? max_rows : static_cast<std::uint64_t>(CursorCommand::kAll);
  fetch_ = fetch;
  begin_steps();
  continue_fetch();
  return Verdict::kTaken;
}

// DECLARE of a cursor over several shards, with its Execute.
ShardedConversation::Verdict ShardedConversation::part_of_declare(const BindView& bind,
                                                                  const Statement& prepared,
                                                                  std::string_view messages,
                                                                  const FanOutPlan& plan) {
  if (const Status good = check_parses(messages); !good) return refuse(good.error());
  std::string preface = plan.preface;
  if (plan.describe) append_no_data(preface);
  const Verdict verdict =
      declare_cursor(prepared.text, prepared.effect.effects, &bind, &prepared, preface);
  if (verdict == Verdict::kTaken) static_cast<void>(serve_parses(messages));
  return verdict;
}

// FETCH, MOVE or CLOSE of a cursor that is not on one server: its Parse and Describe, or all of it.
ShardedConversation::Verdict ShardedConversation::part_of_cursor(const Part& part,
                                                                 std::string_view messages) {
  std::string preface;
  std::optional<BindView> bind;
  StatementPtr prepared;
  FetchWanted asked;
  asked.describe = false;
  std::uint32_t max_rows = 0;
  std::size_t at = 0;
  Message message;
  while (next_message(messages, at, message)) {
    switch (message.header.type) {
      case frontend::kParse:
        prepared = statement_in(part, decode_parse(message.body)->statement);
        append_parse_complete(preface);
        break;
      case frontend::kBind:
        bind = *decode_bind(message.body);
        prepared = statement_in(part, bind->statement);
        append_bind_complete(preface);
        break;
      case frontend::kDescribe: {
        const auto target = decode_describe(message.body);
        if (target->kind == TargetKind::kPortal) {
          asked.describe = true;
          break;
        }
        const StatementPtr statement = statement_in(part, target->name);
        if (!statement) break;
        append_parameter_description(preface, {});
        describe_cursor_command(*read_cursor_command(statement->text), preface);
        break;
      }
      case frontend::kExecute:
        max_rows = decode_execute(message.body)->max_rows;
        break;
      case frontend::kClose:
        append_close_complete(preface);
        break;
      default:
        break;
    }
  }
  if (const Status good = check_parses(messages); !good) return refuse(good.error());
  const bool parsed_only = !bind && !part.executes;
  if (!parsed_only && (!bind || !part.executes || max_rows != 0)) {
    return refuse({sqlstate::kFeatureNotSupported,
                   "a FETCH over several shards must be executed with its Bind, and for all of its "
                   "rows",
                   "Say in the FETCH how many rows are wanted."});
  }
  if (parsed_only) {
    static_cast<void>(serve_parses(messages));
    worker_.client_out().append(preface);
    unit_done(false);
    return Verdict::kTaken;
  }
  const CursorCommand command = *read_cursor_command(prepared->text);
  if (asked.describe && command.kind != CursorCommand::Kind::kFetch) append_no_data(preface);
  asked.formats = bind->result_formats;
  const Verdict verdict = command.name.empty() ? close_all_cursors(preface)
                                               : run_cursor_command(command, preface, &asked);
  if (verdict == Verdict::kTaken) static_cast<void>(serve_parses(messages));
  return verdict;
}

void ShardedConversation::describe_cursor_command(const CursorCommand& command, std::string& out) {
  const OpenCursor* cursor = cursors_.find(command.name);
  if (command.kind != CursorCommand::Kind::kFetch || cursor == nullptr || !cursor->merged) {
    append_no_data(out);
    return;
  }
  append_description(out, cursor->merged->rows.description(), kTextFormats);
}

}  // namespace pgshunt
