#include <gtest/gtest.h>

#include "proxy/auth/hba.h"

namespace pgshunt {
namespace {

using Connection = HbaRule::Connection;

HbaRule rule(Connection connection = Connection::kAny) {
  HbaRule out;
  out.connection = connection;
  out.databases = {"all"};
  out.users = {"all"};
  out.address = connection == Connection::kLocal ? "" : "all";
  out.method = AuthMethod::kTrust;
  out.origin = "rules.conf:3";
  return out;
}

HbaRequest request(std::string_view user = "alice", std::string_view database = "shop",
                   std::string_view address = "10.1.2.3", bool tls = false) {
  HbaRequest out;
  out.user = user;
  out.database = database;
  out.tls = tls;
  out.unix_socket = address.empty();
  if (!address.empty()) {
    EXPECT_TRUE(IpAddress::parse(address, out.address));
  }
  return out;
}

bool matches(const HbaRule& r, const HbaRequest& q) {
  EXPECT_TRUE(Hba::check({r}).empty());
  return Hba({r}).decide(q).matched;
}

TEST(IpAddress, IsReadAndWritten) {
  for (const std::string text : {"10.1.2.3", "::1", "fe80::1:2", "255.255.255.255"}) {
    IpAddress address;
    ASSERT_TRUE(IpAddress::parse(text, address));
    EXPECT_EQ(address.to_string(), text);
  }
  IpAddress address;
  ASSERT_TRUE(IpAddress::parse("::ffff:10.1.2.3", address));
  EXPECT_EQ(address.to_string(), "10.1.2.3");
  for (const std::string_view text : {"", "10.1.2", "10.1.2.256", "host", ":::", "10.1.2.3/8"}) {
    EXPECT_FALSE(IpAddress::parse(text, address)) << text;
  }
}

TEST(IpNetwork, ContainsWhatItsPrefixSays) {
  const auto contains = [](std::string_view network, std::string_view address) {
    IpNetwork n;
    IpAddress a;
    EXPECT_TRUE(IpNetwork::parse(network, n) && IpAddress::parse(address, a));
    return n.contains(a);
  };
  EXPECT_TRUE(contains("10.0.0.0/8", "10.255.0.1"));
  EXPECT_FALSE(contains("10.0.0.0/8", "11.0.0.1"));
  EXPECT_TRUE(contains("10.1.2.77/25", "10.1.2.0"));  // host bits do not count
  EXPECT_FALSE(contains("10.1.2.77/25", "10.1.2.128"));
  EXPECT_TRUE(contains("10.1.2.3/32", "10.1.2.3"));
  EXPECT_FALSE(contains("10.1.2.3/32", "10.1.2.2"));
  EXPECT_TRUE(contains("10.1.2.3", "10.1.2.3"));
  EXPECT_TRUE(contains("0.0.0.0/0", "1.2.3.4"));
  EXPECT_FALSE(contains("0.0.0.0/0", "::1"));
  EXPECT_FALSE(contains("::/0", "1.2.3.4"));
  EXPECT_TRUE(contains("fd00::/9", "fd7f::1"));
  EXPECT_FALSE(contains("fd00::/9", "fd80::1"));
  EXPECT_TRUE(contains("::1/128", "::1"));
}

TEST(IpNetwork, MalformedTextIsRefused) {
  IpNetwork n;
  for (const std::string_view text : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8 ",
                                      "::/129", "/8", "10.0.0.0/99999999999"}) {
    EXPECT_FALSE(IpNetwork::parse(text, n)) << text;
  }
}

TEST(Hba, TheFirstMatchDecides) {
  HbaRule first = rule();
  first.users = {"alice"};
  first.method = AuthMethod::kMd5;
  HbaRule second = rule();
  second.method = AuthMethod::kReject;
  second.origin = "rules.conf:4";
  const Hba hba({first, second});
  const auto alice = hba.decide(request("alice"));
  EXPECT_EQ(alice.method, AuthMethod::kMd5);
  EXPECT_EQ(alice.origin, "rules.conf:3");
  const auto bob = hba.decide(request("bob"));
  EXPECT_EQ(bob.method, AuthMethod::kReject);
  EXPECT_EQ(bob.origin, "rules.conf:4");
}

TEST(Hba, NoRuleRefuses) {
  const auto decision = Hba({}).decide(request());
  EXPECT_FALSE(decision.matched);
  EXPECT_EQ(decision.method, AuthMethod::kReject);
}

TEST(Hba, ConnectionTypesAreThoseOfPostgresql) {
  const HbaRequest local = request("alice", "shop", "");
  const HbaRequest plain = request();
  const HbaRequest tls = request("alice", "shop", "10.1.2.3", true);
  const auto row = [&](Connection c) {
    return std::array{matches(rule(c), local), matches(rule(c), plain), matches(rule(c), tls)};
  };
  EXPECT_EQ(row(Connection::kAny), (std::array{true, true, true}));
  EXPECT_EQ(row(Connection::kLocal), (std::array{true, false, false}));
  EXPECT_EQ(row(Connection::kHost), (std::array{false, true, true}));
  EXPECT_EQ(row(Connection::kHostSsl), (std::array{false, false, true}));
  EXPECT_EQ(row(Connection::kHostNoSsl), (std::array{false, true, false}));
}

TEST(Hba, NamesAndKeywordsAndExpressionsMatch) {
  HbaRule r = rule();
  r.databases = {"sales", "sameuser", "/^shop_[0-9]+$"};
  r.users = {"alice", "/ops"};
  EXPECT_TRUE(matches(r, request("alice", "sales")));
  EXPECT_TRUE(matches(r, request("alice", "alice")));
  EXPECT_FALSE(matches(r, request("alice", "bob")));
  EXPECT_TRUE(matches(r, request("alice", "shop_12")));
  EXPECT_FALSE(matches(r, request("alice", "shop_12x")));
  EXPECT_FALSE(matches(r, request("alice", "my_shop_12")));
  EXPECT_TRUE(matches(r, request("devops1", "sales")));
  EXPECT_FALSE(matches(r, request("bob", "sales")));
  EXPECT_FALSE(matches(r, request("alic", "sales")));
}

TEST(Hba, LongNamesCannotHurtAnExpression) {
  HbaRule r = rule();
  r.users = {"/^(a|b)*(c|d)+$"};
  const std::string name(9'000, 'a');
  EXPECT_FALSE(matches(r, request(name)));
  EXPECT_TRUE(matches(r, request(name + "c")));
}

TEST(Hba, AddressesMatch) {
  HbaRule r = rule(Connection::kHost);
  r.address = "10.0.0.0/8";
  EXPECT_TRUE(matches(r, request("a", "d", "10.9.9.9")));
  EXPECT_TRUE(matches(r, request("a", "d", "::ffff:10.9.9.9")));
  EXPECT_FALSE(matches(r, request("a", "d", "192.168.0.1")));
  r.address = "samehost";
  EXPECT_TRUE(matches(r, request("a", "d", "127.0.0.1")));
  EXPECT_FALSE(matches(r, request("a", "d", "127.0.0.9")));
  EXPECT_FALSE(matches(r, request("a", "d", "203.0.113.1")));
  r.address = "samenet";
  EXPECT_TRUE(matches(r, request("a", "d", "127.0.0.9")));
}

TEST(Hba, ARuleOfAnyTypeWithAnAddressIsForThatAddress) {
  HbaRule r = rule();
  r.address = "10.0.0.0/8";
  EXPECT_TRUE(matches(r, request()));
  EXPECT_FALSE(matches(r, request("alice", "shop", "")));
}

TEST(Hba, CertificateOptionsReachTheDecision) {
  HbaRule r = rule(Connection::kHostSsl);
  const auto decide = [&] {
    EXPECT_TRUE(Hba::check({r}).empty());
    return Hba({r}).decide(request("alice", "shop", "10.1.2.3", true));
  };
  EXPECT_EQ(decide().client_cert, HbaClientCert::kNo);
  r.options = {{"clientcert", "verify-ca"}};
  EXPECT_EQ(decide().client_cert, HbaClientCert::kVerifyCa);
  r.options = {{"clientcert", "verify-full"}};
  EXPECT_EQ(decide().client_cert, HbaClientCert::kVerifyFull);
  r.method = AuthMethod::kCert;
  r.options = {{"map", "cn"}};
  EXPECT_EQ(decide().client_cert, HbaClientCert::kVerifyFull);
}

TEST(Hba, EveryProblemIsNamedWithItsPlace) {
  const auto problem = [](const HbaRule& r) {
    const auto issues = Hba::check({r});
    EXPECT_EQ(issues.size(), 1u);
    if (issues.empty()) return std::string();
    EXPECT_EQ(issues[0].file, "rules.conf");
    EXPECT_EQ(issues[0].line, 3u);
    return issues[0].problem;
  };
  HbaRule r = rule();
  r.address = "db.example.com";
  EXPECT_NE(problem(r).find("host names are not supported"), std::string::npos);
  r = rule();
  r.users = {"/("};
  EXPECT_NE(problem(r).find("no regular expression"), std::string::npos);
  r = rule();
  r.databases.clear();
  EXPECT_EQ(problem(r), "names no database");
  r = rule();
  r.options = {{"clientcert", "1"}};
  EXPECT_NE(problem(r).find("expected verify-ca or verify-full"), std::string::npos);
  r.options = {{"radiusservers", "x"}};
  EXPECT_NE(problem(r).find("is not known"), std::string::npos);
  r.options = {{"map", "bob"}};
  EXPECT_NE(problem(r).find("needs method cert"), std::string::npos);
  r = rule(Connection::kLocal);
  r.method = AuthMethod::kCert;
  EXPECT_NE(problem(r).find("no TLS"), std::string::npos);
}

TEST(Hba, ABrokenRuleRefusesWhoeverReachesIt) {
  HbaRule broken = rule();
  broken.users = {"/("};
  HbaRule open = rule();
  const auto decision = Hba({broken, open}).decide(request());
  EXPECT_TRUE(decision.matched);
  EXPECT_EQ(decision.method, AuthMethod::kReject);
}

}  // namespace
}  // namespace pgshunt
