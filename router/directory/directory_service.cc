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
  std::vector<KeyWrite> writes;
  std::vector<Question*> assigned;
  std::vector<Request*> waiting;  // for the commit
  for (Request& request : requests) {
    const std::size_t before = writes.size();
    for (Question& question : request.questions) {
      question.answer = directory_.find(question.keyspace, question.encoded_key);
      const bool absent = question.answer && question.answer->kind == KeyAnswer::Kind::kAbsent;
      if (!absent || !question.assign) continue;
      writes.push_back({KeyWrite::Kind::kAssign, question.keyspace, question.encoded_key});
      assigned.push_back(&question);
    }
    if (writes.size() == before) {
      request.done(std::move(request.questions));
    } else {
      waiting.push_back(&request);
    }
  }
  if (writes.empty()) return;
  const Status written = directory_.write(writes);
  for (std::size_t i = 0; i < assigned.size(); ++i) {
    const Result<StableShardId>& outcome = writes[i].outcome;
    if (!written) {
      assigned[i]->answer = written.error();
    } else if (!outcome) {
      assigned[i]->answer = outcome.error();
    } else {
      assigned[i]->answer = KeyAnswer{KeyAnswer::Kind::kFound, *outcome};
    }
  }
  for (Request* const request : waiting) request->done(std::move(request->questions));
}

}  // namespace pgshunt
