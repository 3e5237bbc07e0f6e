#include "proxy/session/explain_route.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iterator>

#include "protocol/backend.h"
#include "router/hint.h"
#include "router/insert_select.h"
#include "router/key_encoding.h"
#include "router/key_type.h"
#include "router/merge_node.h"
#include "router/move_plan.h"
#include "router/sql_decode.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

std::string_view name_of(const Route& route) {
  switch (route.kind) {
    case RouteKind::kAnyShard:
      return "any shard";
    case RouteKind::kHomeShard:
      return "the first shard";
    case RouteKind::kOneShard:
      return "one shard";
    case RouteKind::kScatter:
      return "read of several shards";
    case RouteKind::kEveryShard:
      return "write of every shard's copy";
    case RouteKind::kWriteShards:
      return route.alike == Alike::kNo ? "write of several shards" : "command on several shards";
    case RouteKind::kMoveRows:
      return "move of rows between shards";
    case RouteKind::kCopySplit:
      return "COPY FROM spread over shards";
    case RouteKind::kCopyMerge:
      return "COPY TO from several shards";
    case RouteKind::kCopyQuery:
      return "COPY TO of a query of several shards";
    case RouteKind::kCursor:
      return "cursor over rows of several shards";
    case RouteKind::kInsertSelect:
      return "INSERT of rows read by a SELECT";
    case RouteKind::kMergeNode:
      return "merge node, over rows of the shards";
    case RouteKind::kLookup:
      return "as the directory decides";
    case RouteKind::kMakeValues:
      return route.made.empty() ? "after the shards are made ready for ids of all of them"
                                : "as the values that the proxy makes decide";
  }
  return "";
}

std::string reason_of(const Route& route) {
  if (route.hint != nullptr) return "the hint " + hint_words(*route.hint) + " says so";
  switch (route.kind) {
    case RouteKind::kAnyShard:
      return "no row of a sharded table can have a part in it";
    case RouteKind::kHomeShard:
      return "what it names is kept or looked for on the first shard";
    case RouteKind::kOneShard:
      return "all rows are on it, by their shard keys or as an unsharded table";
    case RouteKind::kScatter:
      return "every shard answers for its own rows";
    case RouteKind::kEveryShard:
      return "every shard has a copy of the reference table";
    case RouteKind::kWriteShards:
      return route.alike == Alike::kNo
                 ? "every shard writes its own rows, one shard after the other"
                 : "every shard does the same";
    case RouteKind::kMoveRows:
      return "the new shard key is another shard's";
    case RouteKind::kCopySplit:
    case RouteKind::kCopyMerge:
    case RouteKind::kCopyQuery:
    case RouteKind::kCursor:
      return "rows are on several shards";
    case RouteKind::kInsertSelect:
      return "its rows do not stay where they are read";
    case RouteKind::kMergeNode:
      return route.merge_node->why;
    case RouteKind::kLookup:
      return "it stores keys that are new to the directory, which gives them a shard when it runs";
    case RouteKind::kMakeValues:
      return "the proxy makes the values when it runs";
  }
  return "";
}

std::string merge_of(const Route& route) {
  if (route.merge_node) return "at the merge node: " + route.merge_node->text;
  if (route.insert_select) {
    return "rows of: " + route.insert_select->select + "; each to its own shard, by " +
           route.insert_select->before + "VALUES ..." + route.insert_select->behind;
  }
  if (route.kind == RouteKind::kWriteShards && route.alike == Alike::kNo) {
    return "sum of the row counts; rows of RETURNING together";
  }
  if (route.kind != RouteKind::kScatter || route.merge == nullptr) return {};
  std::string out =
      route.merge->keys.empty()
          ? std::string("rows in any order")
          : "merge by " + std::to_string(route.merge->keys.size()) + " sorted columns";
  if (const GroupSpec* groups = route.merge->groups.get()) {
    out = groups->keys == 0
              ? std::string("the shards' rows become one")
              : "groups merged by " + std::to_string(groups->keys) + " sorted columns";
    if (!groups->aggregates.empty()) {
      out += ", " + std::to_string(groups->aggregates.size()) + " aggregates put together";
    }
    if (!groups->order.empty()) {
      out += ", sort by " + std::to_string(groups->order.size()) + " columns";
    }
  }
  if (route.merge->hidden_columns != 0) {
    out += ", cut " + std::to_string(route.merge->hidden_columns) + " columns added for it";
  }
  if (route.window.offset != 0) out += ", skip " + std::to_string(route.window.offset);
  if (route.window.limit != RowWindow::kNoLimit) {
    out += ", take " + std::to_string(route.window.limit);
  }
  return out;
}

