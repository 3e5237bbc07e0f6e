// Appends one message to an output buffer: the header goes in first, its length is patched when the
// writer goes out of scope.
//
//   { FrameWriter w(out, 'C'); w.cstring("SELECT 1"); }
//
// Only one writer may be alive on a buffer at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "protocol/frame.h"
#include "protocol/wire_value.h"

namespace pgshunt {

class FrameWriter {
 public:
  FrameWriter(std::string& out, char type) : out_(out), length_at_(out.size() + 1) {
    const char header[kFrameHeaderSize] = {type, 0, 0, 0, 0};
    out_.append(header, sizeof header);
  }
  // The startup packet and its kin have no type byte.
  explicit FrameWriter(std::string& out) : out_(out), length_at_(out.size()) {
    out_.append(4, '\0');
  }
  ~FrameWriter() {
    store_be32(out_.data() + length_at_, static_cast<std::uint32_t>(out_.size() - length_at_));
  }
  FrameWriter(const FrameWriter&) = delete;
  FrameWriter& operator=(const FrameWriter&) = delete;

  void u8(char v) { out_.push_back(v); }
  void be16(std::uint16_t v) {
    char b[2];
    store_be16(b, v);
    out_.append(b, sizeof b);
  }
  void be32(std::uint32_t v) {
    char b[4];
    store_be32(b, v);
    out_.append(b, sizeof b);
  }
  void bytes(std::string_view v) { out_.append(v); }
  // A zero inside `v` would end the field early and let its tail pass for the next field: the value
  // is cut there, as a C string is.
  void cstring(std::string_view v) {
    out_.append(v.substr(0, v.find('\0')));
    out_.push_back('\0');
  }
  // Length-prefixed, as in Bind and DataRow.
  void value(const WireValue& v) {
    be32(v.is_null ? 0xffffffffu : static_cast<std::uint32_t>(v.bytes.size()));
    if (!v.is_null) out_.append(v.bytes);
  }

 private:
  std::string& out_;
  std::size_t length_at_;
};

}  // namespace pgshunt
