#include "protocol/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

namespace pgshunt {
namespace {

constexpr std::size_t kSha256Block = 64;

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_MD_CTX, FreeContext>;

// Fetched algorithms live until the process ends; they are never freed, so that threads that end
// after static destructors ran still find them.
const EVP_MD* sha256_algorithm() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  if (algorithm == nullptr) std::abort();  // a broken OpenSSL installation
  return algorithm;
}

const EVP_MD* md5_algorithm() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "MD5", nullptr);
  return algorithm;
}

// A context re-initialized with the algorithm it already has keeps its memory: one context per
// thread and algorithm.
bool digest(EVP_MD_CTX* context, const EVP_MD* algorithm, std::string_view first, DigestParts parts,
            std::uint8_t* out) {
  bool ok = EVP_DigestInit_ex(context, algorithm, nullptr) == 1;
  if (!first.empty()) ok = ok && EVP_DigestUpdate(context, first.data(), first.size()) == 1;
  for (const std::string_view part : parts) {
    ok = ok && EVP_DigestUpdate(context, part.data(), part.size()) == 1;
  }
  return ok && EVP_DigestFinal_ex(context, out, nullptr) == 1;
}

Sha256Digest sha256_prefixed(std::string_view first, DigestParts parts) {
  thread_local const Context context(EVP_MD_CTX_new());
  Sha256Digest out;
  // Fails only for lack of memory at the first use.
  if (context == nullptr || !digest(context.get(), sha256_algorithm(), first, parts, out.data())) {
    std::abort();
  }
  return out;
}

}  // namespace

Sha256Digest sha256(DigestParts parts) { return sha256_prefixed({}, parts); }

Sha256Digest hmac_sha256(std::span<const std::uint8_t, 32> key, DigestParts parts) {
  // RFC 2104 for keys shorter than a block.
  std::array<std::uint8_t, kSha256Block> pad;
  const auto fill = [&](std::uint8_t with) {
    pad.fill(with);
    for (std::size_t i = 0; i < key.size(); ++i) pad[i] ^= key[i];
  };
  fill(0x36);
  const Sha256Digest inner = sha256_prefixed(as_view(pad), parts);
  fill(0x5c);
  const Sha256Digest outer = sha256_prefixed(as_view(pad), {as_view(inner)});
  OPENSSL_cleanse(pad.data(), pad.size());
  return outer;
}

bool md5_hex(DigestParts parts, std::string& out) {
  thread_local const Context context(EVP_MD_CTX_new());
  const EVP_MD* const algorithm = md5_algorithm();
  std::array<std::uint8_t, 16> raw;
  if (context == nullptr || algorithm == nullptr ||
      !digest(context.get(), algorithm, {}, parts, raw.data())) {
    return false;
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  out.clear();
  for (const std::uint8_t byte : raw) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return true;
}

Sha256Digest pbkdf2_sha256(std::string_view password, std::string_view salt,
                           std::uint32_t iterations) {
  Sha256Digest out;
  const auto* raw_salt = reinterpret_cast<const unsigned char*>(salt.data());
  if (PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), raw_salt,
                        static_cast<int>(salt.size()), static_cast<int>(iterations),
                        sha256_algorithm(), static_cast<int>(out.size()), out.data()) != 1) {
    std::abort();  // only for lack of memory
  }
  return out;
}

// A call of RAND_bytes() costs some three microseconds however little it is asked for (it sets up a
// cipher for each), which shows in a login; so bytes are drawn in stock. What is handed out is
// wiped from the stock. Not for a process that forks and goes on in both: the stock would be the
// same.
void fill_random(std::span<std::uint8_t> out) {
  constexpr std::size_t kStock = 512;
  struct Stock {
    std::array<std::uint8_t, kStock> bytes;
    std::size_t left = 0;
    ~Stock() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
  };
  thread_local Stock stock;
  const auto draw = [](std::uint8_t* to, std::size_t count) {
    if (RAND_bytes(to, static_cast<int>(count)) != 1) std::abort();
  };
  if (out.size() > kStock / 4) return draw(out.data(), out.size());
  if (stock.left < out.size()) {
    draw(stock.bytes.data(), kStock);
    stock.left = kStock;
  }
  std::uint8_t* const from = stock.bytes.data() + stock.left - out.size();
  std::copy_n(from, out.size(), out.begin());
  OPENSSL_cleanse(from, out.size());
  stock.left -= out.size();
}

bool equal_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace pgshunt
