#include "router/cursor_command.h"

#include <gtest/gtest.h>

#include <string>

namespace pgshunt {
namespace {

// "fetch c forward 3", "close", "declare c scroll: SELECT 1"; "-" for nothing.
std::string read(const std::string& text) {
  const auto command = read_cursor_command(text);
  if (!command) return "-";
  std::string out;
  switch (command->kind) {
    case CursorCommand::Kind::kDeclare:
      out = "declare " + command->name;
      if (command->binary) out += " binary";
      if (command->scroll) out += " scroll";
      if (command->hold) out += " hold";
      if (!command->conflict.empty()) out += " (" + command->conflict + ")";
      return out + ": " + text.substr(command->select);
    case CursorCommand::Kind::kClose:
      return command->name.empty() ? "close all" : "close " + command->name;
    case CursorCommand::Kind::kFetch:
      out = "fetch ";
      break;
    case CursorCommand::Kind::kMove:
      out = "move ";
      break;
  }
  out += command->name;
  switch (command->way) {
    case CursorCommand::Way::kForward:
      out += " forward ";
      break;
    case CursorCommand::Way::kBackward:
      out += " backward ";
      break;
    case CursorCommand::Way::kRelative:
      out += " relative ";
      break;
    case CursorCommand::Way::kAbsolute:
      out += " absolute ";
      break;
  }
  return out + (command->count == CursorCommand::kAll ? "all" : std::to_string(command->count));
}

TEST(CursorCommand, Fetch) {
  EXPECT_EQ(read("FETCH c"), "fetch c forward 1");
  EXPECT_EQ(read("fetch from C"), "fetch c forward 1");
  EXPECT_EQ(read("FETCH NEXT IN c"), "fetch c forward 1");
  EXPECT_EQ(read("FETCH NEXT c"), "fetch c forward 1");
  EXPECT_EQ(read("FETCH 10 c"), "fetch c forward 10");
  EXPECT_EQ(read("FETCH -3 FROM c"), "fetch c forward -3");
  EXPECT_EQ(read("FETCH +3 FROM c"), "fetch c forward 3");
  EXPECT_EQ(read("FETCH ALL FROM c"), "fetch c forward all");
  EXPECT_EQ(read("FETCH FORWARD FROM c"), "fetch c forward 1");
  EXPECT_EQ(read("FETCH FORWARD 0 FROM c"), "fetch c forward 0");
  EXPECT_EQ(read("FETCH FORWARD ALL IN c"), "fetch c forward all");
  EXPECT_EQ(read("FETCH BACKWARD 2 FROM c"), "fetch c backward 2");
  EXPECT_EQ(read("FETCH BACKWARD ALL FROM c"), "fetch c backward all");
  EXPECT_EQ(read("FETCH PRIOR FROM c"), "fetch c backward 1");
  EXPECT_EQ(read("FETCH FIRST FROM c"), "fetch c absolute 1");
  EXPECT_EQ(read("FETCH LAST c"), "fetch c absolute -1");
  EXPECT_EQ(read("FETCH ABSOLUTE -7 FROM c"), "fetch c absolute -7");
  EXPECT_EQ(read("FETCH RELATIVE 7 FROM c"), "fetch c relative 7");
  EXPECT_EQ(read("MOVE 5 IN c"), "move c forward 5");
  EXPECT_EQ(read("/* a */ MOVE LAST FROM c -- b"), "move c absolute -1");
}

TEST(CursorCommand, Names) {
  EXPECT_EQ(read("FETCH 2 FROM \"My cursor\""), "fetch My cursor forward 2");
  EXPECT_EQ(read("FETCH next"), "fetch next forward 1");
  EXPECT_EQ(read("FETCH FROM \"all\""), "fetch all forward 1");
  EXPECT_EQ(read("CLOSE \"ALL\""), "close ALL");
  EXPECT_EQ(read("FETCH 1 FROM forward"), "fetch forward forward 1");
}

TEST(CursorCommand, Close) {
  EXPECT_EQ(read("CLOSE c"), "close c");
  EXPECT_EQ(read("CLOSE ALL"), "close all");
  EXPECT_EQ(read("CLOSE c;"), "close c");
}

TEST(CursorCommand, Declare) {
  EXPECT_EQ(read("DECLARE c CURSOR FOR SELECT 1"), "declare c: SELECT 1");
  EXPECT_EQ(read("DECLARE c CURSOR FOR(SELECT 1)"), "declare c: (SELECT 1)");
  EXPECT_EQ(read("declare C no scroll cursor with hold for TABLE t"), "declare c hold: TABLE t");
  EXPECT_EQ(read("DECLARE c BINARY INSENSITIVE SCROLL CURSOR WITHOUT HOLD FOR VALUES (1)"),
            "declare c binary scroll: VALUES (1)");
  EXPECT_EQ(read("DECLARE c SCROLL NO SCROLL CURSOR FOR SELECT 1"),
            "declare c scroll (SCROLL and NO SCROLL): SELECT 1");
  EXPECT_EQ(read("DECLARE cursor CURSOR FOR SELECT 'for'"), "declare cursor: SELECT 'for'");
  EXPECT_EQ(read("DECLARE c ASENSITIVE CURSOR FOR WITH a AS (SELECT 1) SELECT * FROM a"),
            "declare c: WITH a AS (SELECT 1) SELECT * FROM a");
}

TEST(CursorCommand, Others) {
  for (const char* text :
       {"", "SELECT 1", "FETCH", "FETCH 1.5 FROM c", "FETCH ABSOLUTE FROM c", "CLOSE", "CLOSE c d",
        "DECLARE c", "DECLARE c CURSOR FOR", "DECLARE c CURSOR WITH FOR SELECT 1",
        "DECLARE c SELECT 1", "FETCH 1 FROM c d", "DECLARE 'c' CURSOR FOR SELECT 1"}) {
    EXPECT_EQ(read(text), "-") << text;
  }
}

}  // namespace
}  // namespace pgshunt
