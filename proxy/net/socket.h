// Descriptors, addresses and the system calls that make sockets: listening, accepting, connecting.
// All sockets made here are non-blocking and closed on exec. Stateless; any thread.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/result.h"

namespace pgshunt {

// Owns a file descriptor.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// An IPv4, IPv6 or Unix socket address, by value.
class SocketAddress {
 public:
  SocketAddress() = default;
  SocketAddress(const sockaddr* address, socklen_t size);
  // `ip`: "127.0.0.1", "::1", "fe80::1%eth0". Fails for host names.
  static Result<SocketAddress> numeric(const std::string& ip, std::uint16_t port);
  // '@' in front: the abstract name space.
  static Result<SocketAddress> unix_path(const std::string& path);
  // Where PostgreSQL's server with this port has its socket in `directory`.
  static Result<SocketAddress> postgres_unix(const std::string& directory, std::uint16_t port);

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  sockaddr* space() { return reinterpret_cast<sockaddr*>(&storage_); }  // to be filled by a call
  socklen_t size() const { return size_; }
  void set_size(socklen_t size) { size_ = size; }
  int family() const { return storage_.ss_family; }
  bool is_unix() const { return family() == AF_UNIX; }

  // "127.0.0.1", "::1", the path of a Unix socket ("unix" for one without a name).
  std::string host() const;
  std::uint16_t port() const;  // 0 for Unix sockets
  void set_port(std::uint16_t port);
  // "127.0.0.1:5432", "[::1]:5432", "unix:/run/.s.PGSQL.5432". For messages and SHOW.
  std::string text() const;

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

using SocketAddresses = std::vector<SocketAddress>;

// True for what libpq takes for a socket directory instead of a host: '/' or '@' in front.
bool is_unix_host(std::string_view host);

struct KeepaliveOptions {
  bool enabled = true;
  // Seconds, and a count; 0: the system's default.
  int idle = 0;
  int interval = 0;
  int count = 0;
  int user_timeout = 0;  // milliseconds sent data may stay unacknowledged; 0: the system's default
};

// TCP_NODELAY and keepalive; nothing for Unix sockets. Connections inherit both from the listening
// socket they were accepted from, so accepted ones need no calls of their own.
Status set_tcp_options(int fd, const KeepaliveOptions& keepalive);

// --- listening ---

// What a configured listen address stands for: "*" is all IPv4 and all IPv6 addresses, anything
// else an address or a name. May wait for DNS: for start-up only.
Result<SocketAddresses> listen_addresses(const std::string& host, std::uint16_t port);

struct ListenOptions {
  int backlog = 1024;
  bool reuse_port = false;  // several listeners share the port (also across a binary upgrade)
  KeepaliveOptions keepalive;
};

// Errors name the address.
Result<UniqueFd> listen_tcp(const SocketAddress& address, const ListenOptions& options);
// Makes the socket file with permissions `mode`. A file left behind by a process that is gone is
// replaced; one that somebody listens on, or that is not a socket, is an error. The file stays when
// the descriptor is closed: whoever stops listening for good unlinks it.
Result<UniqueFd> listen_unix(const std::string& path, std::uint32_t mode,
                             const ListenOptions& options);

enum class AcceptStatus : std::uint8_t {
  kAccepted,
  kNone,         // nobody is waiting (any more)
  kNoResources,  // out of descriptors or memory: stop watching the listener for a while
};

struct Accepted {
  UniqueFd fd;
  SocketAddress peer;
};
AcceptStatus accept_one(int listener, Accepted& accepted);

// Calls `on_accepted(Accepted)` for at most `limit` waiting connections. kAccepted: there may be
// more, which a level-triggered loop will say.
template <class OnAccepted>
AcceptStatus accept_some(int listener, int limit, OnAccepted&& on_accepted) {
  for (int i = 0; i < limit; ++i) {
    Accepted accepted;
    const AcceptStatus status = accept_one(listener, accepted);
    if (status != AcceptStatus::kAccepted) return status;
    on_accepted(std::move(accepted));
  }
  return AcceptStatus::kAccepted;
}

// --- connecting ---

struct Connecting {
  UniqueFd fd;
  bool done = false;  // else it becomes writable when it is, or has failed: ask connect_result()
  bool busy = false;  // a Unix socket whose queue is full: nothing was begun, try again later
};
Result<Connecting> connect_start(const SocketAddress& address, const KeepaliveOptions& keepalive);
// How a connection attempt ended. The error is the bare reason ("Connection refused").
Status connect_result(int fd);

SocketAddress local_address(int fd);
SocketAddress peer_address(int fd);

}  // namespace pgshunt
