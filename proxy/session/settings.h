// The run-time settings a session has made (SET, RESET, startup parameters), transactional as
// PostgreSQL's are, and the SQL that brings a server from one session's settings to another's.
//
// A setting's value here is the SQL statement that establishes it, e.g. ("timezone",
// "SET timezone TO 'UTC'"): what the client wrote is what the next server is told, with nothing
// reinterpreted in between (but see portable_statement()).
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/session/name_values.h"

namespace pgshunt {

class SessionSettings {
 public:
  // `startup`: (name, value) from the startup packet: what RESET returns to.
  void start(const std::vector<std::pair<std::string, std::string>>& startup);

  // What holds now, uncommitted changes included.
  const NameValuesPtr& current() const { return current_; }
  // What a rollback now would return to.
  const NameValuesPtr& committed() const { return committed_; }
  // The statement that restores `name` to its startup value, empty if the server's own default is
  // meant.
  std::string_view startup_statement(std::string_view name) const;

  bool has_startup() const { return startup_ != NameValues::empty(); }
  const NameValuesPtr& startup() const { return startup_; }

  void set(std::string_view name, std::string_view statement);
  void reset(std::string_view name);
  void reset_all();
  // What RESET ALL leaves alone (guc.c, GUC_NO_RESET_ALL).
  static NameValuesPtr untouched_by_reset_all(const NameValuesPtr& settings);
  // DISCARD ALL: role and session authorization too.
  void discard_all() { current_ = startup_; }

  // Transaction boundaries as the server reported them. Changes outside any of them are committed
  // by the next commit().
  void commit();
  void rollback();
  void savepoint(std::string_view name);
  void release_savepoint(std::string_view name);
  void rollback_to(std::string_view name);
  // What has been set or reset since the transaction began, taken back or not.
  const std::set<std::string, std::less<>>& touched() const { return touched_; }

 private:
  struct Savepoint {
    std::string name;
    NameValuesPtr settings;
  };
  std::vector<Savepoint>::iterator find_savepoint(std::string_view name);

  NameValuesPtr startup_ = NameValues::empty();
  NameValuesPtr committed_ = NameValues::empty();
  NameValuesPtr current_ = NameValues::empty();
  std::vector<Savepoint> savepoints_;
  std::set<std::string, std::less<>> touched_;
};

// The SET that gives `name` the value that current_setting() shows.
std::string statement_to_set(std::string_view name, std::string_view value);

// A client's SET as it can be told to any server, whatever that one's standard_conforming_strings
// and whatever follows: strings with a backslash become E'...', a comment at the end goes.
std::string portable_statement(std::string_view sql, bool standard_conforming_strings);

// The settings behind SET SESSION CHARACTERISTICS AS TRANSACTION `modes`, each with its SET.
std::vector<NameValues::Pair> session_characteristics(std::string_view modes);

// The statements that take a server whose session settings are `from` to `to`, in order. Role and
// session authorization are dropped first and taken last, since they decide what else may be set.
std::vector<std::string> settings_steps(const NameValues& from, const NameValues& to);
// The same as one simple query.
std::string settings_change(const NameValues& from, const NameValues& to);

// Those of `settings` that may decide what a statement's text means: all but a few that surely do
// not. '1/2/2003'::date becomes a date of a certain month when the statement is prepared, and stays
// that date whatever DateStyle is when it is executed (parser/parse_coerce.c).
NameValuesPtr settings_for_parsing(const NameValuesPtr& settings);

}  // namespace pgshunt
