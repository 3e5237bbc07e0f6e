#include "router/directory/directory_service.h"

#include <utility>

namespace pgshunt {

DirectoryService::DirectoryService(Directory& directory, std::size_t queue_limit)
    : directory_(directory), queue_limit_(queue_limit), thread_([this] { run(); }) {}

DirectoryService::~DirectoryService() { stop(); }

bool DirectoryService::post(Request request) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || queue_.size() >= queue_limit_) return false;
    queue_.push_back(std::move(request));
  }
  posted_.notify_one();
  return true;
}

void DirectoryService::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  posted_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void DirectoryService::run() {
  std::vector<Request> requests;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      posted_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      requests.swap(queue_);
    }
    answer(requests);
    requests.clear();
  }
}

void DirectoryService::answer(std::vector<Request>& requests) {
  // Look-ups first: they need not wait for the commit.
  std::vector<KeyWrite> writes;
  std::vector<Request*> assigns;
  for (Request& request : requests) {
    Result<KeyLookup> known = directory_.find(request.keyspace, request.encoded_key);
    const bool absent = known && known->kind == KeyLookup::Kind::kAbsent;
    if (absent && request.kind == Request::Kind::kAssign) {
      writes.push_back(
          {KeyWrite::Kind::kAssign, request.keyspace, request.encoded_key, 0, request.policy});
      assigns.push_back(&request);
    } else {
      request.done(std::move(known));
    }
  }
  if (writes.empty()) return;
  const Status written = directory_.write(writes);
  for (std::size_t i = 0; i < assigns.size(); ++i) {
    const Result<StableShardId>& outcome = writes[i].outcome;
    if (!written) {
      assigns[i]->done(written.error());
    } else if (!outcome) {
      assigns[i]->done(outcome.error());
    } else {
      assigns[i]->done(KeyLookup{KeyLookup::Kind::kFound, *outcome});
    }
  }
}

}  // namespace pgshunt
