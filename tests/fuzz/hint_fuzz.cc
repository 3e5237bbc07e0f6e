// The reader of hints over any text: it ends, and what it has read is read again from a comment
// written of it.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "router/hint.h"

namespace pgshunt {
namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

std::string quoted(std::string_view value) {
  std::string out = "'";
  for (const char c : value) {
    if (c == '\'') out.push_back(c);
    out.push_back(c);
  }
  return out + "'";
}

void run(std::string_view sql, bool standard_conforming_strings) {
  (void)check_no_hint(sql);
  RouteHint hint;
  const Status read = read_comment_hints(sql, standard_conforming_strings, hint);
  if (!read) {
    check(read.error().code == sqlstate::kInvalidParameterValue && !read.error().hint.empty());
    check(may_have_hint(sql));
    return;
  }
  // Whoever has a hint is not dismissed by the quick look.
  const bool none = !hint.places() && !hint.keyspace && hint.role == HintRole::kNone;
  check(none || may_have_hint(sql));
  std::string text;
  for (const auto& [name, value] : {std::pair{"shard", hint.shard}, std::pair{"key", hint.key},
                                    std::pair{"keyspace", hint.keyspace}}) {
    if (!value) continue;
    // A comment cannot hold these.
    if (value->find("*/") != std::string::npos || value->find("/*") != std::string::npos) return;
    text.append(" ").append(name).append("=").append(quoted(*value));
  }
  if (text.empty()) return;
  RouteHint again;
  check(static_cast<bool>(read_comment_hints("SELECT 1 /* pgshunt:" + text + " */", true, again)));
  check(again.shard == hint.shard && again.key == hint.key && again.keyspace == hint.keyspace);
}

}  // namespace
}  // namespace pgshunt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view sql(reinterpret_cast<const char*>(data), size);
  pgshunt::run(sql, true);
  pgshunt::run(sql, false);
  return 0;
}
