// Which expressions are values that a key can be taken from.

#include "router/builtin.h"
#include "router/key_array.h"
#include "router/table_scope.h"

namespace pgshunt {
namespace {

bool is_string_oid(std::uint32_t oid) {
  return oid == type_oid::kText || oid == type_oid::kVarchar;
}

std::uint32_t declared_type(const std::vector<std::uint32_t>& types, std::uint32_t parameter) {
  return parameter <= types.size() ? types[parameter - 1] : 0;
}

bool read_constant(const Expr& expr, KeySource& out) {
  out.kind = KeySource::Kind::kConstant;
  out.constant = expr.text;
  switch (expr.constant) {
    case ConstantKind::kNull:
      out.form = KeyInput::Form::kNull;
      return true;
    case ConstantKind::kNumber:
      out.form = KeyInput::Form::kNumber;
      return true;
    case ConstantKind::kString:
      out.form = KeyInput::Form::kString;
      return true;
    case ConstantKind::kBool:
      out.form = KeyInput::Form::kBool;
      return true;
    case ConstantKind::kBits:
      return false;
  }
  return false;
}

bool is_minus(const Expr& expr) {
  return expr.kind == ExprKind::kOperator && expr.args.size() == 1 && expr.names.size() == 1 &&
         expr.names[0] == "-";
}

// False: no parameter that a Bind can have.
bool read_parameter(const Expr& expr, KeySource& out) {
  if (expr.kind != ExprKind::kParameter || expr.parameter == 0 || expr.parameter > 65535) {
    return false;
  }
  out.kind = KeySource::Kind::kParameter;
  out.parameter = static_cast<std::uint16_t>(expr.parameter - 1);
  return true;
}

}  // namespace

std::optional<KeySource> key_source_of(const Expr& expr, ShardKeyType type,
                                       const std::vector<std::uint32_t>& types) {
  KeySource out;
  const Expr* at = &expr;
  // A sign and a cast, in either order, once each.
  for (int i = 0; i < 2; ++i) {
    if (!out.negated && is_minus(*at)) {
      out.negated = true;
      at = &at->args[0];
    } else if (out.cast == 0 && at->kind == ExprKind::kCast && at->plain && at->args.size() == 1) {
      const auto oid = builtin_type_oid(at->names);
      if (!oid) return std::nullopt;
      out.cast = *oid;
      at = &at->args[0];
    }
  }
  if (!comparable_with_key(type, out.cast)) return std::nullopt;
  if (at->kind == ExprKind::kConstant) {
    if (read_constant(*at, out)) return out;
    return std::nullopt;
  }
  if (!read_parameter(*at, out)) return std::nullopt;
  const std::uint32_t declared = declared_type(types, at->parameter);
  if (comparable_with_key(type, declared)) return out;
  // '5'::text::bigint reads the text; other casts may round.
  if (out.cast != 0 && is_string_oid(declared)) return out;
  return std::nullopt;
}

std::optional<KeySource> key_array_of(const Expr& expr, ShardKeyType type,
                                      const std::vector<std::uint32_t>& types) {
  KeySource out;
  const Expr* at = &expr;
  if (at->kind == ExprKind::kCast && at->array && at->args.size() == 1) {
    const auto oid = builtin_type_oid(at->names);
    if (!oid || !comparable_with_key(type, *oid)) return std::nullopt;
    out.cast = *oid;
    at = &at->args[0];
  }
  if (at->kind == ExprKind::kConstant && at->constant == ConstantKind::kString) {
    if (read_constant(*at, out)) return out;
    return std::nullopt;
  }
  if (!read_parameter(*at, out)) return std::nullopt;
  const std::uint32_t declared = declared_type(types, at->parameter);
  if (declared == 0) return out;
  const auto element = array_element_oid(declared);
  // A cast from one type of array to another may round.
  if (!element || !comparable_with_key(type, *element) || (out.cast != 0 && out.cast != *element)) {
    return std::nullopt;
  }
  return out;
}

}  // namespace pgshunt
