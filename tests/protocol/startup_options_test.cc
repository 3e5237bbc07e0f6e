// Expectations were read off a PostgreSQL 15 server given the same `options`.
#include <gtest/gtest.h>

#include "protocol/startup.h"

namespace pgshunt {
namespace {

using Settings = std::vector<OptionSetting>;

Settings parsed(std::string_view options) {
  auto settings = parse_startup_options(options);
  EXPECT_TRUE(settings) << options << ": " << (settings ? "" : settings.error().message);
  return settings ? *settings : Settings{};
}

std::string refusal(std::string_view options) {
  auto settings = parse_startup_options(options);
  EXPECT_FALSE(settings) << options;
  if (settings) return {};
  EXPECT_EQ(settings.error().code, sqlstate::kSyntaxError);
  return settings.error().message;
}

TEST(StartupOptions, BothSpellingsOfASetting) {
  EXPECT_EQ(parsed("-c geqo=off"), (Settings{{"geqo", "off"}}));
  EXPECT_EQ(parsed("-cgeqo=off"), (Settings{{"geqo", "off"}}));
  EXPECT_EQ(parsed("--geqo=off"), (Settings{{"geqo", "off"}}));
}

TEST(StartupOptions, InOrderWithDuplicates) {
  EXPECT_EQ(parsed("-c a=1 --b=2 -c a=3"), (Settings{{"a", "1"}, {"b", "2"}, {"a", "3"}}));
}

TEST(StartupOptions, DashesInNamesAreUnderscores) {
  EXPECT_EQ(parsed("--work-mem=4-MB"), (Settings{{"work_mem", "4-MB"}}));
}

TEST(StartupOptions, ValuesMayBeEmptyOrHoldEqualSigns) {
  EXPECT_EQ(parsed("-c search_path="), (Settings{{"search_path", ""}}));
  EXPECT_EQ(parsed("-c a=b=c"), (Settings{{"a", "b=c"}}));
}

TEST(StartupOptions, BackslashEscapesSpacesAndItself) {
  EXPECT_EQ(parsed(R"(-c application_name=my\ app\\x)"),
            (Settings{{"application_name", R"(my app\x)"}}));
  EXPECT_EQ(parsed("-c\\ a=b"), (Settings{{" a", "b"}}));
  // One at the very end is dropped.
  EXPECT_EQ(parsed("-c a=b\\"), (Settings{{"a", "b"}}));
}

TEST(StartupOptions, AnyWhiteSpaceSeparates) {
  EXPECT_EQ(parsed(" \t-c\n a=b \v\f\r "), (Settings{{"a", "b"}}));
  EXPECT_EQ(parsed(""), Settings{});
  EXPECT_EQ(parsed("   "), Settings{});
}

TEST(StartupOptions, LettersStandForSettings) {
  EXPECT_EQ(parsed("-e"), (Settings{{"datestyle", "euro"}}));
  EXPECT_EQ(parsed("-S 64"), (Settings{{"work_mem", "64"}}));
  EXPECT_EQ(parsed("-fs -f h"),
            (Settings{{"enable_seqscan", "false"}, {"enable_hashjoin", "false"}}));
  EXPECT_EQ(parsed("-tpa -t pl -te"), (Settings{{"log_parser_stats", "true"},
                                                {"log_planner_stats", "true"},
                                                {"log_executor_stats", "true"}}));
  EXPECT_EQ(parsed("-d2"), (Settings{{"log_min_messages", "debug2"}, {"log_statement", "all"}}));
  EXPECT_EQ(parsed("-d0"), (Settings{{"log_min_messages", "notice"}}));
}

TEST(StartupOptions, LettersMayBeJoined) {
  EXPECT_EQ(
      parsed("-sPca=b"),
      (Settings{{"log_statement_stats", "true"}, {"ignore_system_indexes", "true"}, {"a", "b"}}));
  EXPECT_EQ(parsed("-nTbEj"), Settings{});
}

TEST(StartupOptions, RefusesWhatTheServerRefuses) {
  EXPECT_EQ(refusal("-c geqo"), "-c geqo requires a value");
  EXPECT_EQ(refusal("--geqo"), "--geqo requires a value");
  EXPECT_EQ(refusal("-c"), "invalid command-line argument for server process: -c");
  EXPECT_EQ(refusal("-x"), "invalid command-line argument for server process: -x");
  EXPECT_EQ(refusal("-ff"), "invalid command-line argument for server process: -ff");
  EXPECT_EQ(refusal("word"), "invalid command-line argument for server process: word");
  EXPECT_EQ(refusal("-"), "invalid command-line argument for server process: -");
  EXPECT_EQ(refusal("-- word"), "invalid command-line argument for server process: word");
}

}  // namespace
}  // namespace pgshunt
