// One server connection on its way into a pool: connect, TLS, login, connect_query. Ends in
// Pool::opened() or Pool::opening_failed().
#pragma once

#include <memory>
#include <optional>

#include "proxy/auth/server_login.h"
#include "proxy/net/connector.h"
#include "proxy/pool/backend.h"

namespace pgshunt {

class ServerOpening final : public BackendDriver {
 public:
  ServerOpening(Worker& worker, Pool& pool, Backend& backend);
  ~ServerOpening();
  void start();
  Backend& backend() { return backend_; }

  std::size_t on_backend_bytes(Backend& backend, std::string_view bytes) override;
  void on_backend_lost(Backend& backend, const Error& error) override;
  void on_backend_drained(Backend&) override {}

 private:
  void connect(SslMode mode);
  void connected(Result<Stream::Detached> result);
  std::size_t advance(std::string_view bytes);
  std::size_t read_connect_query(std::string_view bytes);
  void logged_in();
  void fail(const Error& error, bool permanent);

  Worker& worker_;
  Pool& pool_;
  Backend& backend_;
  TimePoint deadline_;
  Timer timeout_;
  SslMode mode_ = SslMode::kDisable;
  bool second_attempt_ = false;
  bool running_query_ = false;
  bool ended_ = false;
  std::unique_ptr<Connector> connector_;
  std::unique_ptr<ServerLogin> login_;
};

}  // namespace pgshunt
