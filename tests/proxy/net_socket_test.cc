#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/net/socket.h"
#include "tests/proxy/net_test_support.h"

namespace pgshunt {
namespace {

using namespace testing;

SocketAddress loopback(std::uint16_t port) { return *SocketAddress::numeric("127.0.0.1", port); }

void wait_for(int fd, short events) {
  pollfd poll_fd{fd, events, 0};
  ASSERT_EQ(1, ::poll(&poll_fd, 1, 20'000));
}

int option(int fd, int level, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  EXPECT_EQ(0, ::getsockopt(fd, level, name, &value, &size));
  return value;
}

TEST(SocketAddress, PrintsEveryFamily) {
  EXPECT_EQ("10.0.0.1:5432", SocketAddress::numeric("10.0.0.1", 5432)->text());
  EXPECT_EQ("[::1]:6432", SocketAddress::numeric("::1", 6432)->text());
  EXPECT_EQ("unix:/run/pg/.s.PGSQL.5433", SocketAddress::postgres_unix("/run/pg", 5433)->text());
  EXPECT_EQ("unix:@name", SocketAddress::unix_path("@name")->text());
  EXPECT_FALSE(SocketAddress::numeric("localhost", 1));
  EXPECT_FALSE(SocketAddress::unix_path(std::string(108, 'x')));
  EXPECT_TRUE(SocketAddress::unix_path(std::string(107, 'x')));
}

TEST(Socket, AcceptedConnectionsInheritTheListenersOptions) {
  ListenOptions options;
  options.keepalive.idle = 77;
  Result<UniqueFd> listener = listen_tcp(loopback(0), options);
  ASSERT_TRUE(listener.ok());
  Accepted accepted;
  EXPECT_EQ(AcceptStatus::kNone, accept_one(listener->get(), accepted));

  const SocketAddress address = local_address(listener->get());
  Result<Connecting> connecting = connect_start(address, {});
  ASSERT_TRUE(connecting.ok());
  wait_for(listener->get(), POLLIN);
  ASSERT_EQ(AcceptStatus::kAccepted, accept_one(listener->get(), accepted));
  EXPECT_EQ(1, option(accepted.fd.get(), IPPROTO_TCP, TCP_NODELAY));
  EXPECT_EQ(1, option(accepted.fd.get(), SOL_SOCKET, SO_KEEPALIVE));
  EXPECT_EQ(77, option(accepted.fd.get(), IPPROTO_TCP, TCP_KEEPIDLE));
  EXPECT_EQ(1, option(connecting->fd.get(), IPPROTO_TCP, TCP_NODELAY));

  wait_for(connecting->fd.get(), POLLOUT);
  EXPECT_TRUE(connect_result(connecting->fd.get()).ok());
  EXPECT_EQ(local_address(connecting->fd.get()).text(), accepted.peer.text());
  EXPECT_EQ(address.text(), peer_address(connecting->fd.get()).text());
}

TEST(Socket, AcceptsNoMoreThanTheLimit) {
  Result<UniqueFd> listener = listen_tcp(loopback(0), {});
  const SocketAddress address = local_address(listener->get());
  std::vector<Connecting> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(std::move(*connect_start(address, {})));
  for (const Connecting& client : clients) wait_for(client.fd.get(), POLLOUT);
  int count = 0;
  const auto take = [&](Accepted) { ++count; };
  EXPECT_EQ(AcceptStatus::kAccepted, accept_some(listener->get(), 2, take));
  EXPECT_EQ(2, count);
  EXPECT_EQ(AcceptStatus::kNone, accept_some(listener->get(), 2, take));
  EXPECT_EQ(3, count);
}

TEST(Socket, SaysWhenDescriptorsRunOut) {
  Result<UniqueFd> listener = listen_tcp(loopback(0), {});
  Result<Connecting> client = connect_start(local_address(listener->get()), {});
  wait_for(listener->get(), POLLIN);
  rlimit before{};
  ASSERT_EQ(0, ::getrlimit(RLIMIT_NOFILE, &before));
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(0, ::setrlimit(RLIMIT_NOFILE, &none));
  Accepted accepted;
  const AcceptStatus status = accept_one(listener->get(), accepted);
  ASSERT_EQ(0, ::setrlimit(RLIMIT_NOFILE, &before));
  EXPECT_EQ(AcceptStatus::kNoResources, status);
  EXPECT_EQ(AcceptStatus::kAccepted, accept_one(listener->get(), accepted));
}

TEST(Socket, NamesTheAddressItCannotListenOn) {
  Result<UniqueFd> first = listen_tcp(loopback(0), {});
  const SocketAddress taken = local_address(first->get());
  const Result<UniqueFd> second = listen_tcp(taken, {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ("could not listen on " + taken.text() + ": Address already in use",
            second.error().message);
}

TEST(Socket, SharesAPortOnRequest) {
  ListenOptions options;
  options.reuse_port = true;
  Result<UniqueFd> first = listen_tcp(loopback(0), options);
  EXPECT_TRUE(listen_tcp(local_address(first->get()), options).ok());
}

TEST(Socket, ListensOnAllAddressesForAStar) {
  const Result<SocketAddresses> addresses = listen_addresses("*", 6432);
  ASSERT_TRUE(addresses.ok());
  bool v4 = false;
  for (const SocketAddress& address : *addresses) v4 |= address.text() == "0.0.0.0:6432";
  EXPECT_TRUE(v4);
  EXPECT_EQ("127.0.0.1:1", listen_addresses("127.0.0.1", 1)->front().text());
}

TEST(Socket, ListensOnBothFamiliesWithOnePort) {
  std::string why;
  // Somebody else may have the port of one family, but hardly ten times.
  for (int attempt = 0; attempt < 10; ++attempt) {
    const Result<UniqueFd> v6 = listen_tcp(*SocketAddress::numeric("::", 0), {});
    if (!v6) GTEST_SKIP() << v6.error().message;
    const std::uint16_t port = local_address(v6->get()).port();
    const Result<UniqueFd> v4 = listen_tcp(*SocketAddress::numeric("0.0.0.0", port), {});
    if (v4) return;
    why = v4.error().message;
  }
  FAIL() << why;
}

TEST(Socket, RefusedConnectionsSayWhy) {
  Result<UniqueFd> listener = listen_tcp(loopback(0), {});
  const SocketAddress address = local_address(listener->get());
  listener->reset();
  Result<Connecting> connecting = connect_start(address, {});
  std::string why;
  if (connecting) {
    wait_for(connecting->fd.get(), POLLOUT);
    why = connect_result(connecting->fd.get()).error().message;
  } else {
    why = connecting.error().message;
  }
  EXPECT_EQ("Connection refused", why);
}

TEST(UnixListener, ReplacesTheSocketOfADeadProcessButNotOfALivingOne) {
  TemporaryFolder folder;
  const std::string path = folder.path(".s.PGSQL.6432");
  Result<UniqueFd> first = listen_unix(path, 0600, {});
  ASSERT_TRUE(first.ok()) << first.error().message;
  struct stat status {};
  ASSERT_EQ(0, ::stat(path.c_str(), &status));
  EXPECT_EQ(0600u, status.st_mode & 07777u);

  const Result<UniqueFd> second = listen_unix(path, 0600, {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ("could not listen on unix:" + path + ": Address already in use",
            second.error().message);

  first->reset();  // the file stays, as after a crash
  const Result<UniqueFd> third = listen_unix(path, 0777, {});
  ASSERT_TRUE(third.ok()) << third.error().message;
  ASSERT_EQ(0, ::stat(path.c_str(), &status));
  EXPECT_EQ(0777u, status.st_mode & 07777u);
}

TEST(UnixListener, DoesNotRemoveAFileThatIsNoSocket) {
  TemporaryFolder folder;
  const std::string path = folder.write("precious", "data");
  const Result<UniqueFd> made = listen_unix(path, 0777, {});
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(0, ::access(path.c_str(), F_OK));
}

TEST(UnixListener, TellsABusyOneFromADeadOne) {
  TemporaryFolder folder;
  const std::string path = folder.path("busy");
  ListenOptions options;
  options.backlog = 0;
  Result<UniqueFd> listener = listen_unix(path, 0777, options);
  ASSERT_TRUE(listener.ok());
  const SocketAddress address = *SocketAddress::unix_path(path);
  std::vector<Connecting> clients;
  do {
    Result<Connecting> client = connect_start(address, {});
    ASSERT_TRUE(client.ok());
    clients.push_back(std::move(*client));
  } while (clients.back().done && clients.size() < 10);
  EXPECT_TRUE(clients.back().busy);
  EXPECT_FALSE(listen_unix(path, 0777, {}).ok());
}

}  // namespace
}  // namespace pgshunt
