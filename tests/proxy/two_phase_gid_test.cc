#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <set>

#include "proxy/two_phase/gid.h"

namespace pgshunt {
namespace {

TEST(Gid, SaysWhoseItIsAndWhoDecides) {
  const Gid gid = make_gid("app", "s1", false);
  EXPECT_TRUE(gid.text.starts_with(gid_prefix("app")));
  const auto parts = parse_gid(gid.text);
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->database, "app");
  EXPECT_EQ(parts->proxy, proxy_id());
  EXPECT_EQ(parts->decider, "s1");
  EXPECT_FALSE(parts->first_last);
  EXPECT_EQ(parts->decision, gid.text);
  EXPECT_FALSE(parts->part);
  const Gid last = make_gid("app", "last", true);
  const std::string third = gid_of_part(last.text, 3);
  const auto of_part = parse_gid(third);
  ASSERT_TRUE(of_part);
  EXPECT_EQ(of_part->decision, last.text);
  EXPECT_EQ(of_part->decider, "last");
  EXPECT_TRUE(of_part->first_last);
  EXPECT_EQ(of_part->part, 3u);
}

TEST(Gid, ItsMarkIsTheHashOfItsKey) {
  const Gid gid = make_gid("app", "s1", false);
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(gid.key.data()), gid.key.size(), digest);
  std::string hex;
  for (int i = 0; i < 16; ++i) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", digest[i]);
    hex += two;
  }
  EXPECT_EQ(parse_gid(gid.text)->mark, hex);
  EXPECT_EQ(gid.text.find(gid.key), std::string::npos);
}

TEST(Gid, IsNeverTheSameTwice) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(seen.insert(make_gid("a", "b", false).text).second);
}

TEST(Gid, StaysShortAndHarmlessWhateverTheNames) {
  for (const std::string& name : {std::string(1000, 'x'), std::string("a:b'c\\\n\xff\"%"),
                                  std::string(60, ':'), std::string("last")}) {
    const Gid gid = make_gid(name, name, true);
    EXPECT_LE(gid_of_part(gid.text, 65535).size(), 199u);
    EXPECT_EQ(gid.text.find_first_of("'\\\n\""), std::string::npos);
    const auto parts = parse_gid(gid.text);
    ASSERT_TRUE(parts) << gid.text;
    EXPECT_EQ(parts->database, gid_name(name));
    EXPECT_EQ(parts->decider, gid_name(name));
  }
  EXPECT_NE(gid_name("a:b"), gid_name("a.b"));
  EXPECT_NE(gid_name(std::string(100, 'x')), gid_name(std::string(101, 'x')));
}

TEST(Gid, OthersAreNotOurs) {
  for (const char* text : {"", "pgshunt", "pgshunt:", "pgshunt:a:b:c:d", "citus_0_1_2_3",
                           "pgshunt:a:b:0123456789abcdef0123456789abcdef:",
                           "pgshunt:a:b:0123456789abcdef0123456789abcdef:x:y",
                           "pgshunt:a:b:0123456789abcdef0123456789abcdef:x:last:",
                           "pgshunt:a:b:0123456789abcdef0123456789abcdef:x:1:2"}) {
    EXPECT_FALSE(parse_gid(text)) << text;
  }
}

}  // namespace
}  // namespace pgshunt
