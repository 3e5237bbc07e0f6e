// The console's language: one command, read from text. PgBouncer's words, so that scripts written
// for it work; keywords in any case, names as written (quote them to keep odd characters).
//
// Stateless; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/result.h"
#include "proxy/admin/show.h"

namespace pgshunt {

enum class AdminVerb : std::uint8_t {
  kEmpty,  // only white space and comments
  kShow,
  kHelp,  // SHOW HELP
  kPause,
  kResume,
  kReload,
  kRefreshCatalog,
  kSpreadSequences,
  kReconnect,
  kKill,
  kKillClient,
  kDisable,
  kEnable,
  kWaitClose,
  kShutdown,
  // What drivers send unasked. The console has no transactions and no settings of its own: these
  // are accepted and change nothing but the status that ReadyForQuery tells.
  kBegin,
  kCommit,
  kRollback,
  kSetDriverSetting,
  kDeallocate,  // DISCARD ALL too
};

// When SHUTDOWN is to take effect.
enum class ShutdownWhen : std::uint8_t {
  kNow,
  kServersFree,  // every transaction has ended
  kClientsGone,  // every client has left on its own
};

struct AdminCommand {
  AdminVerb verb = AdminVerb::kEmpty;
  ShowTopic topic = ShowTopic::kPools;  // kShow
  std::string name;                     // a database, kDeallocate: a statement; empty: all of them
  std::uint64_t client = 0;             // kKillClient: the id SHOW CLIENTS has
  ShutdownWhen when = ShutdownWhen::kNow;

  // The word in CommandComplete.
  std::string_view tag() const;
  // With what it is about: "PAUSE app", "KILL_CLIENT 42".
  std::string text() const;
  // Looks, and changes nothing: what stats_users may do.
  bool only_shows() const;
};

// Reads one command, with or without its semicolon. Errors are 42601 with a hint, or 0A000 for
// PgBouncer commands that have no meaning here, which say why.
Result<AdminCommand> parse_admin_command(std::string_view text);

// What SHOW HELP says.
std::string_view admin_help();

}  // namespace pgshunt