std::string json_string(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.append(1, '\\').append(1, c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out.append("\\u00").append(1, kHex[c >> 4]).append(1, kHex[c & 15]);
    } else {
      out.push_back(c);
    }
  }
  return out.append("\"");
}

// The number behind a key's first occurrence, which is the one of the outermost node; empty: none.
std::string_view number_behind(std::string_view json, std::string_view key) {
  const std::size_t at = json.find(key);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = json.substr(at + key.size());
  return rest.substr(0, rest.find_first_not_of("0123456789."));
}

std::string_view rows_of(std::string_view plan) { return number_behind(plan, "\"Actual Rows\": "); }

// Planning and execution.
std::string time_of(std::string_view plan) {
  double total = 0;
  for (const std::string_view key : {"\"Planning Time\": ", "\"Execution Time\": "}) {
    const std::string_view text = number_behind(plan, key);
    double value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    total += value;
  }
  char out[32];
  std::snprintf(out, sizeof out, "%.3f", total);
  return out;
}

std::string rows_and_time_of(std::string_view plan) {
  return "rows=" + std::string(rows_of(plan)) + " time=" + time_of(plan) + " ms";
}

// "rooms 42"
std::vector<std::string> new_keys_of(const Route& route, const Topology& topology) {
  std::vector<std::string> out;
  for (const KeyLookup& lookup : route.lookups) {
    const Keyspace& keyspace = topology.keyspaces[lookup.keyspace];
    out.push_back(keyspace.name + " " + encoded_key_text(keyspace.key_type, lookup.key));
  }
  return out;
}

std::string milliseconds(std::chrono::duration<double, std::milli> time) {
  char out[32];
  std::snprintf(out, sizeof out, "%.3f", time.count());
  return out;
}

// "rows=7 (shard1 4, shard2 3) time=0.912 ms"
std::string text_of(const BroughtRows& brought) {
  std::uint64_t sum = 0;
  std::string shards;
  for (const auto& [shard, rows] : brought.shards) {
    sum += rows;
    shards += (shards.empty() ? "" : ", ") + shard + " " + std::to_string(rows);
  }
  return "rows=" + std::to_string(sum) + " (" + shards + ") time=" + milliseconds(brought.elapsed) +
         " ms";
}

std::string json_of(const BroughtRows& brought) {
  std::string json = "\"Brought\": [";
  for (const auto& [shard, rows] : brought.shards) {
    if (&shard != &brought.shards.front().first) json += ", ";
    json += "{\"Shard\": " + json_string(shard) + ", \"Rows\": " + std::to_string(rows) + "}";
  }
  return json + "], \"Actual Time\": " + milliseconds(brought.elapsed);
}

std::string json_of(const ExplainedRoute& explained) {
  std::string json = "[{\"Route\": " + json_string(explained.kind) +
                     ", \"Why\": " + json_string(explained.reason) + ", \"Shards\": [";
  bool first = true;
  for (const ExplainedRoute::Part& part : explained.parts) {
    if (!std::exchange(first, false)) json += ", ";
    json += "{\"Shard\": " + json_string(part.shard) + ", \"Text\": " + json_string(part.text);
    if (!part.plan.empty()) {
      const std::string_view rows = rows_of(part.plan);
      if (!rows.empty()) json.append(", \"Actual Rows\": ").append(rows);
      json += ", \"Actual Time\": " + time_of(part.plan) + ", \"Explain\": " + part.plan;
    }
    if (!part.brought.shards.empty()) json += ", " + json_of(part.brought);
    json += "}";
  }
  json += "]";
  if (!explained.text.empty()) json += ", \"Text\": " + json_string(explained.text);
  if (!explained.new_keys.empty()) {
    json += ", \"New Keys\": [";
    for (std::size_t i = 0; i < explained.new_keys.size(); ++i) {
      json += (i > 0 ? ", " : "") + json_string(explained.new_keys[i]);
    }
    json += "]";
  }
  if (!explained.merge.empty()) json += ", \"Merge\": " + json_string(explained.merge);
  if (!explained.merge_plan.empty()) {
    const std::string& plan = explained.merge_plan;
    json.append(", \"Merge Rows\": ").append(rows_of(plan));
    json += ", \"Merge Time\": " + time_of(plan) + ", \"Merge Explain\": " + plan;
  }
  if (explained.elapsed.count() > 0) {
    json += ", \"Execution Time\": " + milliseconds(explained.elapsed);
  }
  return json + "}]";
}

