// What the streams of proxy/net cost: memory of idle connections, CPU of bulk transfers beside
// OpenSSL reading the socket itself, CPU of small round trips. Run it alone on a quiet machine:
//   net_bench [connections]
#include <malloc.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/event_loop.h"
#include "proxy/net/socket.h"
#include "proxy/net/stream.h"
#include "proxy/net/tls.h"

namespace pgshunt {
namespace {

struct Contexts {
  std::shared_ptr<const TlsContext> server, client;
};

Contexts make_contexts() {
  const std::string folder =
      std::filesystem::temp_directory_path().string() + "/net_bench." + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  TlsConfig config;
  config.mode = SslMode::kRequire;
  config.cert_file = folder + "/crt";
  config.key_file = folder + "/key";
  EVP_PKEY* key = EVP_RSA_gen(2048);
  X509* x509 = X509_new();
  X509_gmtime_adj(X509_getm_notBefore(x509), 0);
  X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
  X509_set_pubkey(x509, key);
  X509_sign(x509, key, EVP_sha256());
  FILE* file = std::fopen(config.cert_file.c_str(), "w");
  PEM_write_X509(file, x509);
  std::fclose(file);
  file = std::fopen(config.key_file.c_str(), "w");
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  X509_free(x509);
  EVP_PKEY_free(key);
  Contexts made;
  made.server = std::move(*TlsContext::server(config));
  made.client = std::move(*TlsContext::client(TlsConfig{}));
  std::filesystem::remove_all(folder);
  return made;
}

// Reads all it can get; answers each read by `reply` if there is one.
struct Peer : IoHandler {
  Peer(EventLoop& loop, int fd) : stream(loop, fd, *this) {}
  void on_io(std::uint32_t events) override {
    static std::array<char, 64 * 1024> space;
    if (events & kIoWrite) stream.flush();
    do {
      std::size_t got = 0;
      const IoResult result = stream.read(space.data(), space.size(), got);
      if (result == IoResult::kClosed || result == IoResult::kFailed) {
        ended = true;
        stream.want_read(false);
        return;
      }
      total += got;
      if (got > 0 && !reply.empty()) stream.write(reply);
    } while (stream.has_pending());
  }
  Stream stream;
  std::string_view reply;
  std::size_t total = 0;
  bool ended = false;
};

double cpu_seconds(int who = RUSAGE_SELF) {
  rusage usage{};
  ::getrusage(who, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

double resident_bytes() {
  long pages = 0, resident = 0;
  FILE* file = std::fopen("/proc/self/statm", "r");
  if (std::fscanf(file, "%ld %ld", &pages, &resident) != 2) std::abort();
  std::fclose(file);
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

double heap_bytes() {
  const struct mallinfo2 info = ::mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

// Two ends of a TCP connection through the loopback interface.
void pair(int (&fds)[2]) {
  static const Result<UniqueFd> listener =
      listen_tcp(*SocketAddress::numeric("127.0.0.1", 0), ListenOptions{});
  Result<Connecting> connecting = connect_start(local_address(listener->get()), {});
  Accepted accepted;
  while (accept_one(listener->get(), accepted) != AcceptStatus::kAccepted) {
    if (!connecting) {
      std::fprintf(stderr, "connect: %s\n", connecting.error().message.c_str());
      std::exit(1);
    }
  }
  fds[0] = accepted.fd.release();
  fds[1] = connecting->fd.release();
}

// One side of `count` connections: handshake, one small exchange, then idle.
void hold_idle(const char* side, const std::vector<int>& fds,
               const std::shared_ptr<const TlsContext>& context, bool is_server) {
  EventLoop loop;
  std::vector<std::unique_ptr<Peer>> peers;
  peers.reserve(fds.size());
  const double resident = resident_bytes(), heap = heap_bytes();
  for (const int fd : fds) {
    Peer& peer = *peers.emplace_back(std::make_unique<Peer>(loop, fd));
    if (context && is_server) (void)peer.stream.start_tls_server(context);
    if (context && !is_server) (void)peer.stream.start_tls_client(context, "localhost");
    if (is_server) peer.reply = "Z\0\0\0\5I";
    if (!is_server) peer.stream.write("startup packet");
    while (!is_server && peer.total == 0 && !peer.ended) loop.run_once(std::chrono::seconds(1));
  }
  for (const auto& peer : peers) {
    while (peer->total == 0 && !peer->ended) loop.run_once(std::chrono::seconds(1));
  }
  ::malloc_trim(0);
  const double n = static_cast<double>(fds.size());
  std::printf("  %-6s %6.0f bytes of heap, %6.0f of resident memory\n", side,
              (heap_bytes() - heap) / n, (resident_bytes() - resident) / n);
  std::fflush(stdout);
  if (!is_server) return;
  // Until the clients are gone: they measure, too.
  while (!peers.front()->ended) loop.run_once(std::chrono::seconds(1));
}

void measure_idle(const char* what, int connections, const Contexts& contexts, bool with_tls) {
  std::printf("%d idle %s connections, each:\n", connections, what);
  std::fflush(stdout);
  std::vector<int> servers, clients;
  for (int i = 0; i < connections; ++i) {
    int fds[2];
    pair(fds);
    servers.push_back(fds[0]);
    clients.push_back(fds[1]);
  }
  const pid_t child = ::fork();
  if (child == 0) {
    for (const int fd : servers) ::close(fd);
    hold_idle("client", clients, with_tls ? contexts.client : nullptr, false);
    std::_Exit(0);
  }
  for (const int fd : clients) ::close(fd);
  hold_idle("server", servers, with_tls ? contexts.server : nullptr, true);
  ::waitpid(child, nullptr, 0);
}

constexpr std::size_t kBulk = std::size_t{1} << 30;

void report_bulk(const char* what, double receiver, double sender) {
  const double megabytes = static_cast<double>(kBulk) / 1e6;
  std::printf("  %-28s receiving %6.0f MB/s of CPU, sending %6.0f\n", what, megabytes / receiver,
              megabytes / sender);
  std::fflush(stdout);
}

// Sends kBulk bytes by 64 KB writes from a child, and takes them here through a stream.
void measure_bulk_stream(const Contexts& contexts, bool with_tls) {
  int fds[2];
  pair(fds);
  const pid_t child = ::fork();
  EventLoop loop;
  if (child == 0) {
    ::close(fds[0]);
    Peer peer(loop, fds[1]);
    if (with_tls) (void)peer.stream.start_tls_client(contexts.client, "localhost");
    const std::string bytes(64 * 1024, 'x');
    while (!peer.ended && !peer.stream.handshake_done()) loop.run_once(std::chrono::seconds(1));
    for (std::size_t sent = 0; sent < kBulk; sent += bytes.size()) {
      peer.stream.write(bytes);
      while (!peer.ended && peer.stream.queued() > 0) loop.run_once(std::chrono::seconds(1));
    }
    std::_Exit(0);
  }
  ::close(fds[1]);
  const double before = cpu_seconds(), children = cpu_seconds(RUSAGE_CHILDREN);
  {
    Peer peer(loop, fds[0]);
    if (with_tls) (void)peer.stream.start_tls_server(contexts.server);
    while (!peer.ended && peer.total < kBulk) loop.run_once(std::chrono::seconds(1));
  }
  const double used = cpu_seconds() - before;
  ::waitpid(child, nullptr, 0);
  report_bulk(with_tls ? "stream, TLS" : "stream, plain", used,
              cpu_seconds(RUSAGE_CHILDREN) - children);
}

void wait_for(int fd, short events) {
  pollfd poll_fd{fd, events, 0};
  ::poll(&poll_fd, 1, 1000);
}

// The same with OpenSSL on the descriptor, as most programs do it.
void measure_bulk_openssl(const Contexts& contexts, bool read_ahead) {
  int fds[2];
  pair(fds);
  const pid_t child = ::fork();
  const bool sends = child == 0;
  const int fd = fds[sends ? 1 : 0];
  ::close(fds[sends ? 0 : 1]);
  const double before = cpu_seconds(), children = cpu_seconds(RUSAGE_CHILDREN);
  SSL* ssl = SSL_new((sends ? contexts.client : contexts.server)->native());
  SSL_set_read_ahead(ssl, read_ahead);
  SSL_set_fd(ssl, fd);
  if (sends) {
    SSL_set_connect_state(ssl);
  } else {
    SSL_set_accept_state(ssl);
  }
  std::vector<char> space(64 * 1024);
  for (std::size_t total = 0; total < kBulk;) {
    std::size_t moved = 0;
    const int result = sends ? SSL_write_ex(ssl, space.data(), space.size(), &moved)
                             : SSL_read_ex(ssl, space.data(), space.size(), &moved);
    total += moved;
    if (result != 1) {
      wait_for(fd, SSL_get_error(ssl, result) == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN);
    }
  }
  SSL_free(ssl);
  if (sends) std::_Exit(0);
  const double used = cpu_seconds() - before;
  ::close(fd);
  ::waitpid(child, nullptr, 0);
  report_bulk(read_ahead ? "SSL_read, read_ahead" : "SSL_read", used,
              cpu_seconds(RUSAGE_CHILDREN) - children);
}

void measure_round_trips(const Contexts& contexts, bool with_tls) {
  constexpr int kRounds = 200'000;
  const std::string message(100, 'q');
  int fds[2];
  pair(fds);
  const pid_t child = ::fork();
  EventLoop loop;
  const bool asks = child == 0;
  ::close(fds[asks ? 0 : 1]);
  const double before = cpu_seconds();
  Peer peer(loop, fds[asks ? 1 : 0]);
  peer.reply = message;
  if (asks) {
    if (with_tls) (void)peer.stream.start_tls_client(contexts.client, "localhost");
    peer.stream.write(message);
    while (!peer.ended && peer.total < message.size() * kRounds)
      loop.run_once(std::chrono::seconds(1));
    std::_Exit(0);
  }
  if (with_tls) (void)peer.stream.start_tls_server(contexts.server);
  while (!peer.ended) loop.run_once(std::chrono::seconds(1));
  std::printf("  %-28s %5.2f us of CPU a round trip at the answering side\n",
              with_tls ? "TLS" : "plain", (cpu_seconds() - before) / kRounds * 1e6);
  std::fflush(stdout);
  ::waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace pgshunt

int main(int argc, char** argv) {
  using namespace pgshunt;
  const int connections = argc > 1 ? std::atoi(argv[1]) : 2000;
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  const Contexts contexts = make_contexts();
  measure_idle("plain", connections, contexts, false);
  measure_idle("TLS", connections, contexts, true);
  std::printf("1 GB in pieces of 64 KB:\n");
  for (int i = 0; i < 3; ++i) {  // interleaved, so that a noisy neighbour meets them all
    measure_bulk_stream(contexts, false);
    measure_bulk_stream(contexts, true);
    measure_bulk_openssl(contexts, false);
    measure_bulk_openssl(contexts, true);
  }
  std::printf("round trips of 100 bytes:\n");
  measure_round_trips(contexts, false);
  measure_round_trips(contexts, true);
}
