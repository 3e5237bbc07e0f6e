// What a client session remembers between transactions, whatever server it happens to run on: the
// part of a PostgreSQL session that pooling has to keep on the server's behalf.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "proxy/net/event_loop.h"
#include "proxy/session/settings.h"
#include "proxy/session/statement_names.h"

namespace pgshunt {

// Routes the statements of a session of a sharded database.
class StatementPlanner {
 public:
  // Null for what is not routed at all.
  virtual Result<std::shared_ptr<const StatementPlan>> plan(const Statement& statement) = 0;
  // Changes a planned statement to what servers are to prepare in its place: with parameters for
  // the values that the proxy makes for it, or of an EXPLAIN (PGSHUNT) one that they know.
  virtual Status rewrite(Statement& statement) = 0;
  // False: a column's default has changed, or it was made under another hint; plan it anew.
  virtual bool values_are_current(const Statement& statement) = 0;

 protected:
  ~StatementPlanner() = default;
};

struct SessionState {
  std::uint64_t id = 0;  // unique in the process, never 0
  std::string user;
  std::string database;

  SessionSettings settings;
  // ParameterStatus as the client has been told.
  NameValuesPtr known = NameValues::empty();

  StatementNames names;
  // The unnamed statement, kept by text: it is replaced too often to be shared.
  struct Unnamed {
    std::uint32_t tag = 0;  // identifies this Parse, 0: there is none
    std::string text;
    std::vector<std::uint32_t> types;
    std::uint16_t made_values = 0;  // as in Statement
    CompletionEffect effect;        // of executing it
    // As in Statement; 0: not looked at.
    std::uint32_t routines_version = 0;
    std::uint32_t routine_effects = kEffectNone;
  };
  Unnamed unnamed;
  // Something like SET LOCAL has run in this transaction: what is parsed now may mean something
  // else for everybody else.
  bool has_local_settings = false;

  // settings_for_parsing() of the current settings.
  const NameValuesPtr& parse_settings() const;
  // Null in a database that is not sharded.
  StatementPlanner* planner = nullptr;
  std::vector<std::uint32_t> parse_types;  // scratch

  std::unordered_set<std::string> channels;  // LISTENed to, committed
  // What they will be if the transaction under way commits, once it has changed them.
  std::optional<std::unordered_set<std::string>> channels_next;

  // Reasons (bits of Effect) why this session must keep its server between transactions.
  std::uint32_t pins = 0;
  TimePoint pinned_since{};
  // It has called currval() or lastval() before: from then on writing to a sequence pins.
  bool reads_sequences = false;

 private:
  mutable NameValuesPtr settings_seen_;
  mutable NameValuesPtr parse_settings_;
};

// "temporary object, advisory lock", for SHOW and messages.
std::string describe_pins(std::uint32_t pins);

}  // namespace pgshunt
