// What the code that statements call does to the session: who may call such code, what the server
// says of the session afterwards, and how that becomes the session's own.
#include <algorithm>
#include <cctype>

#include "proxy/session/listen_hub.h"
#include "proxy/session/server_link.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// Safe in a list of literals whatever standard_conforming_strings is: such names are not asked for.
void append_literal(std::string& out, std::string_view name) {
  if (name.find_first_of("\\'") != name.npos) return;
  out.append(",'").append(name).append("'");
}

// Settings that pg_settings does not list, and those of the transaction.
bool is_listed(std::string_view name) {
  return name.find('.') == name.npos && name != "role" && name != "session_authorization" &&
         name != "seed";
}

}  // namespace

// CALL is resolved: it is opaque if nobody knows better.
std::uint32_t ServerLink::known_effects(std::uint32_t effects,
                                        const RoutineEffects* routines) const {
  const bool calls = (effects & kEffectCall) != 0;
  return calls && (!routines || !routines->empty()) ? effects | kEffectOpaque : effects;
}

std::uint32_t ServerLink::effects_of_query(std::string_view sql, std::uint32_t effects) {
  const RoutineEffects* routines = pool_.routine_effects();
  if (!routines) return known_effects(effects, nullptr);
  if (routines->empty()) return effects;
  return effects | routines->of(sql, session_.standard_conforming_strings());
}

std::uint32_t ServerLink::effects_of_statement(const Statement& statement) {
  std::uint32_t effects = statement.effect.effects;
  const RoutineEffects* routines = pool_.routine_effects();
  if (!routines) return known_effects(effects, nullptr);
  if (routines->empty()) return effects;
  if (statement.routines_version != pool_.routines_version()) {
    statement.routines_version = pool_.routines_version();
    statement.routine_effects = routines->of(statement.text);
  }
  if (statement.effect.statement) effects |= effects_of_statement(*statement.effect.statement);
  return effects | statement.routine_effects;
}

std::uint32_t ServerLink::effects_of_unnamed() {
  SessionState::Unnamed& unnamed = state_.unnamed;
  std::uint32_t effects = unnamed.effect.effects;
  const RoutineEffects* routines = pool_.routine_effects();
  if (!routines) return known_effects(effects, nullptr);
  if (routines->empty()) return effects;
  if (unnamed.routines_version != pool_.routines_version()) {
    unnamed.routines_version = pool_.routines_version();
    unnamed.routine_effects = routines->of(unnamed.text, session_.standard_conforming_strings());
  }
  if (unnamed.effect.statement) effects |= effects_of_statement(*unnamed.effect.statement);
  return effects | unnamed.routine_effects;
}

// What it makes may be called in the same transaction, by names that are not known yet.
void ServerLink::note_ddl(Verb verb, std::string_view sql) {
  const RoutineEffects* routines = pool_.routine_effects();
  if (!routines || verb != Verb::kDdl) return;
  const bool conforming = session_.standard_conforming_strings();
  if (!changes_routines(sql, conforming) && routines->of(sql, conforming) == kEffectNone) return;
  ddl_ = true;
  pin_candidates_ |= kEffectOpaque;
}

void ServerLink::note_driven(std::string_view sql, bool may_define) {
  note_effects(Verb::kOther, effects_of_query(sql, kEffectNone));
  if (may_define) note_ddl(Verb::kDdl, sql);
}

void ServerLink::note_driven(const Statement& statement, bool may_define) {
  note_effects(Verb::kOther, effects_of_statement(statement));
  if (may_define) note_ddl(Verb::kDdl, statement.text);
}

