// Bytes on their way out that the socket has not taken yet.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/net/buffer_pool.h"

namespace pgshunt {

// A queue of bytes in one contiguous buffer, borrowed from the loop's pool while there are any.
// Whoever owns the queue calls release() before the pool goes.
class OutQueue {
 public:
  bool empty() const { return buffer_.size() == head_; }
  std::size_t size() const { return buffer_.size() - head_; }
  // Valid until the next call that is not const.
  std::string_view front() const { return std::string_view(buffer_).substr(head_); }

  void append(std::string_view bytes, BufferPool& pool) {
    if (bytes.empty()) return;
    if (buffer_.empty()) {
      if (buffer_.capacity() < bytes.size()) buffer_ = pool.take();
    } else if (head_ > buffer_.size() / 2 && buffer_.size() + bytes.size() > buffer_.capacity()) {
      // Moves fewer bytes than were sent since the last move, so even a queue that never empties
      // moves each byte once at most.
      buffer_.erase(0, head_);
      head_ = 0;
    }
    buffer_.append(bytes);
  }

  // Drops `count` bytes from the front; the buffer of an emptied queue goes back to the pool.
  void consume(std::size_t count, BufferPool& pool) {
    head_ += count;
    if (head_ == buffer_.size()) release(pool);
  }

  void release(BufferPool& pool) {
    head_ = 0;
    if (!buffer_.empty()) pool.give(std::exchange(buffer_, {}));
  }

 private:
  std::string buffer_;
  std::size_t head_ = 0;  // bytes in front that are gone already
};

}  // namespace pgshunt
