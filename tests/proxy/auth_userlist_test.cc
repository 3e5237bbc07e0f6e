#include <gtest/gtest.h>

#include "proxy/auth/userlist.h"

namespace pgshunt {
namespace {

using Users = std::vector<std::pair<std::string, std::string>>;

const std::string kScram =
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

TEST(Userlist, ReadsNamesAndSecrets) {
  const Userlist list = parse_userlist(
      "; a comment\n"
      "# another\n"
      "\n"
      "\"alice\" \"secret\"\n"
      "  \"bob\"\t\"md520c46e3762c864548e296b33c3406aa9\" \"ignored\" rest\r\n"
      "\"quo\"\"ted\" \"pass\"\"word\"\n"
      "\"nobody\" \"\"\n"
      "\"last\" \"without line end\"",
      "userlist.txt");
  EXPECT_TRUE(list.issues.empty());
  EXPECT_EQ(list.users, (Users{{"alice", "secret"},
                               {"bob", "md520c46e3762c864548e296b33c3406aa9"},
                               {"quo\"ted", "pass\"word"},
                               {"nobody", ""},
                               {"last", "without line end"}}));
}

TEST(Userlist, NamesTheLineAndNeverTheSecret) {
  for (const std::string line :
       {"alice \"hidden\"", "\"alice \"hidden\"", "\"alice\"\"hidden\"", "\"alice\" \"hidden",
        "\"alice\" hidden", "\"\" \"hidden\"", "\"alice\" \"hidden\"x",
        "\"alice\" \"SCRAM-SHA-256$4096:hidden\""}) {
    const Userlist list = parse_userlist("\n" + line + "\n\"bob\" \"ok\"\n", "userlist.txt");
    ASSERT_EQ(list.issues.size(), 1u) << line;
    EXPECT_EQ(list.issues[0].file, "userlist.txt");
    EXPECT_EQ(list.issues[0].line, 2u);
    EXPECT_EQ(list.issues[0].problem.find("hidden"), std::string::npos);
    EXPECT_EQ(list.users, (Users{{"bob", "ok"}})) << line;
  }
}

TEST(Userlist, AUserStandsThereOnce) {
  const Userlist list = parse_userlist("\"a\" \"1\"\n\"a\" \"2\"\n", "userlist.txt");
  ASSERT_EQ(list.issues.size(), 1u);
  EXPECT_EQ(list.issues[0].line, 2u);
  EXPECT_NE(list.issues[0].problem.find("line 1"), std::string::npos);
}

TEST(Userlist, OversizedFieldsAreRefused) {
  const auto issues = [](const std::string& text) {
    return parse_userlist(text, "userlist.txt").issues.size();
  };
  EXPECT_EQ(issues("\"" + std::string(2'000, 'a') + "\" \"x\""), 1u);
  EXPECT_EQ(issues("\"a\" \"" + std::string(20'000, 'a') + "\""), 1u);
}

TEST(UserTable, FindsWhatWasAddedLast) {
  UserTable table;
  table.add("alice", "old");
  table.add("alice", "new");
  table.add("bob", "");
  EXPECT_EQ(table.size(), 2u);
  ASSERT_NE(table.find("alice"), nullptr);
  EXPECT_EQ(table.find("alice")->text, "new");
  EXPECT_EQ(table.find("bob")->kind, SecretKind::kNone);
  EXPECT_EQ(table.find("carol"), nullptr);
}

TEST(Secret, ItsFormIsRecognizedAsPostgresqlDoes) {
  EXPECT_EQ(parse_secret("").kind, SecretKind::kNone);
  EXPECT_EQ(parse_secret("secret").kind, SecretKind::kPlain);
  EXPECT_EQ(parse_secret("md5").kind, SecretKind::kPlain);
  EXPECT_EQ(parse_secret("md520c46e3762c864548e296b33c3406aa9").kind, SecretKind::kMd5);
  EXPECT_EQ(parse_secret(kScram).kind, SecretKind::kScram);
  EXPECT_EQ(parse_secret(kScram).scram.iterations, 4096u);
  EXPECT_EQ(parse_secret(kScram.substr(1)).kind, SecretKind::kPlain);
}

TEST(Secret, ASlipInAScramSecretIsNotTakenForAPassword) {
  EXPECT_EQ(secret_problem(kScram), "");
  EXPECT_EQ(secret_problem("secret"), "");
  EXPECT_NE(secret_problem(kScram.substr(0, kScram.size() - 1)), "");
}

}  // namespace
}  // namespace pgshunt