// Rows of four texts: what it is, name, value, and whether the setting is its session's own ('s'),
// its session's own but not to be made by its user ('u'), or at its default ('d'). The names of
// ours that it has to tell of are in the query.
std::string ServerLink::state_query() const {
  std::string names = "''";
  std::string customized;
  const auto add_customized = [&](std::string_view name) {
    std::string literal;
    append_literal(literal, name);
    if (!literal.empty()) customized.append(customized.empty() ? literal.substr(1) : literal);
  };
  for (const auto& [name, statement] : backend_->memory.settings->pairs()) {
    if (is_listed(name)) {
      append_literal(names, name);
    } else if (name.find('.') != name.npos) {
      add_customized(name);
    }
  }
  if (const RoutineEffects* routines = pool_.routine_effects()) {
    for (const std::string& name : routines->settings()) add_customized(name);
  }
  std::string sql =
      "SELECT 'setting', name, setting, CASE WHEN source <> 'session' THEN 'd' WHEN context LIKE "
      "'superuser%' AND pg_catalog.current_setting('is_superuser') = 'off' THEN 'u' ELSE 's' END "
      "FROM pg_catalog.pg_settings WHERE (source = 'session' AND name NOT IN "
      "('transaction_isolation','transaction_read_only','transaction_deferrable')) OR "
      "pg_catalog.lower(name) IN (" +
      names +
      ") UNION ALL SELECT 'setting', 'role', r, CASE r WHEN 'none' THEN 'd' ELSE 's' END FROM "
      "pg_catalog.current_setting('role') r "
      "UNION ALL SELECT 'setting', 'session_authorization', session_user::text, CASE WHEN r.oid = "
      "a.usesysid THEN 'd' ELSE 's' END FROM "
      "pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a, pg_catalog.pg_roles r WHERE "
      "r.rolname = session_user "
      "UNION ALL SELECT 'channel', c, '', '' FROM pg_catalog.pg_listening_channels() c "
      "UNION ALL SELECT 'prepared', name, '', '' FROM pg_catalog.pg_prepared_statements WHERE "
      "name <> '' AND pg_catalog.left(name, 8) <> 'pgshunt_' "
      "UNION ALL SELECT 'count', count(*)::text, '', '' FROM pg_catalog.pg_prepared_statements "
      "WHERE pg_catalog.left(name, 8) = 'pgshunt_'";
  if (!customized.empty()) {
    sql.append(
        " UNION ALL SELECT 'setting', n, v, 's' FROM (SELECT n, "
        "pg_catalog.current_setting(n, true) v FROM pg_catalog.unnest(ARRAY[" +
        customized + "]) n) x WHERE v IS NOT NULL");
  }
  return sql;
}

void ServerLink::read_state_row(const std::vector<std::string_view>& row) {
  ServerState& state = *server_state_;
  if (row[0] == "channel") {
    state.channels.emplace_back(row[1]);
  } else if (row[0] == "prepared") {
    state.pins |= kEffectPrepared;
  } else if (row[0] == "count") {
    // Those that requests behind the probe make are not there yet.
    const std::size_t ours = backend_->memory.prepared.size();
    state.statements_gone = backend_->tracker.size() <= 1 && row[1] != std::to_string(ours);
  } else if (row[0] == "setting") {
    const std::string name = lower(row[1]);
    const bool known = backend_->memory.settings->find(name) != nullptr;
    if (row[3] == "d") {
      if (known) state.settings.push_back({name, {}});
      return;
    }
    // A customized setting without a value, or that a routine has reset to none.
    if (!known && row[2].empty() && name.find('.') != name.npos) return;
    // What connect_query sets is everybody's.
    if (!known && lower(pool_.spec().connect_query).find(name) != std::string::npos) return;
    if (row[3] == "u") {
      if (!known) state.pins |= kEffectSetConfig;
      return;
    }
    state.settings.push_back({name, statement_to_set(name, row[2])});
  }
}

// The probe is answered: settings made by code are now the session's own, and follow it as those
// made by SET do.
void ServerLink::adopt_state() {
  const std::unique_ptr<ServerState> state = std::move(server_state_);
  SessionSettings& settings = state_.settings;
  NameValuesPtr& there = backend_->memory.settings;
  for (const auto& [name, statement] : state->settings) {
    if (statement.empty()) {
      settings.reset(name);
      there = without(there, name);
    } else {
      settings.set(name, statement);
      there = with(there, name, statement);
    }
  }
  settings.commit();
  for (const std::string& channel : state->channels) {
    backend_->memory.listening = true;
    if (state_.channels.contains(channel)) continue;
    session_.worker().listen_hub(pool_).listen(channel, state_.id);
    session_.listen(channel);
  }
  session_.settle_channels(true);
  pins_here_ |= state->pins;
  if (state->pins != kEffectNone) session_.set_pins(pool_, pins_here_);
  // To the startup packet's value, of which the server knows nothing.
  if (backend_->tracker.empty()) catch_up_settings();
  if (state->statements_gone && backend_->tracker.empty()) {
    backend_->memory.prepared.clear();
    inject("DEALLOCATE ALL");
  }
}

}  // namespace pgshunt
