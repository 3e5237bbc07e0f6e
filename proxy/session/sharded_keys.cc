// Keys of directory keyspaces that memory does not know, or that are to be given a shard: a sharded
// session asks for them, and leaves what it was about to serve unconsumed until the answer is here.
#include <utility>

#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/worker.h"

namespace pgshunt {

Result<Route> ShardedConversation::route(std::string_view sql, const RouterSession& session) {
  keys_.teach(router_);
  return router_.route(sql, session);
}

// kWait: the unit is looked at again when the keys are known. An Error: they cannot be.
Status ShardedConversation::want_keys(std::span<const KeyLookup> lookups) {
  if (const auto failed = keys_.failure(lookups)) return *failed;
  return keys_.waiting() ? Status(Ok{}) : keys_.ask(lookups);
}

ShardedConversation::Verdict ShardedConversation::look_up_keys(std::span<const KeyLookup> lookups) {
  const Status asked = want_keys(lookups);
  return asked ? Verdict::kWait : refuse(asked.error());
}

void ShardedConversation::on_keys_found(std::uint64_t question, std::vector<FoundKey> keys) {
  if (!keys_.take(question, std::move(keys))) return;
  if (copy_in_ != nullptr) {
    copy_in_->keys_found(keys_.take_answers());
  } else {
    session_.resume();
  }
}

// What waits for keys gets an error instead.
void ShardedConversation::give_up_keys(const Error& error) {
  keys_.drop();
  if (copy_in_ != nullptr) return copy_in_->give_up(error);
  fail_waiting(error);
}

void ShardedConversation::on_copy_wants_keys(CopyIn& copy) {
  // Its servers hear of that only with their next rows, and there will be none.
  if (copy.canceled()) return copy.give_up(canceled_by_user());
  const Status asked = keys_.ask(copy.lookups());
  if (!asked) copy.give_up(asked.error());
}

}  // namespace pgshunt
