// Which conversation a client gets.
#pragma once

#include <memory>

#include "proxy/auth/credentials.h"
#include "proxy/session/conversation.h"

namespace pgshunt {

class Session;

// The database of this name is the proxy itself, as in PgBouncer.
inline constexpr std::string_view kAdminDatabase = "pgshunt";

// For a client that was greeted: the admin console, a plain pool, or a sharded database.
std::unique_ptr<Conversation> make_conversation(Session& session,
                                                const ServerCredentials& credentials);

}  // namespace pgshunt
