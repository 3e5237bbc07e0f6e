#include "proxy/session/key_inquiry.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "proxy/session/conversation.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"
#include "router/router.h"

namespace pgshunt {
namespace {

bool same_key(const KeyLookup& a, const KeyLookup& b) {
  return a.keyspace == b.keyspace && a.key == b.key;
}

}  // namespace

Status KeyInquiry::ask(std::span<const KeyLookup> lookups, bool assign) {
  ++question_;
  since_ = {};
  if (directory_ == nullptr) {
    return Error{sqlstate::kObjectNotInPrerequisiteState,
                 "the directory of the database is not open", "Look at the proxy's log."};
  }
  assigns_ = assign;
  Worker& worker = session_.worker();
  const auto told = [&worker, id = session_.state().id,
                     question = question_](std::vector<FoundKey> keys) {
    worker.post([id, question, keys = std::move(keys)](Worker& there) mutable {
      Session* session = there.find_session(id);
      if (session == nullptr || session->conversation() == nullptr) return;
      session->conversation()->on_keys_found(question, std::move(keys));
    });
  };
  if (!directory_->ask(lookups, assign, told)) {
    return Error{sqlstate::kInsufficientResources,
                 "too many statements wait for the directory of keys", "Try again."};
  }
  since_ = worker.loop().now();
  return Ok{};
}

bool KeyInquiry::take(std::uint64_t question, std::vector<FoundKey> keys) {
  if (question != question_ || !waiting()) return false;
  since_ = {};
  std::move(keys.begin(), keys.end(), std::back_inserter(answers_));
  return true;
}

void KeyInquiry::teach(Router& router) const {
  for (const FoundKey& found : answers_) {
    if (!found.place) continue;
    // That it is absent says nothing of where it would be stored.
    const bool undecided =
        !assigns_ && found.lookup.assign && found.place->kind == KeyPlace::Kind::kAbsent;
    if (!undecided) router.learn(found.lookup, *found.place);
  }
}

bool KeyInquiry::answered(std::span<const KeyLookup> lookups) const {
  KeyLookups known;
  for (const FoundKey& found : answers_) {
    known.add(found.lookup.keyspace, found.lookup.key, found.lookup.assign);
  }
  known.add(lookups);
  return known.list().size() == answers_.size();  // none of them was new
}

std::optional<Error> KeyInquiry::failure(std::span<const KeyLookup> lookups) const {
  for (const FoundKey& found : answers_) {
    if (found.place) continue;
    for (const KeyLookup& lookup : lookups) {
      if (same_key(found.lookup, lookup)) return found.place.error();
    }
  }
  return std::nullopt;
}

void KeyInquiry::drop() {
  ++question_;
  since_ = {};
  answers_.clear();
}

}  // namespace pgshunt
