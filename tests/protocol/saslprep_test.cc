#include "protocol/saslprep.h"

#include <gtest/gtest.h>

namespace pgshunt {
namespace {

// Comparison with PostgreSQL's own code over random passwords: tests/proxy/auth_saslprep_test.cc.

TEST(Saslprep, PreparesTheExamplesOfRfc4013) {
  EXPECT_EQ(saslprep("I\xC2\xADX"), "IX");    // SOFT HYPHEN mapped to nothing
  EXPECT_EQ(saslprep("user"), "user");        // no transformation
  EXPECT_EQ(saslprep("USER"), "USER");        // case preserved
  EXPECT_EQ(saslprep("\xC2\xAA"), "a");       // NFKC
  EXPECT_EQ(saslprep("\xE2\x85\xA8"), "IX");  // NFKC
}

TEST(Saslprep, UsesWhatTheProfileProhibitsAsItIs) {
  EXPECT_EQ(saslprep("\xD8\xA7\x31"), "\xD8\xA7\x31");                  // bidirectional check
  EXPECT_EQ(saslprep("\xC2\xAA\xEE\x80\x80"), "\xC2\xAA\xEE\x80\x80");  // private use
  EXPECT_EQ(saslprep("\xC2\xAD"), "\xC2\xAD");                          // nothing would be left
  EXPECT_EQ(saslprep("\xC8\xA1"), "\xC8\xA1");                          // unassigned in Unicode 3.2
}

TEST(Saslprep, LeavesAsciiAloneControlCharactersIncluded) {
  EXPECT_EQ(saslprep(""), "");
  EXPECT_EQ(saslprep("a\tb\x7f"), "a\tb\x7f");
}

TEST(Saslprep, MapsSpacesToTheSpace) {
  EXPECT_EQ(saslprep("a\xC2\xA0\x62"), "a b");
  EXPECT_EQ(saslprep("a\xE3\x80\x80\x62"), "a b");
}

TEST(Saslprep, UsesWhatIsNotUtf8AsItIs) {
  for (const std::string_view raw :
       {"caf\xe9", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80",
        "\xe2\x28\xa1", "\x80"}) {
    EXPECT_EQ(saslprep(raw), raw);
  }
}

TEST(Saslprep, HasRoomForTheLongestExpansion) {
  const std::string ligature = "\xEF\xB7\xBA";  // U+FDFA, eighteen characters in NFKC
  std::string many;
  for (int i = 0; i < 20; ++i) many += ligature;
  EXPECT_EQ(saslprep(many).size(), 20 * saslprep(ligature).size());
  EXPECT_GT(saslprep(ligature).size(), 30u);
}

}  // namespace
}  // namespace pgshunt
