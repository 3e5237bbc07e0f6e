// What the parts of the loader share: the outside world they may ask, and the reader of one TOML
// table.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "proxy/config/config.h"
#include "proxy/config/keys.h"
#include "proxy/config/report.h"
#include "proxy/config/toml_tree.h"

namespace pgshunt {

// Where files and environment variables come from: the system, or a test's tables.
struct ConfigSources {
  std::function<Result<std::string>(const std::string& path)> read_file;
  std::function<std::optional<std::string>(const std::string& name)> environment;
};
ConfigSources system_sources();

ConfigResult load_config(const std::string& file, const ConfigSources& sources);

struct LoadContext {
  ConfigReport& report;
  const ConfigSources& sources;
  std::string folder;  // of the configuration file; empty: the current one

  // `path` as seen from the configuration file. An empty one stays empty.
  std::string resolve(const std::string& path) const;
};

// Reads one TOML table key by key. Remembers which keys were asked for, so that whatever is left at
// the end is unknown, and can be answered with the nearest name. Borrows the table.
class TableReader {
 public:
  TableReader(const TomlTable& table, std::string path, std::uint32_t line, LoadContext& context);

  const TomlEntry* find(std::string_view key);
  bool has(std::string_view key) { return find(key) != nullptr; }

  // False when the key is absent, or wrong, which is then reported.
  template <class T>
  bool read(std::string_view key, T& out, const ValueRules& rules = {}) {
    const TomlEntry* entry = find(key);
    if (entry == nullptr) return false;
    std::string problem = read_value(entry->value, rules, out);
    if (!problem.empty()) {
      error(key, problem);
      return false;
    }
    if constexpr (std::is_same_v<T, std::string>) {
      if (rules.path) out = context_.resolve(out);
    }
    return true;
  }

  // As read(), and an absent key is an error too. The string must not be empty.
  bool require(std::string_view key, std::string& out, std::string_view what);

  template <class T>
  void read_keys(std::span<const KeySpec<T>> keys, T& out) {
    for (const KeySpec<T>& key : keys) {
      std::visit([&](auto field) { read(key.name, out.*field, key.rules); }, key.field);
    }
  }

  // Calls `read(reader)` if there is a table `key`.
  void section(std::string_view key, const std::function<void(TableReader&)>& read);
  // Calls `each(name, reader)` for every table in the table `key`.
  void each_table(std::string_view key,
                  const std::function<void(const std::string&, TableReader&)>& each);
  // Calls `each(reader)` for every table of the list `key`; their paths end in [0], [1], ...
  void each_element(std::string_view key, const std::function<void(TableReader&)>& each);

  void refuse_unknown();
  void error(std::string_view key, std::string_view problem);
  // About the table as a whole.
  void error(std::string_view problem);

  // All keys there are, for tables whose keys are free.
  std::vector<std::string> names() const;
  const std::string& path() const { return path_; }
  std::string path_of(std::string_view key) const { return join_key(path_, key); }
  LoadContext& context() { return context_; }

 private:
  const TomlTable& table_;
  std::string path_;
  std::uint32_t line_;
  LoadContext& context_;
  std::vector<std::string> known_;
};

// The secret KEY, in place, in the file KEY_file or in the variable KEY_env; at most one of them.
// False when none is given, or one is wrong, which is then reported without any of the secret.
bool read_secret(TableReader& table, const std::string& key, std::string& out);

// The parts, each in a file of its own.
void read_databases(TableReader& root, Config& config);
// After the general keys, which name files.
void read_auth(TableReader& root, Config& config);
// What no single key shows: contradictions between keys, files that are not there.
void check_config(const Config& config, LoadContext& context);

}  // namespace pgshunt
