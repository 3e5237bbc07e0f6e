#include "proxy/two_phase/gid.h"

#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <span>

namespace pgshunt {
namespace {

constexpr std::string_view kBegin = "pgshunt:";
constexpr std::string_view kFirstLast = ":last";
constexpr std::size_t kLongestName = 56;
constexpr std::size_t kMarkDigits = 32;  // 128 bits
constexpr std::string_view kDigits = "0123456789abcdef";

std::string hex(std::span<const unsigned char> bytes) {
  std::string out;
  for (const unsigned char byte : bytes) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

std::string sha256_hex(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return hex(digest);
}

std::string random_hex(std::size_t bytes) {
  std::array<unsigned char, 32> random{};
  // Without randomness no login would work either.
  if (RAND_bytes(random.data(), static_cast<int>(bytes)) != 1) std::abort();
  return hex(std::span(random).first(bytes));
}

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.';
}

}  // namespace

std::string gid_name(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (is_plain(c)) {
      out.push_back(c);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out.push_back('%');
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  if (out.size() > kLongestName) out = "%%" + sha256_hex(name).substr(0, kMarkDigits);
  return out;
}

std::string gid_prefix(std::string_view database) {
  return std::string(kBegin) + gid_name(database) + ":";
}

const std::string& proxy_id() {
  static const std::string id = random_hex(4);
  return id;
}

Gid make_gid(std::string_view database, std::string_view decider, bool first_last) {
  Gid gid;
  gid.key = random_hex(16);
  gid.text = gid_prefix(database) + proxy_id() + ":" + sha256_hex(gid.key).substr(0, kMarkDigits) +
             ":" + gid_name(decider);
  if (first_last) gid.text += kFirstLast;
  return gid;
}

std::string gid_of_part(std::string_view decision, std::size_t part) {
  return std::string(decision) + ":" + std::to_string(part);
}

std::optional<GidParts> parse_gid(std::string_view text) {
  if (!text.starts_with(kBegin)) return std::nullopt;
  GidParts parts;
  parts.decision = text;
  text.remove_prefix(kBegin.size());
  for (std::string_view* part : {&parts.database, &parts.proxy, &parts.mark}) {
    const std::size_t end = text.find(':');
    if (end == std::string_view::npos || end == 0) return std::nullopt;
    *part = text.substr(0, end);
    text.remove_prefix(end + 1);
  }
  if (parts.mark.size() != kMarkDigits) return std::nullopt;
  const std::size_t end = std::min(text.find(':'), text.size());
  parts.decider = text.substr(0, end);
  text.remove_prefix(end);
  if (parts.decider.empty()) return std::nullopt;
  parts.first_last = text.starts_with(kFirstLast);
  if (parts.first_last) text.remove_prefix(kFirstLast.size());
  if (text.empty()) return parts;
  parts.decision.remove_suffix(text.size());
  text.remove_prefix(1);
  std::uint32_t number = 0;
  const auto [stop, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  parts.part = number;
  return parts;
}

}  // namespace pgshunt
