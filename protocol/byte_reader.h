// A cursor over one message body that cannot run off its end.
//
// Failure is sticky: a read past the end yields zero or an empty view and remembers it, so a
// decoder reads straight down the message's layout and asks once, at the end, whether all of it was
// there. Views point into the body.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "protocol/frame.h"
#include "protocol/result.h"

namespace pgshunt {

// The error of a body that does not follow its message's layout.
inline Error malformed(std::string_view message) {
  return {sqlstate::kProtocolViolation, "malformed " + std::string(message) + " message", {}};
}

class ByteReader {
 public:
  explicit ByteReader(std::string_view body)
      : at_(body.data()), end_(body.data() + body.size()), ok_(true) {}

  bool ok() const { return ok_; }
  // All bytes were used, and none were missing.
  bool finished() const { return ok_ && at_ == end_; }
  std::size_t remaining() const { return static_cast<std::size_t>(end_ - at_); }
  // What is left, not consumed.
  std::string_view rest() const { return {at_, remaining()}; }

  std::uint8_t u8() {
    if (!has(1)) return 0;
    return static_cast<std::uint8_t>(*at_++);
  }
  std::uint16_t be16() {
    if (!has(2)) return 0;
    const std::uint16_t v = load_be16(at_);
    at_ += 2;
    return v;
  }
  std::uint32_t be32() {
    if (!has(4)) return 0;
    const std::uint32_t v = load_be32(at_);
    at_ += 4;
    return v;
  }
  std::string_view bytes(std::size_t count) {
    if (!has(count)) return {};
    const std::string_view v(at_, count);
    at_ += count;
    return v;
  }
  std::string_view take_rest() { return bytes(remaining()); }
  // A zero-terminated string, without its zero.
  std::string_view cstring() {
    const void* zero = ok_ && at_ != end_ ? std::memchr(at_, 0, remaining()) : nullptr;
    if (zero == nullptr) {
      ok_ = false;
      return {};
    }
    const std::string_view v(at_, static_cast<std::size_t>(static_cast<const char*>(zero) - at_));
    at_ += v.size() + 1;
    return v;
  }
  void fail() { ok_ = false; }

 private:
  bool has(std::size_t count) {
    if (ok_ && remaining() >= count) return true;
    ok_ = false;
    return false;
  }

  const char* at_;
  const char* end_;
  bool ok_;
};

}  // namespace pgshunt
