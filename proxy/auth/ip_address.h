// Internet addresses and networks as values, for host-based rules.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgshunt {

// An address without a port. IPv4-mapped IPv6 addresses become IPv4, so "::ffff:10.0.0.1" matches
// rules for 10.0.0.1.
struct IpAddress {
  enum class Family : std::uint8_t { kNone, kV4, kV6 };
  Family family = Family::kNone;
  std::array<std::uint8_t, 16> bytes{};  // network order; the first four for kV4

  // kNone for other families (Unix sockets).
  static IpAddress from_sockaddr(const sockaddr* address);
  // Numeric forms only. False: `out` is kNone.
  static bool parse(std::string_view text, IpAddress& out);

  unsigned bit_count() const;  // 32 or 128
  std::string to_string() const;
  friend bool operator==(const IpAddress&, const IpAddress&) = default;
};

struct IpNetwork {
  IpAddress address;
  unsigned prefix = 0;  // leading bits that count

  // "10.0.0.0/8", "fd00::/8", or an address alone, which stands for itself.
  static bool parse(std::string_view text, IpNetwork& out);
  // From an address and a mask of the same family. False if the mask has holes.
  static bool from_mask(const IpAddress& address, const IpAddress& mask, IpNetwork& out);

  bool contains(const IpAddress& other) const;
  std::string to_string() const;
};

// This machine's addresses, each with the network of its interface.
std::vector<IpNetwork> local_networks();

}  // namespace pgshunt
