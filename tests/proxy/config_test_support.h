// Configurations from strings: a little world of files and variables instead of the system's.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "proxy/config/load.h"

namespace pgshunt {

struct ConfigWorld {
  std::map<std::string, std::string> files;
  std::map<std::string, std::string> variables;

  ConfigSources sources() const {
    return {
        [this](const std::string& path) -> Result<std::string> {
          if (const auto found = files.find(path); found != files.end()) return found->second;
          return Error{sqlstate::kConfigFileError, "cannot read \"" + path + "\": not there", {}};
        },
        [this](const std::string& name) -> std::optional<std::string> {
          const auto found = variables.find(name);
          return found == variables.end() ? std::nullopt : std::optional(found->second);
        }};
  }

  ConfigResult load(const std::string& text) {
    files["/etc/pgshunt/x.toml"] = text;
    return load_config("/etc/pgshunt/x.toml", sources());
  }
};

// The issues, one a line, without the file's name in front.
inline std::string lines_of(const std::vector<ConfigIssue>& issues) {
  const std::string prefix = "/etc/pgshunt/x.toml:";
  std::string out;
  for (const ConfigIssue& issue : issues) {
    std::string line = issue.to_string();
    if (line.starts_with(prefix)) line.erase(0, prefix.size());
    out += (out.empty() ? "" : "\n") + line;
  }
  return out;
}

// A database, so that only what the test is about is wrong.
inline const std::string kSomeDatabase = "\n[databases.app]\nhost = \"h\"\n";

}  // namespace pgshunt
