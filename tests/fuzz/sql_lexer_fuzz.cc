// Any text must fall into the same tokens as under PostgreSQL's own scanner.
#include <cstdio>
#include <cstdlib>

#include "tests/router/pg_scan.h"

namespace pgshunt {
namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

// What holds for every text, whatever PostgreSQL says of it.
void check_coverage(std::string_view sql, bool standard_conforming_strings) {
  SqlLexer lexer(sql, standard_conforming_strings);
  SqlToken token;
  std::size_t last_end = 0;
  while (lexer.next(token)) {
    check(token.begin >= last_end && token.end > token.begin && token.end <= sql.size());
    check(lexer.position() == token.end);
    last_end = token.end;
  }
  check(token.begin == sql.size() && token.end == sql.size());
}

// next_name() finds the very names and parentheses that next() finds.
void check_names(std::string_view sql, bool standard_conforming_strings) {
  SqlLexer all(sql, standard_conforming_strings);
  SqlLexer names(sql, standard_conforming_strings);
  SqlToken token;
  SqlToken name;
  while (all.next(token) && token.kind != TokenKind::kUnterminated) {
    if (!is_name(token.kind) && !all.is_symbol(token, '(') && !all.is_symbol(token, ')') &&
        !all.is_symbol(token, ';')) {
      continue;
    }
    check(names.next_name(WordFilter::every_word(), name));
    check(name.begin == token.begin && name.end == token.end && name.kind == token.kind);
  }
  check(!names.next_name(WordFilter::every_word(), name));
}

}  // namespace
}  // namespace pgshunt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgshunt;
  if (size > 2000) return 0;
  const std::string sql(reinterpret_cast<const char*>(data), size);
  check_coverage(sql, true);
  check_coverage(sql, false);
  check_names(sql, true);
  check_names(sql, false);
  const std::string difference = scan_difference(sql);
  if (!difference.empty()) {
    std::fprintf(stderr, "%s\n", difference.c_str());
    std::abort();
  }
  return 0;
}
