// DECLARE, FETCH, MOVE and CLOSE as they stand in a statement's text: whose rows a cursor reads
// decides where it is, and its name is all that later statements say of it. (PostgreSQL manual,
// "DECLARE", "FETCH"; gram.y: DeclareCursorStmt, FetchStmt, ClosePortalStmt.)
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace pgshunt {

struct CursorCommand {
  enum class Kind : std::uint8_t { kDeclare, kFetch, kMove, kClose };
  // Where FETCH and MOVE go from the current row.
  enum class Way : std::uint8_t { kForward, kBackward, kRelative, kAbsolute };
  static constexpr std::int64_t kAll = std::numeric_limits<std::int64_t>::max();

  Kind kind = Kind::kFetch;
  std::string name;  // folded; empty: CLOSE ALL

  // kDeclare
  std::string conflict;  // options that exclude each other, "SCROLL and NO SCROLL"; empty: none
  bool binary = false;
  bool scroll = false;     // SCROLL is said
  bool hold = false;       // WITH HOLD
  std::size_t select = 0;  // where in the text its query begins; it goes on to the end

  // kFetch, kMove
  Way way = Way::kForward;
  std::int64_t count = 1;  // rows, or a position; kAll: to the end
};

// Nothing if `text`, one statement, is none of these, or not as the grammar has it.
std::optional<CursorCommand> read_cursor_command(std::string_view text);

}  // namespace pgshunt
