// The thread that may wait for the directory's disk, so that workers need not.
//
// A worker asks Directory::try_find() itself. When that says kNotInMemory, or new keys have to be
// assigned, it posts a request here; `done` is called on this thread and is to post the answers
// back to the worker. Requests that wait together are one commit.
//
// post() from any thread. The Directory must outlive the service.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "router/directory/directory.h"

namespace pgshunt {

class DirectoryService {
 public:
  struct Question {
    KeyspaceId keyspace = 0;
    std::string encoded_key;
    bool assign = false;  // give it a shard, as the keyspace's policy says, if it has none
    Result<KeyAnswer> answer = KeyAnswer{};
  };
  struct Request {
    std::vector<Question> questions;
    // Gets them back answered. Must neither block nor throw. Never called if post() returned false.
    std::function<void(std::vector<Question>)> done;
  };

  explicit DirectoryService(Directory& directory, std::size_t queue_limit = 10'000);
  // Answers what was accepted, then ends.
  ~DirectoryService();
  DirectoryService(const DirectoryService&) = delete;
  DirectoryService& operator=(const DirectoryService&) = delete;

  // False: the queue is full, or the service is stopping.
  bool post(Request request);
  // Takes no more requests and returns when those accepted are answered. Not to be called by
  // `done`.
  void stop();

 private:
  void run();
  void answer(std::vector<Request>& requests);

  Directory& directory_;
  const std::size_t queue_limit_;
  std::mutex mutex_;
  std::condition_variable posted_;
  std::vector<Request> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace pgshunt
