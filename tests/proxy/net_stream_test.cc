#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <random>
#include <thread>

#include "proxy/net/stream.h"
#include "tests/proxy/net_test_support.h"

namespace pgshunt {
namespace {

using namespace testing;

enum class Kind { kPlain, kTls12, kTls13 };

const Pki& pki() {
  static const Pki made;
  return made;
}

// Two streams joined by a socket pair, on one loop.
struct Joined {
  EventLoop loop;
  Endpoint client;
  Endpoint server;

  Joined(Kind kind, DescriptorPair fds) : client(loop, fds.first), server(loop, fds.second) {
    if (kind == Kind::kPlain) return;
    const std::shared_ptr<const TlsContext> context = server_context(pki().server_config());
    const int version = kind == Kind::kTls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    SSL_CTX_set_max_proto_version(context->native(), version);
    EXPECT_TRUE(server.stream.start_tls_server(context).ok());
    const auto trusting = client_context(pki().client_config());
    EXPECT_TRUE(client.stream.start_tls_client(trusting, "db.example").ok());
    run_until(loop,
              [&] { return client.stream.handshake_done() && server.stream.handshake_done(); });
  }
};

void shrink_buffers(const DescriptorPair& fds) {
  const int size = 8 * 1024;
  for (const int fd : {fds.first, fds.second}) {
    ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  }
}

std::string random_bytes(std::size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

class StreamTest : public ::testing::TestWithParam<Kind> {};

std::string kind_name(const ::testing::TestParamInfo<Kind>& kind) {
  const char* const names[] = {"Plain", "Tls12", "Tls13"};
  return names[static_cast<int>(kind.param)];
}

INSTANTIATE_TEST_SUITE_P(All, StreamTest,
                         ::testing::Values(Kind::kPlain, Kind::kTls12, Kind::kTls13), kind_name);

// One side of a transfer: sends `outgoing` in pieces of random sizes by every way there is, and
// reads into spaces of random sizes, pausing at random.
struct Mover {
  Endpoint& end;
  std::string outgoing;
  std::mt19937 random;
  std::size_t sent = 0;

  void step() {
    while (sent < outgoing.size() && end.stream.queued() < 200'000) {
      const std::size_t size =
          std::min<std::size_t>(outgoing.size() - sent, random() % (random() % 8 ? 3000 : 150'000));
      const std::string_view piece = std::string_view(outgoing).substr(sent, size);
      sent += size;
      if (random() % 2) {
        end.stream.enqueue(piece);
      } else {
        ASSERT_EQ(IoResult::kOk, end.stream.write(piece));
      }
    }
    ASSERT_EQ(IoResult::kOk, end.stream.flush());
    end.read_size = random() % 4 ? 1 + random() % 1000 : 1 + random() % 70'000;
    const bool read = random() % 4 != 0;
    end.stream.want_read(read);
    // What is inside already is not announced by the loop.
    if (read && end.stream.has_pending()) end.drain();
  }
};

void transfer(Kind kind, DescriptorPair fds, std::size_t bytes) {
  Joined joined(kind, fds);
  Mover client{joined.client, random_bytes(bytes, 1), std::mt19937(3)};
  Mover server{joined.server, random_bytes(bytes, 2), std::mt19937(4)};
  const auto both_done = [&] {
    client.step();
    server.step();
    return joined.client.received.size() >= bytes && joined.server.received.size() >= bytes;
  };
  run_until(joined.loop, both_done, 0ms);
  EXPECT_TRUE(joined.client.received == server.outgoing);
  EXPECT_TRUE(joined.server.received == client.outgoing);
  EXPECT_EQ(0u, joined.client.stream.queued() + joined.server.stream.queued());
}

TEST_P(StreamTest, CarriesLargeTransfersBothWaysAtOnce) {
  transfer(GetParam(), tcp_pair(), 4 << 20);
}

TEST_P(StreamTest, CarriesThemThroughSmallSocketBuffers) {
  const DescriptorPair fds = unix_pair();
  shrink_buffers(fds);
  transfer(GetParam(), fds, 1 << 20);
}

// On a sequenced-packet socket every send makes one packet and every recv takes one, so packets
// count system calls.
TEST_P(StreamTest, SendsOneWriteByOneSystemCall) {
  Joined joined(GetParam(), seqpacket_pair());
  joined.client.stream.enqueue("prefix");
  joined.client.stream.enqueue(std::string(300, 'a'));
  EXPECT_EQ(IoResult::kOk, joined.client.stream.write(std::string(30'000, 'b')));
  EXPECT_EQ(0u, joined.client.stream.queued());
  // The peer's one read takes one packet; there must not be another behind the handshake's.
  std::vector<char> packet(200'000);
  int packets = 0;
  while (::recv(joined.server.stream.fd(), packet.data(), packet.size(), 0) > 0) ++packets;
  EXPECT_EQ(GetParam() == Kind::kPlain ? 1 : 2, packets);  // TLS: enqueued bytes, written bytes

  joined.client.stream.enqueue("reply one ");
  joined.client.stream.enqueue("reply two ");
  EXPECT_EQ(IoResult::kOk, joined.client.stream.write("reply three"));
  packets = 0;
  while (::recv(joined.server.stream.fd(), packet.data(), packet.size(), 0) > 0) ++packets;
  EXPECT_EQ(1, packets);
}

TEST(StreamHandshake, SendsWhatWaitedTogetherWithItsLastFlight) {
  EventLoop loop;
  const DescriptorPair fds = seqpacket_pair();
  Endpoint client(loop, fds.first), server(loop, fds.second);
  ASSERT_TRUE(server.stream.start_tls_server(server_context(pki().server_config())).ok());
  const auto trusting = client_context(pki().client_config());
  ASSERT_TRUE(client.stream.start_tls_client(trusting, "db.example").ok());
  client.stream.write("startup packet");
  run_until(loop, [&] { return client.stream.handshake_done(); });
  if (server.received.empty()) server.drain();  // one packet
  EXPECT_TRUE(server.stream.handshake_done());
  EXPECT_EQ("startup packet", server.received);
}

TEST_P(StreamTest, ReadsByOneSystemCall) {
  Joined joined(GetParam(), seqpacket_pair());
  joined.client.stream.write("first");
  joined.client.stream.write("second");
  char space[16 * 1024];
  std::size_t got = 0;
  ASSERT_EQ(IoResult::kOk, joined.server.stream.read(space, sizeof space, got));
  EXPECT_EQ("first", std::string(space, got));
  EXPECT_FALSE(joined.server.stream.has_pending());
  ASSERT_EQ(IoResult::kOk, joined.server.stream.read(space, sizeof space, got));
  EXPECT_EQ("second", std::string(space, got));
  EXPECT_EQ(IoResult::kWouldBlock, joined.server.stream.read(space, sizeof space, got));
}

TEST_P(StreamTest, QueuesForAPeerThatDoesNotReadAndWaitsWithoutSpinning) {
  Joined joined(GetParam(), unix_pair());
  joined.client.stream.want_read(false);
  const std::string big = random_bytes(3 << 20, 5);
  ASSERT_EQ(IoResult::kOk, joined.server.stream.write(big));
  const std::size_t queued = joined.server.stream.queued();
  EXPECT_GT(queued, big.size() / 2);  // the kernel took some, the rest is ours

  const int calls = joined.server.calls;
  for (int i = 0; i < 20; ++i) joined.loop.run_once(0ms);
  EXPECT_EQ(calls, joined.server.calls);
  EXPECT_EQ(queued, joined.server.stream.queued());

  joined.client.stream.want_read(true);
  run_until(joined.loop, [&] { return joined.client.received.size() >= big.size(); });
  EXPECT_TRUE(joined.client.received == big);
  EXPECT_EQ(0u, joined.server.stream.queued());
  // No interest in writability is left behind: an idle pair causes no calls.
  const int client_calls = joined.client.calls, server_calls = joined.server.calls;
  for (int i = 0; i < 20; ++i) joined.loop.run_once(0ms);
  EXPECT_EQ(client_calls, joined.client.calls);
  EXPECT_EQ(server_calls, joined.server.calls);
}

TEST_P(StreamTest, SendsEnqueuedBytesOnlyWhenFlushed) {
  Joined joined(GetParam(), unix_pair());
  joined.server.stream.enqueue("one ");
  joined.server.stream.enqueue("two");
  EXPECT_EQ(7u, joined.server.stream.queued());
  joined.loop.run_once(0ms);
  EXPECT_EQ("", joined.client.received);
  EXPECT_EQ(IoResult::kOk, joined.server.stream.flush());
  run_until(joined.loop, [&] { return joined.client.received == "one two"; });
}

TEST_P(StreamTest, KeepsSendingAfterThePeerHasEnded) {
  Joined joined(GetParam(), unix_pair());
  joined.client.stream.write("request");
  ASSERT_EQ(IoResult::kOk, joined.client.stream.shutdown_write());
  run_until(joined.loop, [&] { return joined.server.closed; });
  EXPECT_EQ("request", joined.server.received);
  ASSERT_EQ(IoResult::kOk, joined.server.stream.write("reply"));
  run_until(joined.loop, [&] { return joined.client.received == "reply"; });
  EXPECT_FALSE(joined.client.closed);
}

TEST_P(StreamTest, ReportsTheLastBytesBeforeTheEnd) {
  std::optional<Joined> joined(std::in_place, GetParam(), unix_pair());
  {
    // The client goes away entirely.
    Stream::Detached client = joined->client.stream.detach();
    Endpoint leaving(joined->loop, std::move(client));
    leaving.stream.write("farewell");
  }
  joined->server.read_size = 3;
  run_until(joined->loop, [&] { return joined->server.closed; });
  EXPECT_EQ("farewell", joined->server.received);
}

TEST_P(StreamTest, SaysGoodbyeWhenDestroyed) {
  Joined joined(GetParam(), unix_pair());
  { const Endpoint leaving(joined.loop, joined.server.stream.detach()); }
  char packet[100];
  const ssize_t size = ::recv(joined.client.stream.fd(), packet, sizeof packet, 0);
  if (GetParam() == Kind::kPlain) {
    EXPECT_EQ(0, size);
  } else {
    EXPECT_LT(20, size);  // the alert's record, then the end
    EXPECT_EQ(0, ::recv(joined.client.stream.fd(), packet, sizeof packet, 0));
  }
}

TEST_P(StreamTest, ReportsAReset) {
  Joined joined(GetParam(), tcp_pair());
  Stream::Detached client = joined.client.stream.detach();
  const linger abort{1, 0};
  ::setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  ::close(std::exchange(client.fd, -1));
  run_until(joined.loop, [&] { return joined.server.failed; });
  EXPECT_EQ("could not receive data: Connection reset by peer",
            joined.server.stream.error().message);
  EXPECT_EQ(sqlstate::kConnectionFailure, joined.server.stream.error().code);
  EXPECT_EQ(IoResult::kFailed, joined.server.stream.write("x"));
  EXPECT_EQ(IoResult::kFailed, joined.server.stream.flush());
}

TEST_P(StreamTest, FailsToWriteToAPeerThatIsGone) {
  Joined joined(GetParam(), unix_pair());
  Stream::Detached client = joined.client.stream.detach();
  ::close(std::exchange(client.fd, -1));
  EXPECT_EQ(IoResult::kFailed, joined.server.stream.write("x"));
  EXPECT_EQ("could not send data: Broken pipe", joined.server.stream.error().message);
  EXPECT_EQ(0u, joined.server.stream.queued());
}

TEST_P(StreamTest, DropsItsQueueWhenThePeerGoesWithoutReading) {
  Joined joined(GetParam(), unix_pair());
  ASSERT_EQ(IoResult::kOk, joined.server.stream.write(std::string(3 << 20, 'x')));
  Stream::Detached client = joined.client.stream.detach();
  ::close(std::exchange(client.fd, -1));
  run_until(joined.loop, [&] { return joined.server.failed; });
  EXPECT_EQ(0u, joined.server.stream.queued());
}

TEST_P(StreamTest, IsNotReportedAgainAndAgainOnceItHasFailed) {
  Joined joined(GetParam(), unix_pair());
  ASSERT_EQ(IoResult::kOk, joined.server.stream.write(std::string(3 << 20, 'x')));
  Stream::Detached client = joined.client.stream.detach();
  ::close(std::exchange(client.fd, -1));
  // The failure is met by a read, while the stream waits for writability.
  joined.server.drain();
  ASSERT_TRUE(joined.server.failed);
  for (int i = 0; i < 20; ++i) joined.loop.run_once(0ms);
  EXPECT_EQ(0u, joined.server.stream.queued());
  EXPECT_GE(3, joined.server.calls);  // those of the handshake
}

// The connection changes its thread while bytes are on the way, inside OpenSSL and in the socket.
TEST_P(StreamTest, MovesToAnotherLoopInMidStream) {
  EventLoop there;
  std::optional<Endpoint> moved;
  const std::string bytes = random_bytes(100'000, 6);
  std::string early;
  {
    Joined joined(GetParam(), unix_pair());
    joined.client.stream.write(bytes);
    std::size_t got = 0;
    char space[1000];
    // A record is larger than this space, and takes more than one recv to be complete.
    while (joined.server.stream.read(space, sizeof space, got) == IoResult::kWouldBlock) {
    }
    ASSERT_EQ(sizeof space, got);
    early.assign(space, got);
    const auto parcel = std::make_shared<Stream::Detached>(joined.server.stream.detach());
    std::thread thread([&] {
      there.run();
      moved.reset();
    });
    there.post([&, parcel] {
      moved.emplace(there, std::move(*parcel));
      if (moved->stream.has_pending()) moved->drain();
      moved->stream.write("arrived");
    });
    run_until(joined.loop, [&] {
      return joined.client.stream.queued() == 0 && joined.client.received == "arrived";
    });
    ASSERT_EQ(IoResult::kOk, joined.client.stream.shutdown_write());
    std::atomic<bool> ended{false};
    std::string received;
    const TimePoint limit = Clock::now() + 30s;
    while (!ended && Clock::now() < limit) {
      std::atomic<bool> answered{false};
      there.post([&] {
        if (moved->closed) {
          received = moved->received;
          ended = true;
        }
        answered = true;
      });
      while (!answered) std::this_thread::yield();
    }
    there.stop();
    thread.join();
    ASSERT_TRUE(ended);
    EXPECT_TRUE(early + received == bytes);
  }
}

TEST_P(StreamTest, HoldsNoBufferOnceItsQueueIsEmpty) {
  Joined joined(GetParam(), unix_pair());
  // More than the pool keeps: were the stream to keep it, the next take() would be without.
  joined.server.stream.enqueue(std::string(5'000, 'x'));
  joined.server.stream.flush();
  EXPECT_GE(joined.loop.buffers().take().capacity(), 5'000u);
  joined.server.stream.enqueue(std::string(50'000, 'x'));
  joined.server.stream.flush();
  run_until(joined.loop, [&] { return joined.client.received.size() == 55'000; });
  EXPECT_LE(joined.loop.buffers().take().capacity(), 16u * 1024);
}

}  // namespace
}  // namespace pgshunt