// One of the list in parentheses.
struct ExplainOption {
  std::string name;   // folded
  std::string value;  // as what it stands for; empty: none was given
  std::size_t begin = 0;
  std::size_t end = 0;
  std::string_view text;
};

// Behind the opening parenthesis, to behind the closing one. The token that does not belong there,
// if there is one.
std::optional<SqlToken> read_options(SqlLexer& lexer, std::vector<ExplainOption>& out) {
  SqlToken token;
  do {
    lexer.next(token);
    ExplainOption option;
    option.begin = token.begin;
    if (!is_name(token.kind) || !append_identifier(lexer.sql(), token, option.name)) return token;
    option.end = token.end;
    lexer.next(token);
    const bool sign = lexer.is_symbol(token, '+') || lexer.is_symbol(token, '-');
    if (sign) {
      option.value = lexer.text(token);
      lexer.next(token);
    }
    bool read = true;
    if (token.kind == TokenKind::kInteger || token.kind == TokenKind::kDecimal) {
      read = append_number(lexer.text(token), option.value);
    } else if (sign) {
      read = false;
    } else if (is_name(token.kind)) {
      read = append_identifier(lexer.sql(), token, option.value);
    } else if (!lexer.is_symbol(token, ',') && !lexer.is_symbol(token, ')')) {
      read = append_string(token.kind, lexer.text(token), option.value);
    }
    const bool has_value = !lexer.is_symbol(token, ',') && !lexer.is_symbol(token, ')');
    if (!read) {
      out.push_back(std::move(option));
      return token;
    }
    if (has_value) {
      option.end = token.end;
      lexer.next(token);
    }
    option.text = lexer.sql().substr(option.begin, option.end - option.begin);
    out.push_back(std::move(option));
  } while (lexer.is_symbol(token, ','));
  if (lexer.is_symbol(token, ')')) return std::nullopt;
  return token;
}

Error syntax_error_at(std::string_view sql, const SqlToken& token) {
  if (token.kind == TokenKind::kEnd) {
    return {sqlstate::kSyntaxError, "syntax error at end of input", {}};
  }
  return {sqlstate::kSyntaxError,
          "syntax error at or near \"" + std::string(sql.substr(token.begin, token.size())) + "\"",
          {}};
}

