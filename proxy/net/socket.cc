#include "proxy/net/socket.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

namespace pgshunt {
namespace {

Error socket_error(std::string what, int error_number) {
  return {sqlstate::kCannotConnect, what.append(": ").append(std::strerror(error_number)), {}};
}

Error listen_error(const SocketAddress& address, int error_number) {
  Error error = socket_error("could not listen on " + address.text(), error_number);
  error.code = sqlstate::kConfigFileError;
  return error;
}

struct FreeAddressInfo {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using AddressInfo = std::unique_ptr<addrinfo, FreeAddressInfo>;

// A null host with kPassive: all addresses.
int look_up(const char* host, int flags, AddressInfo& found) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* list = nullptr;
  // A service must be given where the host is not; the port is set afterwards.
  const int result = ::getaddrinfo(host, host == nullptr ? "0" : nullptr, &hints, &list);
  found.reset(list);
  return result;
}

SocketAddresses all_of(const AddressInfo& found, std::uint16_t port) {
  SocketAddresses addresses;
  for (const addrinfo* info = found.get(); info != nullptr; info = info->ai_next) {
    addresses.emplace_back(info->ai_addr, info->ai_addrlen);
    addresses.back().set_port(port);
  }
  return addresses;
}

bool set_option(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

UniqueFd make_socket(int family) {
  return UniqueFd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// True if the path is a socket nobody listens on, or nothing at all. Else errno says why not.
bool clear_stale_socket(const SocketAddress& address, const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) < 0) return errno == ENOENT;
  if (!S_ISSOCK(status.st_mode)) {
    errno = EEXIST;
    return false;
  }
  const UniqueFd probe = make_socket(AF_UNIX);
  if (!probe) return false;
  if (::connect(probe.get(), address.get(), address.size()) == 0 || errno == EAGAIN) {
    errno = EADDRINUSE;
    return false;
  }
  if (errno != ECONNREFUSED) return false;
  return ::unlink(path.c_str()) == 0 || errno == ENOENT;
}

}  // namespace

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

// --- addresses ---

SocketAddress::SocketAddress(const sockaddr* address, socklen_t size) : size_(size) {
  std::memcpy(&storage_, address, size);
}

Result<SocketAddress> SocketAddress::numeric(const std::string& ip, std::uint16_t port) {
  AddressInfo found;
  if (look_up(ip.c_str(), AI_NUMERICHOST, found) != 0) {
    return Error{sqlstate::kCannotConnect, "\"" + ip + "\" is not an IP address", {}};
  }
  return all_of(found, port).front();
}

Result<SocketAddress> SocketAddress::unix_path(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // A path needs its terminator; an abstract name is as long as it is said to be.
  const std::size_t longest = sizeof address.sun_path - 1;
  if (path.empty() || path.size() > longest) {
    return Error{
        sqlstate::kCannotConnect,
        "Unix socket path \"" + path + "\" is not 1 to " + std::to_string(longest) + " bytes long",
        {}};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  std::size_t size = offsetof(sockaddr_un, sun_path) + path.size();
  if (path[0] == '@') {
    address.sun_path[0] = '\0';
  } else {
    ++size;
  }
  return SocketAddress(reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(size));
}

Result<SocketAddress> SocketAddress::postgres_unix(const std::string& directory,
                                                   std::uint16_t port) {
  return unix_path(directory + "/.s.PGSQL." + std::to_string(port));
}

std::string SocketAddress::host() const {
  char text[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE] = "?";
  switch (family()) {
    case AF_INET:
    case AF_INET6:
      ::getnameinfo(get(), size_, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
      return text;
    case AF_UNIX: {
      const std::size_t size = size_ - offsetof(sockaddr_un, sun_path);
      if (size_ <= offsetof(sockaddr_un, sun_path)) return "unix";
      const char* path = reinterpret_cast<const sockaddr_un*>(&storage_)->sun_path;
      if (path[0] == '\0') return "@" + std::string(path + 1, size - 1);
      return std::string(path, ::strnlen(path, size));
    }
    default:
      return text;
  }
}

std::uint16_t SocketAddress::port() const {
  switch (family()) {
    case AF_INET:
      return ntohs(reinterpret_cast<const sockaddr_in*>(&storage_)->sin_port);
    case AF_INET6:
      return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_port);
    default:
      return 0;
  }
}

void SocketAddress::set_port(std::uint16_t port) {
  if (family() == AF_INET) reinterpret_cast<sockaddr_in*>(&storage_)->sin_port = htons(port);
  if (family() == AF_INET6) reinterpret_cast<sockaddr_in6*>(&storage_)->sin6_port = htons(port);
}

std::string SocketAddress::text() const {
  const std::string name = host();
  if (family() == AF_INET6) return "[" + name + "]:" + std::to_string(port());
  if (family() == AF_INET) return name + ":" + std::to_string(port());
  return name == "unix" ? name : "unix:" + name;
}

bool is_unix_host(std::string_view host) { return host.starts_with('/') || host.starts_with('@'); }

SocketAddress local_address(int fd) {
  SocketAddress address;
  socklen_t size = sizeof(sockaddr_storage);
  if (::getsockname(fd, address.space(), &size) == 0) address.set_size(size);
  return address;
}

SocketAddress peer_address(int fd) {
  SocketAddress address;
  socklen_t size = sizeof(sockaddr_storage);
  if (::getpeername(fd, address.space(), &size) == 0) address.set_size(size);
  return address;
}

Status set_tcp_options(int fd, const KeepaliveOptions& keepalive) {
  if (local_address(fd).is_unix()) return Ok{};
  bool good = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (keepalive.enabled) {
    good = good && set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    const std::pair<int, int> values[] = {{TCP_KEEPIDLE, keepalive.idle},
                                          {TCP_KEEPINTVL, keepalive.interval},
                                          {TCP_KEEPCNT, keepalive.count}};
    for (const auto& [option, value] : values) {
      if (value > 0) good = good && set_option(fd, IPPROTO_TCP, option, value);
    }
  }
  if (keepalive.user_timeout > 0) {
    good = good && set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, keepalive.user_timeout);
  }
  if (!good) return socket_error("could not set TCP options", errno);
  return Ok{};
}

// --- listening ---

Result<SocketAddresses> listen_addresses(const std::string& host, std::uint16_t port) {
  AddressInfo found;
  const bool all = host == "*";
  const int result = look_up(all ? nullptr : host.c_str(), AI_PASSIVE, found);
  if (result != 0) {
    return Error{sqlstate::kConfigFileError,
                 "could not resolve listen address \"" + host + "\": " + ::gai_strerror(result),
                 {}};
  }
  return all_of(found, port);
}

Result<UniqueFd> listen_tcp(const SocketAddress& address, const ListenOptions& options) {
  UniqueFd fd = make_socket(address.family());
  if (!fd || !set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1)) {
    return listen_error(address, errno);
  }
  if (options.reuse_port && !set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1)) {
    return listen_error(address, errno);
  }
  // Else "::" would take the port from "0.0.0.0".
  if (address.family() == AF_INET6 && !set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1)) {
    return listen_error(address, errno);
  }
  if (::bind(fd.get(), address.get(), address.size()) < 0) return listen_error(address, errno);
  if (Status set = set_tcp_options(fd.get(), options.keepalive); !set) return set.error();
  if (::listen(fd.get(), options.backlog) < 0) return listen_error(address, errno);
  return {std::move(fd)};
}

