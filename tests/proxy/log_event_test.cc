// The log as the rest of the proxy sees it.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <vector>

#include "proxy/log/log.h"

namespace pgshunt {
namespace {

namespace fs = std::filesystem;

std::string digits_masked(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }, '0');
  return text;
}

class LogEventTest : public testing::Test {
 protected:
  LogEventTest() {
    std::string folder = testing::TempDir() + "pgshunt_log_event_XXXXXX";
    folder_ = ::mkdtemp(folder.data());
  }
  ~LogEventTest() override {
    EXPECT_TRUE(configure_log({}).ok());
    fs::remove_all(folder_);
  }

  void log_to(const char* name, LogFormat format = LogFormat::kText,
              LogLevel level = LogLevel::kInfo) {
    EXPECT_TRUE(configure_log({format, level, (folder_ / name).string()}).ok());
  }

  std::vector<std::string> lines(const char* name) {
    flush_log();
    std::vector<std::string> out;
    std::ifstream file(folder_ / name);
    for (std::string line; std::getline(file, line);) out.push_back(line);
    return out;
  }

  fs::path folder_;
};

TEST_F(LogEventTest, StampsTextForPeople) {
  log_to("x.log");
  log_event(LogLevel::kInfo, "login", {.client = "10.0.0.1:5", .user = "bob"}, "welcome");
  const auto all = lines("x.log");
  ASSERT_EQ(all.size(), 1U);
  std::string stamp = all[0].substr(0, all[0].find(" ["));
  const std::size_t sign = stamp.find_last_of("+-");
  ASSERT_NE(sign, std::string::npos);
  stamp[sign] = '+';
  EXPECT_EQ(digits_masked(stamp), "0000-00-00 00:00:00.000 +00:00");
  EXPECT_EQ(all[0].substr(all[0].find(" [")), " [info] login client=10.0.0.1:5 user=bob: welcome");
}

TEST_F(LogEventTest, WritesAnObjectALineForMachines) {
  log_to("x.log", LogFormat::kJson);
  log_event(LogLevel::kWarning, "json_warning", {.shard = "s1", .sqlstate = "08006", .pid = 9},
            "100% \"gone\"\n");
  log_event(LogLevel::kError, "json_error", {}, "{}");
  const auto all = lines("x.log");
  ASSERT_EQ(all.size(), 2U);
  nlohmann::json first = nlohmann::json::parse(all[0]);
  EXPECT_EQ(digits_masked(first["ts"]), "0000-00-00T00:00:00.000Z");
  first.erase("ts");
  EXPECT_EQ(first, (nlohmann::json{{"level", "warning"},
                                   {"event", "json_warning"},
                                   {"shard", "s1"},
                                   {"sqlstate", "08006"},
                                   {"pid", 9},
                                   {"message", "100% \"gone\"\n"}}));
  EXPECT_EQ(nlohmann::json::parse(all[1])["level"], "error");
}

TEST_F(LogEventTest, BuildsNoMessageForALevelThatIsOff) {
  log_to("x.log", LogFormat::kText, LogLevel::kWarning);
  int built = 0;
  const auto message = [&] {
    ++built;
    return std::string("costly");
  };
  EXPECT_FALSE(log_enabled(LogLevel::kInfo));
  log_event(LogLevel::kDebug, "off", {}, message);
  log_event(LogLevel::kInfo, "off", {}, message);
  log_event(LogLevel::kInfo, "off", {}, "plain");
  EXPECT_EQ(built, 0);
  log_event(LogLevel::kWarning, "level_on", {}, message);
  EXPECT_EQ(built, 1);
  EXPECT_EQ(lines("x.log").size(), 1U);
}

TEST_F(LogEventTest, FollowsTheConfiguration) {
  Config config;
  config.log_level = "debug";
  config.log_format = LogFormat::kJson;
  config.log_file = "/x";
  EXPECT_EQ(log_settings(config).level, LogLevel::kDebug);
  EXPECT_EQ(log_settings(config).format, LogFormat::kJson);
  EXPECT_EQ(log_settings(config).file, "/x");
  for (const auto& [name, level] : {std::pair{"info", LogLevel::kInfo},
                                    {"warning", LogLevel::kWarning},
                                    {"error", LogLevel::kError}}) {
    config.log_level = name;
    EXPECT_EQ(log_settings(config).level, level);
  }
}

TEST_F(LogEventTest, MovesToAnotherFileAndFormatAtAReload) {
  log_to("a.log");
  log_event(LogLevel::kInfo, "first", {}, "");
  log_to("a.log", LogFormat::kJson);
  log_event(LogLevel::kInfo, "second", {}, "");
  log_to("b.log");
  log_event(LogLevel::kInfo, "third", {}, "");
  ASSERT_EQ(lines("a.log").size(), 2U);
  EXPECT_EQ(nlohmann::json::parse(lines("a.log")[1])["event"], "second");
  EXPECT_EQ(lines("b.log").size(), 1U);
}

TEST_F(LogEventTest, GoesOnAsBeforeWhenTheNewFileCannotBeOpened) {
  log_to("a.log");
  EXPECT_FALSE(
      configure_log({LogFormat::kJson, LogLevel::kError, (folder_ / "none" / "x").string()}).ok());
  log_event(LogLevel::kInfo, "still", {}, "");
  EXPECT_EQ(lines("a.log").size(), 1U);
}

TEST_F(LogEventTest, ReopensItsFile) {
  log_to("a.log");
  log_event(LogLevel::kInfo, "old", {}, "");
  flush_log();
  fs::rename(folder_ / "a.log", folder_ / "a.log.1");
  EXPECT_TRUE(reopen_log().ok());
  log_event(LogLevel::kInfo, "new", {}, "");
  EXPECT_EQ(lines("a.log").size(), 1U);
  EXPECT_EQ(lines("a.log.1").size(), 1U);
}

TEST_F(LogEventTest, ThinsOutFloodsOfErrorsButNotOfInformation) {
  log_to("x.log");
  for (int i = 0; i < 500; ++i) {
    log_event(LogLevel::kInfo, "flood_of_logins", {}, "");
    log_event(LogLevel::kWarning, "flood_of_failures", {.user = "bob"}, "");
  }
  const auto all = lines("x.log");
  const auto count = [&](const char* what) {
    return std::count_if(all.begin(), all.end(), [&](const std::string& line) {
      return line.find(what) != std::string::npos;
    });
  };
  EXPECT_EQ(count("flood_of_logins"), 500);
  EXPECT_GE(count("flood_of_failures"), 20);
  EXPECT_LT(count("flood_of_failures"), 100);
}

TEST_F(LogEventTest, ManyThreadsMayLogWhileItIsConfigured) {
  log_to("a.log");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 1000; ++i) log_event(LogLevel::kInfo, "busy", {.user = "u"}, "message");
    });
  }
  for (int i = 0; i < 20; ++i) {
    log_to(i % 2 == 0 ? "b.log" : "a.log", i % 3 == 0 ? LogFormat::kJson : LogFormat::kText);
    EXPECT_TRUE(reopen_log().ok());
    log_housekeeping();
  }
  for (std::thread& thread : threads) thread.join();
  log_to("c.log");
  // The writers of a.log and b.log are gone, and what they held is written.
  std::size_t total = 0;
  for (const char* name : {"a.log", "b.log"}) {
    for (const std::string& line : lines(name)) {
      EXPECT_NE(line.find("message"), std::string::npos) << line;
      ++total;
    }
  }
  EXPECT_EQ(total, 4000U);
}

}  // namespace
}  // namespace pgshunt
