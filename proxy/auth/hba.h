// Who may come in from where, to what, and how to prove it: ordered rules in the manner of
// pg_hba.conf (PostgreSQL manual, "The pg_hba.conf File"). The first match decides; no match
// refuses.
//
// An Hba is immutable after loading and shared by all workers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/auth/ip_address.h"
#include "proxy/config/config.h"

namespace pgshunt {

// Where a client comes from and what for, as one login asks the rules.
struct HbaRequest {
  bool unix_socket = false;
  bool tls = false;
  IpAddress address;  // kNone for Unix sockets
  std::string_view database;
  std::string_view user;
};

// Must the client show a certificate beside what the method asks for?
enum class HbaClientCert : std::uint8_t {
  kNo,
  kVerifyCa,    // any that the TLS layer has verified
  kVerifyFull,  // one that carries the right name
};

// A rule made ready for matching.
class HbaMatcher;

// What a rule's fields may hold:
//   databases  "all", "sameuser", a name, "/regex" (POSIX extended, searched)
//   users      "all", a name, "/regex"
//   address    "all" or empty, "samehost", "samenet", an address, a network; Unix sockets have no
//              address and match the first only
//   options    clientcert = "verify-ca" | "verify-full"
//              map = "cn" (the certificate's common name is the user's, as is the default) or the
//              common name that it must be
class Hba {
 public:
  // Problems of all rules at once, each with its origin; empty if the rules are good.
  static std::vector<ConfigIssue> check(const std::vector<HbaRule>& rules);
  // A rule that check() would complain of refuses whoever gets as far as it.
  explicit Hba(const std::vector<HbaRule>& rules);
  ~Hba();
  Hba(const Hba&) = delete;
  Hba& operator=(const Hba&) = delete;

  struct Decision {
    bool matched = false;  // false: no rule, refuse
    AuthMethod method = AuthMethod::kReject;
    HbaClientCert client_cert = HbaClientCert::kNo;
    std::string_view cert_name;  // common name the certificate must carry; empty: the user's name
    std::string_view origin;     // "file:line" of the rule, for the log
  };
  // Views in the decision point into this object.
  Decision decide(const HbaRequest& request) const;

 private:
  std::vector<HbaMatcher> matchers_;
};

}  // namespace pgshunt
