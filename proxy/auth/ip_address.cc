#include "proxy/auth/ip_address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>

#include <charconv>
#include <cstring>
#include <memory>

namespace pgshunt {

IpAddress IpAddress::from_sockaddr(const sockaddr* address) {
  IpAddress out;
  if (address->sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, address, sizeof v4);
    out.family = Family::kV4;
    std::memcpy(out.bytes.data(), &v4.sin_addr, 4);
  } else if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, address, sizeof v6);
    const bool mapped = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr);
    out.family = mapped ? Family::kV4 : Family::kV6;
    const std::uint8_t* from = v6.sin6_addr.s6_addr;
    std::memcpy(out.bytes.data(), mapped ? from + 12 : from, mapped ? 4 : 16);
  }
  return out;
}

bool IpAddress::parse(std::string_view text, IpAddress& out) {
  out = {};
  const std::string terminated(text);
  if (terminated.find('\0') != std::string::npos) return false;
  sockaddr_in6 v6{};
  sockaddr_in v4{};
  if (inet_pton(AF_INET, terminated.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    out = from_sockaddr(reinterpret_cast<const sockaddr*>(&v4));
    return true;
  }
  if (inet_pton(AF_INET6, terminated.c_str(), &v6.sin6_addr) != 1) return false;
  v6.sin6_family = AF_INET6;
  out = from_sockaddr(reinterpret_cast<const sockaddr*>(&v6));
  return true;
}

unsigned IpAddress::bit_count() const { return family == Family::kV6 ? 128 : 32; }

std::string IpAddress::to_string() const {
  if (family == Family::kNone) return {};
  char text[INET6_ADDRSTRLEN];
  inet_ntop(family == Family::kV4 ? AF_INET : AF_INET6, bytes.data(), text, sizeof text);
  return text;
}

bool IpNetwork::parse(std::string_view text, IpNetwork& out) {
  const std::size_t slash = text.find('/');
  if (!IpAddress::parse(text.substr(0, slash), out.address)) return false;
  out.prefix = out.address.bit_count();
  if (slash == std::string_view::npos) return true;
  const std::string_view digits = text.substr(slash + 1);
  const char* const end = digits.data() + digits.size();
  const auto [stopped, error] = std::from_chars(digits.data(), end, out.prefix);
  return error == std::errc() && stopped == end && out.prefix <= out.address.bit_count();
}

bool IpNetwork::from_mask(const IpAddress& address, const IpAddress& mask, IpNetwork& out) {
  if (mask.family != address.family) return false;
  const auto bit = [&](unsigned i) { return (mask.bytes[i / 8] >> (7 - i % 8) & 1) != 0; };
  unsigned prefix = 0;
  while (prefix < address.bit_count() && bit(prefix)) ++prefix;
  for (unsigned i = prefix; i < address.bit_count(); ++i) {
    if (bit(i)) return false;
  }
  out = {address, prefix};
  return true;
}

bool IpNetwork::contains(const IpAddress& other) const {
  if (other.family != address.family) return false;
  const std::size_t whole = prefix / 8;
  if (std::memcmp(other.bytes.data(), address.bytes.data(), whole) != 0) return false;
  const unsigned rest = prefix % 8;
  return rest == 0 || (other.bytes[whole] ^ address.bytes[whole]) >> (8 - rest) == 0;
}

std::string IpNetwork::to_string() const {
  return address.to_string() + "/" + std::to_string(prefix);
}

std::vector<IpNetwork> local_networks() {
  ifaddrs* raw = nullptr;
  if (getifaddrs(&raw) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> list(raw, &freeifaddrs);
  std::vector<IpNetwork> networks;
  for (const ifaddrs* at = list.get(); at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_netmask == nullptr) continue;
    const IpAddress address = IpAddress::from_sockaddr(at->ifa_addr);
    if (address.family == IpAddress::Family::kNone) continue;
    // The kernel leaves the mask's family open on some interfaces.
    sockaddr_storage mask{};
    std::memcpy(&mask, at->ifa_netmask,
                at->ifa_addr->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    mask.ss_family = at->ifa_addr->sa_family;
    IpNetwork network;
    if (IpNetwork::from_mask(
            address, IpAddress::from_sockaddr(reinterpret_cast<const sockaddr*>(&mask)), network)) {
      networks.push_back(network);
    }
  }
  return networks;
}

}  // namespace pgshunt