Result<UniqueFd> listen_unix(const std::string& path, std::uint32_t mode,
                             const ListenOptions& options) {
  const Result<SocketAddress> address = SocketAddress::unix_path(path);
  if (!address) return address.error();
  const bool is_file = path[0] != '@';
  if (is_file && !clear_stale_socket(*address, path)) return listen_error(*address, errno);
  UniqueFd fd = make_socket(AF_UNIX);
  if (!fd || ::bind(fd.get(), address->get(), address->size()) < 0) {
    return listen_error(*address, errno);
  }
  // Nobody can connect before listen(), so there is no moment with the wrong permissions.
  if (is_file && ::chmod(path.c_str(), mode) < 0) return listen_error(*address, errno);
  if (::listen(fd.get(), options.backlog) < 0) return listen_error(*address, errno);
  return {std::move(fd)};
}

AcceptStatus accept_one(int listener, Accepted& accepted) {
  for (;;) {
    socklen_t size = sizeof(sockaddr_storage);
    accepted.fd.reset(
        ::accept4(listener, accepted.peer.space(), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accepted.fd) {
      accepted.peer.set_size(size);
      return AcceptStatus::kAccepted;
    }
    switch (errno) {
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        return AcceptStatus::kNoResources;
      case EAGAIN:
      case EBADF:  // and the two below: not a listening socket (any more)
      case EINVAL:
      case ENOTSOCK:
        return AcceptStatus::kNone;
      default:
        // The one in front went away while it waited, or a signal came (accept(2), "Error
        // handling"): the next may be good.
        break;
    }
  }
}

// --- connecting ---

Result<Connecting> connect_start(const SocketAddress& address, const KeepaliveOptions& keepalive) {
  Connecting connecting;
  connecting.fd = make_socket(address.family());
  if (!connecting.fd) return socket_error("could not create a socket", errno);
  if (!address.is_unix()) {
    if (Status set = set_tcp_options(connecting.fd.get(), keepalive); !set) return set.error();
  }
  if (::connect(connecting.fd.get(), address.get(), address.size()) == 0) {
    connecting.done = true;
  } else if (errno == EAGAIN && address.is_unix()) {
    connecting.busy = true;
  } else if (errno != EINPROGRESS && errno != EINTR) {
    return Error{sqlstate::kCannotConnect, std::strerror(errno), {}};
  }
  return {std::move(connecting)};
}

Status connect_result(int fd) {
  int error_number = 0;
  socklen_t size = sizeof error_number;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error_number, &size) < 0) error_number = errno;
  if (error_number != 0) {
    return Error{sqlstate::kCannotConnect, std::strerror(error_number), {}};
  }
  return Ok{};
}

}  // namespace pgshunt
