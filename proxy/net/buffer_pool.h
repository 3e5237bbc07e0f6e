// Spare output buffers of one loop. A connection holds a buffer only while it has something to say,
// so ten thousand idle ones hold none, and taking one in the steady state allocates nothing.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace pgshunt {

// Loop thread only.
class BufferPool {
 public:
  // An empty string, with capacity when a spare is there.
  std::string take() {
    if (spares_.empty()) return {};
    std::string buffer = std::move(spares_.back());
    spares_.pop_back();
    return buffer;
  }

  // Takes a buffer back; one that has grown too large, or one too many, is freed instead.
  void give(std::string buffer) {
    if (buffer.capacity() < kSmallest || buffer.capacity() > kLargest) return;
    if (spares_.size() >= kMaxSpares) return;
    buffer.clear();
    spares_.push_back(std::move(buffer));
  }

 private:
  // Below this a string is in its own inline storage or not worth keeping.
  static constexpr std::size_t kSmallest = 64;
  // Above this a buffer served a peer that was not reading; such peaks must not stay.
  static constexpr std::size_t kLargest = 16 * 1024;
  static constexpr std::size_t kMaxSpares = 64;

  std::vector<std::string> spares_;
};

}  // namespace pgshunt