std::string in_upper_case(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

constexpr std::string_view kOptionsThereAre =
    "There are ANALYZE, FORMAT TEXT and FORMAT JSON; with both ANALYZE and FORMAT JSON also "
    "VERBOSE, COSTS, SETTINGS, BUFFERS, WAL, TIMING, MEMORY and SERIALIZE, for the shards' own "
    "plans.";

// As defGetBoolean() takes them.
std::optional<bool> truth_of(const std::string& value) {
  if (value.empty() || value == "1" || word_is(value, "true") || word_is(value, "on")) return true;
  if (value == "0" || word_is(value, "false") || word_is(value, "off")) return false;
  return std::nullopt;
}

// The last of those that are alike counts, as in PostgreSQL.
Status take_options(const std::vector<ExplainOption>& options, ExplainRequest& out) {
  for (const ExplainOption& option : options) {
    if (option.name != "pgshunt") continue;
    const auto on = truth_of(option.value);
    if (!on) {
      return Error{sqlstate::kInvalidParameterValue, "PGSHUNT requires a Boolean value",
                   "Write EXPLAIN (PGSHUNT), or (PGSHUNT off) for PostgreSQL's own EXPLAIN."};
    }
    out.route = *on;
  }
  // The other options are the server's to check.
  if (!out.route) return Ok{};
  constexpr std::string_view kOfShards[] = {"verbose", "costs",  "settings", "buffers",
                                            "wal",     "timing", "memory",   "serialize"};
  std::string first_of_shards;
  for (const ExplainOption& option : options) {
    if (option.name == "pgshunt") continue;
    if (option.name == "analyze" || option.name == "analyse") {
      const auto on = truth_of(option.value);
      if (!on) {
        return Error{sqlstate::kInvalidParameterValue, "ANALYZE requires a Boolean value", {}};
      }
      out.analyze = *on;
    } else if (option.name == "format") {
      out.json = word_is(option.value, "json");
      if (out.json || word_is(option.value, "text")) continue;
      if (word_is(option.value, "xml") || word_is(option.value, "yaml")) {
        return Error{sqlstate::kFeatureNotSupported,
                     "EXPLAIN (PGSHUNT) has no FORMAT " + in_upper_case(option.value),
                     "Use FORMAT JSON or FORMAT TEXT."};
      }
      return Error{sqlstate::kInvalidParameterValue,
                   "unrecognized value for EXPLAIN option \"format\": \"" + option.value + "\"",
                   "There are TEXT and JSON."};
    } else if (std::find(std::begin(kOfShards), std::end(kOfShards), option.name) !=
               std::end(kOfShards)) {
      if (first_of_shards.empty()) first_of_shards = in_upper_case(option.name);
      out.shard_options.append(", ").append(option.text);
    } else if (option.name == "summary" || option.name == "generic_plan") {
      return Error{sqlstate::kFeatureNotSupported,
                   "EXPLAIN (PGSHUNT) does not have option " + in_upper_case(option.name),
                   std::string(kOptionsThereAre)};
    } else {
      return Error{sqlstate::kInvalidParameterValue,
                   "unrecognized EXPLAIN option \"" + option.name + "\"",
                   std::string(kOptionsThereAre)};
    }
  }
  if (!first_of_shards.empty() && !(out.analyze && out.json)) {
    return Error{sqlstate::kInvalidParameterValue,
                 "EXPLAIN (PGSHUNT) has option " + first_of_shards +
                     " only with both ANALYZE and FORMAT JSON",
                 "It is about the shards' own plans, which are told only then."};
  }
  return Ok{};
}

}  // namespace

std::optional<Result<ExplainRequest>> read_explain_route(std::string_view sql,
                                                         bool standard_conforming_strings) {
  SqlLexer lexer(sql, standard_conforming_strings);
  SqlToken token;
  if (!lexer.next(token) || token.kind != TokenKind::kIdentifier ||
      !word_is(lexer.text(token), "explain")) {
    return std::nullopt;
  }
  const std::size_t explain = token.begin;
  if (!lexer.next(token) || !lexer.is_symbol(token, '(')) return std::nullopt;
  const std::size_t open = token.begin;
  SqlLexer ahead = lexer;
  ahead.next(token);
  constexpr std::string_view kQuery[] = {"select", "with", "values", "table"};
  const bool query = std::any_of(std::begin(kQuery), std::end(kQuery), [&](std::string_view word) {
    return word_is(ahead.text(token), word);
  });
  if (query) return std::nullopt;  // one in parentheses
  std::vector<ExplainOption> options;
  const std::optional<SqlToken> wrong = read_options(lexer, options);
  const auto is_ours = [](const ExplainOption& option) { return option.name == "pgshunt"; };
  if (std::none_of(options.begin(), options.end(), is_ours)) return std::nullopt;
  if (wrong) return syntax_error_at(sql, *wrong);
  const std::size_t behind = lexer.position();
  lexer.next(token);
  if (token.kind == TokenKind::kEnd || lexer.is_symbol(token, ';')) {
    return syntax_error_at(sql, token);
  }
  ExplainRequest out;
  if (const Status taken = take_options(options, out); !taken) return taken.error();
  if (out.route) {
    out.statement = std::string(sql.substr(0, explain)).append(trim_sql_space(sql.substr(behind)));
    out.server_text = std::string(sql.substr(0, open)).append(out.json ? "(FORMAT JSON)" : "");
    if (is_explained_query(sql.substr(behind), standard_conforming_strings)) {
      // Never longer than the list it stands for.
      out.server_text.append(behind - out.server_text.size(), ' ').append(sql.substr(behind));
    } else {
      out.server_text.append(" SELECT");  // EXPLAIN of it is none to a server
    }
    return out;
  }
  // Positions in a server's errors stay the client's.
  out.statement = sql;
  const auto blank = [&](std::size_t from, std::size_t to) {
    std::fill(out.statement.begin() + static_cast<std::ptrdiff_t>(from),
              out.statement.begin() + static_cast<std::ptrdiff_t>(to), ' ');
  };
  if (std::all_of(options.begin(), options.end(), is_ours)) {
    blank(open, behind);
    return out;
  }
  for (std::size_t i = 0; i < options.size(); ++i) {
    if (!is_ours(options[i])) continue;
    // With the comma behind it; those at the end of the list with the one before them.
    const bool last =
        std::all_of(options.begin() + static_cast<std::ptrdiff_t>(i), options.end(), is_ours);
    blank(last ? options[i - 1].end : options[i].begin, last ? behind - 1 : options[i + 1].begin);
    if (last) break;
  }
  return out;
}

