// The tool as it is called: words in, text and exit code out.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "shuntctl/command.h"

namespace pgshunt::shuntctl {
namespace {

class DirectoryCommands : public ::testing::Test {
 protected:
  DirectoryCommands() {
    char name[] = "/tmp/pgshunt_shuntctl_XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~DirectoryCommands() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  int run(const std::vector<std::string>& words) {
    std::vector<std::string_view> views(words.begin(), words.end());
    out_.str("");
    err_.str("");
    Streams io{out_, err_};
    const CommandGroup groups[] = {directory_commands()};
    return dispatch(groups, views, io);
  }
  // A command of the group, on the test's directory.
  int on(const std::string& command, std::vector<std::string> words) {
    std::vector<std::string> all{"directory", command, "--directory", folder_ + "/d"};
    all.insert(all.end(), words.begin(), words.end());
    return run(all);
  }
  void init() {
    ASSERT_EQ(on("init", {"--shard", "s1", "--shard", "s2", "--keyspace",
                          "users:bigint:directory:least-loaded", "--keyspace", "names:text"}),
              kDone)
        << err_.str();
  }
  std::string file(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name) << text;
    return folder_ + "/" + name;
  }

  std::string folder_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(DirectoryCommands, ThePolicyForNewKeysCanBeChanged) {
  init();
  const auto policy = [this] {
    EXPECT_EQ(on("stats", {"--json"}), kDone);
    return nlohmann::json::parse(out_.str())["keyspaces"]["users"]["policy"].get<std::string>();
  };
  EXPECT_EQ(policy(), "least-loaded");
  EXPECT_EQ(on("policy", {"users", "fixed=s2"}), kDone) << err_.str();
  EXPECT_EQ(policy(), "fixed=s2");
  EXPECT_EQ(on("policy", {"users", "fixed=s3"}), kFailed);
  EXPECT_NE(err_.str().find("there is no shard \"s3\""), std::string::npos);
  EXPECT_EQ(on("policy", {"users", "refuse=s1"}), kUsage);
  EXPECT_EQ(policy(), "fixed=s2");
  EXPECT_EQ(on("policy", {"users", "refuse"}), kDone);
  EXPECT_EQ(policy(), "refuse");
}

TEST_F(DirectoryCommands, SetGetDelete) {
  init();
  EXPECT_EQ(on("get", {"users", "5"}), kNotFound);
  EXPECT_EQ(on("set", {"users", "5", "s2"}), kDone);
  EXPECT_EQ(on("get", {"users", "5"}), kDone);
  EXPECT_EQ(out_.str(), "s2\n");
  EXPECT_EQ(on("get", {"users", "005", "--json"}), kDone);
  EXPECT_EQ(nlohmann::json::parse(out_.str())["shard"], "s2");
  EXPECT_EQ(on("set", {"users", "5", "s9"}), kFailed);
  EXPECT_EQ(on("set", {"users", "x", "s1"}), kFailed);
  EXPECT_EQ(on("set", {"users", "--", "-5", "s1"}), kDone);
  EXPECT_EQ(on("list", {"users"}), kDone);
  EXPECT_EQ(out_.str(), "key  shard\n----------\n-5   s1\n5    s2\n");
  EXPECT_EQ(on("delete", {"users", "5"}), kDone);
  EXPECT_EQ(on("delete", {"users", "5"}), kNotFound);
  EXPECT_EQ(on("verify", {}), kDone);
}

TEST_F(DirectoryCommands, ImportsWhatItExports) {
  init();
  const std::string csv = "key,shard\n\"a,b\",s1\nplain,s1\n\"q\"\"uote\",s2\n\"two\nlines\",s2\n";
  ASSERT_EQ(on("import", {"names", file("in.csv", csv)}), kDone) << err_.str();
  EXPECT_EQ(out_.str(), "4 rows, 4 keys added\n");
  for (const std::string format : {"csv", "ndjson"}) {
    ASSERT_EQ(on("export", {"names", folder_ + "/out." + format}), kDone) << err_.str();
    ASSERT_EQ(on("import", {"names", folder_ + "/out." + format}), kDone) << err_.str();
    EXPECT_EQ(out_.str(), "4 rows, 0 keys added\n");
  }
  EXPECT_EQ(on("get", {"names", "two\nlines"}), kDone);
  EXPECT_EQ(out_.str(), "s2\n");
  ASSERT_EQ(on("export", {"names", "-", "--format", "csv"}), kDone);
  EXPECT_EQ(out_.str(), csv);
  ASSERT_EQ(on("import", {"users", file("n.ndjson",
                                        "{\"key\":7,\"shard\":\"s1\"}\n"
                                        "{\"key\":\"8\",\"shard\":\"s2\"}\n")}),
            kDone);
  // As spreadsheets write it.
  ASSERT_EQ(on("import", {"users", file("bom.csv", "\xEF\xBB\xBFkey,shard\r\n8,s2\r\n")}), kDone)
      << err_.str();
  EXPECT_EQ(out_.str(), "1 rows, 0 keys added\n");
  EXPECT_EQ(on("stats", {"--json"}), kDone);
  EXPECT_EQ(nlohmann::json::parse(out_.str())["keyspaces"]["users"]["keys"]["s1"], 1);
  EXPECT_EQ(on("verify", {}), kDone);
}

TEST_F(DirectoryCommands, ImportRefusesAndSaysWhere) {
  init();
  ASSERT_EQ(on("set", {"users", "77", "s1"}), kDone);
  const std::pair<std::string, std::string> bad[] = {
      {"1,s1\n2,s9\n", "line 2: there is no shard \"s9\""},
      {"1,s1\nx,s1\n", "line 2: invalid input syntax"},
      {"1,s1\n2\n", "line 2: there must be two columns"},
      {"1,s1,\n", "line 1: there must be two columns"},
      {"5,s1\n6,s1\n05,s2\n", "line 3: key '5' is on shard \"s2\" here and on \"s1\" in line 1"},
      {"1,s1\n77,s2\n", "line 2: key '77' is on shard \"s1\" already, not \"s2\""},
      {"1,s1\n\"2,s1\n", "line 2: a quoted field does not end"},
  };
  for (const auto& [text, message] : bad) {
    EXPECT_EQ(on("import", {"users", file("bad.csv", text)}), kFailed) << text;
    EXPECT_NE(err_.str().find(message), std::string::npos) << err_.str();
    EXPECT_EQ(on("get", {"users", "1"}), kNotFound) << text;
  }
  EXPECT_EQ(on("import", {"users", file("bad.ndjson", "{\"key\":1.5,\"shard\":\"s1\"}\n")}),
            kFailed);
  EXPECT_EQ(on("import", {"users", file("twice.csv", "5,s1\n5,s1\n77,s1\n")}), kDone);
  EXPECT_EQ(out_.str(), "3 rows, 1 keys added\n");
  EXPECT_EQ(on("verify", {}), kDone);
}

TEST_F(DirectoryCommands, RestoresABackup) {
  init();
  ASSERT_EQ(on("set", {"users", "5", "s2"}), kDone);
  ASSERT_EQ(on("backup", {folder_ + "/saved"}), kDone) << err_.str();
  EXPECT_EQ(on("backup", {folder_ + "/saved"}), kFailed);
  EXPECT_EQ(on("restore", {folder_ + "/saved"}), kFailed);
  std::filesystem::remove_all(folder_ + "/d");
  ASSERT_EQ(on("restore", {folder_ + "/saved"}), kDone) << err_.str();
  EXPECT_EQ(on("get", {"users", "5"}), kDone);
  EXPECT_EQ(out_.str(), "s2\n");
}

TEST_F(DirectoryCommands, TellsHowItIsUsed) {
  EXPECT_EQ(run({}), kUsage);
  EXPECT_EQ(run({"--help"}), kDone);
  EXPECT_NE(out_.str().find("directory import"), std::string::npos);
  EXPECT_EQ(run({"directory", "import", "--help"}), kDone);
  EXPECT_NE(out_.str().find("--format"), std::string::npos);
  EXPECT_EQ(run({"directory", "no"}), kUsage);
  EXPECT_EQ(on("get", {"users"}), kUsage);
  EXPECT_EQ(on("get", {"users", "5", "--limit", "3"}), kUsage);
  EXPECT_EQ(on("get", {"users", "5"}), kFailed);
  EXPECT_NE(err_.str().find("there is no directory"), std::string::npos);
  EXPECT_EQ(on("init", {}), kUsage);
  EXPECT_EQ(on("init", {"--shard", "s", "--keyspace", "k:money"}), kUsage);
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/d"));
  init();
  EXPECT_EQ(on("list", {"users", "--limit", "many"}), kUsage);
  EXPECT_EQ(on("export", {"users", "-"}), kUsage);
}

}  // namespace
}  // namespace pgshunt::shuntctl
