#include "router/sql_lexer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "router/sql_decode.h"
#include "tests/router/pg_scan.h"
#include "tests/router/sql_samples.h"

namespace pgshunt {
namespace {

// The tokens' texts joined by a bar.
std::string tokens(std::string_view sql, bool standard_conforming_strings = true) {
  SqlLexer lexer(sql, standard_conforming_strings);
  SqlToken token;
  std::string joined;
  while (lexer.next(token)) {
    if (!joined.empty()) joined += '|';
    joined += lexer.text(token);
  }
  return joined;
}

std::vector<TokenKind> kinds(std::string_view sql, bool standard_conforming_strings = true) {
  SqlLexer lexer(sql, standard_conforming_strings);
  SqlToken token;
  std::vector<TokenKind> list;
  while (lexer.next(token)) list.push_back(token.kind);
  return list;
}

using K = TokenKind;
using Kinds = std::vector<TokenKind>;

TEST(SqlLexer, SplitsAnOrdinaryStatement) {
  EXPECT_EQ(tokens("SELECT a.b,\"C d\" FROM t WHERE x>=1.5e3;"),
            "SELECT|a|.|b|,|\"C d\"|FROM|t|WHERE|x|>=|1.5e3|;");
  EXPECT_EQ(kinds("a \"b\" 1 1.5 'c' $1 ( >= :: := .. =>"),
            (Kinds{K::kIdentifier, K::kQuotedIdentifier, K::kInteger, K::kDecimal, K::kString,
                   K::kParam, K::kSymbol, K::kOperator, K::kTypecast, K::kColonEquals, K::kDotDot,
                   K::kEqualsGreater}));
}

TEST(SqlLexer, EndsAtTheEndForGood) {
  SqlLexer lexer("a  ");
  SqlToken token;
  EXPECT_TRUE(lexer.next(token));
  EXPECT_FALSE(lexer.next(token));
  EXPECT_EQ(token.kind, K::kEnd);
  EXPECT_EQ(token.begin, 3u);
  EXPECT_FALSE(lexer.next(token));
}

TEST(SqlLexer, ReadsAnEmptyView) {
  SqlToken token;
  EXPECT_FALSE(SqlLexer(std::string_view()).next(token));
  EXPECT_EQ(token.kind, K::kEnd);
}

TEST(SqlLexer, TakesCommentsForWhiteSpace) {
  EXPECT_EQ(tokens("a/*x*/b--c\nd/*1/*2*/3*/e--f"), "a|b|d|e");
  EXPECT_EQ(tokens("a/**/b/***/c/*/*/**/*/*/d"), "a|b|c|d");
  EXPECT_EQ(kinds("a /* /* */"), (Kinds{K::kIdentifier, K::kUnterminated}));
}

TEST(SqlLexer, StopsOperatorsAtComments) {
  EXPECT_EQ(tokens("a+--c\n1"), "a|+|1");
  EXPECT_EQ(tokens("a*/*c*/1"), "a|*|1");
  EXPECT_EQ(tokens("a<->--\nb"), "a|<->|b");
}

TEST(SqlLexer, LeavesTrailingSignsToOperatorsNoStandardHas) {
  EXPECT_EQ(tokens("a=-1"), "a|=|-|1");
  EXPECT_EQ(tokens("a<=+-1"), "a|<=|+|-|1");
  EXPECT_EQ(tokens("a@-1"), "a|@-|1");
  EXPECT_EQ(tokens("a%-1"), "a|%-|1");
  EXPECT_EQ(kinds("*- ^ %"), (Kinds{K::kSymbol, K::kSymbol, K::kSymbol, K::kSymbol}));
  EXPECT_EQ(kinds("# ~"), (Kinds{K::kOperator, K::kOperator}));
}

TEST(SqlLexer, KnowsEveryQuote) {
  EXPECT_EQ(kinds("'a''b' E'\\'' e'a' U&'x' B'01' X'1F' $$a$$ $x$ $$ $x$ U&\"y\""),
            (Kinds{K::kString, K::kEscapeString, K::kEscapeString, K::kUnicodeString, K::kBitString,
                   K::kHexString, K::kDollarString, K::kDollarString, K::kUnicodeIdentifier}));
  EXPECT_EQ(tokens("N'x'"), "N|'x'");
  EXPECT_EQ(tokens("u&1"), "u|&|1");
  EXPECT_EQ(tokens("\"a\"\"b\""), "\"a\"\"b\"");
}

TEST(SqlLexer, ReadsBackslashesByTheSetting) {
  EXPECT_EQ(tokens("'a\\' b"), "'a\\'|b");
  EXPECT_EQ(tokens("'a\\' b'", false), "'a\\' b'");
  EXPECT_EQ(kinds("'a'", false), (Kinds{K::kEscapeString}));
}

TEST(SqlLexer, JoinsStringsAcrossLinesOnly) {
  EXPECT_EQ(tokens("'a'\n'b'"), "'a'\n'b'");
  EXPECT_EQ(tokens("'a' -- x's\n 'b'"), "'a' -- x's\n 'b'");
  EXPECT_EQ(tokens("'a' 'b'"), "'a'|'b'");
  EXPECT_EQ(tokens("'a'/*\n*/'b'"), "'a'|'b'");
  EXPECT_EQ(tokens("'a'\n-'b'"), "'a'|-|'b'");
  EXPECT_EQ(tokens("$$a$$\n'b'"), "$$a$$|'b'");
  EXPECT_EQ(tokens("b'0'\n'1'"), "b'0'\n'1'");
}

TEST(SqlLexer, FindsDollarQuotesOnlyWhereTheyStart) {
  EXPECT_EQ(tokens("a$b$c$b$"), "a$b$c$b$");
  EXPECT_EQ(tokens("$a$ $b$ $a"), "$a$ $b$ $a");
  EXPECT_EQ(kinds("$a$ $b$ $a"), (Kinds{K::kUnterminated}));
  EXPECT_EQ(tokens("$a$x$b$a$ 1"), "$a$x$b$a$|1");
  EXPECT_EQ(kinds("$a b"), (Kinds{K::kStray, K::kIdentifier, K::kIdentifier}));
}

TEST(SqlLexer, ReadsNumbersAsTheNewestVersionDoes) {
  EXPECT_EQ(tokens("1..2 1.5.6 .5 1. 1e5 1.e-5"), "1|..|2|1.5|.6|.5|1.|1e5|1.e-5");
  EXPECT_EQ(kinds("0x1F 0o17 0b11 1_000 1_0.0_1"),
            (Kinds{K::kInteger, K::kInteger, K::kInteger, K::kInteger, K::kDecimal}));
  EXPECT_EQ(tokens("1_ 0x"), "1|_|0|x");
}

TEST(SqlLexer, SaysWhereANumberRunsIntoAWord) {
  EXPECT_EQ(kinds("1a"), (Kinds{K::kJunk, K::kIdentifier}));
  EXPECT_EQ(tokens("5AND"), "5|AND");
  EXPECT_EQ(kinds("1e+"), (Kinds{K::kJunk, K::kIdentifier, K::kSymbol}));
  EXPECT_EQ(kinds("$1a"), (Kinds{K::kJunk, K::kIdentifier}));
}

TEST(SqlLexer, SurvivesEveryUnterminatedQuote) {
  for (const char* sql :
       {"'a", "E'a\\", "\"a", "U&'a", "U&\"a", "B'0", "X'1", "$$a", "$a$b$a", "'a'\n'b", "/* a"}) {
    EXPECT_EQ(kinds(sql), (Kinds{K::kUnterminated})) << sql;
  }
}

TEST(SqlLexer, SkipsLongStrings) {
  for (std::size_t size : {1, 7, 8, 9, 31, 1000}) {
    const std::string text(size, 'x');
    EXPECT_EQ(tokens("'" + text + "''" + text + "' a"), "'" + text + "''" + text + "'|a");
    EXPECT_EQ(tokens("E'" + text + "\\'" + text + "' a"), "E'" + text + "\\'" + text + "'|a");
  }
}

TEST(SqlLexer, ReadsWordsOfEveryLength) {
  for (std::size_t size = 1; size < 70; ++size) {
    const std::string word = std::string(size - 1, 'z') + "9";
    for (const char* end : {"", " ", ".", "-", "'", "\x7f", "@", "[", "{", "`", "/", ":"}) {
      const std::string text = "x" + word + end + std::string(20, ' ');
      SqlLexer lexer(text);
      SqlToken token;
      ASSERT_TRUE(lexer.next(token));
      EXPECT_EQ(lexer.text(token), "x" + word) << text;
    }
  }
  EXPECT_EQ(tokens("a$_\xc3\xa4Z0 b"), "a$_\xc3\xa4Z0|b");
}

TEST(SqlLexer, AgreesWithPostgresOnSamples) {
  for (const std::string& sql : sql_samples()) EXPECT_EQ(scan_difference(sql), "");
}

TEST(SqlLexer, AgreesWithPostgresOnRandomChanges) {
  unsigned seed = 20240601;
  int compared = 0;
  std::vector<PgToken> theirs;
  for (int round = 0; round < 400; ++round) {
    for (const std::string& sample : sql_samples()) {
      const std::string sql = mutate_sql(sample, seed);
      ASSERT_EQ(scan_difference(sql), "");
      if (round < 10) compared += pg_scan(sql, theirs) ? 1 : 0;
    }
  }
  // Most changes must leave a text PostgreSQL can read, or the comparison is of nothing.
  EXPECT_GT(compared, 4 * static_cast<int>(sql_samples().size()));
}

// next_name() must find the very names and parentheses that next() finds.
TEST(SqlLexer, NextNameFindsWhatNextFinds) {
  unsigned seed = 7;
  for (int round = 0; round < 200; ++round) {
    for (const std::string& sample : sql_samples()) {
      const std::string sql = mutate_sql(sample, seed);
      SqlLexer all(sql);
      SqlLexer names(sql);
      SqlToken name;
      SqlToken token;
      while (all.next(token) && token.kind != K::kUnterminated) {
        const bool wanted = is_name(token.kind) || all.is_symbol(token, '(') ||
                            all.is_symbol(token, ')') || all.is_symbol(token, ';');
        if (!wanted) continue;
        ASSERT_TRUE(names.next_name(WordFilter::every_word(), name)) << sql;
        ASSERT_EQ(name.begin, token.begin) << sql;
        ASSERT_EQ(name.end, token.end) << sql;
        ASSERT_EQ(name.kind, token.kind) << sql;
      }
      ASSERT_FALSE(names.next_name(WordFilter::every_word(), name)) << sql;
    }
  }
}

TEST(WordFilter, AdmitsItsWordsInAnyCase) {
  WordFilter filter;
  filter.add("nextval");
  EXPECT_TRUE(filter.admits("nextval"));
  EXPECT_TRUE(filter.admits("NextVal"));
  EXPECT_FALSE(filter.admits("nextva"));
  EXPECT_FALSE(filter.admits("textval"));
  EXPECT_FALSE(filter.admits("nextvam"));
}

TEST(PackWord, TellsWordsApartWithoutCase) {
  static_assert(pack_word("select") == pack_word("SELECT"));
  for (std::string word : {"a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh"}) {
    std::string upper = word;
    for (char& c : upper) c = static_cast<char>(c - 0x20);
    EXPECT_EQ(pack_word(word), pack_word(upper));
    EXPECT_NE(pack_word(word), pack_word(word.substr(1)));
  }
  EXPECT_EQ(pack_word(""), 0u);
  EXPECT_EQ(pack_word("abcdefghi"), kLongWord);
}

std::string name_of(std::string_view sql) {
  SqlLexer lexer(sql);
  SqlToken token;
  lexer.next(token);
  std::string name;
  return append_identifier(sql, token, name) ? name : "bad";
}

TEST(AppendIdentifier, FoldsAsPostgresDoes) {
  EXPECT_EQ(name_of("FooBar"), "foobar");
  EXPECT_EQ(name_of("\"Foo\"\"Bar\""), "Foo\"Bar");
  EXPECT_EQ(name_of("U&\"d\\0061t\\+000061\\\\\""), "data\\");
  EXPECT_EQ(name_of("U&\"\\D83D\\DE00\""), "\xf0\x9f\x98\x80");
  EXPECT_EQ(name_of("U&\"\\D83Dx\""), "bad");
  EXPECT_EQ(name_of("U&\"\\00\""), "bad");
}

TEST(AppendIdentifier, CutsAtACharacterOfTheSixtyThirdByte) {
  EXPECT_EQ(name_of(std::string(70, 'A')), std::string(63, 'a'));
  EXPECT_EQ(name_of("\"" + std::string(62, 'A') + "\xc3\xa4\""), std::string(62, 'A'));
  EXPECT_EQ(name_of("\"" + std::string(61, 'A') + "\xc3\xa4 b\""),
            std::string(61, 'A') + "\xc3\xa4");
}

}  // namespace
}  // namespace pgshunt
