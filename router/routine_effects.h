// What the functions, procedures and triggers of a database do to the session that runs them, which
// the text of a statement that calls them does not show: found by reading their code, and closed
// over what they call.
//
// The reader's rows are those of routines_query(), in any order. What is found is by name alone:
// where two routines share a name the worst of them is meant.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "router/session_effects.h"
#include "router/sql_lexer.h"

namespace pgshunt {

// Immutable; any thread.
class RoutineEffects {
 public:
  struct Node {
    std::uint32_t effects = kEffectNone;
    // Counts only with a parenthesis behind it: a routine, and no table or view of that name.
    bool call_only = true;
  };

  // Stands in for routines that are not known: every statement may do anything the server can be
  // asked for.
  static const std::shared_ptr<const RoutineEffects>& unknown();

  // Nothing any statement could call has an effect.
  bool empty() const { return nodes_.empty() && always_ == kEffectNone; }
  // What the routines that `sql` calls, or makes the server call, may leave behind.
  std::uint32_t of(std::string_view sql, bool standard_conforming_strings = true) const;
  // Customized settings that some of them make.
  const std::vector<std::string>& settings() const { return settings_; }

 private:
  friend class RoutineReader;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const {
      return std::hash<std::string_view>()(name);
    }
  };
  std::uint32_t of_name(std::string_view name, bool called) const;

  std::unordered_map<std::string, Node, Hash, std::equal_to<>> nodes_;
  WordFilter filter_;
  std::uint32_t always_ = kEffectNone;
  std::vector<std::string> settings_;
};

// May this CREATE, ALTER or DROP change what a database's routines do, or what calls them?
bool changes_routines(std::string_view ddl, bool standard_conforming_strings = true);

// Reads the routines and what depends on them; only a fingerprint if that is still `known`.
std::string routines_query(std::string_view known);

class RoutineReader {
 public:
  // A row of routines_query(). False if it is none.
  bool add_row(std::span<const std::string_view> row);
  // Empty until its row has come.
  const std::string& fingerprint() const { return fingerprint_; }
  // Of no use afterwards.
  std::shared_ptr<const RoutineEffects> finish();

 private:
  struct Routine {
    std::string name;
    std::string code;
    bool foreign = false;
  };
  struct Edge {
    std::string dependent;
    std::string on;
  };
  RoutineEffects::Node& node(const std::string& name, bool call_only);
  void add_dependents(std::string_view kind, std::string_view name, std::string_view on);

  std::string fingerprint_;
  std::vector<Routine> routines_;
  std::vector<Edge> edges_;
  std::unordered_map<std::string, RoutineEffects::Node> nodes_;
};

}  // namespace pgshunt
