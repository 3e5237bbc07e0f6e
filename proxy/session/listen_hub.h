// LISTEN for clients that have no server of their own: one connection for each pool listens on
// their behalf, and every notification is handed to the sessions that asked for its channel.
//
// A worker has one hub for each pool with listeners. Its connection is one beyond the pool's size
// (a pool of one would otherwise wait for itself), but counts toward the limits of the database and
// the user. It is kept as long as anybody listens; when it is lost it is replaced and all channels
// are listened to again (what was notified in between is lost, as it is when a client of PostgreSQL
// reconnects). PAUSE closes it, RESUME brings it back.
//
// Owned by the worker, used on its thread.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/event_loop.h"
#include "proxy/pool/pool.h"

namespace pgshunt {

class Session;

class ListenHub final : public LeaseWaiter, public BackendDriver {
 public:
  ListenHub(Worker& worker, Pool& pool);
  ~ListenHub();
  ListenHub(const ListenHub&) = delete;
  ListenHub& operator=(const ListenHub&) = delete;

  Pool& pool() const { return pool_; }
  // True if notifications of `channel` are being received already. Otherwise LISTEN is on its way,
  // and Session::channel_heard() is called on session `session` once the server has confirmed it,
  // or Session::channel_failed() with the reason: never from inside this call.
  bool listen(const std::string& channel, std::uint64_t session);
  // Several times a second: forgets channels that no session of this worker wants any more, and
  // replaces a connection that was lost or has to go.
  void maintain();

  void on_lease(Backend& backend) override;
  void on_lease_failed(const Error& error) override;
  const NameValuesPtr& wanted_settings() const override { return NameValues::empty(); }
  std::size_t on_backend_bytes(Backend& backend, std::string_view bytes) override;
  void on_backend_lost(Backend& backend, const Error& error) override;
  void on_backend_drained(Backend&) override {}

 private:
  struct Channel {
    bool asked = false;  // LISTEN was sent on this connection
    bool confirmed = false;
    TimePoint unwanted_since{};          // the epoch: it is wanted
    std::vector<std::uint64_t> waiting;  // sessions to be told
  };
  // A query sent and not answered yet.
  struct Query {
    std::string channel;  // that it listens to, empty: an UNLISTEN
    bool failed = false;
    Error error;
  };

  bool may_connect() const;
  void connect();
  void disconnect(std::string_view why);
  void send_listen(const std::string& channel, Channel& state);
  void send_query(const std::string& sql, std::string channel);
  bool on_message(char type, std::string_view body);
  void answered();
  void deliver(std::string_view body);
  void fail_waiting(const Error& error);
  std::set<std::string> wanted_channels() const;
  void forget_unwanted();
  bool serves(const Session& session) const;

  Worker& worker_;
  Pool& pool_;
  Backend* backend_ = nullptr;
  bool connecting_ = false;
  TimePoint next_attempt_{};
  TimePoint next_sweep_{};
  std::map<std::string, Channel> channels_;
  std::deque<Query> queries_;
};

}  // namespace pgshunt
