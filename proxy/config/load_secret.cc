// Secrets, which may be kept out of the configuration: in files of their own or the environment.
#include "proxy/auth/userlist.h"
#include "proxy/config/load.h"

namespace pgshunt {
namespace {

// Each returns what is wrong, or an empty string.

std::string secret_of_file(TableReader& table, const std::string& key, std::string& out) {
  std::string path;
  if (std::string problem = read_value(table.find(key)->value, {}, path); !problem.empty()) {
    return problem;
  }
  Result<std::string> text = table.context().sources.read_file(table.context().resolve(path));
  if (!text) return text.error().message;
  // An editor's last line end is not part of the secret.
  while (text->ends_with('\n') || text->ends_with('\r')) text->pop_back();
  if (text->empty() || text->find_first_of("\n\r") != std::string::npos) {
    return "names a file that does not hold one secret on one line";
  }
  out = std::move(*text);
  return {};
}

std::string secret_of_variable(TableReader& table, const std::string& key, std::string& out) {
  std::string name;
  if (std::string problem = read_value(table.find(key)->value, {}, name); !problem.empty()) {
    return problem;
  }
  std::optional<std::string> value = table.context().sources.environment(name);
  if (!value || value->empty()) {
    return "names an environment variable that is not set: " + quote_text(name);
  }
  out = std::move(*value);
  return {};
}

std::string secret_in_place(TableReader& table, const std::string& key, std::string& out) {
  std::string problem = read_value(table.find(key)->value, {.secret = true}, out);
  return problem.empty() && out.empty() ? "is empty, expected a secret" : problem;
}

}  // namespace

bool read_secret(TableReader& table, const std::string& key, std::string& out) {
  const std::string file_key = key + "_file";
  const std::string variable_key = key + "_env";
  const bool in_place = table.has(key);
  const bool in_file = table.has(file_key);
  const bool in_variable = table.has(variable_key);
  if (!in_place && !in_file && !in_variable) return false;
  const std::string& given = in_variable ? variable_key : (in_file ? file_key : key);
  std::string problem;
  if (in_place + in_file + in_variable > 1) {
    problem = "contradicts another source of the same secret, expected one of " + key + ", " +
              file_key + " and " + variable_key;
  } else if (in_place) {
    problem = secret_in_place(table, key, out);
  } else if (in_file) {
    problem = secret_of_file(table, file_key, out);
  } else {
    problem = secret_of_variable(table, variable_key, out);
  }
  if (problem.empty()) {
    // Worded to follow "key: ", and without the secret.
    problem = secret_problem(out);
  }
  if (problem.empty()) return true;
  table.error(given, problem);
  return false;
}

}  // namespace pgshunt
