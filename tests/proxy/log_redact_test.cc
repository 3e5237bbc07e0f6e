#include <gtest/gtest.h>

#include "proxy/log/redact.h"

namespace pgshunt {
namespace {

TEST(LogRedact, TakesSecretsOutOfConnectionStrings) {
  const std::pair<const char*, const char*> cases[] = {
      {"", ""},
      {"host=h port=5 dbname=d", "host=h port=5 dbname=d"},
      {"host=h password=hush user=u", "host=h password=*** user=u"},
      {"password = 'hu sh' host=h", "password = *** host=h"},
      {R"(password='hu\'sh x' host=h)", "password=*** host=h"},
      {R"(password=hu\ sh host=h)", "password=*** host=h"},
      {"PASSWORD=hush", "PASSWORD=***"},
      {"sslpassword=hush", "sslpassword=***"},
      {"password='hush", "password=***"},
      {"password=", "password=***"},
      {"host='a b' password=hush", "host='a b' password=***"},
      // Not understood from here on.
      {"host=h hush", "host=h ***"},
      {"hush password=x", "***"},
      {"postgresql://u:hush@h:5/d", "postgresql://u:***@h:5/d"},
      {"postgres://u@h/d", "postgres://u@h/d"},
      {"postgres://h/d?sslmode=require&password=hush&x=1",
       "postgres://h/d?sslmode=require&password=***&x=1"},
      {"postgres://u:hu@sh@h/d", "postgres://u:***@h/d"},
      {"postgres://u:hu/sh@h/d", "postgres://u:***@h/d"},
      {"postgres://u:hu?sh@h/d", "postgres://***"},
      {"postgres://u:hu@sh?hush@h/d", "postgres://***"},
      {"postgres://h/d?pass%77ord=hush", "postgres://h/d?pass%77ord=***"},
      {"postgres://:hush@/d", "postgres://:***@/d"},
  };
  for (const auto& [text, redacted] : cases) {
    EXPECT_EQ(redact_connection_string(text), redacted) << text;
  }
}

TEST(LogRedact, KnowsTheNamesOfSecrets) {
  for (const char* name : {"password", "PGPASSWORD", "sslpassword", "force_password", "passwd",
                           "oauth_client_secret", "pwd", "auth_token"}) {
    EXPECT_TRUE(is_secret_parameter(name)) << name;
  }
  for (const char* name : {"user", "application_name", "host", "passthrough", "options"}) {
    EXPECT_FALSE(is_secret_parameter(name)) << name;
  }
}

}  // namespace
}  // namespace pgshunt
