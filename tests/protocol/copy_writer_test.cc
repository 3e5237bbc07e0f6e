#include "protocol/copy_writer.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "protocol/frame.h"
#include "protocol/frame_writer.h"

namespace pgshunt {
namespace {

using Row = std::vector<std::optional<std::string>>;

std::string data_row(const Row& row) {
  std::string out;
  {
    FrameWriter writer(out, 'D');
    writer.be16(static_cast<std::uint16_t>(row.size()));
    for (const auto& value : row) writer.value({!value, value ? *value : std::string_view()});
  }
  return out.substr(kFrameHeaderSize);
}

// The bodies of all CopyData messages.
std::string copied(CopyWriter writer, const std::vector<Row>& rows) {
  std::string messages;
  writer.start(messages);
  for (const Row& row : rows) EXPECT_TRUE(writer.row(data_row(row), messages));
  writer.finish(messages);
  std::string out;
  FrameHeader header;
  for (std::size_t at = 0; at < messages.size(); at += header.frame_size()) {
    read_frame_header(std::string_view(messages).substr(at), kMaxBodySize, header);
    if (header.type == 'd') out += messages.substr(at + kFrameHeaderSize, header.body_size);
  }
  return out;
}

TEST(CopyWriter, Text) {
  CopyOptions options;
  EXPECT_EQ(copied({options, {"a", "b"}}, {{"x", std::nullopt}, {"", "\\N"}}), "x\t\\N\n\t\\\\N\n");
  EXPECT_EQ(copied({options, {"a"}}, {{"\b\f\n\r\t\v\\\x01"}}), "\\b\\f\\n\\r\\t\\v\\\\\x01\n");
  options.delimiter = '|';
  options.header = true;
  options.null_text = "nil";
  EXPECT_EQ(copied({options, {"a|b", "c"}}, {{"1|2", std::nullopt}, {"nil", "\t"}}),
            "a\\|b|c\n1\\|2|nil\nnil|\\t\n");
}

TEST(CopyWriter, Csv) {
  CopyOptions options;
  options.format = CopyFormat::kCsv;
  options.delimiter = ',';
  options.null_text = "";
  options.header = true;
  EXPECT_EQ(copied({options, {"a", "b,c"}}, {{"", std::nullopt}, {"x\"y", "1\n2"}, {" z ", "\\."}}),
            "a,\"b,c\"\n\"\",\n\"x\"\"y\",\"1\n2\"\n z ,\\.\n");
  options.header = false;
  EXPECT_EQ(copied({options, {"a"}}, {{"\\."}, {"b"}}), "\"\\.\"\nb\n");
  EXPECT_EQ(copied({options, {"a", "b"}, {false, true}}, {{"1", "2"}, {"1", std::nullopt}}),
            "1,\"2\"\n1,\n");
  options.escape = '\\';
  EXPECT_EQ(copied({options, {"a"}}, {{"q\"e\\"}, {"e\\"}}), "\"q\\\"e\\\\\"\ne\\\n");
}

TEST(CopyWriter, Binary) {
  CopyOptions options;
  options.format = CopyFormat::kBinary;
  const std::string signature("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", 19);
  EXPECT_EQ(copied({options, {"a", "b"}}, {{"x", std::nullopt}}),
            signature + std::string("\0\2\0\0\0\1x\xff\xff\xff\xff", 11) + "\xff\xff");
  // The signature has no message of its own.
  std::string messages;
  CopyWriter empty(options, {"a"});
  empty.start(messages);
  const std::size_t response = messages.size();
  empty.finish(messages);
  EXPECT_EQ(messages.substr(response),
            std::string("d\0\0\0\x19", 5) + signature + "\xff\xff" + std::string("c\0\0\0\4", 5));
}

TEST(CopyWriter, HiddenColumnsAreLeftOut) {
  EXPECT_EQ(copied({CopyOptions{}, {"a"}}, {{"x", "hidden"}}), "x\n");
}

TEST(CopyWriter, MalformedRows) {
  CopyWriter writer(CopyOptions{}, {"a", "b"});
  for (const std::string& body :
       {std::string(), std::string("\0\1\0\0\0\0", 6), std::string("\0\2\0\0\0\5x", 7),
        data_row({"x", "y"}).substr(0, 8)}) {
    std::string out;
    EXPECT_FALSE(writer.row(body, out));
  }
}

}  // namespace
}  // namespace pgshunt
