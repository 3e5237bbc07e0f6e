// The files of authentication: pg_hba.conf and userlist.txt. The first byte picks which.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "proxy/auth/hba.h"
#include "proxy/auth/hba_file.h"
#include "proxy/auth/userlist.h"

namespace pgshunt {
namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

void read_rules(std::string_view text) {
  // Every file that is named holds the same text: includes and lists end at their depth.
  int reads = 0;
  const FileReader same = [&](const std::string&) -> Result<std::string> {
    if (++reads > 50) return Error{sqlstate::kConfigFileError, "enough", {}};
    return std::string(text.substr(0, 200));
  };
  const HbaFile file = parse_hba(text, "f", same);
  for (const ConfigIssue& issue : file.issues) {
    check(issue.line > 0 && !issue.problem.empty());
  }
  (void)Hba::check(file.rules);
  const Hba hba(file.rules);
  HbaRequest request;
  request.unix_socket = text.size() % 2 == 0;
  request.database = "shop";
  request.user = "alice";
  IpAddress::parse("10.1.2.3", request.address);
  const auto decision = hba.decide(request);
  check(decision.matched || decision.method == AuthMethod::kReject);
}

void read_users(std::string_view text) {
  UserTable table;
  const Userlist list = parse_userlist(text, "f");
  for (const auto& [name, secret] : list.users) {
    check(!name.empty() && secret_problem(secret).empty());
    table.add(name, secret);
  }
  check(table.size() == list.users.size());
}

}  // namespace
}  // namespace pgshunt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 0) {
    pgshunt::read_rules(text);
  } else {
    pgshunt::read_users(text);
  }
  return 0;
}
