// What a client session remembers between transactions, whatever server it happens to run on: the
// part of a PostgreSQL session that pooling has to keep on the server's behalf.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "proxy/net/event_loop.h"
#include "proxy/session/settings.h"
#include "proxy/session/statement.h"

namespace pgshunt {

struct SessionState {
  std::uint64_t id = 0;  // unique in the process, never 0
  std::string user;
  std::string database;

  SessionSettings settings;
  // ParameterStatus as the client has been told.
  NameValuesPtr known = NameValues::empty();

  std::unordered_map<std::string, StatementPtr> prepared;
  // The unnamed statement, kept by text: it is replaced too often to be shared.
  struct Unnamed {
    std::uint32_t tag = 0;  // identifies this Parse, 0: there is none
    std::string text;
    std::vector<std::uint32_t> types;
    bool interesting = false;  // executing it changes the session: `effect` says how
    CompletionEffect effect;
  };
  Unnamed unnamed;

  std::unordered_set<std::string> channels;  // LISTENed to, committed

  // Reasons (bits of Effect) why this session must keep its server between transactions.
  std::uint32_t pins = 0;
  TimePoint pinned_since{};
  // It has called currval() or lastval() before: from then on writing to a sequence pins.
  bool reads_sequences = false;
  bool wrote_sequences = false;
};

// "temporary object, advisory lock", for SHOW and messages.
std::string describe_pins(std::uint32_t pins);

}  // namespace pgshunt
