// The configuration loader over any text. Files and variables it names come from here, never from
// the system.
#include <cstdlib>
#include <string>

#include "proxy/config/load.h"

namespace pgshunt {
namespace {

constexpr char kFile[] = "/etc/pgshunt.toml";

void check(bool holds) {
  if (!holds) std::abort();
}

void run(const std::string& text) {
  const ConfigSources sources{[&](const std::string& path) -> Result<std::string> {
                                if (path == kFile) return text;
                                if (path.size() % 2 == 0) return std::string("secret\n");
                                return Error{sqlstate::kConfigFileError, "cannot read", {}};
                              },
                              [](const std::string& name) -> std::optional<std::string> {
                                if (name.size() % 2 == 0) return "secret";
                                return std::nullopt;
                              }};
  const ConfigResult result = load_config(kFile, sources);
  // A configuration or a reason, and never a message that breaks out of its line.
  check((result.config != nullptr) == result.issues.empty());
  for (const ConfigIssue& issue : result.issues) {
    check(issue.to_string().find_first_of(std::string_view("\n\r\0\x1b", 4)) == std::string::npos);
  }
  if (result.config == nullptr) return;
  check(describe_config(*result.config).size() > 50);
  check(restart_needed(*result.config, *result.config).empty());
  check(reloaded_config(Config{}, *result.config) != nullptr);
  for (const auto& [name, database] : result.config->databases) {
    check(database.name == name && !database.shards.empty());
    check(database.sharded() || database.shards.size() == 1);
  }
}

}  // namespace
}  // namespace pgshunt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  pgshunt::run(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
