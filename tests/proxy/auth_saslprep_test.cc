// SASLprep as PostgreSQL's own code does it: libpq encrypts random passwords without a server, and
// our derivation must arrive at the same secret.
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <array>
#include <memory>
#include <random>

#include "protocol/scram.h"

namespace pgshunt {
namespace {

void append_utf8(std::string& out, std::uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

// Where the tables have something to say.
constexpr std::array<std::array<std::uint32_t, 2>, 16> kRanges = {{
    {0x20, 0x7e},      // ASCII
    {0xa0, 0x24f},     // Latin, soft hyphen, unassigned of old
    {0x300, 0x36f},    // combining marks
    {0x370, 0x52f},    // Greek, Cyrillic
    {0x590, 0x6ff},    // Hebrew, Arabic
    {0x1100, 0x11ff},  // Hangul jamo
    {0x1e00, 0x1fff},  // precomposed
    {0x2000, 0x206f},  // spaces and controls
    {0x2100, 0x218f},  // letterlike
    {0x2460, 0x24ff},  // enclosed
    {0x3000, 0x33ff},  // CJK compatibility
    {0xac00, 0xac40},  // Hangul
    {0xf900, 0xfaff},  // compatibility ideographs
    {0xfb00, 0xfdff},  // presentation forms
    {0xfe00, 0xffff},  // variation selectors, half width
    {0x1d100, 0x1d7ff},
}};

std::string random_password(std::mt19937& random) {
  std::string password;
  const auto& first = kRanges[random() % kRanges.size()];
  const std::size_t length = 1 + random() % 4;
  for (std::size_t i = 0; i < length; ++i) {
    const auto& range = random() % 2 == 0 ? first : kRanges[random() % kRanges.size()];
    append_utf8(password,
                range[0] + static_cast<std::uint32_t>(random()) % (range[1] - range[0] + 1));
  }
  if (random() % 16 == 0) password.pop_back();  // no longer UTF-8
  if (password.empty()) password = "x";
  return password;
}

TEST(Saslprep, AgreesWithPostgresqlOnRandomPasswords) {
  // Never connected: only asked to encrypt.
  const std::unique_ptr<PGconn, decltype(&PQfinish)> libpq(PQconnectStart("host=/nowhere"),
                                                           &PQfinish);
  ASSERT_NE(libpq, nullptr);
  std::mt19937 random(4013);
  for (int i = 0; i < 300; ++i) {
    const std::string password = random_password(random);
    const std::unique_ptr<char, decltype(&PQfreemem)> secret(
        PQencryptPasswordConn(libpq.get(), password.c_str(), "user", "scram-sha-256"), &PQfreemem);
    ASSERT_NE(secret, nullptr) << PQerrorMessage(libpq.get());
    const auto theirs = parse_scram_verifier(secret.get());
    ASSERT_TRUE(theirs.ok());
    const ScramVerifier ours =
        make_scram_verifier(derive_scram_keys(password, theirs->salt, theirs->iterations));
    std::string hex;
    for (const char c : password) {
      char digits[4];
      std::snprintf(digits, sizeof digits, "%02x ", static_cast<unsigned char>(c));
      hex += digits;
    }
    EXPECT_EQ(ours.stored_key, theirs->stored_key) << hex;
    EXPECT_EQ(ours.server_key, theirs->server_key) << hex;
  }
}

}  // namespace
}  // namespace pgshunt
