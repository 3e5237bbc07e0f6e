#include <gtest/gtest.h>

#include "protocol/backend.h"
#include "protocol/frame.h"
#include "proxy/admin/result_set.h"

namespace pgshunt {
namespace {

constexpr AdminColumn kColumns[] = {
    {"name", ColumnType::kText}, {"small", ColumnType::kInt4}, {"large", ColumnType::kInt8}};

ResultSet sample() {
  ResultSet rows(kColumns);
  rows.add("a").add(-2).add(std::uint64_t{1} << 40);
  rows.add("").add_null().add_optional(std::optional<std::uint32_t>(7));
  rows.add("c").add_optional(std::optional<std::uint32_t>()).add(0);
  return rows;
}

// Bodies of the messages in `bytes`, all of type `type`.
std::vector<std::string_view> bodies(std::string_view bytes, char type) {
  std::vector<std::string_view> out;
  while (!bytes.empty()) {
    FrameHeader header;
    EXPECT_EQ(read_frame_header(bytes, kMaxBodySize, header), FrameStatus::kComplete);
    EXPECT_EQ(header.type, type);
    out.push_back(bytes.substr(kFrameHeaderSize, header.body_size));
    bytes.remove_prefix(header.frame_size());
  }
  return out;
}

TEST(ResultSet, RowsComeOutAsTextUnlessAskedOtherwise) {
  const ResultSet rows = sample();
  ASSERT_EQ(rows.rows(), 3u);
  std::string out;
  rows.append_rows(out, 0, 3, {});
  const auto messages = bodies(out, backend::kDataRow);
  ASSERT_EQ(messages.size(), 3u);
  const auto first = decode_data_row(messages[0]);
  ASSERT_TRUE(first.ok());
  auto value = first->begin();
  EXPECT_EQ((*value).bytes, "a");
  EXPECT_EQ((*++value).bytes, "-2");
  EXPECT_EQ((*++value).bytes, "1099511627776");
  const auto second = decode_data_row(messages[1]);
  value = second->begin();
  EXPECT_FALSE((*value).is_null);
  EXPECT_EQ((*value).bytes, "");
  EXPECT_TRUE((*++value).is_null);
  EXPECT_EQ((*++value).bytes, "7");
}

TEST(ResultSet, BinaryIntegersAreBigEndianInTheirColumnsSize) {
  const std::uint16_t formats[] = {kFormatBinary};
  std::string out;
  sample().append_rows(out, 0, 1, formats);
  const auto row = decode_data_row(bodies(out, backend::kDataRow).at(0));
  ASSERT_TRUE(row.ok());
  auto value = row->begin();
  EXPECT_EQ((*value).bytes, "a");
  EXPECT_EQ((*++value).bytes, std::string_view("\xff\xff\xff\xfe", 4));
  EXPECT_EQ((*++value).bytes, std::string_view("\0\0\1\0\0\0\0\0", 8));
}

TEST(ResultSet, EachColumnCanHaveAFormatOfItsOwn) {
  const std::uint16_t formats[] = {kFormatText, kFormatText, kFormatBinary};
  std::string out;
  sample().append_rows(out, 0, 1, formats);
  const auto row = decode_data_row(bodies(out, backend::kDataRow).at(0));
  auto value = row->begin();
  EXPECT_EQ((*++value).bytes, "-2");
  EXPECT_EQ((*++value).bytes.size(), 8u);

  std::string header;
  append_columns(header, kColumns, formats);
  const auto fields = decode_row_description(bodies(header, backend::kRowDescription).at(0));
  ASSERT_TRUE(fields.ok());
  std::vector<std::uint16_t> told;
  std::vector<std::uint32_t> types;
  for (const FieldDescription& field : *fields) {
    told.push_back(field.format);
    types.push_back(field.type_oid);
  }
  EXPECT_EQ(told, (std::vector<std::uint16_t>{0, 0, 1}));
  EXPECT_EQ(types, (std::vector<std::uint32_t>{25, 23, 20}));
}

TEST(ResultSet, PartsOfTheRowsCanBeSent) {
  std::string out;
  sample().append_rows(out, 1, 2, {});
  const auto messages = bodies(out, backend::kDataRow);
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ((*decode_data_row(messages[1])->begin()).bytes, "c");
}

}  // namespace
}  // namespace pgshunt
