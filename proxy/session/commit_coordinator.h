// Commits a transaction over several of a session's servers: drives a CommitMachine
// (proxy/two_phase/) over them, and asks the process's TwoPhase where a server is lost.
//
// The links are borrowed from a conversation, which must keep them until on_commit_done(). If it
// goes away earlier, recovery does the rest.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/event_loop.h"
#include "proxy/session/server_link.h"
#include "proxy/two_phase/commit_machine.h"

namespace pgshunt {

class CommitCoordinator;

class CommitOwner {
 public:
  virtual void on_commit_done(CommitCoordinator& coordinator) = 0;

 protected:
  ~CommitOwner() = default;
};

class CommitCoordinator final : public BackendDriver {
 public:
  struct Writer {
    ServerLink* link = nullptr;
    bool wrote = false;
  };

  // `links`: those in the transaction, each ready, by ascending shard.
  CommitCoordinator(Session& session, CommitOwner& owner, const std::vector<Writer>& links,
                    bool first_last);
  ~CommitCoordinator();
  CommitCoordinator(const CommitCoordinator&) = delete;
  CommitCoordinator& operator=(const CommitCoordinator&) = delete;

  void start();
  // The client asks for it: possible until the transaction is decided.
  void cancel();

  CommitMachine::Outcome outcome() const { return machine_.result(); }
  // A server is gone, and with it what it knew of the session.
  bool lost_server() const { return lost_server_; }
  // A message for the client.
  std::string error_response() const;
  // Empty where one phase does.
  const std::string& gid() const { return machine_.gid(); }

  std::size_t on_backend_bytes(Backend& backend, std::string_view bytes) override;
  void on_backend_lost(Backend& backend, const Error& error) override;
  void on_backend_drained(Backend&) override {}

 private:
  struct Source {
    ServerLink* link = nullptr;
    Backend* backend = nullptr;
    CommitMachine::Answer answer;  // as far as it has come
  };

  bool on_message(std::size_t index, char type, std::string_view frame);
  void take_steps();
  void be_done();

  Session& session_;
  CommitOwner& owner_;
  std::vector<Source> sources_;
  CommitMachine machine_;
  Timer timer_;
  bool begun_ = false;  // the process knows of the gid
  bool done_ = false;
  bool lost_server_ = false;
  // Answers from other threads find their way back through it, as long as there is one.
  std::shared_ptr<CommitCoordinator*> anchor_;
};

}  // namespace pgshunt
