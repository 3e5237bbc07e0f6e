// One client connection: its socket, its login, and then the conversation it has chosen. Bytes come
// in here and go out here; what they mean is decided in client_login and in the conversation.
//
// Owned by its worker, used on the worker's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/backend.h"
#include "proxy/auth/client_login.h"
#include "proxy/config/config.h"
#include "proxy/log/log.h"
#include "proxy/net/stream.h"
#include "proxy/session/conversation.h"
#include "proxy/session/session_state.h"

namespace pgshunt {

class ConnectionBudget;
class ErrorResponseView;
class Greeting;
class Pool;
struct Database;
class Worker;

class Session final : public IoHandler {
 public:
  Session(Worker& worker, int fd, ClientPeer peer, std::uint16_t port);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void on_io(std::uint32_t events) override;

  Worker& worker() { return worker_; }
  SessionState& state() { return state_; }
  const SessionState& state() const { return state_; }
  const Database* database() const { return database_.get(); }
  PoolMode pool_mode() const { return pool_mode_; }
  bool standard_conforming_strings() const { return standard_conforming_strings_; }
  bool logged_in() const { return conversation_ != nullptr; }
  Conversation* conversation() { return conversation_.get(); }
  Stream& stream() { return stream_; }

  // --- replies ---
  // Copies `bytes` to what flush() sends.
  void enqueue(std::string_view bytes);
  // Sends what is queued and `bytes` now, and copies only what the socket does not take. flush()
  // must follow: it tells of a lost client, and of one that does not read.
  void send(std::string_view bytes);
  void flush();
  // At the end of this turn, for replies made while reading requests.
  void flush_later();
  void send_error(const Error& error, TransactionStatus transaction, bool ready);
  // Tells the client and closes.
  void close_with(const Error& error);
  void close(std::string_view why);

  // False: a message of this size is too large for the configuration, and the session was closed.
  bool may_send(std::uint32_t body_size);
  // The conversation can go on with bytes it left: soon, from a fresh turn.
  void resume();
  // The first kept message: its type (0: none), and away with it.
  char next_message_type() const { return in_.empty() ? '\0' : in_[0]; }
  void drop_next_message();
  // Stops and goes on reading the client (a server that does not take our bytes).
  void pause_reading();
  void resume_reading();

  // --- what conversations report ---
  void count_query(Pool& pool, TimePoint sent_at, bool transaction_ended);
  void note_error(Pool& pool, const ErrorResponseView& error);
  // Before a statement that would pin a server of `pool`: is there room for one more pinned server?
  // The place is kept until set_pins() tells what came of it, or the server is given back.
  bool reserve_pin(Pool& pool);
  void give_up_pin_place(Pool& pool);
  // Of what stands on the session's server of `pool`; state().pins is that of all of them.
  void set_pins(Pool& pool, std::uint32_t pins);
  // The ErrorResponse to pass on for a server's with that body, if it tells that a statement was
  // canceled for a deadlock; empty for any other.
  std::string error_of_deadlock(std::string_view body) const;
  // What was under way has ended.
  void forget_deadlock() { deadlock_.clear(); }
  // state().known was replaced.
  void parameters_changed();
  // The transaction has SET LOCAL standard_conforming_strings, which no server may have told of
  // yet. Nothing: it has not.
  void set_local_strings(std::optional<bool> conforming);
  // LISTEN, UNLISTEN have run; they count when their transaction commits.
  void listen(const std::string& channel);
  void unlisten(const std::string& channel);
  void unlisten_all();
  void settle_channels(bool committed);
  void notify(std::uint32_t pid, std::string_view channel, std::string_view payload);
  // From a ListenHub: the channel a request waits for is heard, or will not be.
  void channel_heard() { resume(); }
  void channel_failed(const Error& error);
  // Why the hub cannot listen; told once.
  std::unique_ptr<Error> take_channel_error() { return std::move(channel_error_); }

  // --- from the worker ---
  void tick(TimePoint now);
  void drain();
  void cancel();
  // As others would describe it; nothing unless its database is sharded and it holds servers.
  std::optional<SessionLocks> locks() const;
  // Ends its statement by 40P01, if what it waits for is still as in `seen`.
  void break_deadlock(const SessionLocks& seen, const std::string& detail);
  // Opens a server for it that its pool's size has no room for, if it waits for one as in `seen`.
  void serve_beyond_limits(const SessionLocks& seen);
  void secret_looked_up(const Result<std::string>& secret, bool found);
  // The client has been told the server's parameters: the login is complete.
  void greeted();

  // Where it stands in Worker::sessions().
  std::size_t position() const { return position_; }
  void set_position(std::size_t position) { position_ = position; }

  struct Facts {
    std::string client_address;
    std::uint16_t client_port = 0;
    TimePoint connected_at{};
    TimePoint last_request{};
    std::uint32_t cancel_pid = 0;
  };
  const Facts& facts() const { return facts_; }
  // A line of the log about this client.
  void log(LogLevel level, std::string_view event, std::string_view message,
           std::string_view sqlstate = {}, std::string_view shard = {}) const;

 private:
  void read();
  void lost(IoResult result);
  void serve(std::string_view bytes);
  std::size_t consume(std::string_view bytes);
  std::size_t advance_login(std::string_view bytes);
  void accepted();
  bool count_client(const std::string& key, std::uint32_t limit);
  void greet_for_console();
  void log_failed_login(const Error& error) const;
  void serve_kept();
  bool has_enough_input() const;

  Worker& worker_;
  Stream stream_;
  SessionState state_;
  Facts facts_;
  std::size_t position_ = 0;
  std::string in_;  // bytes not consumed yet
  std::unique_ptr<ClientLogin> login_;
  std::unique_ptr<AuthenticatedClient> client_;  // between authentication and greeting
  std::unique_ptr<Greeting> greeting_;
  std::shared_ptr<const Database> database_;
  std::unique_ptr<Conversation> conversation_;
  std::unique_ptr<Error> channel_error_;
  // Limits this client counts in: of its database, of its user.
  std::vector<std::shared_ptr<ConnectionBudget>> counted_in_;
  // Pools that count this session among their pinned ones, or have a place for it among those that
  // may pin a server.
  struct Pinned {
    Pool* pool = nullptr;
    std::uint32_t pins = 0;
    bool place = false;
  };
  Pinned& pinned_in(Pool& pool);
  void count_pins();
  std::vector<Pinned> pinned_;
  std::string deadlock_;           // it was told to give way: the detail for its client
  TimePoint transaction_since_{};  // seen by tick()
  TimePoint login_since_{};        // begins anew when a wait for a server ends
  PoolMode pool_mode_ = PoolMode::kTransaction;
  bool standard_conforming_strings_ = true;
  std::optional<bool> local_strings_;
  bool reading_ = true;
  bool slow_ = false;
  bool closed_ = false;
  bool tls_pending_ = false;  // the handshake is under way
  bool login_waits_ = false;  // for auth_query
  bool flush_scheduled_ = false;
  bool resume_scheduled_ = false;
  bool serving_ = false;
  bool draining_ = false;
};

}  // namespace pgshunt
