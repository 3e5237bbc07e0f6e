// Framing of protocol 3.x: a type byte, a four-byte big-endian length that counts itself, a body.
// (PostgreSQL manual, "Message Formats".) The startup packet alone has no type byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace pgshunt {

inline std::uint16_t load_be16(const char* p) {
  std::uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap16(v);
}
inline std::uint32_t load_be32(const char* p) {
  std::uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap32(v);
}
inline std::uint64_t load_be64(const char* p) {
  std::uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap64(v);
}
inline void store_be16(char* p, std::uint16_t v) {
  v = __builtin_bswap16(v);
  std::memcpy(p, &v, sizeof v);
}
inline void store_be32(char* p, std::uint32_t v) {
  v = __builtin_bswap32(v);
  std::memcpy(p, &v, sizeof v);
}
inline void store_be64(char* p, std::uint64_t v) {
  v = __builtin_bswap64(v);
  std::memcpy(p, &v, sizeof v);
}

inline constexpr std::size_t kFrameHeaderSize = 5;
// PostgreSQL's own ceiling on one message (PQ_LARGE_MESSAGE_LIMIT, libpq/libpq.h).
inline constexpr std::uint32_t kMaxBodySize = 0x3fffffff - 1;

// One message's header. `body_size` excludes the header: the whole frame is
// kFrameHeaderSize + body_size bytes.
struct FrameHeader {
  char type = 0;
  std::uint32_t body_size = 0;

  std::size_t frame_size() const { return kFrameHeaderSize + body_size; }
};

enum class FrameStatus : std::uint8_t { kComplete, kNeedMore, kMalformed };

// Reads the header at the front of `in`, if it is all there. kMalformed: the length is below four
// or its body above `max_body`. Never looks at the body.
inline FrameStatus read_frame_header(std::string_view in, std::uint32_t max_body,
                                     FrameHeader& out) {
  if (in.size() < kFrameHeaderSize) return FrameStatus::kNeedMore;
  const std::uint32_t length = load_be32(in.data() + 1);
  if (length < 4 || length - 4 > max_body) return FrameStatus::kMalformed;
  out.type = in[0];
  out.body_size = length - 4;
  return FrameStatus::kComplete;
}

}  // namespace pgshunt
