#include "protocol/saslprep.h"

#include <stringprep.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace pgshunt {
namespace {

// RFC 4013's tables in the order PostgreSQL applies them: it looks for prohibited, unassigned and
// wrongly mixed bidirectional characters before it normalizes, not after as the RFC says. Two peers
// derive the same key only if they agree, so its order is the one that counts.
const Stringprep_profile* postgres_profile() {
  static const std::vector<Stringprep_profile> profile = [] {
    std::vector<Stringprep_profile> checks;
    std::vector<Stringprep_profile> normalize;
    const Stringprep_profile* step = stringprep_saslprep;
    for (; step->operation != 0; ++step) {
      (step->operation == STRINGPREP_NFKC ? normalize : checks).push_back(*step);
    }
    checks.insert(checks.end(), normalize.begin(), normalize.end());
    checks.push_back(*step);  // the terminator
    return checks;
  }();
  return profile.data();
}

// Strict UTF-8 (no overlong forms, no surrogates, nothing above U+10FFFF): pg_utf8_islegal().
bool decode_utf8(std::string_view in, std::vector<std::uint32_t>& out) {
  for (std::size_t i = 0; i < in.size();) {
    const auto lead = static_cast<std::uint8_t>(in[i]);
    std::size_t length = 1;
    std::uint32_t code = lead;
    std::uint32_t least = 0;
    if (lead >= 0x80) {
      if (lead >= 0xc0 && lead < 0xe0) {
        length = 2, code = lead & 0x1f, least = 0x80;
      } else if (lead >= 0xe0 && lead < 0xf0) {
        length = 3, code = lead & 0x0f, least = 0x800;
      } else if (lead >= 0xf0 && lead < 0xf8) {
        length = 4, code = lead & 0x07, least = 0x10000;
      } else {
        return false;
      }
    }
    if (in.size() - i < length) return false;
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<std::uint8_t>(in[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      code = code << 6 | (next & 0x3f);
    }
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return false;
    out.push_back(code);
    i += length;
  }
  return true;
}

void append_utf8(std::string& out, std::uint32_t code) {
  const auto tail = [&](unsigned shift) {
    out.push_back(static_cast<char>(0x80 | (code >> shift & 0x3f)));
  };
  if (code < 0x80) {
    out.push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out.push_back(static_cast<char>(0xc0 | code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | code >> 12));
    tail(6);
    tail(0);
  } else {
    out.push_back(static_cast<char>(0xf0 | code >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace

std::string saslprep(std::string_view password) {
  const bool ascii = std::all_of(password.begin(), password.end(),
                                 [](char c) { return static_cast<std::uint8_t>(c) < 0x80; });
  if (ascii) return std::string(password);

  std::vector<std::uint32_t> codes;
  codes.reserve(password.size());
  if (!decode_utf8(password, codes)) return std::string(password);

  // NFKC's longest expansion of one character is 18 (U+FDFA).
  constexpr std::size_t kLongestExpansion = 18;
  std::size_t length = codes.size();
  codes.resize(length * kLongestExpansion + 1);
  const int rc = stringprep_4i(codes.data(), &length, codes.size(), STRINGPREP_NO_UNASSIGNED,
                               postgres_profile());
  if (rc != STRINGPREP_OK || length == 0) return std::string(password);

  std::string out;
  for (std::size_t i = 0; i < length; ++i) append_utf8(out, codes[i]);
  return out;
}

}  // namespace pgshunt
