#include "proxy/log/log_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

namespace pgshunt {
namespace {

// Long enough to write a flood in few pieces, short enough for somebody who watches.
constexpr std::chrono::milliseconds kGather{50};

Result<int> open_file(const std::string& file) {
  if (file.empty()) return STDERR_FILENO;
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
  if (descriptor >= 0) return descriptor;
  return Error{sqlstate::kConfigFileError,
               "cannot open the log file \"" + file + "\": " + std::strerror(errno),
               {}};
}

void close_file(int descriptor) {
  if (descriptor > STDERR_FILENO) ::close(descriptor);
}

// What cannot be written (a full disk, a closed pipe) is lost: there is nowhere left to say so.
void write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      // A terminal or pipe that somebody else has made non-blocking.
      pollfd wait{descriptor, POLLOUT, 0};
      ::poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      return;
    }
  }
}

}  // namespace

Result<std::unique_ptr<LogWriter>> LogWriter::open(const std::string& file) {
  const Result<int> descriptor = open_file(file);
  if (!descriptor) return descriptor.error();
  return std::unique_ptr<LogWriter>(new LogWriter(file, *descriptor));
}

LogWriter::LogWriter(std::string file, int descriptor)
    : file_(std::move(file)), descriptor_(descriptor) {
  // Signals are for the thread that waits for them; a thread inherits the mask of its maker.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

LogWriter::~LogWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  to_thread_.notify_one();
  thread_.join();
  close_file(descriptor_);
  close_file(next_descriptor_);
}

void LogWriter::append(std::string_view line, bool urgent) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() + line.size() > kMostBytes) {
      ++dropped_;
      return;
    }
    wake = waiting_.empty() || (urgent && !hurry_);
    waiting_ += line;
    appended_ += line.size();
    hurry_ |= urgent;
  }
  if (wake) to_thread_.notify_one();
}

void LogWriter::flush() {
  std::unique_lock lock(mutex_);
  const std::uint64_t goal = appended_;
  hurry_ = true;
  to_thread_.notify_one();
  to_flushers_.wait(lock, [&] { return written_ >= goal; });
}

Status LogWriter::reopen() {
  if (file_.empty()) return Ok{};
  const Result<int> descriptor = open_file(file_);
  if (!descriptor) return descriptor.error();
  const std::lock_guard lock(mutex_);
  close_file(std::exchange(next_descriptor_, *descriptor));
  return Ok{};
}

std::uint64_t LogWriter::take_dropped() {
  const std::lock_guard lock(mutex_);
  return std::exchange(dropped_, 0);
}

void LogWriter::run() {
  std::string batch;
  std::unique_lock lock(mutex_);
  while (true) {
    to_thread_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    to_thread_.wait_for(lock, kGather, [&] { return stopping_ || hurry_; });
    hurry_ = false;
    // The two strings trade places, so a steady flow of lines allocates nothing.
    batch.swap(waiting_);
    if (next_descriptor_ >= 0)
      close_file(std::exchange(descriptor_, std::exchange(next_descriptor_, -1)));
    lock.unlock();
    write_all(descriptor_, batch);
    lock.lock();
    written_ += batch.size();
    batch.clear();
    to_flushers_.notify_all();
  }
}

}  // namespace pgshunt
