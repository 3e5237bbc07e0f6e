#include "router/refusal.h"

namespace pgshunt {

Error missing_key(std::string_view command, const Table& table) {
  const Column* column = table.find_column(table.key_column);
  const std::string key = quoted(table.key_column) + " of table " + quoted(table.name);
  const char* const hint = "Give the key a value: it decides which shard the row goes to.";
  if (column != nullptr && column->fallback != ColumnDefault::kNone) {
    return refusal(std::string(command) + " leaves the shard key " + key + " to its default", hint);
  }
  return {sqlstate::kNotNullViolation, "null value in shard key column " + key, hint};
}

}  // namespace pgshunt
