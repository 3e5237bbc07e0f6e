// CancelRequests: which session a client's key belongs to, and passing them on to servers.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "proxy/net/connector.h"
#include "proxy/net/stream.h"
#include "proxy/pool/pool.h"

namespace pgshunt {

class Worker;

// Every client's (process id, secret key) as the proxy told it. Any thread.
class CancelRegistry {
 public:
  // Invents a process id and a key: four bytes in protocol 3.0, 32 from 3.2 on.
  std::uint32_t add(std::uint16_t worker, std::uint64_t session, std::uint32_t protocol_minor,
                    std::string& key);
  void remove(std::uint32_t pid);
  // False if the key is wrong. Takes the same time for every wrong key of one length.
  bool find(std::uint32_t pid, std::string_view key, std::uint16_t& worker,
            std::uint64_t& session) const;

 private:
  struct Entry {
    std::uint16_t worker = 0;
    std::uint64_t session = 0;
    std::string key;
  };
  mutable std::mutex mutex_;
  std::unordered_map<std::uint32_t, Entry> entries_;
};

// One CancelRequest on its way to a server. The server closes the connection once it has acted on
// it; until then the backend is held back, lest the request meets another client's query.
class CancelSender final : public IoHandler {
 public:
  CancelSender(Worker& worker, Backend& backend);
  ~CancelSender();
  void on_io(std::uint32_t events) override;

 private:
  void connected(Result<Stream::Detached> result);
  // `settled`: the server has acted on the request, or will never see it.
  void finish(bool settled);

  Worker& worker_;
  Pool& pool_;
  const std::uint64_t backend_id_;
  std::string request_;
  Timer timeout_;
  std::unique_ptr<Connector> connector_;
  std::unique_ptr<Stream> stream_;
  bool finished_ = false;
};

}  // namespace pgshunt
