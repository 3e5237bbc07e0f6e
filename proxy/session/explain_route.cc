#include "proxy/session/explain_route.h"

#include <charconv>
#include <cstdio>

#include "protocol/backend.h"
#include "router/hint.h"
#include "router/key_encoding.h"
#include "router/key_type.h"
#include "router/move_plan.h"
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
      return "rows are on several shards";
    case RouteKind::kLookup:
      return "it stores keys that are new to the directory, which gives them a shard when it runs";
    case RouteKind::kMakeValues:
      return "the proxy makes the values when it runs";
  }
  return "";
}

std::string merge_of(const Route& route) {
  if (route.kind == RouteKind::kWriteShards && route.alike == Alike::kNo) {
    return "sum of the row counts; rows of RETURNING together";
  }
  if (route.kind != RouteKind::kScatter || route.merge == nullptr) return {};
  std::string out =
      route.merge->keys.empty()
          ? std::string("rows in any order")
          : "merge by " + std::to_string(route.merge->keys.size()) + " sorted columns";
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
  if (explained.elapsed.count() > 0) {
    json += ", \"Execution Time\": " + milliseconds(explained.elapsed);
  }
  return json + "}]";
}

}  // namespace

std::optional<ExplainRequest> read_explain_route(std::string_view sql,
                                                 bool standard_conforming_strings) {
  SqlLexer lexer(sql, standard_conforming_strings);
  SqlToken token;
  const auto is_word = [&](std::string_view word) {
    return token.kind == TokenKind::kIdentifier && word_is(lexer.text(token), word);
  };
  if (!lexer.next(token) || !is_word("explain")) return std::nullopt;
  const std::size_t begin = token.begin;
  if (!lexer.next(token) || !lexer.is_symbol(token, '(')) return std::nullopt;
  ExplainRequest out;
  bool ours = false;
  while (lexer.next(token) && !lexer.is_symbol(token, ')')) {
    ours |= is_word("pgshunt");
    out.json |= is_word("json");
    // ANALYZE alone, or and one of PostgreSQL's words for true.
    if (!is_word("analyze")) continue;
    SqlLexer ahead = lexer;
    SqlToken value;
    ahead.next(value);
    const std::string_view word = ahead.text(value);
    out.analyze =
        word == "," || word == ")" || word_is(word, "true") || word_is(word, "on") || word == "1";
  }
  if (!ours || token.kind == TokenKind::kEnd) return std::nullopt;
  const std::string_view statement = trim_sql_space(sql.substr(token.end));
  out.statement = std::string(sql.substr(0, begin)).append(statement);
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
  for (std::size_t i = 0; i < shards.size(); ++i) {
    std::string_view text = route.sql.empty() ? std::string_view(request.statement) : route.sql;
    if (i < route.texts.size()) text = route.texts[i];
    if (route.move && shards[i] != route.move_from) text = route.move->insert;
    out.parts.push_back({topology.shards[shards[i]].name, std::string(text), {}});
  }
  return out;
}

std::string analyzing(std::string_view text) {
  return "EXPLAIN (ANALYZE, FORMAT JSON) " + std::string(text);
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

void append_explained_route(std::string& out, const ExplainedRoute& explained) {
  FieldDescription column;
  column.name = "QUERY PLAN";
  column.type_oid = explained.json ? 114 : type_oid::kText;  // json
  column.type_size = -1;
  append_row_description(out, {&column, 1});
  const auto row = [&](std::string_view text) { append_text_row(out, {&text, 1}); };
  if (explained.json) {
    row(json_of(explained));
  } else {
    row("Route: " + explained.kind);
    row("  Why: " + explained.reason);
    if (!explained.text.empty()) row("  Text: " + explained.text);
    for (const ExplainedRoute::Part& part : explained.parts) {
      row("  Shard " + part.shard + ": " + part.text);
      if (part.plan.empty()) continue;
      row("    rows=" + std::string(rows_of(part.plan)) + " time=" + time_of(part.plan) + " ms");
    }
    for (const std::string& key : explained.new_keys) row("  New key: " + key);
    if (!explained.merge.empty()) row("  Merge: " + explained.merge);
    if (explained.elapsed.count() > 0) {
      row("Execution Time: " + milliseconds(explained.elapsed) + " ms");
    }
  }
  append_command_complete(out, "EXPLAIN");
}

}  // namespace pgshunt
