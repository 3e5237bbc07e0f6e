#include "proxy/log/log_line.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace pgshunt {
namespace {

std::string text_line(const LogContext& context, std::string_view message,
                      std::uint64_t left_out = 0) {
  std::string out;
  append_text_line(out, {"login_failed", context, message, left_out});
  return out;
}

nlohmann::json json_line(const LogContext& context, std::string_view message,
                         std::uint64_t left_out = 0) {
  std::string out = "{";
  append_json_members(out, {"login_failed", context, message, left_out});
  return nlohmann::json::parse(out + "}");
}

TEST(LogLine, HoldsWhatIsKnownAndNothingElse) {
  EXPECT_EQ(text_line({}, ""), "login_failed");
  EXPECT_EQ(text_line({.database = "app"}, "no"), "login_failed database=app: no");
  const LogContext all{.client = "[::1]:5",
                       .database = "app",
                       .user = "bob",
                       .shard = "s1",
                       .sqlstate = "28P01",
                       .pid = 77};
  EXPECT_EQ(text_line(all, "wrong password", 3),
            "login_failed client=[::1]:5 database=app user=bob shard=s1 sqlstate=28P01 pid=77 "
            "left_out=3: wrong password");
  EXPECT_EQ(json_line({}, ""), (nlohmann::json{{"event", "login_failed"}}));
  EXPECT_EQ(json_line(all, "wrong password", 3), (nlohmann::json{{"event", "login_failed"},
                                                                 {"client", "[::1]:5"},
                                                                 {"database", "app"},
                                                                 {"user", "bob"},
                                                                 {"shard", "s1"},
                                                                 {"sqlstate", "28P01"},
                                                                 {"pid", 77},
                                                                 {"left_out", 3},
                                                                 {"message", "wrong password"}}));
}

TEST(LogLine, ValuesCannotPassForOtherFields) {
  EXPECT_EQ(text_line({.user = "x database=y"}, ""), "login_failed user=\"x database=y\"");
  EXPECT_EQ(text_line({.user = "x: granted"}, ""), "login_failed user=\"x: granted\"");
  EXPECT_EQ(text_line({.user = "a\"b\\c"}, ""), R"(login_failed user="a\"b\\c")");
  EXPECT_EQ(text_line({.client = "10.0.0.1:5"}, ""), "login_failed client=10.0.0.1:5");
  EXPECT_EQ(json_line({.user = "x\",\"user\":\"y"}, "")["user"], "x\",\"user\":\"y");
}

TEST(LogLine, IsOneLineOfHarmlessCharacters) {
  const std::string nasty("a\nb\r\x1b[2J\0\x7f\xc2\x9b", 12);
  EXPECT_EQ(text_line({}, nasty), "login_failed: a\\nb\\x0d\\x1b[2J\\x00\\x7f\\xc2\\x9b");
  EXPECT_EQ(text_line({.user = "a\nb"}, ""), "login_failed user=\"a\\nb\"");
  std::string json;
  append_json_members(json, {"e", {}, nasty});
  EXPECT_EQ(json.find_first_of(std::string_view("\n\r\x1b\0\x7f", 5)), std::string::npos);
  EXPECT_EQ(json_line({}, nasty)["message"], nasty);
}

TEST(LogLine, KeepsUtf8AndMarksWhatIsNot) {
  EXPECT_EQ(text_line({.user = "zoë"}, "日本 🐘"), "login_failed user=zoë: 日本 🐘");
  EXPECT_EQ(json_line({}, "日本 🐘")["message"], "日本 🐘");
  // A lone tail, overlong forms, a surrogate, past the last character, cut short.
  for (const std::string_view bad : {"\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
                                     "\xf4\x90\x80\x80", "\xf8", "\xe2\x82", "\xff"}) {
    const std::string line = text_line({}, bad);
    EXPECT_TRUE(line.starts_with("login_failed: \\x")) << line;
    EXPECT_EQ(std::count(line.begin(), line.end(), 'x'), static_cast<long>(bad.size())) << line;
    const std::string message = json_line({}, bad)["message"];
    EXPECT_TRUE(message.starts_with("\xef\xbf\xbd"));
  }
}

TEST(LogLine, CutsLongValuesAtACharactersEnd) {
  const std::string long_name(kLongestLogField - 1, 'x');
  EXPECT_EQ(text_line({.user = long_name + "x"}, ""), "login_failed user=" + long_name + "x");
  EXPECT_EQ(text_line({.user = long_name + "ë"}, ""), "login_failed user=" + long_name + "...");
  EXPECT_EQ(json_line({.user = long_name + "ë"}, "")["user"], long_name + "...");
  const std::string message = text_line({}, std::string(1'000'000, 'm'));
  EXPECT_EQ(message.size(), std::string("login_failed: ...").size() + kLongestLogMessage);
}

}  // namespace
}  // namespace pgshunt
