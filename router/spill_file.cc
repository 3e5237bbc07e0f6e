#include "router/spill_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace pgshunt {
namespace {

Error failed(const std::string& what, int code) {
  constexpr Sqlstate kDiskFull{"53100"};
  constexpr Sqlstate kIoError{"58030"};
  return {code == ENOSPC || code == EDQUOT ? kDiskFull : kIoError,
          what + ": " + std::strerror(code),
          "Rows that are sorted here are kept in spill_directory once they exceed sort_memory."};
}

}  // namespace

SpillFile::~SpillFile() {
  if (is_open()) ::close(descriptor_);
}

SpillFile::SpillFile(SpillFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), size_(std::exchange(other.size_, 0)) {}

SpillFile& SpillFile::operator=(SpillFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

Result<SpillFile> SpillFile::create(const std::string& directory) {
  std::string path = directory;
  if (path.empty()) {
    const char* const said = std::getenv("TMPDIR");
    path = said != nullptr && *said != '\0' ? said : "/tmp";
  }
  SpillFile out;
  // Not every file system has files without names.
  out.descriptor_ = ::open(path.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (out.descriptor_ < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
    std::string name = path + "/pgshunt-sort-XXXXXX";
    out.descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
    if (out.descriptor_ >= 0) ::unlink(name.c_str());
  }
  if (out.descriptor_ < 0) {
    return failed("could not create a temporary file in \"" + path + "\"", errno);
  }
  return out;
}

Status SpillFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written =
        ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(size_));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed("could not write a temporary file", errno);
    size_ += static_cast<std::uint64_t>(written);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return Ok{};
}

Status SpillFile::read(std::uint64_t from, std::size_t size, std::string& out) const {
  std::size_t at = out.size();
  out.resize(at + size);
  while (at < out.size()) {
    const ssize_t count =
        ::pread(descriptor_, out.data() + at, out.size() - at, static_cast<off_t>(from));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return failed("could not read a temporary file", count < 0 ? errno : EIO);
    at += static_cast<std::size_t>(count);
    from += static_cast<std::uint64_t>(count);
  }
  return Ok{};
}

}  // namespace pgshunt
