// EXECUTE of a statement that PREPARE made, as that statement with the values in place of its
// parameters: it then goes where any statement goes that says the same.
//
// A value takes its parameter's declared type, by a cast. Where none is declared the parameter has
// the type that its place gives it, and a literal between quotes in that place gets the same, if it
// stands in that one place only.
#pragma once

#include <string>
#include <string_view>

#include "protocol/result.h"

namespace pgshunt {

// `prepared`: all behind the name in PREPARE: [(types)] AS statement. The statement in it; empty if
// there is none.
std::string_view statement_of_prepare(std::string_view prepared, bool standard_conforming_strings);

// `values`: all behind the name in EXECUTE, (values) or nothing. `name` is for errors: 42601 for
// another number of values, 0A000 for values that are not constants and where a cast could be seen.
Result<std::string> text_of_execute(std::string_view prepared, std::string_view values,
                                    std::string_view name, bool standard_conforming_strings);

}  // namespace pgshunt
