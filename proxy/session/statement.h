// Prepared statements as the proxy knows them: one object for each distinct (text, parameter
// types), however many clients prepare it under whatever names, so that servers prepare it once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proxy/session/name_values.h"
#include "router/router.h"
#include "router/session_effects.h"

namespace pgshunt {

struct ExplainRequest;  // proxy/session/explain_route.h
struct Statement;
using StatementPtr = std::shared_ptr<const Statement>;

// What completing one statement does to its session: StatementEffects that own their text.
struct CompletionEffect {
  Verb verb = Verb::kOther;
  std::uint32_t effects = kEffectNone;
  std::string name;
  std::string text;  // SET and its kin: the statement to replay elsewhere
  // PREPARE: what it makes. EXECUTE: what it runs.
  StatementPtr statement;
  // PREPARE, DEALLOCATE: the change of name to confirm (statement_names.h); 0: none.
  std::uint32_t change = 0;
  // EXECUTE, DEALLOCATE prepared by the protocol: the client's text. What its name stands for is
  // looked up at each use.
  std::string source;
  // Instead of the tag the server sends: another statement ran in this one's place.
  std::string_view tag;
  // A statement of the proxy's own in the client's query: its tag is not for the client.
  bool silent = false;
  // RESET ALL, DISCARD ALL: statements follow that set the startup packet's values again.
  bool restored = false;
  // Not empty: a statement that is sure to fail ran in this one's place, and this is the error.
  Error failure;
};

// Immutable once made.
struct Statement {
  std::uint64_t id = 0;     // unique in the process; the server knows it as server_name
  std::string server_name;  // "pgshunt_<id>"
  // Prepared by the protocol: the text for servers. Prepared by SQL: everything behind the name in
  // "PREPARE name (types) AS ...".
  std::string text;
  bool by_sql = false;
  std::vector<std::uint32_t> types;
  // The client's text, if `text` says something else in its place (StatementPlanner::rewrite()).
  std::string written;
  // The proxy adds so many values to each Bind (router/made_values.h): they are the last parameters
  // of `text`, behind the client's own.
  std::uint16_t client_parameters = 0;
  std::uint16_t made_values = 0;
  std::vector<std::string> sources;  // as in MadeValues
  // The settings under which it was prepared, see settings_for_parsing(): literals in its text
  // stand for what they meant then.
  NameValuesPtr settings = NameValues::empty();
  bool conforming_strings = true;  // how its strings were read, wherever that was set
  // What executing it does to the session.
  CompletionEffect effect;
  // What the routines it calls do (router/routine_effects.h), as of that version of what is known
  // of them. On its worker's thread, as all of it.
  mutable std::uint32_t routines_version = 0;
  mutable std::uint32_t routine_effects = kEffectNone;
  // An EXECUTE or DEALLOCATE: the same for what its name stood for at its last use.
  mutable StatementPtr looked_up;
  // An EXPLAIN (PGSHUNT): servers describe it, the proxy executes it. Null for any other.
  std::shared_ptr<const ExplainRequest> explain;
  // Where it runs, or what it explains would; null in a database that is not sharded.
  std::shared_ptr<const StatementPlan> plan;
};

// One worker's shared statements, by content.
class StatementTable {
 public:
  // `scope` keeps databases apart: a plan belongs to one topology.
  StatementPtr find(std::uint64_t scope, std::string_view text,
                    std::span<const std::uint32_t> types, const NameValuesPtr& settings);
  StatementPtr add(std::uint64_t scope, Statement statement);
  std::size_t size() const { return statements_.size(); }

 private:
  std::string& make_key(std::uint64_t scope, std::string_view text,
                        std::span<const std::uint32_t> types, const NameValuesPtr& settings);
  void sweep();

  std::unordered_map<std::string, StatementPtr> statements_;
  std::string key_;  // reused, so that a hit allocates nothing
  std::size_t sweep_at_ = 1024;
};

// A statement that is not shared, with an id and a server_name of its own. Any thread.
StatementPtr own_statement(Statement statement);

}  // namespace pgshunt
