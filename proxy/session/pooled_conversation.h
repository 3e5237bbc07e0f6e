// A client of a plain database: every message goes to the one server, as it comes.
#pragma once

#include "proxy/session/conversation.h"
#include "proxy/session/server_link.h"

namespace pgshunt {

class PooledConversation final : public Conversation, public LinkOwner {
 public:
  PooledConversation(Session& session, Pool& pool);

  std::size_t on_client_bytes(std::string_view bytes) override;
  void on_client_slow(bool slow) override;
  void deliver(std::string_view message) override;
  void on_cancel() override;
  bool idle() const override;
  bool idle_in_transaction() const override;
  TimePoint waiting_since() const override;
  TimePoint request_since() const override;
  void give_up_waiting(const Error& error) override;
  std::string server_address() const override;

  void on_link_ready(ServerLink& link) override;
  void on_link_refused(ServerLink& link, const Error& error) override;
  void on_link_broken(ServerLink& link, const Error& error, bool in_transaction) override;
  void on_link_request_done(ServerLink& link) override;
  void on_link_drained(ServerLink& link) override;

 private:
  enum class Verdict : std::uint8_t { kTaken, kWait, kEnd };
  Verdict serve_message(const FrameHeader& header, std::string_view frame);
  Verdict serve_without_server(char type);
  Verdict refuse_request(const FrameHeader& header, const Error& error);
  void fail_request(const Error& error);
  void deliver_held();

  Session& session_;
  ServerLink link_;
  // Rest of a CopyData message that is passed on in pieces.
  std::size_t passing_ = 0;
  bool passing_dropped_ = false;
  // After an error of the proxy's own in the extended protocol: everything up to Sync is skipped.
  bool skipping_ = false;
  std::string held_;  // notifications that came at a bad time
};

}  // namespace pgshunt
