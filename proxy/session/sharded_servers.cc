// What a sharded session needs before a statement can run: servers that are ready and part of its
// transaction, the settings that a route depends on, and catalogs that are known.
#include <algorithm>

#include "proxy/database.h"
#include "proxy/proxy.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/worker.h"

namespace pgshunt {

// --- servers ---

ServerLink& ShardedConversation::link(ShardId shard) {
  if (shard >= kKeptServers) return *kept_links_[shard - kKeptServers];
  std::unique_ptr<ServerLink>& link = links_[shard];
  if (!link) {
    const SessionState& state = session_.state();
    link = std::make_unique<ServerLink>(
        session_, *this,
        worker_.pool({state.database, state.user, shard}, *session_.database(), credentials_));
  }
  return *link;
}

bool ShardedConversation::acquire(std::span<const ShardId> shards) {
  // By ascending shard, each held while the next is waited for: so two sessions that need the same
  // servers do not wait for each other (Urgency is for those that need more later).
  for (const ShardId shard : shards) {
    if (!link(shard).acquire()) return false;
  }
  const Topology& topology = router_.topology();
  const auto kept = [](ShardId shard) { return shard >= kKeptServers; };
  for (const ShardId shard : shards) {
    if (!kept(shard) && !catalog_ready(shard)) return false;
  }
  // What a routine has set is the session's own, on every shard and for the router, once its server
  // has told it.
  for (const auto& each : links_) {
    if (each && each->waits_for_state()) return false;
  }
  // A fan-out would take the answer to a probe for its own.
  for (const ShardId shard : shards) {
    if (link(shard).waits_for_probe()) return false;
  }
  for (const ShardId shard : shards) {
    ServerLink& each = link(shard);
    if (kept(shard)) {
      // In a transaction of its own, which goes on.
      const std::string locals = transaction_.local_statements();
      if (each.catch_up_settings() && !locals.empty()) each.inject(locals);
      continue;
    }
    each.set_types(topology.types_of(shard));
    const bool set = each.catch_up_settings();
    if (!transaction_.open()) continue;
    if (!transaction_.takes_part(shard)) {
      each.inject(transaction_.opening());
      transaction_.join(shard);
    } else if (set) {
      // What was just set inside the transaction is beneath what is SET LOCAL in it.
      if (const std::string locals = transaction_.local_statements(); !locals.empty()) {
        each.inject(locals);
      }
    }
  }
  return true;
}

Urgency ShardedConversation::urgency_of(const ServerLink& waiting) {
  Urgency held = 0;
  out_of_order_ |= &waiting == merge_link_.get();  // it comes last
  for (const auto& kept : kept_links_) {
    if (kept->held()) ++held;
  }
  out_of_order_ |= held > 0;
  for (std::size_t i = links_.size(); i-- > 0;) {
    if (links_[i].get() == &waiting && held > 0) out_of_order_ = true;
    if (links_[i] && links_[i]->held()) ++held;
  }
  return out_of_order_ ? held : 0;
}

std::vector<ServerLink*> ShardedConversation::enlisted_links() {
  std::vector<ShardId> shards = transaction_.shards();
  std::sort(shards.begin(), shards.end());
  std::vector<ServerLink*> links;
  for (const ShardId shard : shards) {
    if (links_[shard] && links_[shard]->ready()) links.push_back(links_[shard].get());
  }
  return links;
}

// Statements that leave something behind, or read what only one server knows, always meet there.
ShardId ShardedConversation::any_shard(std::uint32_t effects) const {
  if ((effects & ~kEffectLocalConfig) != kEffectNone || session_.state().pins != kEffectNone)
    return 0;
  if (!transaction_.shards().empty()) return transaction_.shards().front();
  return static_cast<ShardId>(session_.state().id % links_.size());
}

ShardId ShardedConversation::shard_of(const Route& route, std::uint32_t effects) const {
  switch (route.kind) {
    case RouteKind::kOneShard:
      return route.shards.front();
    case RouteKind::kHomeShard:
      return home_shard();
    default:
      return any_shard(effects);
  }
}

const RouterSession& ShardedConversation::router_session() {
  const SessionState& state = session_.state();
  const bool as_the_session = transaction_.local("search_path").empty() &&
                              transaction_.local("extra_float_digits").empty() &&
                              transaction_.local("datestyle").empty() &&
                              transaction_.local("standard_conforming_strings").empty();
  RoutedUnder& last = routed_under_;
  if (as_the_session && last.known == state.known && last.settings == state.settings.current() &&
      last.topology == router_.shared_topology()) {
    last.session.hint = hints_.current(state.settings.current(), transaction_);
    return last.session;
  }
  last.session = read_router_session();
  last.known = as_the_session ? state.known : nullptr;
  last.settings = state.settings.current();
  last.topology = router_.shared_topology();
  return last.session;
}

RouterSession ShardedConversation::read_router_session() {
  RouterSession out;
  out.standard_conforming_strings = session_.standard_conforming_strings();
  const NameValues& known = *session_.state().known;
  const std::string* client = known.find("client_encoding");
  const std::string* server = known.find("server_encoding");
  out.same_encoding = !client || !server || *client == *server;
  out.embeds_ascii = client && encoding_embeds_ascii(*client);
  const NameValues& settings = *session_.state().settings.current();
  search_path_.tell(settings, transaction_.local("search_path"), credentials_.user,
                    router_.topology(), out);
  if (const std::string* digits = settings.find("extra_float_digits")) {
    // As it was set: "SET extra_float_digits = 0" and the like round.
    out.exact_floats =
        digits->find_first_of("123") != std::string::npos && digits->find('-') == std::string::npos;
  }
  out.exact_floats &= transaction_.local("extra_float_digits").empty();
  const std::string* dates = known.find("DateStyle");
  out.iso_dates =
      dates != nullptr && dates->starts_with("ISO") && transaction_.local("datestyle").empty();
  out.hint = hints_.current(session_.state().settings.current(), transaction_);
  return out;
}

Status ShardedConversation::check_setting(std::string_view name, Verb verb,
                                          std::string_view statement) {
  // One changes what the other is.
  const bool decides =
      name == "role" || name == "session_authorization" || verb == Verb::kSetSessionAuthorization;
  if (transaction_.open() && decides && verb != Verb::kShow &&
      !(transaction_.local("role").empty() &&
        transaction_.local("session_authorization").empty())) {
    return Error{sqlstate::kFeatureNotSupported,
                 "the role or session authorization has been SET LOCAL in this transaction",
                 "Set it LOCAL again, or after the end of the transaction."};
  }
  return check_hint_setting(name, verb, statement);
}

// A SET or RESET is about to run on the home shard. It ends a SET LOCAL of the same setting, here
// and on the shards that have heard of that, before their next statement. A shard that joins later
// is not told of it any more.
void ShardedConversation::end_locals(std::string_view name, Verb verb, std::string_view value) {
  if (!transaction_.open()) return;
  std::vector<std::string> ended;
  if (verb == Verb::kSet || verb == Verb::kReset) {
    ended.emplace_back(name);
  } else if (verb == Verb::kSetCharacteristics) {
    for (const auto& [each, statement] : session_characteristics(value)) ended.push_back(each);
  } else if (verb == Verb::kResetAll) {
    ended = transaction_.locals();
    std::erase_if(ended, [](const std::string& each) {
      return each == "role" || each == "session_authorization";
    });
  }
  for (const std::string& each : ended) {
    if (transaction_.local(each).empty()) continue;
    transaction_.clear_local(each);
    doubt_settings({each});
    note_local_strings();
  }
}

void ShardedConversation::doubt_settings(const std::set<std::string, std::less<>>& names) {
  for (ServerLink* link : enlisted_links()) {
    for (const std::string& name : names)
      link->doubt_setting(name == "time zone" ? "timezone" : name);
  }
}

Status ShardedConversation::check_hint_setting(std::string_view name, Verb verb,
                                               std::string_view statement) {
  if (!is_hint_setting(name)) return Ok{};
  const bool sets = verb == Verb::kSet || verb == Verb::kSetLocal;
  return hints_.check(name, sets ? statement : std::string_view(),
                      session_.state().settings.current(), transaction_, router_.topology());
}

// --- catalogs ---

const std::string& ShardedConversation::catalog_name() const {
  static const std::string kFallback = "*";
  return session_.database()->fallback ? kFallback : session_.state().database;
}

bool ShardedConversation::catalog_ready() {
  const Topology& topology = router_.topology();
  if (catalog_awaited_ != 0) {
    const auto database = worker_.snapshot()->find(catalog_name());
    const bool reached =
        !database || (database->catalog && database->catalog->generation >= catalog_awaited_);
    if (!reached) return wait_for_catalog();
    catalog_awaited_ = 0;
  }
  if (!topology.catalog_known && topology.catalog_problem.empty()) return wait_for_catalog();
  catalog_wait_ = {};
  return true;
}

// Its server is there: its catalog can be read now. Until then nobody knows what its types are.
bool ShardedConversation::catalog_ready(ShardId shard) {
  const Topology& topology = router_.topology();
  if (!topology.catalog_known || topology.knows(shard)) {
    catalog_wait_ = {};
    return true;
  }
  worker_.proxy().catalog_wanted(catalog_name(), shard);
  return wait_for_catalog();
}

bool ShardedConversation::wait_for_catalog() {
  if (catalog_wait_ == TimePoint{}) catalog_wait_ = worker_.loop().now();
  return false;
}

void ShardedConversation::settle_ddl(bool failed) {
  if (!ddl_ || transaction_.open()) return;
  ddl_ = false;
  if (!failed) catalog_awaited_ = worker_.proxy().catalog_changed(catalog_name());
}

}  // namespace pgshunt
