// What a statement does to state that the server keeps between transactions, read by our own
// lexer: no parse tree, one pass, nothing allocated. Transaction pooling stands on it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pgshunt {

// The leading verb as far as a pooler cares. Everything it need not tell apart is kOther.
enum class Verb : std::uint8_t {
  kEmpty,  // only white space and comments
  kOther,
  kSelect,  // SELECT, VALUES, TABLE, WITH (whatever follows)
  kInsert,
  kUpdate,
  kDelete,
  kMerge,
  kCopy,
  kBegin,               // BEGIN, START TRANSACTION; value = the modes
  kCommit,              // COMMIT, END (not COMMIT PREPARED); value = AND [NO] CHAIN
  kRollback,            // ROLLBACK, ABORT (not ROLLBACK TO, not ROLLBACK PREPARED); value as above
  kSavepoint,           // name
  kReleaseSavepoint,    // name
  kRollbackTo,          // name
  kPrepareTransaction,  // ends the transaction on this server
  kSet,                 // SET [SESSION] name = value; name, value
  kSetLocal,            // SET LOCAL ..., SET TRANSACTION ...: gone at the end of the transaction
  kSetSessionAuthorization,  // value, or DEFAULT (then kReset with that name)
  kSetCharacteristics,       // SET SESSION CHARACTERISTICS AS TRANSACTION ...; value
  kReset,                    // RESET name, SET name TO DEFAULT; name
  kResetAll,
  kDiscardAll,
  kDiscard,  // DISCARD PLANS | SEQUENCES | TEMP
  // PREPARE name [(types)] AS ...; name, value = everything from "(" or AS on. Its effects are
  // those of each EXECUTE.
  kPrepare,
  kExecute,     // EXECUTE name, EXPLAIN ... EXECUTE name, CREATE TABLE .. AS EXECUTE name
  kDeallocate,  // name
  kDeallocateAll,
  kListen,    // name = channel
  kUnlisten,  // name
  kUnlistenAll,
  kDeclare,  // DECLARE name ... CURSOR
  kClose,
  kShow,  // name
  kDdl,   // CREATE, ALTER, DROP, ... : the catalog may have changed
};

// Traces a statement may leave on its server. A bit set means "may"; it is decided from the text,
// so a name in a string literal or comment never sets one.
enum Effect : std::uint32_t {
  kEffectNone = 0,
  // CREATE TEMP ..., SELECT INTO TEMP, pg_temp.x (not ON COMMIT DROP); a search_path with pg_temp,
  // under which tables may be temporary without saying so
  kEffectTempObject = 1u << 0,
  kEffectAdvisoryLock = 1u << 1,  // pg_advisory_lock & co., session level only
  kEffectHoldCursor = 1u << 2,    // DECLARE ... WITH HOLD
  kEffectLibrary = 1u << 3,       // LOAD
  kEffectRandomSeed = 1u << 4,    // setseed(), SET seed
  // dblink_connect(), pg_replication_origin_session_setup(), temporary slots, base backups
  kEffectForeignSession = 1u << 5,
  // set_config(..) in an expression, SET .. FROM CURRENT: value not readable from the text. In the
  // code of a DO: a setting whose value the server cannot be asked for. Not a set_config(.., true),
  // whose setting goes with the transaction.
  kEffectSetConfig = 1u << 6,
  kEffectOpaque = 1u << 7,         // DO: may do any of the above unseen
  kEffectMayRelease = 1u << 8,     // may undo one of the above: unlock, CLOSE, DROP, DISCARD
  kEffectSequenceWrite = 1u << 9,  // nextval(), setval(), INSERT, COPY FROM, UPDATE .. = DEFAULT
  kEffectSequenceRead = 1u << 10,  // currval(), lastval()
  kEffectLocalConfig = 1u << 11,   // set_config(.., true), which is a SET LOCAL
  kEffectCall = 1u << 12,          // CALL: opaque, unless what the procedure does is known
  kEffectPrepared = 1u << 13,      // a statement prepared by a function; never read from a text
};

// What is over with its statement or transaction: nothing has to be remembered of it.
inline constexpr std::uint32_t kLeavesNothing = kEffectSequenceWrite | kEffectLocalConfig;

// One statement of a (possibly multi-statement) query text. All views point into that text, or, for
// names, into it or into the scanner's own fold buffer: valid until the scanner's next call.
struct StatementEffects {
  Verb verb = Verb::kEmpty;
  std::uint32_t effects = kEffectNone;
  std::string_view text;  // the statement without its semicolon, outer white space trimmed
  // Folded as PostgreSQL folds it: lower case unless quoted. Settings are in lower case always, and
  // phrases have names of their own: "time zone", "search_path" (SET SCHEMA), "client_encoding"
  // (SET NAMES), "role", "session_authorization", "transaction", "constraints".
  std::string_view name;
  std::string_view value;  // raw SQL: SET's value list, PREPARE's tail, ...
  // Where `name`'s token (quotes included) stands in the whole query text; for renaming EXECUTE.
  std::size_t name_begin = 0;
  std::size_t name_end = 0;
};

// Splits a query text into statements exactly where PostgreSQL's lexer would (psqlscan rules do not
// apply: BEGIN ATOMIC bodies of SQL functions keep their semicolons) and reads each one's effects.
//
//   StatementScanner scan(sql, standard_conforming_strings);
//   while (scan.next(statement)) ...
//
// An unterminated string, comment or dollar quote ends the text; the server will report it.
// Cost: about a nanosecond a byte. Nothing is allocated unless a name must be folded and is longer
// than a std::string holds in itself.
class StatementScanner {
 public:
  explicit StatementScanner(std::string_view sql, bool standard_conforming_strings = true);

  // False at the end of the text. An empty statement between semicolons is skipped; a text without
  // any statement yields none.
  bool next(StatementEffects& out);

 private:
  std::string_view sql_;
  std::size_t at_ = 0;
  bool standard_conforming_strings_;
  std::string folded_;
};

}  // namespace pgshunt
