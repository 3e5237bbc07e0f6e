#include "router/copy_plan.h"

#include <algorithm>
#include <array>
#include <utility>

#include "router/clause_text.h"
#include "router/copy_options.h"
#include "router/outer_tokens.h"
#include "router/refusal.h"
#include "router/sql_lexer.h"
#include "router/sql_text.h"

namespace pgshunt {
namespace {

bool is_ascii(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// Types whose input reads no clock.
bool may_name_a_moment(std::uint32_t oid) {
  constexpr std::uint32_t kJson = 114;
  constexpr std::uint32_t kJsonb = 3802;
  using namespace type_oid;
  constexpr std::array kTimeless = {kBool,   kBytea,  kInt8,    kInt2, kInt4, kText,  kFloat4,
                                    kFloat8, kBpchar, kVarchar, kUuid, kJson, kJsonb, kNumeric};
  return std::find(kTimeless.begin(), kTimeless.end(), oid) == kTimeless.end();
}

// WHERE is evaluated by the shards, each for its rows.
Status check_where(const StatementFacts& facts) {
  const std::string* const findings[] = {
      &facts.moment,           &facts.local_function, &facts.reading_function,
      &facts.unknown_function, &facts.sequence_read,  &facts.unknown_operator,
      &facts.system_column,    &facts.oid_type,       &facts.aggregate,
      &facts.window,           &facts.other_node};
  for (const std::string* finding : findings) {
    if (finding->empty()) continue;
    return refusal(*finding + " in COPY's WHERE could differ from shard to shard",
                   "Compute the value before you send the statement.");
  }
  if (!facts.subqueries) return Ok{};
  return refusal("a subquery in COPY's WHERE is not supported", "Filter the rows before.");
}

bool has_field(const CopyPlan& plan, const std::string& column) {
  return std::find(plan.columns.begin(), plan.columns.end(), column) != plan.columns.end() ||
         std::any_of(plan.made.begin(), plan.made.end(),
                     [&](const MadeField& field) { return field.column == column; });
}

bool is_digit_or_sign(char c) { return (c >= '0' && c <= '9') || c == '-'; }

// Would a number be read as what it is, among the client's own fields?
Status check_made(const CopyPlan& plan) {
  const CopyOptions& options = plan.options;
  const auto numeric = [](const std::string& text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), is_digit_or_sign);
  };
  if (options.format == CopyFormat::kBinary) {
    using namespace type_oid;
    for (const MadeField& field : plan.made) {
      if (field.type_oid == kInt2 || field.type_oid == kInt4 || field.type_oid == kInt8) continue;
      return refusal("COPY in binary format leaves column " + quoted(field.column) + " of table " +
                         quoted(plan.table) + ", which is no integer, to its default",
                     "Give the column a value in the data, or send it as text or CSV.");
    }
    return Ok{};
  }
  const bool csv = options.format == CopyFormat::kCsv;
  const bool clash = is_digit_or_sign(options.delimiter) || numeric(options.null_text) ||
                     numeric(options.default_text.value_or("")) ||
                     (csv && is_digit_or_sign(options.quote));
  if (!clash) return Ok{};
  return refusal("COPY leaves column " + quoted(plan.made.front().column) + " of table " +
                     quoted(plan.table) +
                     " to its default, and numbers could not be told from its DELIMITER, QUOTE, "
                     "NULL or DEFAULT",
                 "Give the column a value in the data, or choose other options.");
}

// Columns whose default the proxy has to know, and can make.
std::vector<MadeField> made_fields(const Table& table, const CopyPlan& plan) {
  std::vector<MadeField> out;
  const bool sharded = table.placement == TablePlacement::kSharded;
  for (const Column& column : table.columns) {
    if (sharded && column.name != table.key_column) continue;
    if (!(column.unique_id || column.takes_number) || has_field(plan, column.name)) continue;
    out.push_back(
        {column.name, column.takes_number ? column.sequence : std::string(), column.type_oid});
  }
  return out;
}

// Each shard would fill a column that is left out by itself.
Status check_defaults_are_same(const Table& table, const CopyPlan& plan) {
  for (const Column& column : table.columns) {
    if (column.fallback != ColumnDefault::kDiffers) continue;
    if (has_field(plan, column.name)) continue;
    return refusal("the default of column " + quoted(column.name) + " of reference table " +
                       quoted(table.name) + " would differ from shard to shard",
                   "Give the column a value in the data.");
  }
  return Ok{};
}

std::vector<std::string> fields_of(const SqlStatement& statement, const Table& table) {
  if (!statement.copy_columns.empty()) return statement.copy_columns;
  std::vector<std::string> out;
  for (const Column& column : table.columns) {
    if (!column.generated) out.push_back(column.name);
  }
  return out;
}

}  // namespace

