// PostgreSQL's parser, through libpg_query, as the judge of templates: with the literals put back,
// a template's tree must be the tree of the statement it came from. Header-only, for the unit test
// and the fuzz target alike.
#pragma once

#include <pg_query.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "router/template.h"

namespace pgshunt {
namespace template_meaning_detail {

using Json = nlohmann::json;

inline std::optional<Json> parsed(const std::string& sql) {
  PgQueryParseResult result = pg_query_parse(sql.c_str());
  std::optional<Json> tree;
  if (result.error == nullptr) tree = Json::parse(result.parse_tree, nullptr, false);
  pg_query_free_parse_result(result);
  if (tree && tree->is_discarded()) tree.reset();
  return tree;
}

inline void drop_locations(Json& node) {
  if (node.is_object()) {
    for (const char* key : {"location", "stmt_len", "stmt_location", "list_start", "list_end"}) {
      node.erase(key);
    }
  }
  if (node.is_structured()) {
    for (Json& child : node) drop_locations(child);
  }
}

// The node the parser makes of a literal, by asking it.
inline Json constant_of(const TemplateLiteral& literal) {
  std::optional<Json> tree = parsed("SELECT " + std::string(literal.text));
  if (!tree) return nullptr;
  drop_locations(*tree);
  return (*tree)["stmts"][0]["stmt"]["SelectStmt"]["targetList"][0]["ResTarget"]["val"];
}

// The parser makes one negative constant of a minus and a number (doNegate() in gram.y).
inline void fold_minus(Json& node) {
  if (!node.is_object() || !node.contains("A_Expr")) return;
  const Json& expression = node["A_Expr"];
  if (expression.contains("lexpr") || expression.value("kind", "") != "AEXPR_OP" ||
      expression["name"] != Json::parse(R"([{"String":{"sval":"-"}}])") ||
      !expression["rexpr"].contains("A_Const")) {
    return;
  }
  Json constant = expression["rexpr"];
  Json& value = constant["A_Const"];
  if (value.contains("ival")) {
    const long number = value["ival"].value("ival", 0L);
    value["ival"]["ival"] = -number;
  } else if (value.contains("fval")) {
    std::string text = value["fval"]["fval"];
    value["fval"]["fval"] = text[0] == '-' ? text.substr(1) : "-" + text;
  } else {
    return;
  }
  node = constant;
}

// libpg_query's JSON leaves out integers that are not above zero.
inline void drop_negatives(Json& node) {
  if (!node.is_structured()) return;
  for (Json& child : node) drop_negatives(child);
  if (node.is_object() && node.contains("ival") && node["ival"].is_number() && node["ival"] <= 0) {
    node.erase("ival");
  }
}

// The template's tree with the literals' constants for the parameters.
inline void substitute(Json& node, const StatementTemplate& statement) {
  if (node.is_structured()) {
    for (Json& child : node) substitute(child, statement);
  }
  if (!node.is_object()) return;
  if (node.contains("ParamRef")) {
    const std::uint32_t number = node["ParamRef"].value("number", 0u);
    if (number >= statement.first_literal()) {
      node = constant_of(statement.literals[number - statement.first_literal()]);
    }
  }
  fold_minus(node);
}

}  // namespace template_meaning_detail

enum class Meaning { kSkipped, kSame, kTemplateRejected, kDifferent };

// Whether the template means what the statement means: its tree, with the literals put back, is the
// statement's own tree. And whether the rendered text does.
inline Meaning compare_meaning(const std::string& sql) {
  StatementTemplate statement;
  if (sql.find('\v') != std::string::npos) return Meaning::kSkipped;
  if (normalize_template(sql, statement) != TemplateStatus::kOk) return Meaning::kSkipped;
  using namespace template_meaning_detail;
  std::optional<Json> original = parsed(sql);
  if (!original) return Meaning::kSkipped;
  drop_locations(*original);

  std::string text;
  TemplateRenderer(statement.text, statement.first_literal()).render(statement.literals, text);
  std::optional<Json> back = parsed(text);
  if (!back) return Meaning::kDifferent;
  drop_locations(*back);
  if (*back != *original) return Meaning::kDifferent;

  std::optional<Json> tree = parsed(statement.text);
  if (!tree) return Meaning::kTemplateRejected;
  drop_locations(*tree);
  substitute(*tree, statement);
  drop_negatives(*tree);
  return *tree == *original ? Meaning::kSame : Meaning::kDifferent;
}

}  // namespace pgshunt
