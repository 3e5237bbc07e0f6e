#include "protocol/base64.h"

#include <array>
#include <cstdint>

namespace pgshunt {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kInvalid = 0xff;

constexpr std::array<std::uint8_t, 256> kValues = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(kInvalid);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<std::uint8_t>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}();

std::uint32_t byte_at(std::string_view s, std::size_t i) { return static_cast<std::uint8_t>(s[i]); }

}  // namespace

void append_base64(std::string& out, std::string_view bytes) {
  std::size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    const std::uint32_t v =
        byte_at(bytes, i) << 16 | byte_at(bytes, i + 1) << 8 | byte_at(bytes, i + 2);
    const char quad[4] = {kAlphabet[v >> 18], kAlphabet[v >> 12 & 63], kAlphabet[v >> 6 & 63],
                          kAlphabet[v & 63]};
    out.append(quad, sizeof quad);
  }
  const std::size_t left = bytes.size() - i;
  if (left == 0) return;
  const std::uint32_t v = byte_at(bytes, i) << 16 | (left == 2 ? byte_at(bytes, i + 1) << 8 : 0u);
  const char quad[4] = {kAlphabet[v >> 18], kAlphabet[v >> 12 & 63],
                        left == 2 ? kAlphabet[v >> 6 & 63] : '=', '='};
  out.append(quad, sizeof quad);
}

bool decode_base64(std::string_view text, std::string& out) {
  out.clear();
  if (text.size() % 4 != 0) return false;
  std::size_t padding = 0;
  if (text.ends_with("==")) {
    padding = 2;
  } else if (text.ends_with('=')) {
    padding = 1;
  }
  out.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const std::size_t missing = i + 4 == text.size() ? padding : 0;
    std::uint32_t v = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      std::uint8_t six = 0;
      if (k < 4 - missing) {
        six = kValues[static_cast<std::uint8_t>(text[i + k])];
        if (six == kInvalid) return false;
      }
      v = v << 6 | six;
    }
    // Bits behind the last whole byte must be zero.
    if ((missing == 1 && (v & 0xff) != 0) || (missing == 2 && (v & 0xffff) != 0)) return false;
    out.push_back(static_cast<char>(v >> 16));
    if (missing < 2) out.push_back(static_cast<char>(v >> 8 & 0xff));
    if (missing < 1) out.push_back(static_cast<char>(v & 0xff));
  }
  return true;
}

}  // namespace pgshunt
