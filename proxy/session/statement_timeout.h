// statement_timeout of a statement that is several on its servers: each of those counts from its
// own beginning, the client from its own.
#pragma once

#include <chrono>
#include <string_view>

namespace pgshunt {

// What a statement such as SET LOCAL statement_timeout = '1.5min' sets it to, in PostgreSQL's units
// (guc.c: time units; milliseconds if there is none). Zero: no limit, or none that the text tells.
std::chrono::milliseconds timeout_of(std::string_view statement);

}  // namespace pgshunt
