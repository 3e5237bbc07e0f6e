#include "proxy/auth/hba.h"

#include <regex.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

namespace pgshunt {
namespace {

// POSIX rather than <regex>: its matcher has no recursion that a long name could overflow, and its
// extended syntax is nearest to PostgreSQL's.
class NameRegex {
 public:
  // Null if it does not compile.
  static std::optional<NameRegex> compile(const std::string& pattern) {
    auto compiled = std::make_unique<regex_t>();
    if (regcomp(compiled.get(), pattern.c_str(), REG_EXTENDED | REG_NOSUB) != 0) {
      return std::nullopt;
    }
    return NameRegex(compiled.release());
  }

  bool matches(std::string_view name) const {
    regmatch_t range{0, static_cast<regoff_t>(name.size())};
    return regexec(compiled_.get(), name.data(), 0, &range, REG_STARTEND) == 0;
  }

 private:
  struct Free {
    void operator()(regex_t* regex) const {
      regfree(regex);
      delete regex;
    }
  };
  explicit NameRegex(regex_t* compiled) : compiled_(compiled) {}

  std::unique_ptr<regex_t, Free> compiled_;
};

// One entry of a list of databases or users.
struct NamePattern {
  enum class Kind : std::uint8_t { kAll, kSameUser, kName, kRegex };
  Kind kind = Kind::kName;
  std::string name;
  std::optional<NameRegex> regex;

  bool matches(std::string_view candidate, std::string_view user) const {
    switch (kind) {
      case Kind::kAll:
        return true;
      case Kind::kSameUser:
        return candidate == user;
      case Kind::kName:
        return candidate == name;
      case Kind::kRegex:
        return regex->matches(candidate);
    }
    return false;
  }
};

bool any_matches(const std::vector<NamePattern>& patterns, std::string_view candidate,
                 std::string_view user) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const NamePattern& p) { return p.matches(candidate, user); });
}

ConfigIssue issue_of(const HbaRule& rule, std::string problem) {
  ConfigIssue issue{rule.origin, 0, "hba", std::move(problem)};
  const std::size_t colon = rule.origin.rfind(':');
  if (colon == std::string::npos) return issue;
  const char* const end = rule.origin.data() + rule.origin.size();
  std::uint32_t line = 0;
  if (std::from_chars(rule.origin.data() + colon + 1, end, line).ptr == end) {
    issue.file = rule.origin.substr(0, colon);
    issue.line = line;
  }
  return issue;
}

}  // namespace

class HbaMatcher {
 public:
  HbaMatcher(const HbaRule& rule, std::vector<ConfigIssue>& issues)
      : connection_(rule.connection), method_(rule.method), origin_(rule.origin) {
    const std::size_t before = issues.size();
    read_names(rule, rule.databases, true, issues, databases_);
    read_names(rule, rule.users, false, issues, users_);
    read_address(rule, issues);
    read_options(rule, issues);
    broken_ = issues.size() > before;
  }

  bool applies(const HbaRequest& request) const {
    if (broken_) return true;
    if (!connection_fits(request)) return false;
    if (!request.unix_socket && !any_address_ &&
        std::none_of(networks_.begin(), networks_.end(),
                     [&](const IpNetwork& n) { return n.contains(request.address); })) {
      return false;
    }
    return any_matches(databases_, request.database, request.user) &&
           any_matches(users_, request.user, request.user);
  }

  Hba::Decision decision() const {
    return {true, broken_ ? AuthMethod::kReject : method_, client_cert_, cert_name_, origin_};
  }

 private:
  bool connection_fits(const HbaRequest& request) const {
    switch (connection_) {
      case HbaRule::Connection::kAny:
        return any_address_ || !request.unix_socket;
      case HbaRule::Connection::kLocal:
        return request.unix_socket;
      case HbaRule::Connection::kHost:
        return !request.unix_socket;
      case HbaRule::Connection::kHostSsl:
        return !request.unix_socket && request.tls;
      case HbaRule::Connection::kHostNoSsl:
        return !request.unix_socket && !request.tls;
    }
    return false;
  }

