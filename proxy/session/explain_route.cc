#include "proxy/session/explain_route.h"

#include <vector>

#include "protocol/backend.h"
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
  }
  return "";
}

std::string_view reason_of(const Route& route) {
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

struct Sent {
  std::string_view shard;
  std::string_view text;
};

std::vector<Sent> sent_of(const Route& route, std::string_view statement,
                          const Topology& topology) {
  std::vector<Sent> out;
  for (std::size_t i = 0; i < route.shards.size(); ++i) {
    std::string_view text = route.sql.empty() ? statement : route.sql;
    if (i < route.texts.size()) text = route.texts[i];
    if (route.move && route.shards[i] != route.move_from) text = route.move->insert;
    out.push_back({topology.shards[route.shards[i]].name, text});
  }
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

}  // namespace

std::optional<ExplainRequest> read_explain_route(std::string_view sql,
                                                 bool standard_conforming_strings) {
  SqlLexer lexer(sql, standard_conforming_strings);
  SqlToken token;
  const auto is_word = [&](std::string_view word) {
    return token.kind == TokenKind::kIdentifier && word_is(lexer.text(token), word);
  };
  if (!lexer.next(token) || !is_word("explain")) return std::nullopt;
  if (!lexer.next(token) || !lexer.is_symbol(token, '(')) return std::nullopt;
  ExplainRequest out;
  bool ours = false;
  while (lexer.next(token) && !lexer.is_symbol(token, ')')) {
    ours |= is_word("pgshunt");
    out.json |= is_word("json");
  }
  if (!ours || token.kind == TokenKind::kEnd) return std::nullopt;
  out.statement = trim_sql_space(sql.substr(token.end));
  return out;
}

void append_explained_route(std::string& out, const ExplainRequest& request, const Route& route,
                            const Topology& topology) {
  FieldDescription column;
  column.name = "QUERY PLAN";
  column.type_oid = request.json ? 114 : type_oid::kText;  // json
  column.type_size = -1;
  append_row_description(out, {&column, 1});
  const std::vector<Sent> sent = sent_of(route, request.statement, topology);
  const std::vector<std::string> new_keys = new_keys_of(route, topology);
  const std::string merge = merge_of(route);
  const auto row = [&](std::string_view text) { append_text_row(out, {&text, 1}); };
  if (request.json) {
    std::string json = "[{\"Route\": " + json_string(name_of(route)) +
                       ", \"Why\": " + json_string(reason_of(route)) + ", \"Shards\": [";
    for (std::size_t i = 0; i < sent.size(); ++i) {
      if (i > 0) json += ", ";
      json += "{\"Shard\": " + json_string(sent[i].shard) +
              ", \"Text\": " + json_string(sent[i].text) + "}";
    }
    json += "]";
    if (!new_keys.empty()) {
      json += ", \"New Keys\": [";
      for (std::size_t i = 0; i < new_keys.size(); ++i) {
        json += (i > 0 ? ", " : "") + json_string(new_keys[i]);
      }
      json += "]";
    }
    if (!merge.empty()) json += ", \"Merge\": " + json_string(merge);
    row(json + "}]");
  } else {
    row("Route: " + std::string(name_of(route)));
    row("  Why: " + std::string(reason_of(route)));
    for (const Sent& each : sent) {
      row("  Shard " + std::string(each.shard) + ": " + std::string(each.text));
    }
    for (const std::string& key : new_keys) row("  New key: " + key);
    if (!merge.empty()) row("  Merge: " + merge);
  }
  append_command_complete(out, "EXPLAIN");
}

}  // namespace pgshunt
