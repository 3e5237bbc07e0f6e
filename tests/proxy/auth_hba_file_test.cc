#include <gtest/gtest.h>

#include <map>

#include "proxy/auth/hba.h"
#include "proxy/auth/hba_file.h"

namespace pgshunt {
namespace {

using Names = std::vector<std::string>;
using Connection = HbaRule::Connection;

const std::map<std::string, std::string> kFiles = {
    {"/etc/people", "alice, bob\n# a comment\n\"carol d\"\n"},
    {"/etc/more.conf", "local all all trust\n"},
    {"/etc/loop.conf", "include loop.conf\n"},
    {"/etc/self", "@self"},
};

HbaFile parse(std::string_view text) {
  return parse_hba(text, "/etc/pg_hba.conf", [](const std::string& path) -> Result<std::string> {
    const auto found = kFiles.find(path);
    if (found == kFiles.end()) return Error{sqlstate::kConfigFileError, "no such file", {}};
    return found->second;
  });
}

HbaRule only_rule(std::string_view text) {
  const HbaFile file = parse(text);
  for (const ConfigIssue& issue : file.issues) ADD_FAILURE() << issue.problem;
  EXPECT_EQ(file.rules.size(), 1u) << text;
  EXPECT_TRUE(Hba::check(file.rules).empty());
  return file.rules.empty() ? HbaRule{} : file.rules[0];
}

std::string only_issue(std::string_view text) {
  const HbaFile file = parse(text);
  EXPECT_EQ(file.issues.size(), 1u) << text;
  EXPECT_TRUE(file.rules.empty()) << text;
  return file.issues.empty() ? std::string() : file.issues[0].problem;
}

TEST(HbaFile, ReadsTheSamplesOfTheManual) {
  const HbaFile file = parse(R"(
# TYPE  DATABASE        USER            ADDRESS                 METHOD
local   all             all                                     trust
host    all             all             127.0.0.1/32            trust
host    all             all             127.0.0.1               255.255.255.255     trust
host    all             all             ::1/128                 trust
host    postgres        all             192.168.93.0/24         md5
hostssl all,"my db"     alice,/^ops     0.0.0.0/0               scram-sha-256 clientcert=verify-full
hostnossl all           all             all                     reject
hostssl all             all             samenet                 cert
)");
  for (const ConfigIssue& issue : file.issues) ADD_FAILURE() << issue.problem;
  ASSERT_EQ(file.rules.size(), 8u);
  EXPECT_TRUE(Hba::check(file.rules).empty());
  EXPECT_EQ(file.rules[0].connection, Connection::kLocal);
  EXPECT_EQ(file.rules[0].origin, "/etc/pg_hba.conf:3");
  EXPECT_EQ(file.rules[1].address, "127.0.0.1/32");
  EXPECT_EQ(file.rules[2].address, "127.0.0.1/32");
  EXPECT_EQ(file.rules[2].method, AuthMethod::kTrust);
  EXPECT_EQ(file.rules[4].method, AuthMethod::kMd5);
  EXPECT_EQ(file.rules[5].databases, (Names{"all", "my db"}));
  EXPECT_EQ(file.rules[5].users, (Names{"alice", "/^ops"}));
  EXPECT_EQ(file.rules[5].options.at("clientcert"), "verify-full");
  EXPECT_EQ(file.rules[6].method, AuthMethod::kReject);
  EXPECT_EQ(file.rules[7].connection, Connection::kHostSsl);
  EXPECT_EQ(file.rules[7].origin, "/etc/pg_hba.conf:10");
}

TEST(HbaFile, CutsLinesAsPostgresqlDoes) {
  EXPECT_EQ(only_rule("local a,b,c all trust").databases, (Names{"a", "b", "c"}));
  EXPECT_EQ(only_rule("local a, b,\tc all trust").databases, (Names{"a", "b", "c"}));
  EXPECT_EQ(only_rule("local \"a,b\" all trust").databases, (Names{"a,b"}));
  EXPECT_EQ(only_rule("local \"a \"\"b\"\"\" all trust").databases, (Names{"a \"b\""}));
  EXPECT_EQ(only_rule("local a all trust#comment").method, AuthMethod::kTrust);
  EXPECT_EQ(only_rule("local \"a#b\" all trust # x").databases, (Names{"a#b"}));
  EXPECT_EQ(only_rule("local a \\\n all \\\n trust\r\n").users, (Names{"all"}));
  EXPECT_EQ(only_rule("local a all trust\\").method, AuthMethod::kTrust);
}

TEST(HbaFile, LinesAreCountedThroughContinuations) {
  const HbaFile file = parse("local a \\\n all trust\n\nlocal b all trust\n");
  ASSERT_EQ(file.rules.size(), 2u);
  EXPECT_EQ(file.rules[0].origin, "/etc/pg_hba.conf:1");
  EXPECT_EQ(file.rules[1].origin, "/etc/pg_hba.conf:4");
}

TEST(HbaFile, QuotesTakeTheMeaningFromAKeyword) {
  const HbaRule rule = only_rule("local \"all\",\"sameuser\",\"replication\" \"all\" trust");
  const Hba hba({rule});
  const auto matched = [&](std::string_view database, std::string_view user) {
    return hba.decide({.unix_socket = true, .address = {}, .database = database, .user = user})
        .matched;
  };
  EXPECT_TRUE(matched("all", "all"));
  EXPECT_TRUE(matched("sameuser", "all"));
  EXPECT_TRUE(matched("replication", "all"));
  EXPECT_FALSE(matched("shop", "all"));
  EXPECT_FALSE(matched("all", "alice"));
}

TEST(HbaFile, RulesForReplicationAreLeftOut) {
  EXPECT_TRUE(parse("local replication all trust").rules.empty());
  EXPECT_TRUE(parse("local replication all trust").issues.empty());
  EXPECT_EQ(only_rule("local replication,shop all trust").databases, (Names{"shop"}));
}

TEST(HbaFile, ReadsListsFromFiles) {
  EXPECT_EQ(only_rule("local all @people,dan trust").users,
            (Names{"alice", "bob", "carol d", "dan"}));
  EXPECT_NE(only_issue("local all @nobody trust").find("/etc/nobody"), std::string::npos);
  EXPECT_NE(only_issue("local all @self trust").find("too deeply"), std::string::npos);
}

TEST(HbaFile, IncludesFiles) {
  const HbaFile file = parse("include more.conf\nlocal shop all md5\ninclude_if_exists gone\n");
  ASSERT_EQ(file.rules.size(), 2u);
  EXPECT_TRUE(file.issues.empty());
  EXPECT_EQ(file.rules[0].origin, "/etc/more.conf:1");
  EXPECT_EQ(file.rules[1].origin, "/etc/pg_hba.conf:2");
  EXPECT_NE(only_issue("include gone").find("/etc/gone"), std::string::npos);
  EXPECT_NE(only_issue("include loop.conf").find("too deeply"), std::string::npos);
  EXPECT_NE(only_issue("include_dir conf.d").find("not supported"), std::string::npos);
}

TEST(HbaFile, AnIssueNamesFileAndLineAndSparesTheRest) {
  const HbaFile file = parse("local all all trust\nlocal all all ident\nlocal all all md5\n");
  ASSERT_EQ(file.issues.size(), 1u);
  EXPECT_EQ(file.issues[0].file, "/etc/pg_hba.conf");
  EXPECT_EQ(file.issues[0].line, 2u);
  EXPECT_EQ(file.rules.size(), 2u);
}

TEST(HbaFile, WhatCannotBeDoneAsPostgresqlWouldIsRefused) {
  for (const std::string_view line : {"local",
                                      "local all",
                                      "local all all",
                                      "host all all trust",
                                      "host all all all",
                                      "host all all 10.0.0.1 trust",
                                      "host all all 10.0.0.0 255.0.255.0 trust",
                                      "host all all 10.0.0.0 ffff:: trust",
                                      "hostgssenc all all all gss",
                                      "tcp all all all trust",
                                      "local all all peer",
                                      "host all all all ldap",
                                      "host all all all cert",
                                      "hostssl all all all cert map=people",
                                      "local all +admins trust",
                                      "local samerole all trust",
                                      "local all all trust extra",
                                      "local \"all all trust",
                                      "local all all trust,md5",
                                      "local \"\" all trust",
                                      "host all all 10.0.0.0 255.0.0.0"}) {
    EXPECT_FALSE(only_issue(line).empty()) << line;
  }
}

}  // namespace
}  // namespace pgshunt
