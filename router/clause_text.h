// Where the clauses of a plain SELECT stand in its text, so that it can be changed by cutting and
// inserting rather than by printing a tree again: what is not touched stays as the client wrote it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgshunt {

struct TextRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

struct SelectClauses {
  std::size_t from = 0;               // where the keyword FROM begins
  std::vector<TextRange> sort_items;  // of ORDER BY: each expression with ASC, NULLS FIRST, ...
  TextRange limit;                    // LIMIT, OFFSET and FETCH, in any order; empty at the end
  std::size_t end = 0;                // just past the last token
};

// Of a statement that is one SELECT without WITH, GROUP BY and set operations.
// `first_table`: offset of the first table's name, as the parser found it. Nothing if the text does
// not look as it should, which is a reason not to touch it.
std::optional<SelectClauses> find_clauses(std::string_view sql, std::size_t first_table);

// A sort item without its last `words` words (ASC, NULLS LAST).
std::optional<TextRange> without_last_words(std::string_view sql, TextRange range,
                                            std::size_t words);

}  // namespace pgshunt