Result<CopyPlan> plan_copy_from(const Topology& topology, const SqlStatement& statement,
                                const Table& table, const StatementFacts& facts) {
  auto options = parse_copy_options(statement);
  if (!options) return options.error();
  if (const Status same = check_where(facts); !same) return same.error();
  if (table.columns.empty()) {
    return refusal("the columns of table " + quoted(table.name) + " are not known to the proxy",
                   "Use INSERT with a column list.");
  }
  CopyPlan out;
  out.options = std::move(options->bytes);
  out.encoding_given = !options->encoding.empty();
  out.header_match = options->header_match;
  if (encoding_embeds_ascii(options->encoding)) {
    return refusal("COPY FROM over several shards in the encoding " + quoted(options->encoding) +
                       " is not supported",
                   "Send the data in UTF8.");
  }
  out.table = table.name;
  out.filtered = !statement.exprs.empty();
  out.columns = fields_of(statement, table);
  for (std::size_t i = 0; i < out.columns.size(); ++i) {
    const Column* column = table.find_column(out.columns[i]);
    // One that is not there is left to the servers to refuse.
    if (out.options.format == CopyFormat::kBinary || column == nullptr) continue;
    if (may_name_a_moment(column->type_oid)) out.moment_fields.push_back(i);
  }
  out.made = made_fields(table, out);
  if (!out.made.empty()) {
    if (const Status good = check_made(out); !good) return good.error();
  }
  if (table.placement == TablePlacement::kReference) {
    out.every_shard = true;
    if (out.options.default_text) {
      return refusal("COPY's option DEFAULT is not supported for reference tables",
                     "Give the columns values in the data.");
    }
    if (const Status same = check_defaults_are_same(table, out); !same) return same.error();
    return out;
  }
  const auto key = std::find(out.columns.begin(), out.columns.end(), table.key_column);
  if (key != out.columns.end()) {
    out.key_field = static_cast<std::size_t>(key - out.columns.begin());
  } else if (!out.made.empty()) {
    out.made_key = 0;
  } else {
    return missing_key("COPY", table);
  }
  out.keyspace = table.keyspace;
  out.key_type = topology.keyspaces[table.keyspace].key_type;
  const Column* column = table.find_column(table.key_column);
  out.key_use = column != nullptr && column->type_modifier == -1 ? KeyUse::kStoredUnmodified
                                                                 : KeyUse::kStored;
  out.force_null = options->force_null.has(table.key_column);
  out.force_not_null = options->force_not_null.has(table.key_column);
  return out;
}

std::string CopyPlan::shard_text(std::string_view sql, bool standard_conforming_strings) const {
  if (made.empty()) return std::string(sql);
  // A column is left out, so there is a list of columns: no parenthesis stands before its own.
  SqlLexer lexer(sql, standard_conforming_strings);
  SqlToken token;
  while (lexer.next(token) && !lexer.is_symbol(token, '(')) continue;
  std::string out(sql.substr(0, token.end));
  for (const MadeField& field : made) out += quoted_identifier(field.column) + ", ";
  return out.append(sql.substr(token.end));
}

Result<CopyPlan> plan_copy_to(const SqlStatement& statement) {
  auto options = parse_copy_options(statement);
  if (!options) return options.error();
  CopyPlan out;
  out.options = std::move(options->bytes);
  out.encoding_given = !options->encoding.empty();
  out.force_quote = std::move(options->force_quote);
  return out;
}

std::string_view query_of_copy(std::string_view text) {
  OuterTokens tokens(text);
  if (!tokens.next() || !tokens.next() || !tokens.is_symbol(')')) return {};
  const std::size_t begin = tokens.opening().end;
  return text.substr(begin, tokens.token().begin - begin);
}

Status check_copy_encoding(const CopyPlan& plan, const RouterSession& session) {
  if (plan.options.format == CopyFormat::kBinary) return Ok{};
  if (session.embeds_ascii && !plan.encoding_given) {
    return refusal("COPY FROM over several shards in this client_encoding is not supported",
                   "Set client_encoding to UTF8 and send the data in it.");
  }
  const bool same = session.same_encoding && !plan.encoding_given;
  if (same ||
      (is_ascii(plan.options.null_text) && is_ascii(plan.options.default_text.value_or("")))) {
    return Ok{};
  }
  return refusal(
      "a NULL or DEFAULT string with letters beyond ASCII is not supported in another "
      "encoding than the server's",
      "Use one in ASCII.");
}

bool encoding_embeds_ascii(std::string_view name) {
  // Names are compared by their letters and digits (encnames.c), aliases included.
  std::string plain;
  for (const char c : name) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if ((lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9')) plain += lower;
  }
  constexpr std::array<std::string_view, 16> kNames = {
      "sjis", "shiftjis", "mskanji",    "win932", "windows932", "shiftjis2004",
      "big5", "win950",   "windows950", "gbk",    "win936",     "windows936",
      "uhc",  "win949",   "windows949", "gb18030"};
  return plain == "johab" || std::find(kNames.begin(), kNames.end(), plain) != kNames.end();
}

}  // namespace pgshunt
