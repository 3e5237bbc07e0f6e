#include "protocol/md5_auth.h"

#include <gtest/gtest.h>

#include <set>

namespace pgshunt {
namespace {

// SELECT 'md5' || md5('pencil' || 'user') on a server.
constexpr std::string_view kStored = "md520c46e3762c864548e296b33c3406aa9";

TEST(Md5Auth, StoresWhatPostgresqlStores) {
  EXPECT_EQ(*md5_stored_hash("pencil", "user"), kStored);
  EXPECT_TRUE(is_md5_hash(kStored));
}

TEST(Md5Auth, RecognizesHashesAsPostgresqlDoes) {
  EXPECT_FALSE(is_md5_hash(kStored.substr(0, 34)));
  EXPECT_FALSE(is_md5_hash(std::string(kStored) + "0"));
  EXPECT_FALSE(is_md5_hash("MD520c46e3762c864548e296b33c3406aa9"));
  EXPECT_FALSE(is_md5_hash("md520C46E3762C864548E296B33C3406AA9"));
  EXPECT_FALSE(is_md5_hash(""));
}

TEST(Md5Auth, TheResponseFitsItsSaltOnly) {
  const std::string salt("\x01\x02\x00\xff", 4);
  const auto response = md5_response(kStored, salt);
  ASSERT_TRUE(response.ok());
  EXPECT_TRUE(md5_response_matches(*response, kStored, salt));
  EXPECT_FALSE(md5_response_matches(*response, kStored, "abcd"));
  EXPECT_FALSE(md5_response_matches(kStored, kStored, salt));
  EXPECT_FALSE(md5_response_matches("", kStored, salt));
  EXPECT_FALSE(md5_response_matches(*response, "", salt));
  EXPECT_FALSE(md5_response_matches(*response, "plain", salt));
  for (std::size_t i = 0; i < response->size(); ++i) {
    std::string altered = *response;
    altered[i] ^= 1;
    EXPECT_FALSE(md5_response_matches(altered, kStored, salt));
  }
}

TEST(Md5Auth, SaltsAreFresh) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(make_md5_salt().size(), kMd5SaltSize);
    seen.insert(make_md5_salt());
  }
  EXPECT_GT(seen.size(), 95u);
}

}  // namespace
}  // namespace pgshunt
