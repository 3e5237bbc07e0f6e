// Rules in the syntax of pg_hba.conf: lists with commas, quotes that take a word's special meaning
// away, comments, lines continued with a backslash, "@file" lists, include and include_if_exists.
//
// What pgshunt cannot do as PostgreSQL would (role membership, host names, name maps, other
// methods) is an issue with file and line, never ignored. Rules for "replication" are left out:
// pgshunt refuses such connections anyway.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "proxy/config/config.h"

namespace pgshunt {

using FileReader = std::function<Result<std::string>(const std::string& path)>;

struct HbaFile {
  std::vector<HbaRule> rules;
  std::vector<ConfigIssue> issues;
};

// `file` names the text in issues and origins; files it names are relative to its folder and read
// with `read_file`. The rules still want Hba::check().
HbaFile parse_hba(std::string_view text, const std::string& file, const FileReader& read_file);

}  // namespace pgshunt