  static void read_names(const HbaRule& rule, const std::vector<std::string>& names, bool databases,
                         std::vector<ConfigIssue>& issues, std::vector<NamePattern>& out) {
    const std::string what = databases ? "database" : "user";
    if (names.empty()) issues.push_back(issue_of(rule, "names no " + what));
    for (const std::string& name : names) {
      NamePattern pattern;
      if (name == "all") {
        pattern.kind = NamePattern::Kind::kAll;
      } else if (databases && name == "sameuser") {
        pattern.kind = NamePattern::Kind::kSameUser;
      } else if (name.starts_with('/')) {
        pattern.kind = NamePattern::Kind::kRegex;
        pattern.regex = NameRegex::compile(name.substr(1));
        if (!pattern.regex) {
          issues.push_back(issue_of(rule, what + " \"" + name + "\" is no regular expression"));
        }
      } else {
        pattern.name = name;
      }
      out.push_back(std::move(pattern));
    }
  }

  void read_address(const HbaRule& rule, std::vector<ConfigIssue>& issues) {
    if (rule.connection == HbaRule::Connection::kLocal || rule.address.empty() ||
        rule.address == "all") {
      any_address_ = true;
      return;
    }
    if (rule.address == "samehost" || rule.address == "samenet") {
      networks_ = local_networks();
      if (rule.address == "samehost") {
        for (IpNetwork& network : networks_) network.prefix = network.address.bit_count();
      }
      return;
    }
    IpNetwork network;
    if (IpNetwork::parse(rule.address, network)) {
      networks_.push_back(network);
    } else {
      issues.push_back(issue_of(
          rule, "address \"" + rule.address +
                    "\" is none of all, samehost, samenet, an IP address and a network such as "
                    "10.0.0.0/8 (host names are not supported)"));
    }
  }

  void read_options(const HbaRule& rule, std::vector<ConfigIssue>& issues) {
    for (const auto& [name, value] : rule.options) {
      if (name == "clientcert" && value == "verify-ca") {
        client_cert_ = HbaClientCert::kVerifyCa;
      } else if (name == "clientcert" && value == "verify-full") {
        client_cert_ = HbaClientCert::kVerifyFull;
      } else if (name == "clientcert") {
        issues.push_back(
            issue_of(rule, "clientcert is \"" + value + "\", expected verify-ca or verify-full"));
      } else if (name == "map") {
        if (value != "cn") cert_name_ = value;
      } else {
        issues.push_back(
            issue_of(rule, "option \"" + name + "\" is not known, expected clientcert or map"));
      }
    }
    if (method_ == AuthMethod::kCert) client_cert_ = HbaClientCert::kVerifyFull;
    if (!cert_name_.empty() && client_cert_ != HbaClientCert::kVerifyFull) {
      issues.push_back(
          issue_of(rule, "option map needs method cert or clientcert = verify-full beside it"));
    }
    if (client_cert_ != HbaClientCert::kNo && (connection_ == HbaRule::Connection::kLocal ||
                                               connection_ == HbaRule::Connection::kHostNoSsl)) {
      issues.push_back(issue_of(rule, "asks for a certificate where there is no TLS"));
    }
  }

  HbaRule::Connection connection_;
  AuthMethod method_;
  std::string origin_;
  std::vector<NamePattern> databases_;
  std::vector<NamePattern> users_;
  bool any_address_ = false;
  std::vector<IpNetwork> networks_;
  HbaClientCert client_cert_ = HbaClientCert::kNo;
  std::string cert_name_;
  bool broken_ = false;
};

std::vector<ConfigIssue> Hba::check(const std::vector<HbaRule>& rules) {
  std::vector<ConfigIssue> issues;
  for (const HbaRule& rule : rules) {
    const HbaMatcher matcher(rule, issues);
  }
  return issues;
}

Hba::Hba(const std::vector<HbaRule>& rules) {
  std::vector<ConfigIssue> issues;
  matchers_.reserve(rules.size());
  for (const HbaRule& rule : rules) matchers_.emplace_back(rule, issues);
}

Hba::~Hba() = default;

Hba::Decision Hba::decide(const HbaRequest& request) const {
  for (const HbaMatcher& matcher : matchers_) {
    if (matcher.applies(request)) return matcher.decision();
  }
  return {};
}

}  // namespace pgshunt
