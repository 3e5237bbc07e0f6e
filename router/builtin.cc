#include "router/builtin.h"

#include <algorithm>
#include <array>

#include "router/key_type.h"

namespace pgshunt {
namespace {

using Names = std::span<const std::string>;

// Every table here is sorted (a test checks it) and read by binary search.

// Immutable ones, and stable ones that depend on settings which every server of a session shares
// (TimeZone, DateStyle). Where overloads differ, the worst counts.
constexpr std::array<std::string_view, 198> kPortable = {"abs",
                                                         "acos",
                                                         "acosd",
                                                         "acosh",
                                                         "array_append",
                                                         "array_cat",
                                                         "array_dims",
                                                         "array_fill",
                                                         "array_length",
                                                         "array_lower",
                                                         "array_ndims",
                                                         "array_position",
                                                         "array_positions",
                                                         "array_prepend",
                                                         "array_remove",
                                                         "array_replace",
                                                         "array_to_json",
                                                         "array_to_string",
                                                         "array_upper",
                                                         "ascii",
                                                         "asin",
                                                         "asind",
                                                         "asinh",
                                                         "atan",
                                                         "atan2",
                                                         "atan2d",
                                                         "atand",
                                                         "atanh",
                                                         "bit_count",
                                                         "bit_length",
                                                         "btrim",
                                                         "cardinality",
                                                         "cbrt",
                                                         "ceil",
                                                         "ceiling",
                                                         "char_length",
                                                         "character_length",
                                                         "chr",
                                                         "concat",
                                                         "concat_ws",
                                                         "cos",
                                                         "cosd",
                                                         "cosh",
                                                         "cot",
                                                         "cotd",
                                                         "date",
                                                         "date_bin",
                                                         "date_part",
                                                         "date_trunc",
                                                         "daterange",
                                                         "decode",
                                                         "degrees",
                                                         "div",
                                                         "encode",
                                                         "exp",
                                                         "extract",
                                                         "factorial",
                                                         "family",
                                                         "float4",
                                                         "float8",
                                                         "floor",
                                                         "format",
                                                         "gcd",
                                                         "get_bit",
                                                         "get_byte",
                                                         "host",
                                                         "hostmask",
                                                         "initcap",
                                                         "int2",
                                                         "int4",
                                                         "int4range",
                                                         "int8",
                                                         "int8range",
                                                         "isempty",
                                                         "isfinite",
                                                         "json_array_length",
                                                         "json_build_array",
                                                         "json_build_object",
                                                         "json_extract_path",
                                                         "json_extract_path_text",
                                                         "json_object",
                                                         "json_strip_nulls",
                                                         "json_typeof",
                                                         "jsonb_array_length",
                                                         "jsonb_build_array",
                                                         "jsonb_build_object",
                                                         "jsonb_extract_path",
                                                         "jsonb_extract_path_text",
                                                         "jsonb_insert",
                                                         "jsonb_object",
                                                         "jsonb_path_exists",
                                                         "jsonb_path_match",
                                                         "jsonb_path_query_array",
                                                         "jsonb_path_query_first",
                                                         "jsonb_pretty",
                                                         "jsonb_set",
                                                         "jsonb_set_lax",
                                                         "jsonb_strip_nulls",
                                                         "jsonb_typeof",
                                                         "justify_days",
                                                         "justify_hours",
                                                         "justify_interval",
                                                         "lcm",
                                                         "left",
                                                         "length",
                                                         "like_escape",
                                                         "ln",
                                                         "log",
                                                         "log10",
                                                         "lower",
                                                         "lower_inc",
                                                         "lower_inf",
                                                         "lpad",
                                                         "ltrim",
                                                         "make_date",
                                                         "make_interval",
                                                         "make_time",
                                                         "make_timestamp",
                                                         "make_timestamptz",
                                                         "masklen",
                                                         "md5",
                                                         "min_scale",
                                                         "mod",
                                                         "network",
                                                         "normalize",
                                                         "numrange",
                                                         "octet_length",
                                                         "overlaps",
                                                         "overlay",
                                                         "pi",
                                                         "position",
                                                         "pow",
                                                         "power",
                                                         "quote_ident",
                                                         "quote_literal",
                                                         "quote_nullable",
                                                         "radians",
                                                         "range_merge",
                                                         "regexp_count",
                                                         "regexp_instr",
                                                         "regexp_like",
                                                         "regexp_match",
                                                         "regexp_replace",
                                                         "regexp_split_to_array",
                                                         "regexp_substr",
                                                         "repeat",
                                                         "replace",
                                                         "reverse",
                                                         "right",
                                                         "round",
                                                         "row_to_json",
                                                         "rpad",
                                                         "rtrim",
                                                         "scale",
                                                         "set_bit",
                                                         "set_byte",
                                                         "sha224",
                                                         "sha256",
                                                         "sha384",
                                                         "sha512",
                                                         "sign",
                                                         "similar_to_escape",
                                                         "sin",
                                                         "sind",
                                                         "sinh",
                                                         "split_part",
                                                         "sqrt",
                                                         "starts_with",
                                                         "string_to_array",
                                                         "strpos",
                                                         "substr",
                                                         "substring",
                                                         "tan",
                                                         "tand",
                                                         "tanh",
                                                         "text",
                                                         "timestamp",
                                                         "timestamptz",
                                                         "timezone",
                                                         "to_char",
                                                         "to_date",
                                                         "to_hex",
                                                         "to_json",
                                                         "to_jsonb",
                                                         "to_number",
                                                         "to_timestamp",
                                                         "translate",
                                                         "trim_array",
                                                         "trim_scale",
                                                         "trunc",
                                                         "tsrange",
                                                         "tstzrange",
                                                         "unistr",
                                                         "upper",
                                                         "upper_inc",
                                                         "upper_inf",
                                                         "width_bucket",
                                                         "xmlcomment"};

constexpr std::array<std::string_view, 42> kAggregates = {"any_value",
                                                          "array_agg",
                                                          "avg",
                                                          "bit_and",
                                                          "bit_or",
                                                          "bit_xor",
                                                          "bool_and",
                                                          "bool_or",
                                                          "corr",
                                                          "count",
                                                          "covar_pop",
                                                          "covar_samp",
                                                          "every",
                                                          "json_agg",
                                                          "json_object_agg",
                                                          "jsonb_agg",
                                                          "jsonb_object_agg",
                                                          "max",
                                                          "min",
                                                          "mode",
                                                          "percentile_cont",
                                                          "percentile_disc",
                                                          "range_agg",
                                                          "range_intersect_agg",
                                                          "regr_avgx",
                                                          "regr_avgy",
                                                          "regr_count",
                                                          "regr_intercept",
                                                          "regr_r2",
                                                          "regr_slope",
                                                          "regr_sxx",
                                                          "regr_sxy",
                                                          "regr_syy",
                                                          "stddev",
                                                          "stddev_pop",
                                                          "stddev_samp",
                                                          "string_agg",
                                                          "sum",
                                                          "var_pop",
                                                          "var_samp",
                                                          "variance",
                                                          "xmlagg"};

constexpr std::array<std::string_view, 11> kWindows = {
    "cume_dist", "dense_rank", "first_value",  "lag",  "last_value", "lead",
    "nth_value", "ntile",      "percent_rank", "rank", "row_number"};

// age(timestamp) counts to today.
constexpr std::array<std::string_view, 8> kMoments = {
    "age", "clock_timestamp",     "localtime", "localtimestamp",
    "now", "statement_timestamp", "timeofday", "transaction_timestamp"};

// They write nothing, but what they answer is one server's or session's own.
constexpr std::array<std::string_view, 84> kLocals = {"col_description",
                                                      "current_catalog",
                                                      "current_database",
                                                      "current_query",
                                                      "current_role",
                                                      "current_schema",
                                                      "current_schemas",
                                                      "current_setting",
                                                      "current_user",
                                                      "format_type",
                                                      "gen_random_uuid",
                                                      "generate_series",
                                                      "has_any_column_privilege",
                                                      "has_column_privilege",
                                                      "has_database_privilege",
                                                      "has_function_privilege",
                                                      "has_schema_privilege",
                                                      "has_sequence_privilege",
                                                      "has_table_privilege",
                                                      "inet_client_addr",
                                                      "inet_client_port",
                                                      "inet_server_addr",
                                                      "inet_server_port",
                                                      "obj_description",
                                                      "pg_backend_pid",
                                                      "pg_char_to_encoding",
                                                      "pg_client_encoding",
                                                      "pg_collation_is_visible",
                                                      "pg_column_size",
                                                      "pg_conf_load_time",
                                                      "pg_conversion_is_visible",
                                                      "pg_database_size",
                                                      "pg_describe_object",
                                                      "pg_encoding_to_char",
                                                      "pg_function_is_visible",
                                                      "pg_get_constraintdef",
                                                      "pg_get_expr",
                                                      "pg_get_function_arguments",
                                                      "pg_get_function_identity_arguments",
                                                      "pg_get_function_result",
                                                      "pg_get_functiondef",
                                                      "pg_get_indexdef",
                                                      "pg_get_keywords",
                                                      "pg_get_partition_constraintdef",
                                                      "pg_get_partkeydef",
                                                      "pg_get_ruledef",
                                                      "pg_get_serial_sequence",
                                                      "pg_get_statisticsobjdef",
                                                      "pg_get_triggerdef",
                                                      "pg_get_userbyid",
                                                      "pg_get_viewdef",
                                                      "pg_has_role",
                                                      "pg_index_column_has_property",
                                                      "pg_indexes_size",
                                                      "pg_is_in_recovery",
                                                      "pg_my_temp_schema",
                                                      "pg_opclass_is_visible",
                                                      "pg_operator_is_visible",
                                                      "pg_partition_ancestors",
                                                      "pg_partition_root",
                                                      "pg_postmaster_start_time",
                                                      "pg_relation_filenode",
                                                      "pg_relation_filepath",
                                                      "pg_relation_is_publishable",
                                                      "pg_relation_size",
                                                      "pg_sequence_parameters",
                                                      "pg_size_pretty",
                                                      "pg_statistics_obj_is_visible",
                                                      "pg_table_is_visible",
                                                      "pg_table_size",
                                                      "pg_tablespace_location",
                                                      "pg_total_relation_size",
                                                      "pg_ts_config_is_visible",
                                                      "pg_ts_dict_is_visible",
                                                      "pg_type_is_visible",
                                                      "pg_typeof",
                                                      "random",
                                                      "session_user",
                                                      "shobj_description",
                                                      "to_regclass",
                                                      "to_regtype",
                                                      "txid_current_if_assigned",
                                                      "unnest",
                                                      "version"};

constexpr std::array<std::string_view, 135> kOnAnyServer = {"abbrev",
                                                            "area",
                                                            "array_to_tsvector",
                                                            "bound_box",
                                                            "box",
                                                            "broadcast",
                                                            "center",
                                                            "circle",
                                                            "convert",
                                                            "convert_from",
                                                            "convert_to",
                                                            "current_catalog",
                                                            "current_database",
                                                            "current_role",
                                                            "current_schema",
                                                            "current_schemas",
                                                            "current_setting",
                                                            "current_user",
                                                            "datemultirange",
                                                            "diagonal",
                                                            "diameter",
                                                            "enum_first",
                                                            "enum_last",
                                                            "enum_range",
                                                            "gen_random_uuid",
                                                            "generate_series",
                                                            "generate_subscripts",
                                                            "get_current_ts_config",
                                                            "hashint4",
                                                            "hashint4extended",
                                                            "hashint8",
                                                            "hashint8extended",
                                                            "hashtext",
                                                            "hashtextextended",
                                                            "height",
                                                            "inet_merge",
                                                            "inet_same_family",
                                                            "int4multirange",
                                                            "int8multirange",
                                                            "interval",
                                                            "is_normalized",
                                                            "isclosed",
                                                            "ishorizontal",
                                                            "isopen",
                                                            "isparallel",
                                                            "isperp",
                                                            "isvertical",
                                                            "json_array_elements",
                                                            "json_array_elements_text",
                                                            "json_each",
                                                            "json_each_text",
                                                            "json_object_keys",
                                                            "json_populate_record",
                                                            "json_populate_recordset",
                                                            "json_to_record",
                                                            "json_to_recordset",
                                                            "json_to_tsvector",
                                                            "jsonb_array_elements",
                                                            "jsonb_array_elements_text",
                                                            "jsonb_each",
                                                            "jsonb_each_text",
                                                            "jsonb_object_keys",
                                                            "jsonb_path_exists_tz",
                                                            "jsonb_path_match_tz",
                                                            "jsonb_path_query",
                                                            "jsonb_path_query_array_tz",
                                                            "jsonb_path_query_first_tz",
                                                            "jsonb_path_query_tz",
                                                            "jsonb_populate_record",
                                                            "jsonb_populate_recordset",
                                                            "jsonb_to_record",
                                                            "jsonb_to_recordset",
                                                            "jsonb_to_tsvector",
                                                            "line",
                                                            "lseg",
                                                            "multirange",
                                                            "netmask",
                                                            "npoints",
                                                            "num_nonnulls",
                                                            "num_nulls",
                                                            "numeric",
                                                            "nummultirange",
                                                            "numnode",
                                                            "parse_ident",
                                                            "path",
                                                            "pclose",
                                                            "pg_backend_pid",
                                                            "pg_client_encoding",
                                                            "pg_is_in_recovery",
                                                            "pg_size_bytes",
                                                            "pg_size_pretty",
                                                            "pg_sleep",
                                                            "pg_typeof",
                                                            "phraseto_tsquery",
                                                            "plainto_tsquery",
                                                            "point",
                                                            "polygon",
                                                            "popen",
                                                            "querytree",
                                                            "radius",
                                                            "random",
                                                            "regexp_matches",
                                                            "regexp_split_to_table",
                                                            "session_user",
                                                            "set_masklen",
                                                            "setweight",
                                                            "slope",
                                                            "string_to_table",
                                                            "strip",
                                                            "time",
                                                            "timetz",
                                                            "to_ascii",
                                                            "to_tsquery",
                                                            "to_tsvector",
                                                            "ts_delete",
                                                            "ts_filter",
                                                            "ts_headline",
                                                            "ts_lexize",
                                                            "ts_rank",
                                                            "ts_rank_cd",
                                                            "tsmultirange",
                                                            "tsquery_phrase",
                                                            "tstzmultirange",
                                                            "tsvector_to_array",
                                                            "unnest",
                                                            "user",
                                                            "version",
                                                            "websearch_to_tsquery",
                                                            "width",
                                                            "xml_is_well_formed",
                                                            "xml_is_well_formed_content",
                                                            "xml_is_well_formed_document",
                                                            "xmlexists",
                                                            "xpath",
                                                            "xpath_exists"};

// They read tables that their arguments name, or that a query in their arguments does. The last
// ones are of the extensions tablefunc and xml2, in C.
constexpr std::array<std::string_view, 22> kReaders = {
    "connectby",
    "crosstab",
    "crosstab2",
    "crosstab3",
    "crosstab4",
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "database_to_xml",
    "database_to_xml_and_xmlschema",
    "database_to_xmlschema",
    "query_to_xml",
    "query_to_xml_and_xmlschema",
    "query_to_xmlschema",
    "schema_to_xml",
    "schema_to_xml_and_xmlschema",
    "schema_to_xmlschema",
    "table_to_xml",
    "table_to_xml_and_xmlschema",
    "table_to_xmlschema",
    "ts_rewrite",
    "ts_stat",
    "xpath_table",
};

constexpr std::array<std::string_view, 49> kOperators = {
    "!~", "!~*", "!~~", "!~~*", "#",   "#-",  "#>", "#>>", "%",   "&",  "&&",  "&<", "&>",
    "*",  "+",   "-",   "->",   "->>", "-|-", "/",  "<",   "<->", "<<", "<<=", "<=", "<>",
    "<@", "=",   ">",   ">=",   ">>",  ">>=", "?",  "?&",  "?|",  "@",  "@>",  "@?", "@@",
    "^",  "^@",  "|",   "|/",   "||",  "||/", "~",  "~*",  "~~",  "~~*"};

constexpr std::array<std::string_view, 6> kSystemColumns = {"cmax",     "cmin", "ctid",
                                                            "tableoid", "xmax", "xmin"};

template <std::size_t n>
bool contains(const std::array<std::string_view, n>& sorted, std::string_view name) {
  return std::binary_search(sorted.begin(), sorted.end(), name);
}

// The name without pg_catalog; empty if it is in another schema.
std::string_view builtin_name(Names names) {
  if (names.size() == 1) return names[0];
  if (names.size() == 2 && names[0] == "pg_catalog") return names[1];
  return {};
}

FunctionClass classify_builtin(std::string_view name) {
  if (contains(kPortable, name)) return FunctionClass::kPortable;
  if (contains(kAggregates, name)) return FunctionClass::kAggregate;
  if (contains(kMoments, name)) return FunctionClass::kMoment;
  if (contains(kWindows, name)) return FunctionClass::kWindow;
  if (contains(kLocals, name)) return FunctionClass::kLocal;
  if (contains(kReaders, name)) return FunctionClass::kMayRead;
  return FunctionClass::kUnknown;
}

struct BuiltinType {
  std::string_view name;
  std::uint32_t oid;
};

constexpr std::array kTypes = {
    BuiltinType{"int2", type_oid::kInt2},
    BuiltinType{"int4", type_oid::kInt4},
    BuiltinType{"int8", type_oid::kInt8},
    BuiltinType{"text", type_oid::kText},
    BuiltinType{"varchar", type_oid::kVarchar},
    BuiltinType{"uuid", type_oid::kUuid},
    BuiltinType{"bytea", type_oid::kBytea},
    BuiltinType{"numeric", type_oid::kNumeric},
    BuiltinType{"date", type_oid::kDate},
    BuiltinType{"timestamp", type_oid::kTimestamp},
    BuiltinType{"timestamptz", type_oid::kTimestamptz},
    BuiltinType{"float4", type_oid::kFloat4},
    BuiltinType{"float8", type_oid::kFloat8},
    BuiltinType{"bool", type_oid::kBool},
    BuiltinType{"bpchar", type_oid::kBpchar},
    BuiltinType{"time", type_oid::kTime},
};

}  // namespace

FunctionClass classify_function(const Topology& topology, Names names) {
  const std::string_view name = builtin_name(names);
  const bool qualified = names.size() > 1;
  const FunctionClass built_in = name.empty() ? FunctionClass::kUnknown : classify_builtin(name);
  if (names.empty() || (qualified && !name.empty())) return built_in;
  // Of extensions, also where their schema is named.
  if (contains(kReaders, names.back())) return FunctionClass::kMayRead;
  const UserFunction* user = topology.find_user_function(names.back());
  if (user == nullptr) return built_in;
  switch (user->behaviour) {
    case UserFunctionClass::kPortable:
      return built_in == FunctionClass::kUnknown ? FunctionClass::kPortable : built_in;
    case UserFunctionClass::kAggregate:
      return FunctionClass::kAggregate;
    case UserFunctionClass::kLocal:
      return FunctionClass::kUnknown;
    case UserFunctionClass::kMayRead:
      break;
  }
  return FunctionClass::kMayRead;
}

bool runs_on_any_server(const Topology& topology, Names names) {
  const std::string_view name = builtin_name(names);
  const bool may_be_users = names.size() == 1 || name.empty();
  const UserFunction* user = may_be_users ? topology.find_user_function(names.back()) : nullptr;
  if (user == nullptr) return contains(kOnAnyServer, name);
  // C code may tell what only its own server has.
  return user->behaviour == UserFunctionClass::kLocal &&
         std::none_of(topology.overloads.begin(), topology.overloads.end(),
                      [&](const UserFunctionOverload& each) {
                        return each.name == user->name &&
                               each.behaviour == UserFunctionClass::kLocal &&
                               each.language != "sql" && each.language != "plpgsql";
                      });
}

bool is_advisory_lock(Names names) {
  const std::string_view name = builtin_name(names);
  return name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_");
}

bool is_sequence_read(Names names) {
  const std::string_view name = builtin_name(names);
  return name == "currval" || name == "lastval";
}

bool is_sequence_call(Names names) {
  const std::string_view name = builtin_name(names);
  return name == "nextval" || name == "setval";
}

bool is_set_config(Names names) { return builtin_name(names) == "set_config"; }

bool changes_only_plans(std::string_view setting) {
  std::string name(setting);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return name == "jit" || name.starts_with("jit_") || name.starts_with("enable_") ||
         name == "application_name";
}

bool is_builtin_operator(Names names) { return contains(kOperators, builtin_name(names)); }

std::optional<std::uint32_t> builtin_type_oid(Names names) {
  const std::string_view name = builtin_name(names);
  for (const BuiltinType& type : kTypes) {
    if (type.name == name) return type.oid;
  }
  return std::nullopt;
}

std::string_view builtin_type_name(std::uint32_t oid) {
  for (const BuiltinType& type : kTypes) {
    if (type.oid == oid) return type.name;
  }
  return {};
}

bool is_oid_type(Names names) {
  const std::string_view name = builtin_name(names);
  return name == "oid" || name.starts_with("reg");
}

bool is_bytewise_collation(Names names) {
  const std::string_view name = builtin_name(names);
  return name == "C" || name == "POSIX" || name == "ucs_basic" || name == "C.UTF-8" ||
         name == "C.utf8";
}

bool is_system_column(std::string_view name) { return contains(kSystemColumns, name); }

}  // namespace pgshunt
