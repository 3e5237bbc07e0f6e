// The session scanner over any text: statements stand in it in order, and each one read alone is
// read the same.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "router/session_effects.h"

namespace pgshunt {
namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

bool inside(std::string_view part, std::string_view whole) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

void run(std::string_view sql, bool standard_conforming_strings) {
  StatementScanner scanner(sql, standard_conforming_strings);
  StatementEffects statement;
  std::string_view rest = sql;
  while (scanner.next(statement)) {
    check(statement.verb != Verb::kEmpty && !statement.text.empty() &&
          inside(statement.text, rest));
    rest.remove_prefix(
        static_cast<std::size_t>(statement.text.data() + statement.text.size() - rest.data()));
    check(statement.value.empty() || inside(statement.value, statement.text));
    const std::string_view token =
        sql.substr(statement.name_begin, statement.name_end - statement.name_begin);
    check(token.empty() || inside(token, statement.text));
    check(token.empty() == (statement.name_begin == 0));

    StatementScanner alone(statement.text, standard_conforming_strings);
    StatementEffects again;
    check(alone.next(again));
    check(again.verb == statement.verb && again.effects == statement.effects &&
          again.name == statement.name && again.value == statement.value &&
          again.text == statement.text);
    StatementEffects none;
    check(!alone.next(none));
  }
}

}  // namespace
}  // namespace pgshunt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view sql(reinterpret_cast<const char*>(data), size);
  pgshunt::run(sql, true);
  pgshunt::run(sql, false);
  return 0;
}
