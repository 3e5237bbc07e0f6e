// Values of an INSERT that the proxy makes itself, before the statement is routed: the shard key,
// which decides where the row goes, and what must be the same in all copies of a reference table.
// They stand in the statement as a call of pgshunt.unique_id(), or nowhere, if that is the column's
// default, or it is a sequence's next number: then the first shard's sequence gives it.
//
// They are put into the text as parameters behind the client's own, which become numbers in a
// simple query. So what is routed then is a statement whose client wrote or bound the values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "router/sql_tree.h"
#include "router/topology.h"

namespace pgshunt {

struct MadeValues {
  std::string text;         // with a parameter for each value
  std::uint32_t first = 0;  // the number of the first of them
  // Of each value: empty for pgshunt.unique_id(), otherwise the sequence whose next number it is.
  std::vector<std::string> sources;
};

// Is it a call of pgshunt.unique_id()?
bool is_unique_id_call(const Expr& expr);
bool is_unique_id(std::span<const std::string> function_name);
// The same for a text that is not looked at by expressions, such as that of CREATE TABLE.
bool mentions_unique_id(std::string_view statement);

// `text` is that of `insert`; `declared`: how many parameters have been given types. Null: there is
// nothing to make. 0A000 if the text is not written as expected, 428C9 if it gives a value to a
// column that is GENERATED ALWAYS AS IDENTITY: the text of ours says OVERRIDING SYSTEM VALUE.
Result<std::shared_ptr<const MadeValues>> find_made_values(std::string_view text,
                                                           const Query& insert, const Table& table,
                                                           std::size_t declared);

}  // namespace pgshunt
