// Statements of every shape the lexer, the session scanner and templates must read alike with
// PostgreSQL. Tests use them as they are and as the ground random changes start from.
#pragma once

#include <string>
#include <vector>

namespace pgshunt {

const std::vector<std::string>& sql_samples();

// `sql` with a few random edits, each of a kind that matters to a lexer: quotes, comments, dollars,
// operators, line ends, pieces of other samples. The same seed gives the same text.
std::string mutate_sql(const std::string& sql, unsigned& seed);

}  // namespace pgshunt
