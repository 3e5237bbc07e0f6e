// What no single key shows: contradictions between keys, and files that are not there.
#include <filesystem>
#include <map>

#include "proxy/config/load.h"

namespace pgshunt {
namespace {

std::string number(std::uint32_t value) { return std::to_string(value); }

void check_readable(const std::string& key, const std::string& path, LoadContext& context) {
  if (path.empty()) return;
  if (const Result<std::string> text = context.sources.read_file(path); !text) {
    context.report.error(key, text.error().message);
  }
}

void check_tls(const std::string& section, const TlsConfig& tls, bool of_clients,
               LoadContext& context) {
  ConfigReport& report = context.report;
  const bool verifies = tls.mode == SslMode::kVerifyCa || tls.mode == SslMode::kVerifyFull;
  const std::string mode = "is " + quote_text(name_of(tls.mode));
  if (of_clients && tls.mode != SslMode::kDisable && tls.cert_file.empty()) {
    report.error(section + ".mode", mode + ", which needs cert_file and key_file");
  }
  if (tls.cert_file.empty() != tls.key_file.empty()) {
    const char* given = tls.cert_file.empty() ? ".key_file" : ".cert_file";
    const char* missing = tls.cert_file.empty() ? "cert_file" : "key_file";
    report.error(section + given, std::string("needs ") + missing + " beside it");
  }
  if (verifies && tls.ca_file.empty()) {
    report.error(section + ".mode", mode + ", which needs ca_file");
  }
  check_readable(section + ".cert_file", tls.cert_file, context);
  check_readable(section + ".key_file", tls.key_file, context);
  check_readable(section + ".ca_file", tls.ca_file, context);
  if (tls.mode == SslMode::kDisable && !tls.cert_file.empty()) {
    report.warning(section + ".cert_file", "is not used: mode is \"disable\"");
  }
}

void check_pools(const Config& config, ConfigReport& report) {
  if (config.min_pool_size > config.default_pool_size) {
    report.error("pgshunt.min_pool_size", "is " + number(config.min_pool_size) +
                                              ", more than default_pool_size, which is " +
                                              number(config.default_pool_size));
  }
  for (const auto& [name, database] : config.databases) {
    const std::uint32_t size = database.pool_size.value_or(config.default_pool_size);
    const std::uint32_t least = database.min_pool_size.value_or(config.min_pool_size);
    // The general contradiction is reported once, not again for each database.
    if (least <= size || (!database.pool_size && !database.min_pool_size)) continue;
    const std::string path = join_key("databases", name);
    const std::string least_key = database.min_pool_size ? "min_pool_size" : "pool_size";
    report.error(path + "." + least_key, "leaves min_pool_size " + number(least) +
                                             " above the pool's size " + number(size));
  }
}

void check_auth(const Config& config, ConfigReport& report) {
  const bool fallback = config.databases.contains("*");
  if (!config.auth_dbname.empty() && !fallback && !config.databases.contains(config.auth_dbname)) {
    report.error("pgshunt.auth_dbname",
                 "is " + quote_text(config.auth_dbname) + ", which is not among the databases");
  }
  const auto warn_unknown = [&](const char* key, const std::vector<std::string>& users) {
    for (const std::string& user : users) {
      // A user unknown here may still be found by auth_query.
      if (config.users.contains(user) || !config.auth_user.empty()) continue;
      report.warning(key, "names " + quote_text(user) + ", who is not among the users");
    }
  };
  warn_unknown("pgshunt.admin_users", config.admin_users);
  warn_unknown("pgshunt.stats_users", config.stats_users);
}

void check_listening(const Config& config, ConfigReport& report) {
  if (config.listen_addr.empty() && config.unix_socket_dir.empty()) {
    report.error("pgshunt.listen_addr",
                 "is empty and unix_socket_dir too: no client could connect");
  }
  // sun_path holds 107 characters and a NUL.
  constexpr std::size_t kLongestFolder = 107 - sizeof("/.s.PGSQL.65535") + 1;
  if (config.unix_socket_dir.size() > kLongestFolder) {
    report.error("pgshunt.unix_socket_dir", "is longer than the " + std::to_string(kLongestFolder) +
                                                " characters a unix socket's folder may have");
  }
  if (config.databases.empty()) {
    report.error_at(0, "databases", "has no entry, expected at least one [databases.NAME]");
  }
}

// Each has its own: shards are told apart by their names, which are those of one database.
void check_directories_differ(const Config& config, ConfigReport& report) {
  std::map<std::string, std::string> known;
  for (const auto& [name, database] : config.databases) {
    if (database.directory.empty()) continue;
    const auto [at, first] =
        known.emplace(std::filesystem::path(database.directory).lexically_normal().string(), name);
    if (first) continue;
    report.error(join_key(join_key("databases", name), "directory"),
                 "is " + quote_text(database.directory) + ", which is that of database " +
                     quote_text(at->second) + " already");
  }
}

}  // namespace

void check_config(const Config& config, LoadContext& context) {
  check_listening(config, context.report);
  check_tls("client_tls", config.client_tls, true, context);
  check_tls("server_tls", config.server_tls, false, context);
  check_pools(config, context.report);
  check_auth(config, context.report);
  check_directories_differ(config, context.report);
}

}  // namespace pgshunt
