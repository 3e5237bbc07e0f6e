#include "proxy/config/load.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

namespace pgshunt {
namespace {

// More than any configuration or list of users needs; a slip such as /dev/zero ends here.
constexpr std::size_t kLargestFile = 16 * 1024 * 1024;

Error file_error(const std::string& path, const std::string& why) {
  return {sqlstate::kConfigFileError, "cannot read " + quote_text(path) + ": " + why, {}};
}

Result<std::string> read_system_file(const std::string& path) {
  const auto close = [](std::FILE* file) { std::fclose(file); };
  const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "re"), close);
  if (!file) return file_error(path, std::strerror(errno));
  std::string text;
  char buffer[65536];
  while (true) {
    // A folder opens; only reading it fails.
    const std::size_t count = std::fread(buffer, 1, sizeof buffer, file.get());
    text.append(buffer, count);
    if (text.size() > kLargestFile) return file_error(path, "larger than 16 MB");
    if (count < sizeof buffer) break;
  }
  if (std::ferror(file.get()) != 0) return file_error(path, std::strerror(errno));
  return text;
}

std::optional<std::string> system_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

void read_general(TableReader& root, Config& config) {
  root.section("pgshunt", [&](TableReader& table) { table.read_keys(general_keys(), config); });
  root.section("client_tls",
               [&](TableReader& table) { table.read_keys(tls_keys(), config.client_tls); });
  root.section("server_tls",
               [&](TableReader& table) { table.read_keys(tls_keys(), config.server_tls); });
}

}  // namespace

ConfigSources system_sources() { return {read_system_file, system_environment}; }

std::string LoadContext::resolve(const std::string& path) const {
  if (path.empty() || path.front() == '/' || folder.empty()) return path;
  return (std::filesystem::path(folder) / path).string();
}

ConfigResult load_config(const std::string& file) { return load_config(file, system_sources()); }

ConfigResult load_config(const std::string& file, const ConfigSources& sources) {
  ConfigReport report(file);
  auto config = std::make_shared<Config>();
  config->file = file;
  if (Result<std::string> text = sources.read_file(file); !text) {
    report.error("", text.error().message);
  } else if (const TomlDocument document = parse_toml(*text); !document.ok) {
    report.error_at(document.error_line, "", "is not TOML: " + document.error);
  } else {
    LoadContext context{report, sources, std::filesystem::path(file).parent_path().string()};
    TableReader root(document.root, "", 0, context);
    read_general(root, *config);
    read_auth(root, *config);
    read_databases(root, *config);
    root.refuse_unknown();
    check_config(*config, context);
  }
  ConfigResult result;
  if (report.clean()) result.config = std::move(config);
  result.issues = report.take_issues();
  result.warnings = report.take_warnings();
  return result;
}

}  // namespace pgshunt
