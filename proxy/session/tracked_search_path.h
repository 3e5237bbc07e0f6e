// The search_path of a session as the router wants it: from the SET statements that made it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/session/name_values.h"
#include "router/router.h"
#include "router/search_path.h"

namespace pgshunt {

// What a SET search_path, SET LOCAL search_path or SET SCHEMA lists; nothing if that cannot be
// told.
std::optional<std::vector<std::string>> schemas_of_set(std::string_view statement);

// Parses once what several statements need. One of each session.
class TrackedSearchPath {
 public:
  // Sets default_search_path and search_path of `out`, which is good until the next call.
  // `settings`: the session's. `local`: what the transaction has said of search_path by SET LOCAL,
  // or empty. `user`: whom the servers know, "$user" of the path.
  void tell(const NameValues& settings, std::string_view local, std::string_view user,
            const Topology& topology, RouterSession& out);

 private:
  const SearchPath* parsed(std::string_view statement, std::string_view user,
                           const Topology& topology);

  std::string statement_;
  std::string user_;
  std::uint64_t epoch_ = 0;  // of the topology
  std::optional<SearchPath> path_;
};

}  // namespace pgshunt
