#include <gtest/gtest.h>

#include <set>

#include "proxy/admin/command.h"

namespace pgshunt {
namespace {

AdminCommand parsed(std::string_view text) {
  const auto command = parse_admin_command(text);
  EXPECT_TRUE(command.ok()) << text << ": " << (command ? "" : command.error().message);
  return command ? *command : AdminCommand{};
}

Error refused(std::string_view text) {
  const auto command = parse_admin_command(text);
  EXPECT_FALSE(command.ok()) << text;
  return command ? Error{} : command.error();
}

TEST(AdminCommand, EveryTopicIsFoundByItsName) {
  const auto names = show_topic_names();
  for (std::size_t i = 0; i < names.size(); ++i) {
    const AdminCommand command = parsed("SHOW " + std::string(names[i]));
    EXPECT_EQ(command.verb, AdminVerb::kShow);
    EXPECT_EQ(command.topic, static_cast<ShowTopic>(i)) << names[i];
    EXPECT_FALSE(show_columns(command.topic).empty()) << names[i];
  }
  EXPECT_EQ(parsed("SHOW POOLS").topic, ShowTopic::kPools);
  EXPECT_EQ(parsed("SHOW PINS").topic, ShowTopic::kPins);
  EXPECT_EQ(parsed("SHOW TABLES").topic, ShowTopic::kTables);
  EXPECT_EQ(parsed("SHOW TRANSACTIONS").topic, ShowTopic::kTransactions);
}

TEST(AdminCommand, ColumnsHaveDifferentNames) {
  for (std::size_t i = 0; i < show_topic_names().size(); ++i) {
    std::set<std::string_view> seen;
    for (const AdminColumn& column : show_columns(static_cast<ShowTopic>(i))) {
      EXPECT_TRUE(seen.insert(column.name).second) << show_topic_names()[i] << ": " << column.name;
    }
  }
}

TEST(AdminCommand, KeywordsInAnyCaseWithCommentsAndSemicolons) {
  EXPECT_EQ(parsed("  show /* the */ Pools ; ; -- now\n").topic, ShowTopic::kPools);
  EXPECT_EQ(parsed("reload;").verb, AdminVerb::kReload);
  EXPECT_EQ(parsed("--only a comment").verb, AdminVerb::kEmpty);
  EXPECT_EQ(parsed(" ;").verb, AdminVerb::kEmpty);
  EXPECT_EQ(parsed("").verb, AdminVerb::kEmpty);
}

TEST(AdminCommand, ShowAloneIsHelp) {
  EXPECT_EQ(parsed("SHOW").verb, AdminVerb::kHelp);
  EXPECT_EQ(parsed("show help;").verb, AdminVerb::kHelp);
}

TEST(AdminCommand, DatabaseNamesAreTakenAsWritten) {
  EXPECT_EQ(parsed("PAUSE").name, "");
  EXPECT_EQ(parsed("PAUSE MyDb;").name, "MyDb");
  EXPECT_EQ(parsed("PAUSE \"my \"\"db\"\"\"").name, "my \"db\"");
  EXPECT_EQ(parsed("resume 'app-1'").name, "app-1");
  EXPECT_EQ(parsed("RECONNECT app").verb, AdminVerb::kReconnect);
  EXPECT_EQ(parsed("KILL app").verb, AdminVerb::kKill);
  EXPECT_EQ(parsed("WAIT_CLOSE").verb, AdminVerb::kWaitClose);
  EXPECT_EQ(parsed("ENABLE app").name, "app");
  EXPECT_EQ(parsed("DISABLE app").verb, AdminVerb::kDisable);
}

TEST(AdminCommand, WhatNeedsADatabaseSaysSo) {
  EXPECT_EQ(refused("DISABLE").code, sqlstate::kSyntaxError);
  EXPECT_EQ(refused("ENABLE ;").code, sqlstate::kSyntaxError);
  EXPECT_EQ(refused("DISABLE \"\"").code, sqlstate::kSyntaxError);
}

TEST(AdminCommand, KillClientTakesANumber) {
  EXPECT_EQ(parsed("KILL_CLIENT 18446744073709551615").client, 18446744073709551615u);
  for (const char* text : {"KILL_CLIENT", "KILL_CLIENT x", "KILL_CLIENT 1x", "KILL_CLIENT -1",
                           "KILL_CLIENT 18446744073709551616"}) {
    EXPECT_EQ(refused(text).code, sqlstate::kSyntaxError) << text;
  }
}

TEST(AdminCommand, ShutdownHasThreeWays) {
  EXPECT_EQ(parsed("SHUTDOWN").when, ShutdownWhen::kNow);
  EXPECT_EQ(parsed("SHUTDOWN WAIT_FOR_SERVERS").when, ShutdownWhen::kServersFree);
  EXPECT_EQ(parsed("shutdown wait_for_clients;").when, ShutdownWhen::kClientsGone);
  EXPECT_EQ(refused("SHUTDOWN NOW").code, sqlstate::kSyntaxError);
}

TEST(AdminCommand, UnknownWordsPointToHelp) {
  for (const char* text : {"FROB", "SHOW FROB", "SHOW POOLS app", "RELOAD now", "PAUSE a b",
                           "PAUSE a; PAUSE b", "\"SHOW\" POOLS", "SHOW \"POOLS\"", "(", "=",
                           "PAUSE \"open", "PAUSE /* open", "DISCARD PLANS", "DEALLOCATE"}) {
    const Error error = refused(text);
    EXPECT_EQ(error.code, sqlstate::kSyntaxError) << text;
    EXPECT_NE(error.hint.find("SHOW HELP"), std::string::npos) << text;
  }
}

TEST(AdminCommand, WhatHasNoMeaningHereSaysWhatToDoInstead) {
  for (const char* text : {"SUSPEND", "SHOW FDS", "SET pool_mode = 'session'", "SET x"}) {
    const Error error = refused(text);
    EXPECT_EQ(error.code, sqlstate::kFeatureNotSupported) << text;
    EXPECT_FALSE(error.hint.empty()) << text;
  }
  EXPECT_NE(refused("SET verbose = 1").hint.find("RELOAD"), std::string::npos);
}

TEST(AdminCommand, WhatDriversSendUnaskedIsAccepted) {
  EXPECT_EQ(parsed("BEGIN").verb, AdminVerb::kBegin);
  EXPECT_EQ(parsed("START TRANSACTION READ ONLY").verb, AdminVerb::kBegin);
  EXPECT_EQ(parsed("COMMIT;").verb, AdminVerb::kCommit);
  EXPECT_EQ(parsed("END").verb, AdminVerb::kCommit);
  EXPECT_EQ(parsed("ROLLBACK").verb, AdminVerb::kRollback);
  EXPECT_EQ(parsed("SET extra_float_digits = 3").verb, AdminVerb::kSetDriverSetting);
  EXPECT_EQ(parsed("SET SESSION DateStyle TO 'ISO, MDY'").verb, AdminVerb::kSetDriverSetting);
  EXPECT_EQ(parsed("SET application_name = ''").verb, AdminVerb::kSetDriverSetting);
  EXPECT_EQ(parsed("DEALLOCATE ALL").name, "");
  EXPECT_EQ(parsed("DEALLOCATE PREPARE \"p 1\"").name, "p 1");
  EXPECT_EQ(parsed("DISCARD ALL").verb, AdminVerb::kDeallocate);
}

TEST(AdminCommand, OnlyLookingIsFreeOfAdminRights) {
  for (const char* text : {"SHOW CONFIG", "SHOW HELP", "", "BEGIN", "SET client_encoding = 'UTF8'",
                           "DEALLOCATE ALL"}) {
    EXPECT_TRUE(parsed(text).only_shows()) << text;
  }
  for (const char* text : {"PAUSE", "RESUME", "RELOAD", "RECONNECT", "KILL", "KILL_CLIENT 1",
                           "DISABLE a", "ENABLE a", "WAIT_CLOSE", "SHUTDOWN"}) {
    EXPECT_FALSE(parsed(text).only_shows()) << text;
  }
}

TEST(AdminCommand, HelpNamesEveryTopicAndCommand) {
  const std::string_view help = admin_help();
  for (const std::string_view topic : show_topic_names()) {
    EXPECT_NE(help.find(topic), help.npos) << topic;
  }
  for (const char* text : {"PAUSE", "RESUME", "RELOAD", "RECONNECT", "KILL", "KILL_CLIENT 1",
                           "DISABLE a", "ENABLE a", "WAIT_CLOSE", "SHUTDOWN"}) {
    EXPECT_NE(help.find(parsed(text).tag()), help.npos) << text;
  }
}

}  // namespace
}  // namespace pgshunt
