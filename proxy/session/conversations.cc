#include "proxy/session/conversations.h"

#include "proxy/admin/console.h"
#include "proxy/database.h"
#include "proxy/session/pooled_conversation.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/worker.h"

namespace pgshunt {

std::unique_ptr<Conversation> make_conversation(Session& session,
                                                const ServerCredentials& credentials) {
  const SessionState& state = session.state();
  if (state.database == kAdminDatabase) return std::make_unique<AdminConsole>(session);
  Worker& worker = session.worker();
  const Database& database = *session.database();
  if (database.topology) return std::make_unique<ShardedConversation>(session, credentials);
  return std::make_unique<PooledConversation>(
      session, worker.pool({state.database, state.user, 0}, database, credentials));
}

}  // namespace pgshunt