ExplainedRoute explain_route(const ExplainRequest& request, const Route& route,
                             std::span<const ShardId> shards, const Topology& topology) {
  ExplainedRoute out;
  out.kind = name_of(route);
  out.reason = reason_of(route);
  out.merge = merge_of(route);
  out.new_keys = new_keys_of(route, topology);
  out.json = request.json;
  if (route.merge_node) {
    for (const MergeInput& input : route.merge_node->inputs) {
      out.parts.push_back({input.home ? topology.shards[*input.home].name : "(each)",
                           rows_text(input) + " -> " + input.table,
                           {},
                           {}});
    }
    return out;
  }
  for (std::size_t i = 0; i < shards.size(); ++i) {
    std::string_view text = route.sql.empty() ? std::string_view(request.statement) : route.sql;
    if (i < route.texts.size()) text = route.texts[i];
    if (route.move && shards[i] != route.move_from) text = route.move->insert;
    out.parts.push_back({topology.shards[shards[i]].name, std::string(text), {}, {}});
  }
  return out;
}

std::string analyzing_prefix(const ExplainRequest& request) {
  return "EXPLAIN (ANALYZE, FORMAT JSON" + request.shard_options + ") ";
}

std::string plan_of_rows(std::string_view messages) {
  std::string out;
  FrameHeader header;
  while (read_frame_header(messages, kMaxBodySize, header) == FrameStatus::kComplete) {
    const auto row = decode_data_row(messages.substr(kFrameHeaderSize, header.body_size));
    if (!row) break;
    for (const WireValue& value : *row) out.append(value.bytes);
    messages.remove_prefix(header.frame_size());
  }
  return out;
}

bool is_explained_query(std::string_view statement, bool standard_conforming_strings) {
  SqlLexer lexer(statement, standard_conforming_strings);
  SqlToken token;
  lexer.next(token);
  constexpr std::string_view kFirst[] = {"select", "with",   "values", "table",
                                         "insert", "update", "delete", "merge"};
  return lexer.is_symbol(token, '(') ||
         std::any_of(std::begin(kFirst), std::end(kFirst),
                     [&](std::string_view word) { return word_is(lexer.text(token), word); });
}

std::vector<std::string> explained_rows(const ExplainedRoute& explained) {
  if (explained.json) return {json_of(explained)};
  std::vector<std::string> rows = {"Route: " + explained.kind, "  Why: " + explained.reason};
  if (!explained.text.empty()) rows.push_back("  Text: " + explained.text);
  for (const ExplainedRoute::Part& part : explained.parts) {
    rows.push_back("  Shard " + part.shard + ": " + part.text);
    if (!part.brought.shards.empty()) rows.push_back("    " + text_of(part.brought));
    if (!part.plan.empty()) rows.push_back("    " + rows_and_time_of(part.plan));
  }
  for (const std::string& key : explained.new_keys) rows.push_back("  New key: " + key);
  if (!explained.merge.empty()) rows.push_back("  Merge: " + explained.merge);
  if (!explained.merge_plan.empty()) {
    rows.push_back("    " + rows_and_time_of(explained.merge_plan));
  }
  if (explained.elapsed.count() > 0) {
    rows.push_back("Execution Time: " + milliseconds(explained.elapsed) + " ms");
  }
  return rows;
}

void append_explained_route(std::string& out, const ExplainedRoute& explained) {
  FieldDescription column;
  column.name = "QUERY PLAN";
  column.type_oid = explained.json ? 114 : type_oid::kText;  // json
  column.type_size = -1;
  append_row_description(out, {&column, 1});
  for (const std::string& row : explained_rows(explained)) {
    const std::string_view value = row;
    append_text_row(out, {&value, 1});
  }
  append_command_complete(out, "EXPLAIN");
}

}  // namespace pgshunt
