#include "router/parse_tree.h"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

#include <memory>
#include <string>
#include <utility>

#include "router/refusal.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

constexpr Sqlstate kStatementTooComplex{"54001"};

// Parser, protobuf code and our own walk recurse as deep as the statement nests: once for a
// parenthesis, but also once for each link of a chain of operators, set operations or joins. This
// bounds the depth from above by what each open parenthesis has collected so far: its words and
// operators since the last comma, AND or OR (which make lists, not chains), and, with more weight
// and for good, the keywords that nest whole queries and joins.
class NestingBound {
 public:
  explicit NestingBound(std::string_view text) : text_(text), lexer_(text) {}

  // A test runs everything at this depth, with a sanitizer's large frames.
  static constexpr std::size_t kMax = 1000;

  bool exceeded() {
    for (SqlToken token; lexer_.next(token);) {
      pass(token);
      if (total_ > kMax) return true;
    }
    return false;
  }

 private:
  static constexpr std::size_t kQueryWeight = 4;
  struct Level {
    std::size_t chain = 0;
    std::size_t queries = 0;
  };

  void pass(const SqlToken& token) {
    if (token.kind == TokenKind::kIdentifier) {
      const std::string_view word = lexer_.text(token);
      if (word_is(word, "and") || word_is(word, "or")) return end_chain();
      if (word_is(word, "union") || word_is(word, "intersect") || word_is(word, "except") ||
          word_is(word, "join") || word_is(word, "case")) {
        open_.back().queries += kQueryWeight;
        total_ += kQueryWeight;
        return;
      }
    }
    ++open_.back().chain;
    ++total_;
    if (token.kind != TokenKind::kSymbol) return;
    switch (text_[token.begin]) {
      case '(':
      case '[':
        open_.emplace_back();
        break;
      case ')':
      case ']':
        total_ -= open_.back().chain + open_.back().queries;
        open_.pop_back();
        if (open_.empty()) open_.emplace_back();
        break;
      case ',':
        end_chain();
        break;
      default:
        break;
    }
  }

  void end_chain() {
    total_ -= open_.back().chain;
    open_.back().chain = 0;
  }

  std::string_view text_;
  SqlLexer lexer_;
  std::vector<Level> open_{1};
  std::size_t total_ = 0;
};

// --- generic walk ----------------------------------------------------------------------------

// Calls `visit(message)` for each message that stands in a field of `message`.
template <class Visit>
void for_each_field(const ProtobufCMessage& message, Visit visit) {
  const ProtobufCMessageDescriptor& type = *message.descriptor;
  const char* const base = reinterpret_cast<const char*>(&message);
  for (unsigned i = 0; i < type.n_fields; ++i) {
    const ProtobufCFieldDescriptor& field = type.fields[i];
    if (field.type != PROTOBUF_C_TYPE_MESSAGE) continue;
    const auto* quantifier = reinterpret_cast<const std::uint32_t*>(base + field.quantifier_offset);
    if ((field.flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 && *quantifier != field.id) continue;
    if (field.label == PROTOBUF_C_LABEL_REPEATED) {
      const auto count = *reinterpret_cast<const std::size_t*>(base + field.quantifier_offset);
      const auto* items =
          *reinterpret_cast<const ProtobufCMessage* const* const*>(base + field.offset);
      for (std::size_t k = 0; k < count; ++k) visit(*items[k]);
    } else if (const auto* item =
                   *reinterpret_cast<const ProtobufCMessage* const*>(base + field.offset)) {
      visit(*item);
    }
  }
}

bool is_a(const ProtobufCMessage& message, const ProtobufCMessageDescriptor& type) {
  return message.descriptor == &type;
}

// What a Node wraps; null for an empty one.
const ProtobufCMessage* unwrap(const PgQuery__Node& node) {
  const ProtobufCMessage* inner = nullptr;
  for_each_field(node.base, [&inner](const ProtobufCMessage& message) { inner = &message; });
  return inner;
}

std::string text_of(const char* text) { return text == nullptr ? std::string() : text; }

std::string string_of(const PgQuery__Node* node) {
  if (node == nullptr || node->node_case != PG_QUERY__NODE__NODE_STRING) return {};
  return text_of(node->string->sval);
}

std::vector<std::string> strings_of(std::size_t count, PgQuery__Node* const* nodes) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(string_of(nodes[i]));
  return out;
}

