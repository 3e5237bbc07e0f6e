#include "router/column_types.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "router/builtin.h"
#include "router/key_type.h"

namespace pgshunt {
namespace {

// Functions whose result is text whatever their arguments are, and those where it is if the first
// one is.
constexpr std::array<std::string_view, 9> kText = {"chr", "concat", "concat_ws", "encode", "format",
                                                   "md5", "repeat", "to_char",   "to_hex"};
constexpr std::array<std::string_view, 16> kTextOfText = {
    "btrim",   "initcap", "left", "lower", "lpad",       "ltrim",  "regexp_replace", "replace",
    "reverse", "right",   "rpad", "rtrim", "split_part", "substr", "substring",      "upper"};

bool is_among(std::string_view name, std::span<const std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_column(const Expr& expr) { return expr.kind == ExprKind::kColumn && !expr.star; }

bool is_float(std::uint32_t oid) { return oid == type_oid::kFloat4 || oid == type_oid::kFloat8; }

}  // namespace

bool is_text_type(std::uint32_t oid) { return oid == type_oid::kText || oid == type_oid::kVarchar; }

const Column* ColumnTypes::find(const Expr& reference) const {
  const Column* found = nullptr;
  for (const TableUse& use : scope_.tables()) {
    if (use.resolved.table == nullptr || use.resolved.table->columns.empty() || use.renamed) {
      return nullptr;  // any column may be its
    }
    if (reference.names.size() > 1 &&
        use.visible_name() != reference.names[reference.names.size() - 2]) {
      continue;
    }
    const Column* column = use.resolved.table->find_column(reference.names.back());
    if (column == nullptr) continue;
    if (found != nullptr &&
        (found->bytewise != column->bytewise || found->type_oid != column->type_oid ||
         found->deterministic != column->deterministic)) {
      return nullptr;
    }
    found = column;
  }
  return found;
}

std::optional<std::uint32_t> ColumnTypes::type_of(const Expr& expr) const {
  const auto first = [&]() -> std::optional<std::uint32_t> {
    return expr.args.empty() ? std::nullopt : type_of(expr.args.front());
  };
  switch (expr.kind) {
    case ExprKind::kColumn: {
      const Column* column = is_column(expr) ? find(expr) : nullptr;
      if (column == nullptr || column->type_oid == 0) return std::nullopt;
      return column->type_oid;
    }
    case ExprKind::kCast:
      return expr.array ? std::nullopt : builtin_type_oid(expr.names);
    case ExprKind::kCollate:
      return first();
    case ExprKind::kFunction: {
      const std::string& name = expr.names.back();
      if (is_among(name, kText)) return type_oid::kText;
      const auto type = first();
      if (is_among(name, kTextOfText) && type && is_text_type(*type)) return type_oid::kText;
      return std::nullopt;
    }
    case ExprKind::kOperator: {
      const std::string& name = expr.names.back();
      std::optional<std::uint32_t> text;
      for (const Expr& arg : expr.args) {
        const auto type = type_of(arg);
        if (type && is_text_type(*type)) text = type_oid::kText;
        const bool arithmetic = name == "+" || name == "-" || name == "*" || name == "/";
        if (type && is_float(*type) && arithmetic) return type_oid::kFloat8;
      }
      return name == "||" ? text : std::nullopt;
    }
    case ExprKind::kScalar: {
      if (expr.text != "COALESCE") return std::nullopt;
      // All its arguments become one type, which is that of one of them.
      for (const Expr& arg : expr.args) {
        const auto type = type_of(arg);
        if (type && (is_text_type(*type) || is_float(*type))) return type;
      }
      return std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

bool ColumnTypes::is_bytewise(const Expr& expr) const {
  if (expr.kind == ExprKind::kCollate) return is_bytewise_collation(expr.names);
  bool any = false;
  return collects_bytewise(expr, any) && any;
}

bool ColumnTypes::collects_bytewise(const Expr& expr, bool& any) const {
  if (expr.kind == ExprKind::kCollate) {
    any = true;
    return is_bytewise_collation(expr.names);
  }
  if (is_column(expr)) {
    const Column* column = find(expr);
    if (column == nullptr) return false;
    const bool text = is_text_type(column->type_oid);
    any |= text;
    return !text || column->bytewise;
  }
  return std::all_of(expr.args.begin(), expr.args.end(),
                     [this, &any](const Expr& arg) { return collects_bytewise(arg, any); });
}

bool ColumnTypes::is_deterministic(const Expr& expr) const {
  if (expr.kind == ExprKind::kCollate) return is_bytewise_collation(expr.names);
  if (is_column(expr)) {
    const Column* column = find(expr);
    return column != nullptr && column->deterministic;
  }
  // Another type may have a collation of its own.
  if (expr.kind == ExprKind::kCast && !builtin_type_oid(expr.names)) return false;
  return std::all_of(expr.args.begin(), expr.args.end(),
                     [this](const Expr& arg) { return is_deterministic(arg); });
}

}  // namespace pgshunt
