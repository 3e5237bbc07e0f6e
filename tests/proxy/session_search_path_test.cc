// What the router is told of a session's search_path.

#include <gtest/gtest.h>

#include "proxy/session/tracked_search_path.h"
#include "router/topology.h"

namespace pgshunt {
namespace {

std::string listed(std::string_view statement) {
  const auto schemas = schemas_of_set(statement);
  if (!schemas) return "unknown";
  std::string out;
  for (const std::string& schema : *schemas) out += "<" + schema + ">";
  return out;
}

TEST(SessionSearchPath, SetListsNamesAsTheServerReadsThem) {
  EXPECT_EQ(listed("SET search_path TO Tenant_1, public"), "<tenant_1><public>");
  EXPECT_EQ(listed("set session search_path = 'Tenant 1' , \"Public\""), "<Tenant 1><Public>");
  EXPECT_EQ(listed("SET LOCAL search_path TO tenant_2"), "<tenant_2>");
  EXPECT_EQ(listed("SET \"search_path\" TO 'a','b';"), "<a><b>");
  EXPECT_EQ(listed("SET SCHEMA 'tenant_1'"), "<tenant_1>");
  EXPECT_EQ(listed("SET search_path TO 'a, b'"), "<a, b>");
  EXPECT_EQ(listed("SET search_path TO E'a\\'b'"), "<a'b>");
  EXPECT_EQ(listed("SET search_path TO ''"), "<>");
  EXPECT_EQ(listed("SET LOCAL search_path TO DEFAULT"), "<$user><public>");
  EXPECT_EQ(listed("SET search_path TO a b"), "unknown");
  EXPECT_EQ(listed("SET search_path TO"), "unknown");
  EXPECT_EQ(listed("SET search_path TO 1"), "unknown");
  EXPECT_EQ(listed("SET timezone TO 'UTC'"), "unknown");
}

class Tracked : public ::testing::Test {
 protected:
  static std::shared_ptr<const Topology> topology(
      std::vector<std::pair<std::string, ShardId>> homes) {
    TopologyBuilder builder;
    EXPECT_TRUE(builder.add_shard("s0"));
    if (!homes.empty()) {
      EXPECT_TRUE(builder.add_keyspace("tenants", ShardKeyType::kInt8, SchemaPlacement{homes}));
    }
    return *builder.build(1);
  }

  // "default", "unknown" or the schemas.
  std::string told(std::vector<NameValues::Pair> settings, std::string_view local,
                   const Topology& topology) {
    RouterSession session;
    path_.tell(*NameValues::of(std::move(settings)), local, "app", topology, session);
    if (session.default_search_path) return "default";
    if (session.search_path == nullptr) return "unknown";
    std::string out;
    for (const std::string& schema : session.search_path->schemas()) out += "<" + schema + ">";
    return out;
  }

  std::shared_ptr<const Topology> plain_ = topology({});
  std::shared_ptr<const Topology> tenants_ = topology({{"tenant_1", 0}});
  std::shared_ptr<const Topology> users_ = topology({{"app", 0}, {"other", 0}});
  TrackedSearchPath path_;
};

TEST_F(Tracked, APathIsReadWhereItIsAnother) {
  EXPECT_EQ(told({}, "", *plain_), "default");
  EXPECT_EQ(told({{"search_path", "SET search_path TO a"}}, "", *plain_), "<a>");
  EXPECT_EQ(told({{"search_path", "SET search_path TO a, public"}}, "", *plain_), "<a><public>");
  for (const char* same : {"SET search_path TO public", "SET search_path = \"$user\", public",
                           "SET search_path TO DEFAULT", "SET search_path TO public, pg_catalog"}) {
    EXPECT_EQ(told({{"search_path", same}}, "", *plain_), "default") << same;
  }
  EXPECT_EQ(told({{"search_path", "SET search_path TO f(1)"}}, "", *plain_), "unknown");
  EXPECT_EQ(told({}, "", *tenants_), "default");
  EXPECT_EQ(told({{"search_path", "SET search_path TO a, \"$user\""}}, "", *tenants_), "<a>")
      << "a user without a schema";
}

TEST_F(Tracked, SetLocalHoldsUnlessTheSessionSetItToo) {
  EXPECT_EQ(told({}, "SET LOCAL search_path TO b", *tenants_), "<b>");
  EXPECT_EQ(told({}, "SET LOCAL search_path TO b", *plain_), "<b>");
  EXPECT_EQ(
      told({{"search_path", "SET search_path TO a"}}, "SET LOCAL search_path TO b", *tenants_),
      "unknown");
}

TEST_F(Tracked, AUserMayHaveASchemaOfDeclaredTables) {
  TopologyBuilder builder;
  EXPECT_TRUE(builder.add_shard("s0"));
  EXPECT_TRUE(builder.add_reference_table("app", "countries"));
  const auto topology = *builder.build(1);
  EXPECT_EQ(told({{"search_path", "SET search_path TO \"$user\", public"}}, "", *topology),
            "<app><public>");
}

TEST_F(Tracked, AUserMayBeATenant) {
  EXPECT_EQ(told({}, "", *users_), "<app><public>");
  EXPECT_EQ(told({{"role", "SET ROLE other"}}, "", *users_), "<other><public>");
  EXPECT_EQ(told({{"role", "SET \"role\" TO 'other'"}}, "", *users_), "<other><public>");
  EXPECT_EQ(told({{"role", "SET ROLE NONE"}}, "", *users_), "<app><public>");
  EXPECT_EQ(told({{"role", "SET ROLE nobody"}}, "", *users_), "default");
  EXPECT_EQ(told({{"session_authorization", "SET SESSION AUTHORIZATION other"}}, "", *users_),
            "unknown");
  EXPECT_EQ(told({{"session_authorization", "SET SESSION AUTHORIZATION other"},
                  {"search_path", "SET search_path TO other"}},
                 "", *users_),
            "<other>");
}

}  // namespace
}  // namespace pgshunt
