#include "router/copy_plan.h"

#include <algorithm>
#include <array>
#include <utility>

#include "router/copy_options.h"
#include "router/refusal.h"

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

// Each shard would fill a column that is left out by itself.
Status check_defaults_are_same(const Table& table, const std::vector<std::string>& columns) {
  for (const Column& column : table.columns) {
    if (column.fallback != ColumnDefault::kDiffers) continue;
    if (std::find(columns.begin(), columns.end(), column.name) != columns.end()) continue;
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
  if (table.placement == TablePlacement::kReference) {
    out.every_shard = true;
    if (out.options.default_text) {
      return refusal("COPY's option DEFAULT is not supported for reference tables",
                     "Give the columns values in the data.");
    }
    if (const Status same = check_defaults_are_same(table, out.columns); !same) {
      return same.error();
    }
    return out;
  }
  const auto key = std::find(out.columns.begin(), out.columns.end(), table.key_column);
  if (key == out.columns.end()) return missing_key("COPY", table);
  out.key_field = static_cast<std::size_t>(key - out.columns.begin());
  out.keyspace = table.keyspace;
  out.key_type = topology.keyspaces[table.keyspace].key_type;
  const Column* column = table.find_column(table.key_column);
  out.key_use = column != nullptr && column->type_modifier == -1 ? KeyUse::kStoredUnmodified
                                                                 : KeyUse::kStored;
  out.force_null = options->force_null.has(table.key_column);
  out.force_not_null = options->force_not_null.has(table.key_column);
  return out;
}

Result<CopyPlan> plan_copy_to(const SqlStatement& statement) {
  auto options = parse_copy_options(statement);
  if (!options) return options.error();
  CopyPlan out;
  out.options = std::move(options->bytes);
  out.encoding_given = !options->encoding.empty();
  return out;
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
