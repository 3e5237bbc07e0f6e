// Values that the proxy makes for a client's INSERT (router/made_values.h): ids from the worker's
// stock, put into the message before it is routed. In a simple query they are numbers in its text;
// of a prepared statement they are parameters behind the client's own, which it neither sees nor
// binds.
//
// A unit that waits for servers is looked at again and again, and must be the same each time: what
// the client's messages have become is kept until they are consumed.
#include <algorithm>
#include <map>

#include "protocol/frame_writer.h"
#include "proxy/database.h"
#include "proxy/proxy.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/session/statement_reading.h"
#include "proxy/unique_ids/id_source.h"
#include "proxy/unique_ids/id_stock.h"
#include "proxy/worker.h"
#include "router/made_values.h"
#include "router/statement_plan.h"

namespace pgshunt {
namespace {

constexpr std::size_t kMaxParameters = 65535;

Error wrong_count(const BindView& bind, std::size_t wanted) {
  return {sqlstate::kProtocolViolation,
          "bind message supplies " + std::to_string(bind.values.size()) +
              " parameters, but prepared statement \"" + std::string(bind.statement) +
              "\" requires " + std::to_string(wanted),
          {}};
}

// The client's Bind, with values as text behind its own.
void append_bind_with(std::string& out, const BindView& bind, std::span<const std::int64_t> made) {
  FrameWriter writer(out, frontend::kBind);
  writer.cstring(bind.portal);
  writer.cstring(bind.statement);
  const auto count = static_cast<std::uint16_t>(bind.values.size() + made.size());
  writer.be16(count);
  for (std::size_t i = 0; i < bind.values.size(); ++i) writer.be16(bind.formats.of(i));
  for (std::size_t i = 0; i < made.size(); ++i) writer.be16(kFormatText);
  writer.be16(count);
  for (const WireValue& value : bind.values) {
    if (value.is_null) {
      writer.be32(0xFFFFFFFF);
    } else {
      writer.be32(static_cast<std::uint32_t>(value.bytes.size()));
      writer.bytes(value.bytes);
    }
  }
  for (const std::int64_t id : made) {
    const std::string text = std::to_string(id);
    writer.be32(static_cast<std::uint32_t>(text.size()));
    writer.bytes(text);
  }
  writer.be16(static_cast<std::uint16_t>(bind.result_formats.size()));
  writer.bytes(bind.result_formats.raw());
}

}  // namespace

// --- what is asked of others ---------------------------------------------------------------------

// What is called when it is worth to draw again.
std::function<void()> ShardedConversation::resuming() {
  return [worker = &worker_, id = session_.state().id] {
    worker->defer([worker, id] {
      if (Session* session = worker->find_session(id)) session->resume();
    });
  };
}

// One for each source. False: the unit waits for them, as it would for a server.
Result<bool> ShardedConversation::draw_ids(std::span<const std::string> sources,
                                           std::vector<std::int64_t>& out) {
  const TimePoint now = worker_.loop().now();
  std::map<std::string_view, std::vector<std::int64_t>> drawn;
  for (const std::string& source : sources) drawn[source].push_back(0);
  for (auto& [source, ids] : drawn) {
    const std::size_t count = std::exchange(ids, {}).size();
    const auto given = worker_.unique_ids().draw({catalog_name(), std::string(source)}, count, now,
                                                 ids, resuming());
    if (given && *given) continue;
    if (!given) {
      ids_since_ = {};
    } else if (ids_since_ == TimePoint{}) {
      ids_since_ = now;
    }
    return given;
  }
  ids_since_ = {};
  std::map<std::string_view, std::size_t> used;
  for (const std::string& source : sources) out.push_back(drawn[source][used[source]++]);
  return true;
}

// A COPY that streams has its next values ordered while these are used: as many as the rows that
// come meanwhile will want. What it leaves others draw.
Result<bool> ShardedConversation::on_copy_wants_values(const std::string& source, std::size_t count,
                                                       bool more, std::vector<std::int64_t>& out) {
  constexpr std::size_t kAhead = 4;
  constexpr std::size_t kMostAhead = 1 << 16;
  IdStock& stock = worker_.unique_ids();
  const IdSupply from{catalog_name(), source};
  auto drawn = stock.draw(from, count, worker_.loop().now(), out, resuming());
  if (drawn && *drawn && more) stock.expect(from, std::min(kAhead * count, kMostAhead));
  return drawn;
}

// The unit waits until every shard has pgshunt.unique_id(), and that is known.
Status ShardedConversation::want_unique_id_function() {
  if (ids_installed_) {
    const Status installed = *std::exchange(ids_installed_, std::nullopt);
    ids_since_ = {};
    if (!installed) return installed;
    if (std::exchange(ids_read_, true)) {
      ids_read_ = false;
      return Error{sqlstate::kObjectNotInPrerequisiteState,
                   "pgshunt.unique_id() is installed and sequences are set apart, but the shards' "
                   "catalogs do not show it",
                   "SHOW DRIFT on the admin console lists what could not be read."};
    }
    catalog_awaited_ = worker_.proxy().catalog_changed(catalog_name());
    wait_for_catalog();
    return Ok{};
  }
  if (ids_since_ != TimePoint{}) return Ok{};
  ids_since_ = worker_.loop().now();
  worker_.proxy().unique_ids().install(
      catalog_name(), false,
      [&worker = worker_, id = session_.state().id](const Status& installed) {
        worker.post([id, installed](Worker& here) {
          Session* session = here.find_session(id);
          Conversation* conversation = session ? session->conversation() : nullptr;
          if (conversation) conversation->on_unique_ids_installed(installed);
        });
      });
  return Ok{};
}

void ShardedConversation::on_unique_ids_installed(const Status& installed) {
  if (ids_since_ == TimePoint{}) return;  // nobody waits for it any more
  ids_installed_ = installed;
  session_.resume();
}

void ShardedConversation::stop_waiting_for_ids() {
  ids_since_ = {};
  ids_installed_.reset();
  ids_read_ = false;
  given_ = {};
}

// --- simple queries ------------------------------------------------------------------------------

// What stands before and behind the routed statement stays, unless it is a step of a script.
ShardedConversation::Verdict ShardedConversation::make_values(const Route& route,
                                                              std::string_view before,
                                                              std::string_view behind) {
  if (route.made.empty()) {
    const Status asked = want_unique_id_function();
    return asked ? Verdict::kWait : refuse(asked.error());
  }
  std::vector<std::int64_t> values;
  const auto drawn = draw_ids(route.made, values);
  if (!drawn) return refuse(drawn.error());
  if (!*drawn) return Verdict::kWait;
  std::string whole(before);
  whole.append(router_.with_values(values)).append(behind);
  if (script_) {
    script_->statements[script_->next] = std::move(whole);
    return continue_script();
  }
  append_query(given_.bytes, whole);
  return serve_given_query();
}

// Now, or again after a wait.
ShardedConversation::Verdict ShardedConversation::serve_given_query() {
  FrameHeader header;
  read_frame_header(given_.bytes, kMaxBodySize, header);
  return serve_query(header, given_.bytes);
}

// --- prepared statements -------------------------------------------------------------------------

Status ShardedConversation::rewrite(Statement& statement) {
  return rewrite_explain(statement) ? Status(Ok{}) : place_values(statement);
}

// The values' places are behind the parameters that the client binds.
Status ShardedConversation::place_values(Statement& statement) {
  const MadeValues* made = statement.plan ? statement.plan->made() : nullptr;
  if (made == nullptr) return Ok{};
  if (made->first - 1 + made->sources.size() > kMaxParameters) {
    return Error{sqlstate::kProgramLimitExceeded,
                 "a statement has more than 65535 parameters, with those of the ids made for it",
                 {}};
  }
  statement.client_parameters = static_cast<std::uint16_t>(made->first - 1);
  statement.made_values = static_cast<std::uint16_t>(made->sources.size());
  statement.sources = made->sources;
  statement.written = std::exchange(statement.text, made->text);
  auto placed = router_.prepare(statement.text, statement.types, router_session());
  if (!placed) return placed.error();
  statement.plan = std::move(*placed);
  return Ok{};
}

// Would it be made the same today, by this session? A column's default may have changed; and a hint
// leaves it to the shard to make them.
bool ShardedConversation::values_are_current(const Statement& statement) {
  if (!statement.plan || router_.is_current(*statement.plan, router_session())) return true;
  if (statement.made_values == 0 && !statement.written.empty()) return true;  // an EXPLAIN
  const std::string& text = statement.written.empty() ? statement.text : statement.written;
  const auto plan = router_.prepare(text, statement.types, router_session());
  if (!plan) return statement.written.empty();  // without values of ours, binding it says why
  const MadeValues* made = (*plan)->made();
  return made ? made->text == statement.text : statement.written.empty();
}

// The statement, or what its name stands for from now on.
Result<StatementPtr> ShardedConversation::with_current_values(std::string_view name,
                                                              const StatementPtr& statement) {
  if (!statement || values_are_current(*statement)) return statement;
  Statement fresh = *statement;
  if (!fresh.written.empty()) fresh.text = std::exchange(fresh.written, {});
  fresh.made_values = 0;
  fresh.sources.clear();
  fresh.settings = session_.state().parse_settings();
  fresh.conforming_strings = session_.standard_conforming_strings();
  auto plan = router_.prepare(fresh.text, fresh.types, router_session());
  if (!plan) return plan.error();
  fresh.plan = std::move(*plan);
  if (const Status placed = place_values(fresh); !placed) return placed.error();
  StatementPtr made = own_statement(std::move(fresh));
  SessionState& state = session_.state();
  if (name.empty()) {
    unnamed_ = made;
    state.unnamed.text = made->text;
    state.unnamed.made_values = made->made_values;
    state.unnamed.tag += 1;  // another statement than the server may have
  } else if (!state.names.undecided(name)) {
    state.names.confirm(state.names.add(name, made));
  }
  return made;
}

bool ShardedConversation::lacks_unique_id_function(const Statement& statement) {
  if (!statement.plan) return false;
  const auto plan = router_.refresh(statement.plan, router_session());
  if (!plan) return false;  // binding it says why
  const StatementPlanData& data = (*plan)->data();
  return data.sequences_apart || (data.unique_ids && !router_.topology().unique_ids);
}

// The messages become given_, with values in those Binds whose statements want some: all of them,
// or those before one that cannot be served. Ok: they have. Nothing: they wait.
std::optional<Status> ShardedConversation::give_values_to_batch(std::string_view batch) {
  std::vector<std::pair<std::string_view, StatementPtr>> parses;
  const auto statement_named = [&](std::string_view name) {
    for (std::size_t i = parses.size(); i-- > 0;) {
      if (parses[i].first == name) return parses[i].second;
    }
    return find_statement(name);
  };
  struct Taken {
    std::string_view frame;
    std::optional<BindView> bind;  // that wants values
    std::size_t values = 0;
  };
  std::vector<Taken> messages;
  std::vector<std::string> sources;
  std::optional<Error> error;
  for (std::size_t at = 0; at < batch.size() && !error;) {
    FrameHeader header;
    read_frame_header(batch.substr(at), kMaxBodySize, header);
    std::span<const std::string> made;
    Taken message{batch.substr(at, header.frame_size()), std::nullopt, 0};
    const std::string_view body = message.frame.substr(kFrameHeaderSize);
    at += message.frame.size();
    // What is wrong with a message is told when it is served.
    if (header.type == frontend::kParse) {
      const auto parse = decode_parse(body);
      auto statement = parse ? statement_of(session_, *parse) : parse.error();
      if (statement) parses.emplace_back(parse->statement, std::move(*statement));
    } else if (header.type == frontend::kBind) {
      const auto bind = decode_bind(body);
      const auto current =
          bind ? with_current_values(bind->statement, statement_named(bind->statement))
               : bind.error();
      const StatementPtr statement = current ? *current : nullptr;
      if (statement && statement->made_values > 0) {
        message.bind = *bind;
        message.values = statement->made_values;
        made = statement->sources;
        if (bind->values.size() != statement->client_parameters) {
          error = wrong_count(*bind, statement->client_parameters);
          break;
        }
      }
    }
    sources.insert(sources.end(), made.begin(), made.end());
    messages.push_back(message);
  }
  if (error && messages.empty()) return Status(*error);
  std::vector<std::int64_t> values;
  const auto drawn = draw_ids(sources, values);
  if (!drawn) return Status(drawn.error());
  if (!*drawn) return std::nullopt;
  std::size_t used = 0;
  std::size_t there = 0;
  for (const Taken& message : messages) {
    there += message.frame.size();
    if (message.bind) {
      append_bind_with(given_.bytes, *message.bind,
                       std::span(values).subspan(used, message.values));
      used += message.values;
    } else {
      given_.bytes.append(message.frame);
    }
    given_.ends.emplace_back(given_.bytes.size(), there);
  }
  return Status(Ok{});
}

// So many bytes of the client's have been consumed; of a batch what is left stays given.
std::size_t ShardedConversation::GivenMessages::consume(std::size_t size) {
  std::size_t here = 0;
  std::size_t there = 0;
  std::size_t done = 0;
  while (done < ends.size() && ends[done].first <= size) {
    here = ends[done].first;
    there = ends[done].second;
    ++done;
  }
  bytes.erase(0, here);
  ends.erase(ends.begin(), ends.begin() + static_cast<std::ptrdiff_t>(done));
  for (auto& [own, clients] : ends) {
    own -= here;
    clients -= there;
  }
  return there;
}

}  // namespace pgshunt
