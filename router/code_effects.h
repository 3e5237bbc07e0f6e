// What the code of a routine or of a DO may leave on the server it runs on, read from its text.
//
// Read as PL/pgSQL or SQL, both of which are made of the same words. Bits mean "may": what cannot
// be told is taken for the worst. Not for the query path: it allocates.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgshunt {

struct CodeEffects {
  struct Name {
    std::string name;     // folded
    bool called = false;  // a parenthesis follows
  };

  // Bits of Effect (session_effects.h). kEffectOpaque stands for all that the server can be asked
  // for afterwards, its settings included. The others it cannot be asked for: kEffectSetConfig is
  // set for a setting whose name is not in the text.
  std::uint32_t effects = 0;
  // Customized settings ("app.user") that it makes: the server tells their values, but does not
  // list them.
  std::vector<std::string> settings;
  // Every name and word in it, as often as it stands there.
  std::vector<Name> names;
};

// Adds what `code` does to `out`. `foreign`: of a language not made of SQL, in which any string may
// be run.
void read_code(std::string_view code, CodeEffects& out, bool foreign = false);

}  // namespace pgshunt
