// The settings that say where statements run.

#include "proxy/session/session_hints.h"

#include <gtest/gtest.h>

#include "proxy/session/settings.h"
#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

std::string value(std::string_view statement) {
  return value_of_set(statement).value_or("(nothing)");
}

TEST(SessionHints, ValuesAreReadFromAnySet) {
  EXPECT_EQ(value("SET pgshunt.shard = 's1'"), "s1");
  EXPECT_EQ(value("SET LOCAL pgshunt.shard TO s1"), "s1");
  EXPECT_EQ(value("SET SESSION \"pgshunt\".\"shard\" TO E'a\\'b'"), "a'b");
  EXPECT_EQ(value("SET pgshunt.key = -42"), "-42");
  EXPECT_EQ(value("SET pgshunt.key TO 1.50"), "1.50");
  EXPECT_EQ(value("SET pgshunt.shard TO DEFAULT"), "(nothing)");
  EXPECT_EQ(value("SET pgshunt.shard = ''"), "(nothing)");
}

class SessionHintsTest : public ::testing::Test {
 protected:
  std::string check(std::string_view name, std::string_view statement) {
    const Status good =
        hints_.check(name, statement, settings_.current(), transaction_, *topology_);
    return good ? "good" : std::string(good.error().code.view());
  }
  std::string current() {
    const RouteHint* hint = hints_.current(settings_.current(), transaction_);
    if (hint == nullptr) return "none";
    return hint->shard.value_or("") + "," + hint->key.value_or("");
  }

  std::shared_ptr<const Topology> topology_ = test_topology();
  SessionSettings settings_;
  ShardTransaction transaction_;
  SessionHints hints_;
};

TEST_F(SessionHintsTest, AreCheckedWhenTheyAreSet) {
  EXPECT_EQ(check("pgshunt.shard", "SET pgshunt.shard = 's1'"), "good");
  EXPECT_EQ(check("pgshunt.shard", "SET pgshunt.shard = ''"), "good");
  EXPECT_EQ(check("pgshunt.shard", "SET pgshunt.shard = 'nobody'"), "22023");
  EXPECT_EQ(check("pgshunt.role", "SET pgshunt.role = any"), "good");
  EXPECT_EQ(check("pgshunt.role", "SET pgshunt.role = some"), "22023");
  EXPECT_EQ(check("pgshunt.nothing", ""), "42704");
  EXPECT_EQ(check("pgshunt.key", "SET pgshunt.key = 'five'"), "good");  // of which keyspace?
  settings_.set("pgshunt.keyspace", "SET pgshunt.keyspace = users");
  EXPECT_EQ(check("pgshunt.key", "SET pgshunt.key = 'five'"), "22023");
  EXPECT_EQ(check("pgshunt.key", "SET pgshunt.key = 5"), "good");
}

TEST_F(SessionHintsTest, FollowTheSettingsAndTheTransaction) {
  EXPECT_EQ(current(), "none");
  settings_.set("pgshunt.role", "SET pgshunt.role = replica");
  EXPECT_EQ(current(), "none");
  settings_.set("pgshunt.shard", "SET pgshunt.shard = 's1'");
  EXPECT_EQ(current(), "s1,");
  transaction_.begin("BEGIN");
  transaction_.savepoint("a", "SAVEPOINT a");
  transaction_.set_local("pgshunt.shard", "SET LOCAL pgshunt.shard = 's2'");
  EXPECT_EQ(current(), "s2,");
  EXPECT_EQ(check("pgshunt.shard", "SET LOCAL pgshunt.shard = 's1'"), "good");
  transaction_.rollback_to("a");
  EXPECT_EQ(current(), "s1,");
  settings_.rollback();
  EXPECT_EQ(current(), "none");
}

}  // namespace
}  // namespace pgshunt
