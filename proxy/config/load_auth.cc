// Who may come in: [users.NAME] and auth_file, [[hba]] and auth_hba_file.
#include <charconv>

#include "proxy/auth/hba.h"
#include "proxy/auth/hba_file.h"
#include "proxy/auth/userlist.h"
#include "proxy/config/load.h"

namespace pgshunt {
namespace {

using Connection = HbaRule::Connection;

void read_options(TableReader& table, HbaRule& rule) {
  table.section("options", [&](TableReader& options) {
    for (const std::string& name : options.names()) {
      std::string value;
      if (options.read(name, value)) rule.options[name] = value;
    }
  });
}

void read_rule(TableReader& table, Config& config) {
  HbaRule rule;
  table.read("type", rule.connection);
  rule.databases = {"all"};
  table.read("database", rule.databases);
  rule.users = {"all"};
  table.read("user", rule.users);
  const bool has_address = table.has("address");
  table.read("address", rule.address);
  if (rule.connection == Connection::kLocal && has_address) {
    table.error("address", "contradicts type = \"local\", which is the unix socket");
  } else if (rule.connection != Connection::kLocal && !has_address) {
    rule.address = "all";
  }
  if (!table.has("method")) {
    table.error("has no method, expected one such as \"scram-sha-256\"");
  }
  table.read("method", rule.method);
  read_options(table, rule);
  LoadContext& context = table.context();
  rule.origin = context.report.file() + ":" + std::to_string(context.report.line_of(table.path()));
  config.hba.push_back(std::move(rule));
}

void read_user(const std::string& name, TableReader& table, Config& config) {
  UserConfig& user = config.users[name];
  user.name = name;
  read_secret(table, "password", user.secret);
  table.read_keys(user_keys(), user);
}

// Nothing, after a complaint, if there is a file and it cannot be read.
std::optional<std::string> read_named_file(const char* key, const std::string& file,
                                           LoadContext& context) {
  if (file.empty()) return std::nullopt;
  Result<std::string> text = context.sources.read_file(file);
  if (text) return std::move(*text);
  context.report.error(key, text.error().message);
  return std::nullopt;
}

// The file's secrets are for users the configuration gives none.
void read_userlist_file(Config& config, LoadContext& context) {
  const auto text = read_named_file("pgshunt.auth_file", config.auth_file, context);
  if (!text) return;
  Userlist list = parse_userlist(*text, config.auth_file);
  for (ConfigIssue& issue : list.issues) context.report.add(std::move(issue));
  for (auto& [name, secret] : list.users) {
    UserConfig& user = config.users[name];
    user.name = name;
    if (user.secret.empty()) user.secret = std::move(secret);
  }
}

// The file's rules are tried before those of the configuration.
void read_hba_rules_file(Config& config, LoadContext& context) {
  const auto text = read_named_file("pgshunt.auth_hba_file", config.auth_hba_file, context);
  if (!text) return;
  HbaFile file = parse_hba(*text, config.auth_hba_file, context.sources.read_file);
  for (ConfigIssue& issue : file.issues) context.report.add(std::move(issue));
  config.hba = std::move(file.rules);
}

ConfigIssue issue_of(const HbaRule& rule, std::string problem) {
  const std::size_t colon = rule.origin.rfind(':');
  std::uint32_t line = 0;
  std::from_chars(rule.origin.data() + colon + 1, rule.origin.data() + rule.origin.size(), line);
  return {rule.origin.substr(0, colon), line, "hba", std::move(problem)};
}

// Certificates of clients are asked for only where there is something to verify them by.
void check_certificates(const Config& config, LoadContext& context) {
  if (config.client_tls.mode != SslMode::kDisable && !config.client_tls.ca_file.empty()) return;
  if (config.auth_type == AuthMethod::kCert) {
    context.report.error("pgshunt.auth_type", "is \"cert\", which needs [client_tls] with ca_file");
  }
  for (const HbaRule& rule : config.hba) {
    if (rule.method != AuthMethod::kCert && !rule.options.contains("clientcert")) continue;
    context.report.add(
        issue_of(rule, "asks for a client certificate, which needs [client_tls] with ca_file"));
  }
}

}  // namespace

void read_auth(TableReader& root, Config& config) {
  LoadContext& context = root.context();
  root.each_table("users", [&](const std::string& name, TableReader& table) {
    read_user(name, table, config);
  });
  read_userlist_file(config, context);
  read_hba_rules_file(config, context);
  root.each_element("hba", [&](TableReader& table) { read_rule(table, config); });
  for (ConfigIssue& issue : Hba::check(config.hba)) context.report.add(std::move(issue));
  check_certificates(config, context);
}

}  // namespace pgshunt
