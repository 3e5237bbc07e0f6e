// One server connection, from its login until it is closed. Owned by the pool that opened it, lent
// to one session at a time; lives on one worker's thread, and can move to another worker's pool
// while it is idle.
//
// A backend reads its socket and hands complete bytes to whoever drives it: its login while it
// logs in, the session it is lent to, or its pool while it is idle or being reset.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "protocol/backend.h"
#include "protocol/extended_state.h"
#include "proxy/net/stream.h"
#include "proxy/session/name_values.h"

namespace pgshunt {

class Backend;
class Pool;
class RoutineReading;
class Worker;

// Who a backend's bytes go to.
class BackendDriver {
 public:
  // Whatever has arrived and was not consumed yet. Returns how much of it was consumed; the rest is
  // shown again with what follows it. The driver may release or close the backend in here.
  virtual std::size_t on_backend_bytes(Backend& backend, std::string_view bytes) = 0;
  // The connection is gone (error) or ended by the server. The driver must give the backend back
  // with Pool::discard().
  virtual void on_backend_lost(Backend& backend, const Error& error) = 0;
  // Bytes queued for the server have left: a client held back may go on.
  virtual void on_backend_drained(Backend& backend) = 0;
  // Whatever cancel requests were on their way have arrived, or will never.
  virtual void on_cancels_settled(Backend&) {}

 protected:
  ~BackendDriver() = default;
};

// Which prepared statements a server holds, by the proxy's statement id: least recently used first
// to go. Ids are unique in the process (see StatementTable).
class PreparedOnServer {
 public:
  // True if the server has it; makes it the most recently used.
  bool use(std::uint64_t id);
  void add(std::uint64_t id);
  void forget(std::uint64_t id);
  void clear();
  std::size_t size() const { return index_.size(); }
  // The one to close next; only when size() > 0.
  std::uint64_t oldest() const { return order_.back(); }

 private:
  std::list<std::uint64_t> order_;  // most recent first
  std::unordered_map<std::uint64_t, std::list<std::uint64_t>::iterator> index_;
};

class Backend final : public IoHandler {
 public:
  enum class State : std::uint8_t { kConnecting, kLogin, kIdle, kActive, kTested, kReset, kClosed };

  // What makes this connection that connection; moves with it between workers.
  struct Identity {
    std::uint64_t id = 0;
    std::uint32_t server_pid = 0;
    std::string cancel_key;
    std::string address;  // host:port, for people
    TimePoint connected_at;
    std::string tls;
  };

  // What the server remembers between transactions, as far as the proxy put it there.
  struct Memory {
    NameValuesPtr settings = NameValues::empty();  // applied by SET, see settings.h
    NameValuesPtr reported = NameValues::empty();  // ParameterStatus, latest of each
    PreparedOnServer prepared;
    // Whose unnamed statement stands there: unique tag of that Parse, 0 if none.
    std::uint64_t unnamed_tag = 0;
    // Whose values currval() and lastval() give there: the session that drew some and that nobody
    // has followed since; 0 if there is none.
    std::uint64_t sequences_of = 0;
    bool listening = false;  // has executed LISTEN since it was last cleaned
  };

  // An idle connection on its way to another worker.
  struct Moved {
    Stream::Detached stream;
    Identity identity;
    Memory memory;
  };

  Backend(Worker& worker, Pool& pool);
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  void on_io(std::uint32_t events) override;

  // Takes the connected socket. Only once, in kConnecting, or for a connection that moved here.
  void attach(Stream::Detached detached);
  Stream::Detached detach();
  // Drops the connection for another attempt.
  void reset_connection();

  Stream& stream() { return *stream_; }
  bool connected() const { return stream_ != nullptr; }

  // Bytes to the server. A failure is reported through on_backend_lost() at the end of this turn,
  // so that callers need no error path.
  void send(std::string_view bytes);
  // The same with the next send(), or at the end of this turn: what goes before a statement need
  // not wake the server twice.
  void send_soon(std::string_view bytes);
  // What is to be sent soon waits for the next send(), in whichever turn. There must be one.
  void hold() { held_ = true; }
  // Back-pressure: stop and go on reading this server.
  void pause_reading();
  void resume_reading();
  // Shows unconsumed bytes to the driver again (it had stopped consuming).
  void redeliver();

  // Nothing owed, nothing unread, nothing unsent, transaction idle: fit for another client.
  bool clean() const;

  // Frees the partial-message and queue memory an idle connection does not need.
  void shrink();

  Worker& worker;
  Pool& pool;
  BackendDriver* driver = nullptr;
  State state = State::kConnecting;
  std::uint64_t client = 0;  // while kActive: the session it is lent to, 0: the proxy's own use
  Identity identity;
  Memory memory;
  ResponseTracker tracker;
  TransactionStatus transaction = TransactionStatus::kIdle;
  // Bytes of a message under way that are passed on (or dropped) without being looked at.
  std::size_t passing = 0;
  bool passing_forward = false;
  TimePoint since{};                        // of the present state
  TimePoint request_at{};                   // when the oldest request under way was sent
  std::uint32_t cancels_under_way = 0;      // CancelRequests whose fate is not known yet
  bool close_when_idle = false;             // RECONNECT, RELOAD: not for the next client
  std::unique_ptr<RoutineReading> reading;  // while it tells what its routines do

 private:
  void read();
  void lost(Error error);

  std::unique_ptr<Stream> stream_;
  std::string partial_;  // unconsumed bytes
  bool flush_due_ = false;
  bool held_ = false;
  bool reading_ = true;
  bool lost_reported_ = false;
};

// Keeps what a ParameterStatus said.
void note_parameter_status(Backend& backend, std::string_view body);

}  // namespace pgshunt
