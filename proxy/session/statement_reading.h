// From the text of a client's statement to what is sent to servers in its place, and what the
// session must do when it completes. The reading itself is router/session_effects.h.
#pragma once

#include <string>
#include <string_view>

#include "protocol/frontend.h"
#include "proxy/session/session_state.h"
#include "proxy/session/statement.h"

namespace pgshunt {

class Session;

// Stands for a statement whose error is the proxy's to tell.
inline constexpr std::string_view kSureToFail = "EXECUTE \"pgshunt nothing\"";

// What everything but its end meets in a transaction that has failed.
const Error& failed_transaction_error();

// Verbs whose completion changes what the proxy remembers.
bool changes_session(Verb verb);
// BEGIN, COMMIT, SAVEPOINT and the like.
bool controls_transaction(Verb verb);
// PREPARE, EXECUTE, DEALLOCATE: the client's name in the text is not the server's.
bool names_statement(Verb verb);

CompletionEffect completion_effect(const Session& session, const StatementEffects& statement);

// RESET means the startup packet's value, of which the server knows nothing: the SET to run in its
// place. Empty if the client gave none, and for any other statement.
std::string_view startup_statement(const SessionState& state, const StatementEffects& statement);

// `sql`, which is or contains the PREPARE, EXECUTE or DEALLOCATE `named`, with the server's name
// for the client's. Fills in effect.statement and effect.tag.
std::string rename_statement(const SessionState& state, std::string_view sql,
                             const StatementEffects& named, CompletionEffect& effect);

// For a text of one statement (or its first): what executing it does, and the text for servers.
// True if that is not `sql` as it stands; it is this session's alone then.
bool describe_statement(const Session& session, std::string_view sql, std::string& text,
                        CompletionEffect& effect);

// Keeps a Parse of the unnamed statement. True if the text for servers is not the client's.
bool remember_unnamed(Session& session, const ParseView& parse);

// May the client give `name` to one more statement?
Status free_name(Session& session, std::string_view name);

// The statement behind a named Parse, shared with all who prepare the same text under settings that
// give it the same meaning. Fails only where the database is sharded and it cannot be routed.
Result<StatementPtr> statement_of(Session& session, const ParseView& parse);

}  // namespace pgshunt
