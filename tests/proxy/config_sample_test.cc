// The files under configs/ load, and the annotated one tells the truth.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/proxy/config_test_support.h"

namespace pgshunt {
namespace {

namespace fs = std::filesystem;

std::string read_text(const fs::path& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

// A "#key = default" line of the annotated sample. Prose has a space after its "#".
struct Documented {
  std::string section;  // "pgshunt", "users", "databases", ...
  std::string key;
  std::string value;  // as TOML
  bool restart;       // the comment above says so
};

std::vector<Documented> documented_keys() {
  std::vector<Documented> out;
  std::istringstream lines(read_text("configs/pgshunt.toml"));
  std::string section;
  bool restart = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("[")) {
      section = line.substr(1, line.find_first_of(".]") - 1);
    } else if (line.empty()) {
      restart = false;
    } else if (line == "#" || line.starts_with("# ")) {
      restart |= line.find("(restart)") != std::string::npos;
    } else if (line.starts_with("#")) {
      const std::size_t equals = line.find(" = ");
      EXPECT_NE(equals, std::string::npos) << line;
      out.push_back({section, line.substr(1, equals - 1), line.substr(equals + 3), restart});
    }
  }
  return out;
}

// Each of `keys` stands in `section` with the default it has in `defaults`.
template <class T>
void expect_documented(const std::string& section, std::span<const KeySpec<T>> keys,
                       const T& defaults) {
  const std::vector<Documented> all = documented_keys();
  std::set<std::string> known;
  for (const KeySpec<T>& key : keys) {
    known.insert(std::string(key.name));
    int count = 0;
    for (const Documented& line : all) {
      if (line.section != section || line.key != key.name) continue;
      ++count;
      const TomlDocument document = parse_toml("x = " + line.value);
      ASSERT_TRUE(document.ok) << line.key;
      T read = defaults;
      const std::string problem = std::visit(
          [&](auto field) { return read_value(document.root.at(0).value, key.rules, read.*field); },
          key.field);
      EXPECT_EQ(problem, "") << line.key;
      EXPECT_EQ(format_field(key, read), format_field(key, defaults)) << line.key;
      EXPECT_EQ(line.restart, key.change == Change::kRestart) << line.key;
    }
    EXPECT_EQ(count, 1) << section << "." << key.name;
  }
  for (const Documented& line : all) {
    EXPECT_TRUE(line.section != section || known.contains(line.key)) << line.key;
  }
}

TEST(ConfigSample, EveryFileLoads) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator("configs")) {
    if (entry.path().extension() != ".toml") continue;
    ++files;
    const ConfigResult result = load_config(entry.path().string());
    for (const ConfigIssue& issue : result.issues) ADD_FAILURE() << issue.to_string();
    for (const ConfigIssue& warning : result.warnings) ADD_FAILURE() << warning.to_string();
    EXPECT_NE(result.config, nullptr);
  }
  EXPECT_GE(files, 3);
}

TEST(ConfigSample, DocumentsEveryKeyWithItsTrueDefault) {
  const Config defaults;
  expect_documented("pgshunt", general_keys(), defaults);
  expect_documented("client_tls", tls_keys(), defaults.client_tls);
  expect_documented("server_tls", tls_keys(), defaults.server_tls);
  // What a user or a database does not say, the general keys do.
  UserConfig user;
  user.pool_mode = defaults.pool_mode;
  user.pool_size = defaults.default_pool_size;
  expect_documented("users", user_keys(), user);
  DatabaseConfig database;
  database.pool_mode = defaults.pool_mode;
  database.pool_size = defaults.default_pool_size;
  database.min_pool_size = defaults.min_pool_size;
  database.reserve_pool_size = defaults.reserve_pool_size;
  expect_documented("databases", database_keys(), database);
}

// With every "#" taken away the sample says all there is to say, and still what it said before.
TEST(ConfigSample, MeansTheSameWithEveryDefaultSpelledOut) {
  std::istringstream lines(read_text("configs/pgshunt.toml"));
  std::string spelled_out;
  int taken = 0;
  for (std::string line; std::getline(lines, line);) {
    const bool comment = line.starts_with("#") && !line.starts_with("# ") && line.size() > 1;
    taken += comment;
    spelled_out += (comment ? line.substr(1) : line) + "\n";
  }
  EXPECT_GT(taken, 80);
  ConfigWorld world;
  const ConfigResult result = world.load(spelled_out);
  EXPECT_EQ(lines_of(result.issues), "");
  ASSERT_NE(result.config, nullptr);
  for (const ConfigKey& key : describe_config(*result.config)) {
    EXPECT_EQ(key.value, key.default_value) << key.key;
  }
}

}  // namespace
}  // namespace pgshunt
