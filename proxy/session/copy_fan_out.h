// A COPY on several shards at once: what both directions have in common. The statement goes to
// every shard, each is read to its ReadyForQuery whatever happens, and of all errors one is kept.
//
// The links are borrowed from a conversation, which must keep them until on_copy_done().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/session/server_link.h"

namespace pgshunt {

class CopyFanOut;

class CopyFanOutOwner {
 public:
  // Every shard is ready again.
  virtual void on_copy_done(CopyFanOut& copy) = 0;

 protected:
  ~CopyFanOutOwner() = default;
};

// What is sent to which servers.
struct CopyShards {
  std::vector<ServerLink*> links;  // each ready, by ascending shard
  std::vector<ShardId> shards;     // the same in the topology's numbers
  std::string sql;
};

class CopyFanOut : public BackendDriver {
 public:
  virtual ~CopyFanOut();
  CopyFanOut(const CopyFanOut&) = delete;
  CopyFanOut& operator=(const CopyFanOut&) = delete;

  // The client's queue is full, or has room again.
  virtual void client_slow(bool) {}
  void cancel();
  bool canceled() const { return canceled_; }

  bool failed() const { return !error_response_.empty(); }
  // For the client.
  const std::string& error_response() const { return error_response_; }
  // The connection to a shard is gone: a transaction there is lost.
  bool broken() const { return broken_; }
  const Error& loss() const { return loss_; }
  // For the command's tag.
  virtual std::uint64_t rows() const = 0;
  // Of each shard, in their order.
  std::vector<std::uint64_t> rows_by_shard() const {
    std::vector<std::uint64_t> out;
    for (const Source& source : sources_) out.push_back(source.rows);
    return out;
  }

  std::size_t on_backend_bytes(Backend& backend, std::string_view bytes) final;
  void on_backend_lost(Backend& backend, const Error& error) final;
  void on_backend_drained(Backend&) override {}

 protected:
  struct Source {
    ServerLink* link = nullptr;
    Backend* backend = nullptr;  // null once it is lost
    ShardId shard = 0;
    bool asked = false;    // the statement was sent
    bool started = false;  // CopyInResponse or CopyOutResponse has come
    bool failed = false;   // an error has
    bool finished = false;
    std::uint64_t rows = 0;
    std::string response;  // CopyInResponse or CopyOutResponse, the whole message
  };

  CopyFanOut(Session& session, CopyFanOutOwner& owner, CopyShards shards);

  void ask(Source& source, std::string_view sql);
  bool all_started() const;
  // False, and an error is kept: the shards do not mean the same table.
  bool responses_agree();
  // Keeps an error, as a message for the client, unless there is one of an earlier line.
  void offer_error(std::string message, std::uint64_t line);
  void cancel_on_server(const Source& source);

  // Must the rest of what this shard says wait?
  virtual bool must_wait(const Source&) const { return false; }
  virtual bool forwards_notices(const Source& source) const = 0;
  virtual void on_started(Source& source) = 0;
  virtual void on_copy_data(Source&, std::string_view) {}
  // An ordinary error of a shard; `body` is its ErrorResponse's.
  virtual void on_shard_error(Source& source, std::string_view body) = 0;
  virtual void on_shard_lost(Source& source) = 0;
  // All bytes at hand were looked at.
  virtual void on_turn_ends() {}
  virtual void on_all_finished() {}

  Session& session_;
  CopyFanOutOwner& owner_;
  const std::string sql_;
  std::vector<Source> sources_;

 private:
  Source& source_of(const Backend& backend);
  bool on_message(Source& source, char type, std::string_view frame);
  void on_error(Source& source, std::string_view body);
  void finish_if_done();

  std::string error_response_;
  std::uint64_t error_line_ = 0;
  bool broken_ = false;
  bool canceled_ = false;
  Error loss_;
  bool done_ = false;
};

}  // namespace pgshunt
