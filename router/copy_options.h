// COPY's options, as the statement has them, to what they say of the bytes. (copy.c:
// ProcessCopyOptions of PostgreSQL 15, whose words are used; options of later versions are known.)
#pragma once

#include <string>
#include <vector>

#include "protocol/copy_format.h"
#include "protocol/result.h"
#include "router/sql_tree.h"

namespace pgshunt {

struct CopyColumnChoice {
  bool all = false;
  std::vector<std::string> names;

  bool has(const std::string& column) const;
};

struct ParsedCopyOptions {
  CopyOptions bytes;
  std::string encoding;       // empty: not given
  bool header_match = false;  // HEADER MATCH: servers compare the header with the columns
  CopyColumnChoice force_quote;
  CopyColumnChoice force_null;
  CopyColumnChoice force_not_null;
};

Result<ParsedCopyOptions> parse_copy_options(const SqlStatement& copy);

}  // namespace pgshunt
