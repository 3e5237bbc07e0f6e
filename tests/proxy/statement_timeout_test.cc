#include "proxy/session/statement_timeout.h"

#include <gtest/gtest.h>

namespace pgshunt {
namespace {

TEST(StatementTimeout, Units) {
  const auto ms = [](const char* statement) { return timeout_of(statement).count(); };
  EXPECT_EQ(ms("SET statement_timeout = 250"), 250);
  EXPECT_EQ(ms("SET statement_timeout TO '250'"), 250);
  EXPECT_EQ(ms("SET LOCAL statement_timeout = '2s';"), 2000);
  EXPECT_EQ(ms("SET statement_timeout = '1.5 min'"), 90'000);
  EXPECT_EQ(ms("SET statement_timeout = ' 3 h '"), 10'800'000);
  EXPECT_EQ(ms("SET statement_timeout = '1d' -- long"), 86'400'000);
  EXPECT_EQ(ms("SET statement_timeout = '1500us'"), 2);
  EXPECT_EQ(ms("SET statement_timeout = 0.5"), 1);
}

TEST(StatementTimeout, None) {
  for (const char* statement :
       {"", "SET statement_timeout = 0", "SET statement_timeout = '0'",
        "SET statement_timeout TO DEFAULT", "SET statement_timeout = '5 parsecs'",
        "SET statement_timeout = 'soon'", "SET statement_timeout = '99999999999h'"}) {
    EXPECT_EQ(timeout_of(statement).count(), 0) << statement;
  }
}

}  // namespace
}  // namespace pgshunt