// "CreateTableAsStmt" as people know it: "CREATE TABLE AS". Other nodes keep their name.
std::string command_name(const ProtobufCMessage& message) {
  const std::string_view node = message.descriptor->short_name;
  if (!node.ends_with("Stmt")) return std::string(node);
  std::string out;
  for (const char c : node.substr(0, node.size() - 4)) {
    const bool upper = c >= 'A' && c <= 'Z';
    if (upper && !out.empty()) out += ' ';
    out += upper ? c : static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

// --- conversion -------------------------------------------------------------------------------

std::unique_ptr<Query> query_of(const PgQuery__Node& node);
std::unique_ptr<Query> select_of(const PgQuery__SelectStmt& select);
Expr expr_of(const PgQuery__Node& node);

bool is_query(const PgQuery__Node& node) {
  switch (node.node_case) {
    case PG_QUERY__NODE__NODE_SELECT_STMT:
    case PG_QUERY__NODE__NODE_INSERT_STMT:
    case PG_QUERY__NODE__NODE_UPDATE_STMT:
    case PG_QUERY__NODE__NODE_DELETE_STMT:
    case PG_QUERY__NODE__NODE_MERGE_STMT:
      return true;
    default:
      return false;
  }
}

// All expressions found in the fields of a message that is not looked at more closely.
void collect(const ProtobufCMessage& message, std::vector<Expr>& out) {
  for_each_field(message, [&out](const ProtobufCMessage& field) {
    if (is_a(field, pg_query__node__descriptor)) {
      const auto& node = reinterpret_cast<const PgQuery__Node&>(field);
      if (node.node_case != PG_QUERY__NODE__NODE__NOT_SET) out.push_back(expr_of(node));
    } else if (is_a(field, pg_query__select_stmt__descriptor)) {
      Expr expr;
      expr.kind = ExprKind::kSubquery;
      expr.query = select_of(reinterpret_cast<const PgQuery__SelectStmt&>(field));
      out.push_back(std::move(expr));
    } else {
      collect(field, out);
    }
  });
}

void collect(std::size_t count, PgQuery__Node* const* nodes, std::vector<Expr>& out) {
  for (std::size_t i = 0; i < count; ++i) out.push_back(expr_of(*nodes[i]));
}

std::optional<Expr> optional_expr(const PgQuery__Node* node) {
  if (node == nullptr) return std::nullopt;
  return expr_of(*node);
}

Expr column_of(const PgQuery__ColumnRef& column) {
  Expr out;
  out.kind = ExprKind::kColumn;
  out.location = column.location;
  for (std::size_t i = 0; i < column.n_fields; ++i) {
    if (column.fields[i]->node_case == PG_QUERY__NODE__NODE_A_STAR) {
      out.star = true;
    } else {
      out.names.push_back(string_of(column.fields[i]));
    }
  }
  return out;
}

Expr constant_of(const PgQuery__AConst& constant) {
  Expr out;
  out.kind = ExprKind::kConstant;
  out.location = constant.location;
  if (constant.isnull) return out;
  switch (constant.val_case) {
    case PG_QUERY__A__CONST__VAL_IVAL:
      out.constant = ConstantKind::kNumber;
      out.text = std::to_string(constant.ival->ival);
      break;
    case PG_QUERY__A__CONST__VAL_FVAL:
      out.constant = ConstantKind::kNumber;
      out.text = text_of(constant.fval->fval);
      break;
    case PG_QUERY__A__CONST__VAL_BOOLVAL:
      out.constant = ConstantKind::kBool;
      out.text = constant.boolval->boolval ? "t" : "f";
      break;
    case PG_QUERY__A__CONST__VAL_SVAL:
      out.constant = ConstantKind::kString;
      out.text = text_of(constant.sval->sval);
      break;
    default:
      out.constant = ConstantKind::kBits;
      break;
  }
  return out;
}

Expr cast_of(const PgQuery__TypeCast& cast) {
  Expr out;
  out.kind = ExprKind::kCast;
  out.location = cast.location;
  if (cast.type_name != nullptr) {
    const PgQuery__TypeName& type = *cast.type_name;
    out.names = strings_of(type.n_names, type.names);
    const bool unmodified = type.n_typmods == 0 && !type.setof && !type.pct_type;
    out.plain = unmodified && type.n_array_bounds == 0;
    out.array = unmodified && type.n_array_bounds != 0;
  }
  if (cast.arg != nullptr) out.args.push_back(expr_of(*cast.arg));
  // Type modifiers are constants, and nothing hides in them.
  return out;
}

Expr operator_of(const PgQuery__AExpr& expr) {
  Expr out;
  out.location = expr.location;
  out.names = strings_of(expr.n_name, expr.name);
  if (expr.lexpr != nullptr) out.args.push_back(expr_of(*expr.lexpr));
  switch (expr.kind) {
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP:
    case PG_QUERY__A__EXPR__KIND__AEXPR_LIKE:
    case PG_QUERY__A__EXPR__KIND__AEXPR_ILIKE:
    case PG_QUERY__A__EXPR__KIND__AEXPR_SIMILAR:
      out.kind = ExprKind::kOperator;
      break;
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP_ANY:
      out.kind = ExprKind::kAnyOrAll;
      out.text = "ANY";
      break;
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP_ALL:
      out.kind = ExprKind::kAnyOrAll;
      out.text = "ALL";
      break;
    case PG_QUERY__A__EXPR__KIND__AEXPR_IN:
      out.kind = ExprKind::kIn;
      break;
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_DISTINCT:
      out.kind = ExprKind::kNotDistinct;
      break;
    case PG_QUERY__A__EXPR__KIND__AEXPR_DISTINCT:
    case PG_QUERY__A__EXPR__KIND__AEXPR_NULLIF:
    case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN:
      out.kind = ExprKind::kScalar;
      out.text = "BETWEEN";
      break;
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN:
    case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN_SYM:
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN_SYM:
      out.kind = ExprKind::kScalar;
      out.text = "comparison";
      break;
    default:
      out.kind = ExprKind::kOther;
      out.text = "A_Expr";
      break;
  }
  if (expr.rexpr == nullptr) return out;
  if (expr.rexpr->node_case == PG_QUERY__NODE__NODE_LIST) {
    const PgQuery__List& list = *expr.rexpr->list;
    collect(list.n_items, list.items, out.args);
  } else {
    out.args.push_back(expr_of(*expr.rexpr));
  }
  return out;
}

Expr bool_of(const PgQuery__BoolExpr& expr) {
  Expr out;
  out.location = expr.location;
  switch (expr.boolop) {
    case PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR:
      out.kind = ExprKind::kAnd;
      break;
    case PG_QUERY__BOOL_EXPR_TYPE__OR_EXPR:
      out.kind = ExprKind::kOr;
      break;
    case PG_QUERY__BOOL_EXPR_TYPE__NOT_EXPR:
      out.kind = ExprKind::kNot;
      break;
    default:
      out.text = "BoolExpr";
      break;
  }
  collect(expr.n_args, expr.args, out.args);
  return out;
}

Expr function_of(const PgQuery__FuncCall& call) {
  Expr out;
  out.kind = ExprKind::kFunction;
  out.location = call.location;
  out.names = strings_of(call.n_funcname, call.funcname);
  out.star = call.agg_star;
  out.windowed = call.over != nullptr;
  out.aggregate_syntax = call.agg_within_group || call.agg_distinct || call.agg_filter != nullptr ||
                         call.n_agg_order != 0;
  collect(call.n_args, call.args, out.args);
  collect(call.n_agg_order, call.agg_order, out.args);
  if (call.agg_filter != nullptr) out.args.push_back(expr_of(*call.agg_filter));
  if (call.over != nullptr) collect(call.over->base, out.args);
  return out;
}

Expr sql_value_of(const PgQuery__SQLValueFunction& value) {
  Expr out;
  out.kind = ExprKind::kSqlValue;
  out.location = value.location;
  switch (value.op) {
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_ROLE:
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_USER:
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_USER:
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_SESSION_USER:
      out.text = "CURRENT_USER";
      break;
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_CATALOG:
      out.text = "CURRENT_CATALOG";
      break;
    case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_SCHEMA:
      out.text = "CURRENT_SCHEMA";
      break;
    default:
      out.text = "CURRENT_TIMESTAMP";
      break;
  }
  return out;
}

Expr sublink_of(const PgQuery__SubLink& link) {
  Expr out;
  out.kind = ExprKind::kSubquery;
  out.location = link.location;
  if (link.testexpr != nullptr) out.args.push_back(expr_of(*link.testexpr));
  if (link.subselect != nullptr) out.query = query_of(*link.subselect);
  return out;
}

// A node whose own effect is that of its arguments.
Expr scalar_of(const ProtobufCMessage& message, std::string what) {
  Expr out;
  out.kind = ExprKind::kScalar;
  out.text = std::move(what);
  collect(message, out.args);
  return out;
}

bool has_star(const PgQuery__AIndirection& indirection) {
  for (std::size_t i = 0; i < indirection.n_indirection; ++i) {
    if (indirection.indirection[i]->node_case == PG_QUERY__NODE__NODE_A_STAR) return true;
  }
  return false;
}

Expr other_of(const PgQuery__Node& node) {
  Expr out;
  if (is_query(node)) {
    out.kind = ExprKind::kSubquery;
    out.query = query_of(node);
  } else if (const ProtobufCMessage* inner = unwrap(node)) {
    out.text = inner->descriptor->short_name;
    collect(*inner, out.args);
  }
  return out;
}

Expr expr_of(const PgQuery__Node& node) {
  switch (node.node_case) {
    case PG_QUERY__NODE__NODE_COLUMN_REF:
      return column_of(*node.column_ref);
    case PG_QUERY__NODE__NODE_PARAM_REF: {
      Expr out;
      out.kind = ExprKind::kParameter;
      out.location = node.param_ref->location;
      out.parameter = static_cast<std::uint32_t>(node.param_ref->number);
      return out;
    }
    case PG_QUERY__NODE__NODE_A_CONST:
      return constant_of(*node.a_const);
    case PG_QUERY__NODE__NODE_TYPE_CAST:
      return cast_of(*node.type_cast);
    case PG_QUERY__NODE__NODE_COLLATE_CLAUSE: {
      Expr out;
      out.kind = ExprKind::kCollate;
      out.location = node.collate_clause->location;
      out.names = strings_of(node.collate_clause->n_collname, node.collate_clause->collname);
      if (node.collate_clause->arg != nullptr)
        out.args.push_back(expr_of(*node.collate_clause->arg));
      return out;
    }
    case PG_QUERY__NODE__NODE_A_EXPR:
      return operator_of(*node.a_expr);
    case PG_QUERY__NODE__NODE_BOOL_EXPR:
      return bool_of(*node.bool_expr);
    case PG_QUERY__NODE__NODE_FUNC_CALL:
      return function_of(*node.func_call);
    case PG_QUERY__NODE__NODE_SQLVALUE_FUNCTION:
      return sql_value_of(*node.sqlvalue_function);
    case PG_QUERY__NODE__NODE_SUB_LINK:
      return sublink_of(*node.sub_link);
    case PG_QUERY__NODE__NODE_SET_TO_DEFAULT: {
      Expr out;
      out.kind = ExprKind::kDefault;
      out.location = node.set_to_default->location;
      return out;
    }
    case PG_QUERY__NODE__NODE_NULL_TEST:
    case PG_QUERY__NODE__NODE_BOOLEAN_TEST:
      return scalar_of(*unwrap(node), "test");
    case PG_QUERY__NODE__NODE_CASE_EXPR:
    case PG_QUERY__NODE__NODE_CASE_WHEN:
      return scalar_of(*unwrap(node), "CASE");
    case PG_QUERY__NODE__NODE_COALESCE_EXPR:
    case PG_QUERY__NODE__NODE_MIN_MAX_EXPR:
      return scalar_of(*unwrap(node), "COALESCE");
    case PG_QUERY__NODE__NODE_A_ARRAY_EXPR:
      return scalar_of(*unwrap(node), "ARRAY");
    case PG_QUERY__NODE__NODE_ROW_EXPR:
      return scalar_of(*unwrap(node), "ROW");
    case PG_QUERY__NODE__NODE_A_INDICES:
    case PG_QUERY__NODE__NODE_STRING:  // a field's name
    case PG_QUERY__NODE__NODE_LIST:
      return scalar_of(*unwrap(node), "list");
    case PG_QUERY__NODE__NODE_A_INDIRECTION:
      if (has_star(*node.a_indirection)) return other_of(node);
      return scalar_of(*unwrap(node), "subscript");
    default:
      return other_of(node);
  }
}

TableName table_of(const PgQuery__RangeVar& table) {
  TableName out;
  out.schema = text_of(table.schemaname);
  out.name = text_of(table.relname);
  out.location = table.location;
  if (table.alias != nullptr) {
    out.alias = text_of(table.alias->aliasname);
    out.column_aliases = table.alias->n_colnames != 0;
  }
  return out;
}

void set_alias(const PgQuery__Alias* alias, TableName& out) {
  if (alias == nullptr) return;
  out.alias = text_of(alias->aliasname);
  out.column_aliases = alias->n_colnames != 0;
}

FromItem from_item_of(const PgQuery__Node& node);

FromItem join_of(const PgQuery__JoinExpr& join) {
  FromItem out;
  out.kind = FromItem::Kind::kJoin;
  switch (join.jointype) {
    case PG_QUERY__JOIN_TYPE__JOIN_INNER:
      out.join = JoinKind::kInner;
      break;
    case PG_QUERY__JOIN_TYPE__JOIN_LEFT:
      out.join = JoinKind::kLeft;
      break;
    case PG_QUERY__JOIN_TYPE__JOIN_RIGHT:
      out.join = JoinKind::kRight;
      break;
    default:
      out.join = JoinKind::kFull;
      break;
  }
  out.natural = join.is_natural;
  out.using_columns = strings_of(join.n_using_clause, join.using_clause);
  set_alias(join.alias != nullptr ? join.alias : join.join_using_alias, out.table);
  out.sides.push_back(from_item_of(*join.larg));
  out.sides.push_back(from_item_of(*join.rarg));
  if (join.quals != nullptr) out.exprs.push_back(expr_of(*join.quals));
  return out;
}

FromItem from_item_of(const PgQuery__Node& node) {
  FromItem out;
  switch (node.node_case) {
    case PG_QUERY__NODE__NODE_RANGE_VAR:
      out.kind = FromItem::Kind::kTable;
      out.table = table_of(*node.range_var);
      return out;
    case PG_QUERY__NODE__NODE_JOIN_EXPR:
      return join_of(*node.join_expr);
    case PG_QUERY__NODE__NODE_RANGE_SUBSELECT:
      out.kind = FromItem::Kind::kSubquery;
      set_alias(node.range_subselect->alias, out.table);
      if (node.range_subselect->subquery != nullptr) {
        out.query = query_of(*node.range_subselect->subquery);
      }
      return out;
    case PG_QUERY__NODE__NODE_RANGE_FUNCTION:
      out.kind = FromItem::Kind::kFunction;
      set_alias(node.range_function->alias, out.table);
      collect(node.range_function->base, out.exprs);
      return out;
    case PG_QUERY__NODE__NODE_RANGE_TABLE_SAMPLE: {
      const PgQuery__RangeTableSample& sample = *node.range_table_sample;
      out.text = "TABLESAMPLE";
      if (sample.relation != nullptr) out.sides.push_back(from_item_of(*sample.relation));
      collect(sample.n_args, sample.args, out.exprs);
      if (sample.repeatable != nullptr) out.exprs.push_back(expr_of(*sample.repeatable));
      return out;
    }
    default:
      if (const ProtobufCMessage* inner = unwrap(node)) {
        out.text = inner->descriptor->short_name;
        collect(*inner, out.exprs);
      }
      return out;
  }
}

void from_items(std::size_t count, PgQuery__Node* const* nodes, std::vector<FromItem>& out) {
  for (std::size_t i = 0; i < count; ++i) out.push_back(from_item_of(*nodes[i]));
}

void targets_of(std::size_t count, PgQuery__Node* const* nodes, std::vector<Target>& out) {
  for (std::size_t i = 0; i < count; ++i) {
    Target target;
    if (nodes[i]->node_case == PG_QUERY__NODE__NODE_RES_TARGET) {
      const PgQuery__ResTarget& item = *nodes[i]->res_target;
      target.name = text_of(item.name);
      target.subscripted = item.n_indirection != 0;
      target.value = optional_expr(item.val);
    } else {
      target.value = expr_of(*nodes[i]);
    }
    out.push_back(std::move(target));
  }
}

SortItem sort_item_of(const PgQuery__Node& node) {
  SortItem out;
  if (node.node_case != PG_QUERY__NODE__NODE_SORT_BY || node.sort_by->node == nullptr) {
    out.value = expr_of(node);
    out.using_operator = true;  // not a form that is understood: refused like one
    return out;
  }
  const PgQuery__SortBy& sort = *node.sort_by;
  out.value = expr_of(*sort.node);
  out.descending = sort.sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_DESC;
  out.direction_written = out.descending || sort.sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_ASC;
  out.using_operator = sort.sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_USING;
  if (sort.sortby_nulls == PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_FIRST) out.nulls_first = true;
  if (sort.sortby_nulls == PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_LAST) out.nulls_first = false;
  return out;
}

void with_of(const PgQuery__WithClause* with, Query& out) {
  if (with == nullptr) return;
  out.recursive = with->recursive;
  for (std::size_t i = 0; i < with->n_ctes; ++i) {
    if (with->ctes[i]->node_case != PG_QUERY__NODE__NODE_COMMON_TABLE_EXPR) continue;
    const PgQuery__CommonTableExpr& cte = *with->ctes[i]->common_table_expr;
    CommonTable table;
    table.name = text_of(cte.ctename);
    if (cte.ctequery != nullptr) table.query = query_of(*cte.ctequery);
    if (cte.search_clause != nullptr) collect(cte.search_clause->base, out.rest);
    if (cte.cycle_clause != nullptr) collect(cte.cycle_clause->base, out.rest);
    out.with.push_back(std::move(table));
  }
}

void tables_in(const ProtobufCMessage& message, std::vector<TableName>& out) {
  for_each_field(message, [&out](const ProtobufCMessage& field) {
    if (is_a(field, pg_query__range_var__descriptor)) {
      out.push_back(table_of(reinterpret_cast<const PgQuery__RangeVar&>(field)));
    }
    tables_in(field, out);
  });
}

std::unique_ptr<Query> select_of(const PgQuery__SelectStmt& select) {
  auto out = std::make_unique<Query>();
  with_of(select.with_clause, *out);
  targets_of(select.n_target_list, select.target_list, out->targets);
  from_items(select.n_from_clause, select.from_clause, out->from);
  out->where = optional_expr(select.where_clause);
  for (std::size_t i = 0; i < select.n_sort_clause; ++i) {
    out->order.push_back(sort_item_of(*select.sort_clause[i]));
  }
  out->limit = optional_expr(select.limit_count);
  out->offset = optional_expr(select.limit_offset);
  out->with_ties = select.limit_option == PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_WITH_TIES;
  for (std::size_t i = 0; i < select.n_values_lists; ++i) {
    std::vector<Expr>& row = out->values.emplace_back();
    if (select.values_lists[i]->node_case == PG_QUERY__NODE__NODE_LIST) {
      collect(select.values_lists[i]->list->n_items, select.values_lists[i]->list->items, row);
    }
  }
  out->distinct = select.n_distinct_clause != 0;
  // DISTINCT without ON is a list of one empty node.
  for (std::size_t i = 0; i < select.n_distinct_clause; ++i) {
    if (select.distinct_clause[i]->node_case != PG_QUERY__NODE__NODE__NOT_SET) {
      out->rest.push_back(expr_of(*select.distinct_clause[i]));
    }
  }
  out->grouped = select.n_group_clause != 0;
  collect(select.n_group_clause, select.group_clause, out->rest);
  out->having = select.having_clause != nullptr;
  if (out->having) out->rest.push_back(expr_of(*select.having_clause));
  out->windows = select.n_window_clause != 0;
  collect(select.n_window_clause, select.window_clause, out->rest);
  out->locking = select.n_locking_clause != 0;
  out->into = select.into_clause != nullptr;
  std::vector<TableName> others;
  if (out->into) tables_in(select.into_clause->base, others);
  for (std::size_t i = 0; i < select.n_locking_clause; ++i) {
    tables_in(select.locking_clause[i]->base, others);
  }
  out->other_tables = others.size();
  switch (select.op) {
    case PG_QUERY__SET_OPERATION__SETOP_UNION:
      out->operation = SetOperation::kUnion;
      break;
    case PG_QUERY__SET_OPERATION__SETOP_INTERSECT:
      out->operation = SetOperation::kIntersect;
      break;
    case PG_QUERY__SET_OPERATION__SETOP_EXCEPT:
      out->operation = SetOperation::kExcept;
      break;
    default:
      break;
  }
  if (select.larg != nullptr) out->left = select_of(*select.larg);
  if (select.rarg != nullptr) out->right = select_of(*select.rarg);
  return out;
}

void on_conflict_of(const PgQuery__OnConflictClause* clause, Query& out) {
  if (clause == nullptr) return;
  out.conflict = clause->action == PG_QUERY__ON_CONFLICT_ACTION__ONCONFLICT_UPDATE
                     ? ConflictAction::kUpdate
                     : ConflictAction::kNothing;
  targets_of(clause->n_target_list, clause->target_list, out.assignments);
  if (clause->where_clause != nullptr) out.rest.push_back(expr_of(*clause->where_clause));
  if (clause->infer == nullptr) return;
  const PgQuery__InferClause& infer = *clause->infer;
  out.conflict_constraint = infer.conname != nullptr && *infer.conname != '\0';
  for (std::size_t i = 0; i < infer.n_index_elems; ++i) {
    if (infer.index_elems[i]->node_case != PG_QUERY__NODE__NODE_INDEX_ELEM) continue;
    const PgQuery__IndexElem& element = *infer.index_elems[i]->index_elem;
    out.conflict_columns.push_back(text_of(element.name));
    if (element.expr != nullptr) out.rest.push_back(expr_of(*element.expr));
  }
  if (infer.where_clause != nullptr) out.rest.push_back(expr_of(*infer.where_clause));
}

std::unique_ptr<Query> insert_of(const PgQuery__InsertStmt& insert) {
  auto out = std::make_unique<Query>();
  out->verb = QueryVerb::kInsert;
  with_of(insert.with_clause, *out);
  if (insert.relation != nullptr) out->target = table_of(*insert.relation);
  targets_of(insert.n_cols, insert.cols, out->columns);
  if (insert.select_stmt != nullptr) out->source = query_of(*insert.select_stmt);
  if (insert.override == PG_QUERY__OVERRIDING_KIND__OVERRIDING_USER_VALUE) {
    out->overriding = Overriding::kUserValue;
  } else if (insert.override == PG_QUERY__OVERRIDING_KIND__OVERRIDING_SYSTEM_VALUE) {
    out->overriding = Overriding::kSystemValue;
  }
  on_conflict_of(insert.on_conflict_clause, *out);
  targets_of(insert.n_returning_list, insert.returning_list, out->returning);
  return out;
}

std::unique_ptr<Query> update_of(const PgQuery__UpdateStmt& update) {
  auto out = std::make_unique<Query>();
  out->verb = QueryVerb::kUpdate;
  with_of(update.with_clause, *out);
  if (update.relation != nullptr) out->target = table_of(*update.relation);
  targets_of(update.n_target_list, update.target_list, out->assignments);
  from_items(update.n_from_clause, update.from_clause, out->from);
  out->where = optional_expr(update.where_clause);
  targets_of(update.n_returning_list, update.returning_list, out->returning);
  return out;
}

std::unique_ptr<Query> delete_of(const PgQuery__DeleteStmt& del) {
  auto out = std::make_unique<Query>();
  out->verb = QueryVerb::kDelete;
  with_of(del.with_clause, *out);
  if (del.relation != nullptr) out->target = table_of(*del.relation);
  from_items(del.n_using_clause, del.using_clause, out->from);
  out->where = optional_expr(del.where_clause);
  targets_of(del.n_returning_list, del.returning_list, out->returning);
  return out;
}

std::unique_ptr<Query> query_of(const PgQuery__Node& node) {
  switch (node.node_case) {
    case PG_QUERY__NODE__NODE_SELECT_STMT:
      return select_of(*node.select_stmt);
    case PG_QUERY__NODE__NODE_INSERT_STMT:
      return insert_of(*node.insert_stmt);
    case PG_QUERY__NODE__NODE_UPDATE_STMT:
      return update_of(*node.update_stmt);
    case PG_QUERY__NODE__NODE_DELETE_STMT:
      return delete_of(*node.delete_stmt);
    default: {
      auto out = std::make_unique<Query>();
      out->verb = QueryVerb::kOther;
      if (const ProtobufCMessage* inner = unwrap(node)) {
        out->text = command_name(*inner);
        collect(*inner, out->rest);
      }
      return out;
    }
  }
}

// EXPLAIN (ANALYZE off) is still taken for one that runs the statement.
bool explains_by_running(const PgQuery__ExplainStmt& explain) {
  for (std::size_t i = 0; i < explain.n_options; ++i) {
    const PgQuery__Node& option = *explain.options[i];
    if (option.node_case == PG_QUERY__NODE__NODE_DEF_ELEM &&
        text_of(option.def_elem->defname) == "analyze") {
      return true;
    }
  }
  return false;
}

CopyOption copy_option_of(const PgQuery__DefElem& element) {
  CopyOption out;
  out.name = text_of(element.defname);
  const PgQuery__Node* argument = element.arg;
  if (argument == nullptr) return out;
  switch (argument->node_case) {
    case PG_QUERY__NODE__NODE_STRING:
      out.value = text_of(argument->string->sval);
      break;
    case PG_QUERY__NODE__NODE_INTEGER:
      out.value = std::to_string(argument->integer->ival);
      break;
    case PG_QUERY__NODE__NODE_FLOAT:
      out.value = text_of(argument->float_->fval);
      break;
    case PG_QUERY__NODE__NODE_BOOLEAN:
      out.value = argument->boolean->boolval ? "true" : "false";
      break;
    case PG_QUERY__NODE__NODE_A_STAR:
      out.all_columns = true;
      break;
    case PG_QUERY__NODE__NODE_LIST:
      out.columns = strings_of(argument->list->n_items, argument->list->items);
      break;
    default:
      break;
  }
  return out;
}

void copy_of(const PgQuery__CopyStmt& copy, SqlStatement& out) {
  out.from = copy.is_from;
  out.server_file = copy.is_program || !text_of(copy.filename).empty();
  if (copy.where_clause != nullptr) out.exprs.push_back(expr_of(*copy.where_clause));
  out.copy_columns = strings_of(copy.n_attlist, copy.attlist);
  for (std::size_t i = 0; i < copy.n_options; ++i) {
    if (copy.options[i]->node_case != PG_QUERY__NODE__NODE_DEF_ELEM) continue;
    out.copy_options.push_back(copy_option_of(*copy.options[i]->def_elem));
  }
}

StatementKind kind_of(const PgQuery__Node& node) {
  switch (node.node_case) {
    case PG_QUERY__NODE__NODE_EXPLAIN_STMT:
      return StatementKind::kExplain;
    case PG_QUERY__NODE__NODE_COPY_STMT:
      return StatementKind::kCopy;
    case PG_QUERY__NODE__NODE_DECLARE_CURSOR_STMT:
      return StatementKind::kCursor;
    case PG_QUERY__NODE__NODE_FETCH_STMT:
    case PG_QUERY__NODE__NODE_CLOSE_PORTAL_STMT:
      return StatementKind::kFetch;
    case PG_QUERY__NODE__NODE_VARIABLE_SET_STMT:
    case PG_QUERY__NODE__NODE_VARIABLE_SHOW_STMT:
    case PG_QUERY__NODE__NODE_CONSTRAINTS_SET_STMT:
    case PG_QUERY__NODE__NODE_DISCARD_STMT:
    case PG_QUERY__NODE__NODE_DEALLOCATE_STMT:
    case PG_QUERY__NODE__NODE_TRANSACTION_STMT:
      return StatementKind::kSetting;
    case PG_QUERY__NODE__NODE_LISTEN_STMT:
    case PG_QUERY__NODE__NODE_NOTIFY_STMT:
    case PG_QUERY__NODE__NODE_UNLISTEN_STMT:
      return StatementKind::kNotify;
    case PG_QUERY__NODE__NODE_TRUNCATE_STMT:
      return StatementKind::kTruncate;
    case PG_QUERY__NODE__NODE_LOCK_STMT:
      return StatementKind::kLock;
    case PG_QUERY__NODE__NODE_CREATE_STMT: {
      const PgQuery__RangeVar* table = node.create_stmt->relation;
      const bool kept = table != nullptr && text_of(table->relpersistence) != "t";
      return kept ? StatementKind::kDefinition : StatementKind::kOther;
    }
    case PG_QUERY__NODE__NODE_VIEW_STMT: {
      const PgQuery__RangeVar* view = node.view_stmt->view;
      const bool kept = view != nullptr && text_of(view->relpersistence) != "t";
      return kept ? StatementKind::kDefinition : StatementKind::kOther;
    }
    case PG_QUERY__NODE__NODE_ALTER_TABLE_STMT:
    case PG_QUERY__NODE__NODE_DROP_STMT:
    case PG_QUERY__NODE__NODE_INDEX_STMT:
    case PG_QUERY__NODE__NODE_RENAME_STMT:
    case PG_QUERY__NODE__NODE_CREATE_SCHEMA_STMT:
    case PG_QUERY__NODE__NODE_CREATE_FUNCTION_STMT:
    case PG_QUERY__NODE__NODE_ALTER_FUNCTION_STMT:
    case PG_QUERY__NODE__NODE_GRANT_STMT:
    case PG_QUERY__NODE__NODE_COMMENT_STMT:
    case PG_QUERY__NODE__NODE_VACUUM_STMT:
    case PG_QUERY__NODE__NODE_REINDEX_STMT:
    case PG_QUERY__NODE__NODE_COMPOSITE_TYPE_STMT:
    case PG_QUERY__NODE__NODE_CREATE_ENUM_STMT:
    case PG_QUERY__NODE__NODE_ALTER_ENUM_STMT:
    case PG_QUERY__NODE__NODE_CREATE_DOMAIN_STMT:
    case PG_QUERY__NODE__NODE_CREATE_STATS_STMT:
    case PG_QUERY__NODE__NODE_CREATE_TRIG_STMT:
    case PG_QUERY__NODE__NODE_CREATE_POLICY_STMT:
    case PG_QUERY__NODE__NODE_ALTER_POLICY_STMT:
    case PG_QUERY__NODE__NODE_ALTER_OWNER_STMT:
    case PG_QUERY__NODE__NODE_ALTER_OBJECT_SCHEMA_STMT:
    case PG_QUERY__NODE__NODE_CREATE_SEQ_STMT:
    case PG_QUERY__NODE__NODE_ALTER_SEQ_STMT:
    case PG_QUERY__NODE__NODE_CREATE_EXTENSION_STMT:
      return StatementKind::kDefinition;
    default:
      return is_query(node) ? StatementKind::kQuery : StatementKind::kOther;
  }
}

// VACUUM and whatever is CONCURRENTLY.
bool runs_outside_blocks(const PgQuery__Node& node) {
  switch (node.node_case) {
    case PG_QUERY__NODE__NODE_INDEX_STMT:
      return node.index_stmt->concurrent;
    case PG_QUERY__NODE__NODE_DROP_STMT:
      return node.drop_stmt->concurrent;
    case PG_QUERY__NODE__NODE_VACUUM_STMT:
      return node.vacuum_stmt->is_vacuumcmd;
    case PG_QUERY__NODE__NODE_REINDEX_STMT: {
      const PgQuery__ReindexStmt& reindex = *node.reindex_stmt;
      if (reindex.kind != PG_QUERY__REINDEX_OBJECT_TYPE__REINDEX_OBJECT_INDEX &&
          reindex.kind != PG_QUERY__REINDEX_OBJECT_TYPE__REINDEX_OBJECT_TABLE) {
        return true;
      }
      return reindex.n_params != 0;
    }
    default:
      return false;
  }
}

// DROP TABLE and its kin name tables as lists of words.
void dropped_tables(const PgQuery__DropStmt& drop, std::vector<TableName>& out) {
  if (drop.remove_type != PG_QUERY__OBJECT_TYPE__OBJECT_TABLE) return;
  for (std::size_t i = 0; i < drop.n_objects; ++i) {
    if (drop.objects[i]->node_case != PG_QUERY__NODE__NODE_LIST) continue;
    const PgQuery__List& words = *drop.objects[i]->list;
    const std::vector<std::string> names = strings_of(words.n_items, words.items);
    if (names.empty()) continue;
    TableName& table = out.emplace_back();
    table.name = names.back();
    if (names.size() > 1) table.schema = names[names.size() - 2];
  }
}

SqlStatement statement_of(const PgQuery__Node& node) {
  SqlStatement out;
  out.kind = kind_of(node);
  if (const ProtobufCMessage* inner = unwrap(node)) out.text = command_name(*inner);
  tables_in(node.base, out.tables);
  const PgQuery__Node* query = nullptr;
  switch (out.kind) {
    case StatementKind::kQuery:
      query = &node;
      break;
    case StatementKind::kExplain:
      query = node.explain_stmt->query;
      out.analyze = explains_by_running(*node.explain_stmt);
      break;
    case StatementKind::kCopy:
      query = node.copy_stmt->query;
      copy_of(*node.copy_stmt, out);
      break;
    case StatementKind::kCursor:
      query = node.declare_cursor_stmt->query;
      break;
    case StatementKind::kDefinition:
      out.outside_block = runs_outside_blocks(node);
      if (node.node_case == PG_QUERY__NODE__NODE_DROP_STMT) {
        dropped_tables(*node.drop_stmt, out.tables);
      }
      if (node.node_case == PG_QUERY__NODE__NODE_ALTER_TABLE_STMT) {
        out.stores_values = true;
        collect(node.alter_table_stmt->base, out.exprs);
      }
      break;
    default:
      break;
  }
  if (query != nullptr && is_query(*query)) out.query = query_of(*query);
  return out;
}

struct FreeParse {
  void operator()(PgQueryProtobufParseResult* result) const {
    pg_query_free_protobuf_parse_result(*result);
  }
};
struct FreeTree {
  void operator()(PgQuery__ParseResult* tree) const {
    pg_query__parse_result__free_unpacked(tree, nullptr);
  }
};

}  // namespace

Result<SqlStatement> parse_statement(std::string_view text) {
  if (NestingBound(text).exceeded()) {
    return Error{kStatementTooComplex, "statement nests too deep to be routed", {}};
  }
  const std::string terminated(text);
  if (terminated.find('\0') != std::string::npos) {
    return Error{sqlstate::kSyntaxError, "statement contains a zero byte", {}};
  }
  PgQueryProtobufParseResult parsed = pg_query_parse_protobuf(terminated.c_str());
  const std::unique_ptr<PgQueryProtobufParseResult, FreeParse> owner(&parsed);
  if (parsed.error != nullptr) {
    return Error{sqlstate::kSyntaxError, text_of(parsed.error->message), {}};
  }
  const std::unique_ptr<PgQuery__ParseResult, FreeTree> tree(pg_query__parse_result__unpack(
      nullptr, parsed.parse_tree.len,
      reinterpret_cast<const std::uint8_t*>(parsed.parse_tree.data)));
  if (!tree) return Error{sqlstate::kInternalError, "the parser's answer is not understood", {}};
  if (tree->n_stmts > 1) {
    return refusal("several statements cannot be routed as one", "Send them one by one.");
  }
  if (tree->n_stmts == 0 || tree->stmts[0]->stmt == nullptr) return SqlStatement{};
  return statement_of(*tree->stmts[0]->stmt);
}

}  // namespace pgshunt
