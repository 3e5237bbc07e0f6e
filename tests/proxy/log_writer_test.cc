#include "proxy/log/log_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

namespace pgshunt {
namespace {

namespace fs = std::filesystem;

class LogWriterTest : public testing::Test {
 protected:
  LogWriterTest() {
    std::string folder = testing::TempDir() + "pgshunt_log_writer_XXXXXX";
    folder_ = ::mkdtemp(folder.data());
  }
  ~LogWriterTest() override { fs::remove_all(folder_); }

  std::string file(const char* name = "x.log") const { return (folder_ / name).string(); }

  std::unique_ptr<LogWriter> open(const std::string& name) {
    auto writer = LogWriter::open(name);
    EXPECT_TRUE(writer.ok());
    return std::move(*writer);
  }

  static std::string read(const std::string& name) {
    std::ostringstream out;
    out << std::ifstream(name).rdbuf();
    return out.str();
  }

  fs::path folder_;
};

TEST_F(LogWriterTest, AppendsToWhatIsThere) {
  std::ofstream(file()) << "old\n";
  const auto writer = open(file());
  writer->append("one\n", false);
  writer->append("two\n", false);
  writer->flush();
  EXPECT_EQ(read(file()), "old\none\ntwo\n");
  struct stat status {};
  ASSERT_EQ(::stat(file().c_str(), &status), 0);
}

TEST_F(LogWriterTest, WritesWhatIsLeftAtItsEnd) {
  open(file())->append("last\n", false);
  EXPECT_EQ(read(file()), "last\n");
  struct stat status {};
  ASSERT_EQ(::stat(file().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0137, 0U) << "others may not read what clients are called";
}

TEST_F(LogWriterTest, GoesOnInANewFileAfterARotation) {
  const auto writer = open(file());
  writer->append("before\n", false);
  writer->flush();
  fs::rename(file(), file("x.log.1"));
  writer->append("between\n", false);
  writer->flush();
  ASSERT_TRUE(writer->reopen().ok());
  writer->append("after\n", false);
  writer->flush();
  EXPECT_EQ(read(file("x.log.1")), "before\nbetween\n");
  EXPECT_EQ(read(file()), "after\n");
}

TEST_F(LogWriterTest, KeepsTheOldFileWhenThereIsNoNewOne) {
  const auto writer = open(file());
  fs::rename(file(), file("x.log.1"));
  fs::create_directory(file());
  const Status status = writer->reopen();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message, "cannot open the log file \"" + file() + "\": Is a directory");
  writer->append("still\n", false);
  writer->flush();
  EXPECT_EQ(read(file("x.log.1")), "still\n");
}

TEST_F(LogWriterTest, NamesTheFileItCannotOpen) {
  const auto writer = LogWriter::open(file("none/x.log"));
  ASSERT_FALSE(writer.ok());
  EXPECT_EQ(writer.error().message,
            "cannot open the log file \"" + file("none/x.log") + "\": No such file or directory");
}

TEST_F(LogWriterTest, KeepsEachThreadsLinesWholeAndInOrder) {
  constexpr int kThreads = 4;
  constexpr int kLines = 2000;
  {
    const auto writer = open(file());
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&writer, t] {
        for (int i = 0; i < kLines; ++i) {
          writer->append(std::to_string(t) + " " + std::to_string(i) + "\n", i % 100 == 0);
          if (i % 500 == 0) writer->flush();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(writer->take_dropped(), 0U);
  }
  std::vector<int> next(kThreads);
  std::ifstream lines(file());
  int thread = 0;
  int number = 0;
  while (lines >> thread >> number) {
    ASSERT_LT(thread, kThreads);
    EXPECT_EQ(number, next[static_cast<std::size_t>(thread)]++);
  }
  EXPECT_EQ(next, std::vector<int>(kThreads, kLines));
}

// A pipe nobody reads: the writer's thread is stuck in write(), whoever logs is not.
TEST_F(LogWriterTest, DropsLinesRatherThanWait) {
  ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);
  const int reader = ::open(file().c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  auto writer = open(file());
  const std::string line(1023, 'x');
  std::uint64_t dropped = 0;
  // The buffer holds a megabyte, the batch being written another, the pipe 64 KB.
  constexpr int kLines = 4096;
  for (int i = 0; i < kLines; ++i) writer->append(line + "\n", true);
  dropped = writer->take_dropped();
  EXPECT_GT(dropped, 1000U);
  EXPECT_EQ(writer->take_dropped(), 0U);

  // Somebody reads again: what was kept arrives, whole.
  std::size_t bytes = 0;
  std::thread drain([&] {
    char buffer[65536];
    while (true) {
      const ssize_t count = ::read(reader, buffer, sizeof buffer);
      if (count == 0) return;
      if (count > 0) bytes += static_cast<std::size_t>(count);
      if (count < 0) std::this_thread::yield();
    }
  });
  writer.reset();
  drain.join();
  ::close(reader);
  EXPECT_EQ(bytes, (kLines - dropped) * 1024);
}

}  // namespace
}  // namespace pgshunt
