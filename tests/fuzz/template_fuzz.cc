// Templates of any text: they survive a round trip, their literals decode or are refused, and where
// PostgreSQL's parser accepts the statement, the template means the same.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "tests/router/template_meaning.h"

namespace pgshunt {
namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

void run(const std::string& sql, bool standard_conforming_strings) {
  StatementTemplate statement;
  if (normalize_template(sql, statement, standard_conforming_strings) != TemplateStatus::kOk)
    return;
  std::string value;
  for (const TemplateLiteral& literal : statement.literals) {
    check(sql.compare(literal.position, literal.text.size(), literal.text) == 0);
    (void)decode_literal(literal, value);
  }
  std::string text;
  TemplateRenderer(statement.text, statement.first_literal()).render(statement.literals, text);
  // A string that stays loses its line end, and so the setting, only once.
  if (!standard_conforming_strings) return;
  StatementTemplate again;
  check(normalize_template(text, again) == TemplateStatus::kOk);
  check(again.text == statement.text && again.hash == statement.hash);
  check(again.literals.size() == statement.literals.size());
  for (std::size_t i = 0; i < again.literals.size(); ++i) {
    check(again.literals[i].text == statement.literals[i].text);
    check(again.literals[i].kind == statement.literals[i].kind);
  }
}

}  // namespace
}  // namespace pgshunt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgshunt;
  if (size > 1000) return 0;
  const std::string sql(reinterpret_cast<const char*>(data), size);
  run(sql, true);
  run(sql, false);
  if (sql.find('\0') == std::string::npos) check(compare_meaning(sql) != Meaning::kDifferent);
  return 0;
}
