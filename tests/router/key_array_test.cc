#include "router/key_array.h"

#include <gtest/gtest.h>

#include <string>

namespace pgshunt {
namespace {

// The elements between bars, NULL for a null; "malformed" at the end of what is none.
std::string read(const KeyInput& array) {
  std::string scratch;
  KeyArrayReader reader(array, scratch);
  std::string out;
  KeyInput element;
  while (true) {
    switch (reader.next(element)) {
      case KeyArrayReader::Step::kElement:
        out += element.form == KeyInput::Form::kNull ? "NULL" : std::string(element.bytes);
        out += "|";
        break;
      case KeyArrayReader::Step::kEnd:
        EXPECT_EQ(reader.next(element), KeyArrayReader::Step::kEnd);
        return out;
      case KeyArrayReader::Step::kMalformed:
        return out + "malformed";
    }
  }
}

std::string read_text(std::string_view text) { return read({KeyInput::Form::kString, 0, text}); }

TEST(KeyArray, ReadsText) {
  EXPECT_EQ(read_text("{}"), "");
  EXPECT_EQ(read_text("{1}"), "1|");
  EXPECT_EQ(read_text(" { 1 , 2 } "), "1|2|");
  EXPECT_EQ(read_text("{1,NULL,null}"), "1|NULL|NULL|");
  EXPECT_EQ(read_text("{{1,2},{3,4}}"), "1|2|3|4|");
  EXPECT_EQ(read_text("[0:1]={5,6}"), "5|6|");
  EXPECT_EQ(read_text(R"({"a b","NULL","","a\"b","c\\d"})"), R"(a b|NULL||a"b|c\d|)");
  EXPECT_EQ(read_text("{a b, c }"), "a b|c|");
}

TEST(KeyArray, RefusesWhatIsNone) {
  for (const char* text : {"", "1,2", "{", "{1", "{1,", "{,1}", "{1,,2}", "{1}2", "{1}{2}", "{\"a}",
                           "{\"a\"b}", "{a\\b}", "{a\"b\"}", "[1]{1}", "{{{{{{{1}}}}}}}"}) {
    EXPECT_TRUE(read_text(text).ends_with("malformed")) << text;
  }
}

TEST(KeyArray, ReadsBinary) {
  const auto be32 = [](std::uint32_t v) {
    std::string out(4, '\0');
    store_be32(out.data(), v);
    return out;
  };
  const std::string head = be32(1) + be32(1) + be32(type_oid::kInt4);
  const std::string array =
      head + be32(3) + be32(1) + be32(4) + be32(7) + be32(0xFFFFFFFF) + be32(4) + be32(9);
  EXPECT_EQ(read({KeyInput::Form::kBinary, 1007, array}), be32(7) + "|NULL|" + be32(9) + "|");
  // The type may be left open, but not another.
  EXPECT_EQ(read({KeyInput::Form::kBinary, 0, array}), be32(7) + "|NULL|" + be32(9) + "|");
  EXPECT_EQ(read({KeyInput::Form::kBinary, 1016, array}), "malformed");
  EXPECT_EQ(read({KeyInput::Form::kBinary, 1007, be32(0) + be32(0) + be32(23)}), "");
  for (std::size_t size = 0; size < array.size(); ++size) {
    EXPECT_TRUE(read({KeyInput::Form::kBinary, 1007, std::string_view(array).substr(0, size)})
                    .ends_with("malformed"))
        << size;
  }
  EXPECT_TRUE(read({KeyInput::Form::kBinary, 1007, array + "x"}).ends_with("malformed"));
}

}  // namespace
}  // namespace pgshunt
