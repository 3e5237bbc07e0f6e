// What the tests of the wire protocol share.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <string_view>

#include "protocol/frame.h"
#include "tests/protocol/decode_everything.h"

namespace pgshunt::test {

using namespace std::string_view_literals;

// The body of `frame`, which must be exactly one message of `type`.
inline std::string_view body_of(std::string_view frame, char type) {
  FrameHeader header;
  EXPECT_EQ(read_frame_header(frame, kMaxBodySize, header), FrameStatus::kComplete);
  EXPECT_EQ(header.type, type);
  EXPECT_EQ(header.frame_size(), frame.size());
  return frame.substr(kFrameHeaderSize);
}

// Feeds every prefix of `bytes`, and `bytes` with every byte changed, to `decode`: nothing is
// expected but that it comes back. Blocks are of exact size, so reading past one is caught.
inline void survive_damage(std::string_view bytes,
                           const std::function<void(std::string_view)>& decode) {
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    decode(ExactCopy(bytes.substr(0, size)).view());
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const int mask : {0x01, 0x80, 0xff}) {
      std::string damaged(bytes);
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      decode(ExactCopy(damaged).view());
    }
  }
}

// Random bytes that look like messages often enough: small numbers and zeros are common.
inline std::string random_bytes(std::mt19937& random, std::size_t most) {
  std::string bytes(random() % (most + 1), '\0');
  for (char& c : bytes) {
    const auto roll = random();
    c = static_cast<char>((roll & 3) == 0 ? 0 : (roll & 3) == 1 ? (roll >> 8) % 5 : roll >> 8);
  }
  return bytes;
}

}  // namespace pgshunt::test
