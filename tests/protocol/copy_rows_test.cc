#include "protocol/copy_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "protocol/frame.h"

namespace pgshunt {
namespace {

struct Reading {
  std::vector<std::string> rows;  // bytes
  std::vector<std::string> keys;  // of field `key`; "<null>", "<missing>", ...
  std::vector<std::uint64_t> lines;
  std::string error;
  std::uint64_t error_line = 0;

  bool operator==(const Reading&) const = default;
};

std::string key_text(const CopyRowReader& reader, const CopyRow& row) {
  const CopyField field = reader.key_field(row);
  std::string scratch;
  switch (field.state) {
    case CopyField::State::kValue:
      return std::string(decode_copy_field(reader.options(), field, scratch));
    case CopyField::State::kNull:
      return "<null>";
    case CopyField::State::kDefault:
      return "<default>";
    case CopyField::State::kMissing:
      return "<missing>";
    case CopyField::State::kUnterminated:
      return "<unterminated>";
  }
  return "?";
}

// Reads `stream` cut before the offsets in `cuts`; each chunk is a block of its own.
Reading read_all(const CopyOptions& options, std::string_view stream,
                 const std::vector<std::size_t>& cuts, std::size_t columns = 3, std::size_t key = 0,
                 std::size_t max_row = kMaxCopyRow) {
  CopyRowReader reader(options, columns, key, max_row);
  Reading out;
  CopyRow row;
  const auto drain = [&] {
    for (;;) {
      const CopyRead read = reader.next(row);
      if (read == CopyRead::kError) {
        out.error = reader.error().message;
        out.error_line = reader.line_number();
      }
      if (read != CopyRead::kRow) return read;
      out.rows.emplace_back(row.bytes);
      out.lines.push_back(reader.line_number());
      out.keys.push_back(row.kind == CopyRow::Kind::kData ? key_text(reader, row) : "<other>");
    }
  };
  std::size_t from = 0;
  for (std::size_t i = 0; i <= cuts.size(); ++i) {
    const std::size_t to = i == cuts.size() ? stream.size() : cuts[i];
    const std::vector<char> chunk(stream.begin() + static_cast<std::ptrdiff_t>(from),
                                  stream.begin() + static_cast<std::ptrdiff_t>(to));
    reader.push({chunk.data(), chunk.size()});
    if (drain() == CopyRead::kError) return out;
    from = to;
  }
  reader.finish();
  const CopyRead last = drain();
  EXPECT_NE(last, CopyRead::kNeedMore);
  return out;
}

Reading read_whole(const CopyOptions& options, std::string_view stream, std::size_t key = 0) {
  return read_all(options, stream, {}, 3, key);
}

CopyOptions text() { return {}; }
CopyOptions csv() {
  CopyOptions out;
  out.format = CopyFormat::kCsv;
  out.delimiter = ',';
  out.null_text = "";
  return out;
}
CopyOptions binary() {
  CopyOptions out;
  out.format = CopyFormat::kBinary;
  return out;
}

using Strings = std::vector<std::string>;

TEST(CopyRows, TextRowsEndAtTheirLineEnd) {
  EXPECT_EQ(read_whole(text(), "1\ta\n2\tb\n").rows, (Strings{"1\ta\n", "2\tb\n"}));
  EXPECT_EQ(read_whole(text(), "1\r\n2\r\n").rows, (Strings{"1\r\n", "2\r\n"}));
  EXPECT_EQ(read_whole(text(), "1\r2\r").rows, (Strings{"1\r", "2\r"}));
  EXPECT_EQ(read_whole(text(), "1\n2").rows, (Strings{"1\n", "2"}));
  EXPECT_EQ(read_whole(text(), "1\n\n2\n").rows, (Strings{"1\n", "\n", "2\n"}));
  EXPECT_TRUE(read_whole(text(), "").rows.empty());
}

TEST(CopyRows, LineEndsMayNotChange) {
  EXPECT_EQ(read_whole(text(), "1\n2\r\n").error, "literal carriage return found in data");
  EXPECT_EQ(read_whole(text(), "1\r\n2\n").error, "literal newline found in data");
  EXPECT_EQ(read_whole(text(), "1\r\n2\r3").error, "literal carriage return found in data");
  EXPECT_EQ(read_whole(text(), "1\r2\n").error, "literal newline found in data");
  EXPECT_EQ(read_whole(text(), "1\n2\n3\r").error_line, 3u);
  EXPECT_EQ(read_whole(csv(), "1\n2\r\n").error, "unquoted carriage return found in data");
  EXPECT_EQ(read_whole(csv(), "1\r\n2\n").error, "unquoted newline found in data");
}

TEST(CopyRows, ABackslashMakesDataOfALineEnd) {
  const Reading read = read_whole(text(), "a\\\nb\tx\nc\n");
  EXPECT_EQ(read.rows, (Strings{"a\\\nb\tx\n", "c\n"}));
  EXPECT_EQ(read.keys, (Strings{"a\nb", "c"}));
  EXPECT_EQ(read_whole(text(), "a\\\\\nb\n").rows, (Strings{"a\\\\\n", "b\n"}));
  EXPECT_EQ(read_whole(text(), "a\\").keys, (Strings{"a"}));
}

TEST(CopyRows, TextEscapes) {
  EXPECT_EQ(read_whole(text(), "\\b\\f\\n\\r\\t\\v\\\\\\q\n").keys, (Strings{"\b\f\n\r\t\v\\q"}));
  EXPECT_EQ(read_whole(text(), "\\101\\x41\\x4g\\xg\\1018\\7\n").keys, (Strings{"AA\4gxgA8\7"}));
  EXPECT_EQ(read_whole(text(), "a\\\tb\tc\n").keys, (Strings{"a\tb"}));
  EXPECT_EQ(read_whole(text(), "\\N\n\\\\N\n\\NN\n").keys, (Strings{"<null>", "\\N", "NN"}));
  EXPECT_EQ(read_whole(text(), "a\\\tb\tc\td\n", 1).keys, (Strings{"c"}));
  EXPECT_EQ(read_whole(text(), "a\tb\n", 2).keys, (Strings{"<missing>"}));
  EXPECT_EQ(read_whole(text(), "a\tb\t\n", 2).keys, (Strings{""}));
}

TEST(CopyRows, TheEndMarkerEndsTheStream) {
  EXPECT_EQ(read_whole(text(), "1\n\\.\nrubbish\r\n\n").rows, (Strings{"1\n"}));
  EXPECT_EQ(read_whole(text(), "1\nab\\.\n2\n").rows, (Strings{"1\n", "ab"}));
  EXPECT_EQ(read_whole(text(), "1\n\\.").error, "end-of-copy marker corrupt");
  EXPECT_EQ(read_whole(text(), "1\n\\.x\n").error, "end-of-copy marker corrupt");
  EXPECT_EQ(read_whole(text(), "1\n\\.\r\n").error,
            "end-of-copy marker does not match previous newline style");
  EXPECT_EQ(read_whole(text(), "1\r\n\\.\n").error,
            "end-of-copy marker does not match previous newline style");
  EXPECT_EQ(read_whole(text(), "1\n\\\\.\n").rows, (Strings{"1\n", "\\\\.\n"}));
  EXPECT_EQ(read_whole(csv(), "1\n\\.\n2\n").rows, (Strings{"1\n"}));
  EXPECT_EQ(read_whole(csv(), "1\n\\.x\n\\.").rows, (Strings{"1\n", "\\.x\n", "\\."}));
  EXPECT_EQ(read_whole(csv(), "1\na\\.\n2\n").rows, (Strings{"1\n", "a\\.\n", "2\n"}));
  CopyOptions strict = csv();
  strict.strict_end_marker = true;
  EXPECT_EQ(read_whole(strict, "1\n\\.\n2\n").rows, (Strings{"1\n", "\\.\n", "2\n"}));
  strict = text();
  strict.strict_end_marker = true;
  EXPECT_EQ(read_whole(strict, "ab\\.\n").error, "end-of-copy marker is not alone on its line");
}

TEST(CopyRows, CsvQuotesKeepLineEndsAndDelimiters) {
  const Reading read = read_whole(csv(), "\"a\n,\"\"b\"\"\",x\nc,\"\r\n\"\nd\n");
  EXPECT_EQ(read.rows, (Strings{"\"a\n,\"\"b\"\"\",x\n", "c,\"\r\n\"\n", "d\n"}));
  EXPECT_EQ(read.keys, (Strings{"a\n,\"b\"", "c", "d"}));
  // The line end in use is not known at the first row's newline, so that is not counted.
  EXPECT_EQ(read.lines, (std::vector<std::uint64_t>{1, 3, 4}));
  EXPECT_EQ(read_whole(csv(), "a\"b,\"c,d\n").keys, (Strings{"ab,c"}));
  EXPECT_EQ(read_whole(csv(), ",\"\"\n\"\",\n").keys, (Strings{"<null>", ""}));
  EXPECT_EQ(read_whole(csv(), "\"open\n").keys, (Strings{"<unterminated>"}));
  EXPECT_EQ(read_whole(csv(), "\n").keys, (Strings{"<null>"}));
}

TEST(CopyRows, CsvWithAnEscapeOfItsOwn) {
  CopyOptions options = csv();
  options.escape = '\\';
  EXPECT_EQ(read_whole(options, "\"a\\\"\n\\\\\",x\nb\n").keys, (Strings{"a\"\n\\", "b"}));
  EXPECT_EQ(read_whole(options, "\"a\\b\"\n").keys, (Strings{"a\\b"}));
  EXPECT_EQ(read_whole(options, "a\\\"b\n\"\n").rows, (Strings{"a\\\"b\n\"\n"}));
}

TEST(CopyRows, DefaultStringIsToldFromNull) {
  CopyOptions options = text();
  options.default_text = "\\D";
  EXPECT_EQ(read_whole(options, "\\D\n\\\\D\n").keys, (Strings{"<default>", "\\D"}));
}

TEST(CopyRows, TheHeaderLineIsTold) {
  CopyOptions options = csv();
  options.header = true;
  EXPECT_EQ(read_whole(options, "\"id\n\",b\n1,2\n").keys, (Strings{"<other>", "1"}));
}

std::string binary_stream(const std::vector<std::vector<std::optional<std::string>>>& rows,
                          bool trailer = true) {
  std::string out("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
  char bytes[4];
  for (const auto& row : rows) {
    store_be16(bytes, static_cast<std::uint16_t>(row.size()));
    out.append(bytes, 2);
    for (const auto& field : row) {
      store_be32(bytes, field ? static_cast<std::uint32_t>(field->size()) : 0xffffffffu);
      out.append(bytes, 4);
      if (field) out += *field;
    }
  }
  if (trailer) out += "\377\377";
  return out;
}

TEST(CopyRows, BinaryRows) {
  const std::string stream = binary_stream({{"k1", "\n", ""}, {std::nullopt, "a", "b"}});
  const Reading read = read_whole(binary(), stream);
  EXPECT_EQ(read.keys, (Strings{"<other>", "k1", "<null>", "<other>"}));
  EXPECT_EQ(read.rows[0].size(), 19u);
  EXPECT_EQ(read.lines, (std::vector<std::uint64_t>{0, 1, 2, 2}));
  EXPECT_EQ(read_whole(binary(), binary_stream({{"a", "b", "c"}}, false)).rows.size(), 2u);
  EXPECT_EQ(read_whole(binary(), stream, 1).keys[1], "\n");
}

TEST(CopyRows, BinaryErrors) {
  const std::string good = binary_stream({{"a", "b", "c"}});
  const auto error = [](std::string_view stream) { return read_whole(binary(), stream).error; };
  EXPECT_EQ(error(""), "COPY file signature not recognized");
  EXPECT_EQ(error("PGCOPX\n\377\r\n rubbish"), "COPY file signature not recognized");
  EXPECT_EQ(error(good.substr(0, 13)), "invalid COPY file header (missing flags)");
  EXPECT_EQ(error(good.substr(0, 17)), "invalid COPY file header (missing length)");
  std::string flags = good;
  flags[12] = 1;
  EXPECT_EQ(error(flags), "invalid COPY file header (WITH OIDS)");
  flags[12] = 2;
  EXPECT_EQ(error(flags), "unrecognized critical flags in COPY file header");
  std::string extended = good;
  extended[18] = 100;
  EXPECT_EQ(error(extended), "invalid COPY file header (wrong length)");
  EXPECT_EQ(error(good + "x"), "received copy data after EOF marker");
  EXPECT_EQ(error(good.substr(0, 25)), "unexpected EOF in COPY data");
  EXPECT_EQ(error(binary_stream({{"a", "b"}})), "row field count is 2, expected 3");
  std::string size = good;
  size[21] = '\x80';
  EXPECT_EQ(error(size), "invalid field size");
}

TEST(CopyRows, ARowTooLongIsAnErrorBeforeItIsKept) {
  const std::string row(300, 'x');
  const auto read = read_all(text(), row + row + "\n", {100, 200, 300, 400}, 3, 0, 250);
  EXPECT_EQ(read.error, "out of memory");
  EXPECT_EQ(
      read_all(text(), row.substr(0, 200) + "\n" + row.substr(0, 200) + "\n", {100, 250}, 3, 0, 250)
          .rows.size(),
      2u);
}

TEST(CopyRows, ARowWithinAChunkIsNotCopied) {
  CopyRowReader reader(text(), 1, 0);
  const std::string chunk = "1\n2\n3";
  reader.push(chunk);
  CopyRow row;
  ASSERT_EQ(reader.next(row), CopyRead::kRow);
  EXPECT_EQ(row.bytes.data(), chunk.data());
  ASSERT_EQ(reader.next(row), CopyRead::kRow);
  EXPECT_EQ(row.bytes.data(), chunk.data() + 2);
  EXPECT_EQ(reader.next(row), CopyRead::kNeedMore);
}

// Any division into chunks gives the same rows, keys, lines and errors.
TEST(CopyRows, DivisionDoesNotMatter) {
  std::mt19937_64 random(42);
  const auto pick = [&random](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const std::vector<std::string> pieces = {
      "a",      "12",   "\\",   "\\\\", "\\.", "\\N",
      "\"",     "\"\"", "'",    ",",    "\t",  "\n",
      "\n",     "\r",   "\r\n", "\\x4", "\\1", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
      "\n\\.\n"};
  for (int round = 0; round < 20000; ++round) {
    CopyOptions options = pick(2) == 0 ? text() : csv();
    options.header = pick(4) == 0;
    options.strict_end_marker = pick(4) == 0;
    if (pick(3) == 0) options.escape = '\\';
    if (pick(3) == 0) options.quote = '\'';
    std::string stream;
    const bool one_line_end = pick(2) == 0;
    for (std::size_t n = pick(60); n > 0; --n) {
      const std::string& piece = pieces[pick(pieces.size())];
      if (one_line_end && piece.find('\r') != std::string::npos) continue;
      stream += piece;
    }
    if (pick(10) == 0) stream.insert(pick(stream.size() + 1), std::string(pick(5000), 'y'));
    if (pick(5) == 0) {
      options = binary();
      stream = binary_stream({{"ab", std::nullopt, stream.substr(0, 9)}, {"", stream, "x"}},
                             pick(2) == 0);
      if (pick(2) == 0) stream[pick(stream.size())] = static_cast<char>(random());
      if (pick(3) == 0) stream.resize(pick(stream.size()));
    }
    const std::size_t key = pick(3);
    const Reading whole = read_all(options, stream, {}, 3, key);
    std::vector<std::size_t> cuts;
    if (pick(3) == 0) {
      for (std::size_t i = 0; i < stream.size(); ++i) cuts.push_back(i);
    } else {
      for (std::size_t n = pick(6); n > 0; --n) cuts.push_back(pick(stream.size() + 1));
      std::sort(cuts.begin(), cuts.end());
    }
    const Reading parts = read_all(options, stream, cuts, 3, key);
    ASSERT_EQ(whole, parts) << "round " << round << ": " << ::testing::PrintToString(stream);
    if (whole.error.empty()) {
      std::string together;
      for (const std::string& row : whole.rows) together += row;
      ASSERT_TRUE(stream.starts_with(together));
    }
  }
}

}  // namespace
}  // namespace pgshunt
