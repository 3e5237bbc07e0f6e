// Writes the log's lines from a thread of its own. Appending takes a lock and a copy, and mostly no
// system call: the thread is woken by the first line of a batch, gathers for a moment, and writes
// the batch at once.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "protocol/result.h"

namespace pgshunt {

class LogWriter {
 public:
  // An empty name is standard error.
  static Result<std::unique_ptr<LogWriter>> open(const std::string& file);
  // Writes what is left.
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // `line` ends in a line feed. An urgent one is written without the moment's wait. Past kMostBytes
  // waiting the line is dropped.
  void append(std::string_view line, bool urgent);
  // Returns when all lines appended before are written (or could not be).
  void flush();
  Status reopen();
  // Lines dropped since the last call.
  std::uint64_t take_dropped();

  const std::string& file() const { return file_; }

  static constexpr std::size_t kMostBytes = 1024 * 1024;

 private:
  LogWriter(std::string file, int descriptor);
  void run();

  const std::string file_;
  std::mutex mutex_;
  std::condition_variable to_thread_;
  std::condition_variable to_flushers_;
  std::string waiting_;
  std::uint64_t appended_ = 0;  // bytes ever appended, and ever taken care of
  std::uint64_t written_ = 0;
  std::uint64_t dropped_ = 0;  // lines
  bool hurry_ = false;
  bool stopping_ = false;
  int descriptor_;            // the thread's, but for reopen(), which leaves a new one in next_
  int next_descriptor_ = -1;  // -1: none
  std::thread thread_;
};

}  // namespace pgshunt
