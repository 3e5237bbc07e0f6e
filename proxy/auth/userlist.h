// Users the proxy knows itself: from the configuration and from a PgBouncer userlist.txt.
//
// A UserTable is immutable after loading and shared by all workers.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/auth/credentials.h"
#include "proxy/config/config.h"

namespace pgshunt {

// userlist.txt: lines of "user" "secret", a quote inside is doubled, what follows the secret on the
// line is ignored, lines that begin with ; or # are comments.
struct Userlist {
  std::vector<std::pair<std::string, std::string>> users;  // name, secret, in order of the file
  std::vector<ConfigIssue> issues;                         // never hold any of a secret
};
// `file` names the text in issues.
Userlist parse_userlist(std::string_view text, const std::string& file);

// What is wrong with a secret as it is stored, empty if nothing is: a SCRAM secret with a slip in
// it would otherwise pass for a plain password that happens to look odd.
std::string secret_problem(std::string_view secret);

class UserTable {
 public:
  UserTable() = default;

  // A later entry of the same name replaces an earlier one: add the file's users first, then the
  // configuration's. An empty secret means the user has no password.
  void add(std::string name, std::string_view secret);

  // Null if the user is not here.
  const Secret* find(std::string_view name) const;
  std::size_t size() const { return users_.size(); }

 private:
  std::map<std::string, Secret, std::less<>> users_;
};

}  // namespace pgshunt
