#include "router/routine_effects.h"

#include <algorithm>
#include <array>
#include <unordered_set>

#include "router/code_effects.h"
#include "router/sql_decode.h"

namespace pgshunt {
namespace {

// Statements that run triggers, defaults and constraints; those that run event triggers.
constexpr std::array<std::string_view, 6> kWrites = {"insert", "update", "delete",
                                                     "merge",  "copy",   "truncate"};
constexpr std::array<std::string_view, 8> kDdl = {"create", "alter",  "drop",   "comment",
                                                  "grant",  "revoke", "import", "security"};
// A node that no statement names: what is called without a name (operators, casts).
constexpr std::string_view kAlways = "";

}  // namespace

const std::shared_ptr<const RoutineEffects>& RoutineEffects::unknown() {
  static const std::shared_ptr<const RoutineEffects> kUnknown = [] {
    auto unknown = std::make_shared<RoutineEffects>();
    unknown->always_ = kEffectOpaque;
    return unknown;
  }();
  return kUnknown;
}

std::uint32_t RoutineEffects::of_name(std::string_view name, bool called) const {
  if (!filter_.admits(name)) return kEffectNone;
  const auto found = nodes_.find(name);
  if (found == nodes_.end() || (found->second.call_only && !called)) return kEffectNone;
  return found->second.effects;
}

std::uint32_t RoutineEffects::of(std::string_view sql, bool standard_conforming_strings) const {
  std::uint32_t effects = always_;
  if (nodes_.empty()) return effects;
  std::string folded;
  bool starts = true;
  bool runs_code = false;  // in a DO, whose string is code
  SqlLexer lexer(sql, standard_conforming_strings);
  SqlToken token;
  while (lexer.next(token)) {
    const std::string_view text = lexer.text(token);
    if (is_name(token.kind)) {
      if (starts) runs_code = word_is(text, "do");
      starts = false;
      const bool quoted = token.kind == TokenKind::kQuotedIdentifier && text.size() > 2;
      if (!filter_.admits(quoted ? text.substr(1, text.size() - 2) : text) &&
          token.kind != TokenKind::kUnicodeIdentifier) {
        continue;
      }
      folded.clear();
      if (!append_identifier(sql, token, folded)) continue;
      SqlLexer ahead = lexer;
      SqlToken next;
      ahead.next(next);
      effects |= of_name(folded, ahead.is_symbol(next, '('));
      continue;
    }
    starts = lexer.is_symbol(token, ';');
    if (starts) runs_code = false;
    if (!runs_code) continue;
    std::string code;
    const bool is_string = token.kind == TokenKind::kString ||
                           token.kind == TokenKind::kEscapeString ||
                           token.kind == TokenKind::kDollarString;
    if (!is_string || !append_string(token.kind, text, code)) continue;
    CodeEffects inner;
    read_code(code, inner);
    for (const CodeEffects::Name& each : inner.names) effects |= of_name(each.name, each.called);
  }
  return effects;
}

bool changes_routines(std::string_view ddl, bool standard_conforming_strings) {
  static constexpr std::array<std::string_view, 14> kWords = {
      "function", "procedure", "routine", "aggregate", "trigger", "extension", "rule",
      "view",     "policy",    "cast",    "operator",  "domain",  "schema",    "owned"};
  SqlLexer lexer(ddl, standard_conforming_strings);
  SqlToken token;
  while (lexer.next(token)) {
    if (token.kind != TokenKind::kIdentifier) continue;
    for (const std::string_view word : kWords) {
      if (word_is(lexer.text(token), word)) return true;
    }
  }
  return false;
}

// Rows: ('fingerprint', it), ('routine', name, language, code, by name of a column 't' or 'f'), and
// ('dependent', kind, its name, what it depends on). xmin changes with every change of a row.
std::string routines_query(std::string_view known) {
  std::string sql =
      "WITH fingerprint AS (SELECT pg_catalog.concat("
      "(SELECT pg_catalog.concat(count(*), ',', sum(pg_catalog.hashtext(pg_catalog.concat(oid, "
      "'.', xmin))::bigint)) FROM pg_catalog.pg_proc WHERE oid >= 16384), ' ', "
      "(SELECT pg_catalog.concat(count(*), ',', sum(pg_catalog.hashtext(pg_catalog.concat(objid, "
      "'.', xmin))::bigint)) FROM pg_catalog.pg_depend WHERE refclassid = "
      "'pg_catalog.pg_proc'::regclass AND refobjid >= 16384), ' ', "
      "(SELECT pg_catalog.concat(count(*), ',', sum(pg_catalog.hashtext(pg_catalog.concat(oid, "
      "'.', xmin))::bigint)) FROM pg_catalog.pg_rewrite WHERE oid >= 16384)) AS it),"
      "changed AS (SELECT it <> '";
  sql.append(known);  // digits, commas and spaces
  sql.append(
      "' AS yes FROM fingerprint) "
      "SELECT 'fingerprint', it, '', '', '' FROM fingerprint UNION ALL "
      "SELECT 'routine', p.proname::text, l.lanname::text, CASE WHEN p.prosrc = '' THEN "
      "pg_catalog.pg_get_functiondef(p.oid) ELSE p.prosrc END, "
      "(p.pronargs = 1 AND EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.oid = "
      "p.proargtypes[0] AND t.typtype = 'c'))::text "
      "FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang "
      "WHERE (SELECT yes FROM changed) AND p.oid >= 16384 AND l.lanname NOT IN ('internal', 'c') "
      "UNION ALL "
      "SELECT 'dependent', CASE WHEN d.classid = 'pg_catalog.pg_proc'::regclass THEN 'routine' "
      "WHEN c.relname IS NOT NULL THEN 'relation' "
      "WHEN d.classid = 'pg_catalog.pg_event_trigger'::regclass THEN 'ddl' "
      "WHEN d.classid IN ('pg_catalog.pg_trigger'::regclass, 'pg_catalog.pg_attrdef'::regclass, "
      "'pg_catalog.pg_class'::regclass) OR k.conrelid <> 0 THEN 'write' ELSE 'always' END, "
      "coalesce(p.proname, c.relname)::text, r.proname::text, '' "
      "FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc r ON r.oid = d.refobjid "
      "LEFT JOIN pg_catalog.pg_proc p ON d.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = "
      "d.objid "
      "LEFT JOIN pg_catalog.pg_rewrite w ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND "
      "w.oid = d.objid "
      "LEFT JOIN pg_catalog.pg_policy o ON d.classid = 'pg_catalog.pg_policy'::regclass AND o.oid "
      "= d.objid "
      "LEFT JOIN pg_catalog.pg_class c ON c.oid = coalesce(w.ev_class, o.polrelid) "
      "LEFT JOIN pg_catalog.pg_constraint k ON d.classid = 'pg_catalog.pg_constraint'::regclass "
      "AND k.oid = d.objid "
      "WHERE (SELECT yes FROM changed) AND d.refclassid = 'pg_catalog.pg_proc'::regclass AND "
      "d.refobjid >= 16384 "
      "UNION ALL "
      "SELECT 'dependent', 'relation', c.relname::text, r.relname::text, '' "
      "FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class r ON r.oid = d.refobjid "
      "LEFT JOIN pg_catalog.pg_rewrite w ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND "
      "w.oid = d.objid "
      "LEFT JOIN pg_catalog.pg_policy o ON d.classid = 'pg_catalog.pg_policy'::regclass AND o.oid "
      "= d.objid "
      "JOIN pg_catalog.pg_class c ON c.oid = coalesce(w.ev_class, o.polrelid) "
      "WHERE (SELECT yes FROM changed) AND d.classid IN ('pg_catalog.pg_rewrite'::regclass, "
      "'pg_catalog.pg_policy'::regclass) AND d.refclassid = 'pg_catalog.pg_class'::regclass AND "
      "d.refobjid >= 16384 AND r.oid <> c.oid");
  return sql;
}

RoutineEffects::Node& RoutineReader::node(const std::string& name, bool call_only) {
  RoutineEffects::Node& node = nodes_[name];
  node.call_only &= call_only;
  return node;
}

void RoutineReader::add_dependents(std::string_view kind, std::string_view name,
                                   std::string_view on) {
  const auto add = [&](std::string_view dependent, bool call_only) {
    node(std::string(dependent), call_only);
    edges_.push_back({std::string(dependent), std::string(on)});
  };
  if (kind == "routine") return add(name, true);
  if (kind == "relation") return add(name, false);
  if (kind == "write") {
    for (const std::string_view word : kWrites) add(word, false);
  } else if (kind == "ddl") {
    for (const std::string_view word : kDdl) add(word, false);
  } else {
    add(kAlways, false);
  }
}

bool RoutineReader::add_row(std::span<const std::string_view> row) {
  if (row.size() != 5) return false;
  if (row[0] == "fingerprint") {
    fingerprint_ = row[1];
  } else if (row[0] == "routine") {
    const bool foreign = row[2] != "plpgsql" && row[2] != "sql";
    routines_.push_back({std::string(row[1]), std::string(row[3]), foreign});
    node(routines_.back().name, !row[4].starts_with('t'));
  } else if (row[0] == "dependent") {
    add_dependents(row[1], row[2], row[3]);
  } else {
    return false;
  }
  return true;
}

std::shared_ptr<const RoutineEffects> RoutineReader::finish() {
  auto found = std::make_shared<RoutineEffects>();
  std::unordered_set<std::string> settings;
  std::vector<std::string> changed;
  for (const Routine& routine : routines_) {
    CodeEffects code;
    read_code(routine.code, code, routine.foreign);
    constexpr std::uint32_t kUnseen = kEffectOpaque | kEffectSetConfig | kEffectLibrary |
                                      kEffectRandomSeed | kEffectForeignSession;
    nodes_[routine.name].effects |= code.effects & kUnseen;
    settings.insert(code.settings.begin(), code.settings.end());
    for (const CodeEffects::Name& each : code.names) {
      const auto known = nodes_.find(each.name);
      if (known == nodes_.end() || each.name == routine.name) continue;
      if (each.called || !known->second.call_only) edges_.push_back({routine.name, each.name});
    }
  }
  std::unordered_map<std::string_view, std::vector<std::string_view>> dependents;
  for (const Edge& edge : edges_) dependents[edge.on].push_back(edge.dependent);
  for (const auto& [name, node] : nodes_) {
    if (node.effects != kEffectNone) changed.push_back(name);
  }
  while (!changed.empty()) {
    const std::string name = std::move(changed.back());
    changed.pop_back();
    const auto reached = dependents.find(name);
    if (reached == dependents.end()) continue;
    const std::uint32_t effects = nodes_[name].effects;
    for (const std::string_view dependent : reached->second) {
      RoutineEffects::Node& node = nodes_[std::string(dependent)];
      if ((node.effects | effects) == node.effects) continue;
      node.effects |= effects;
      changed.emplace_back(dependent);
    }
  }
  for (const auto& [name, node] : nodes_) {
    if (node.effects == kEffectNone) continue;
    if (name == kAlways) {
      found->always_ = node.effects;
      continue;
    }
    found->nodes_.emplace(name, node);
    found->filter_.add(name);
  }
  found->settings_.assign(settings.begin(), settings.end());
  std::sort(found->settings_.begin(), found->settings_.end());
  return found;
}

}  // namespace pgshunt
