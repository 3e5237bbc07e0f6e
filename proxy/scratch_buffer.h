// A worker's own read buffer: every socket of the worker is read into it, one at a time, so that a
// connection which has nothing half-read owns no buffer at all.
#pragma once

#include <cstddef>
#include <memory>

namespace pgshunt {

// Below this much free room a read is not worth its system call (and TLS wants a whole record).
inline constexpr std::size_t kMinReadSpace = 32 * 1024;
// A connection keeps a string of up to this capacity when it goes idle.
inline constexpr std::size_t kIdleCapacity = 512;

class ScratchBuffer {
 public:
  explicit ScratchBuffer(std::size_t size) : data_(new char[size]), size_(size) {}
  char* data() { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  std::unique_ptr<char[]> data_;
  std::size_t size_;
};

}  // namespace pgshunt
