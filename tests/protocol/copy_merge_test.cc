#include "protocol/copy_merge.h"

#include <gtest/gtest.h>

#include <string>

namespace pgshunt {
namespace {

std::string take(CopyMerger& merger, std::size_t server, std::string_view body) {
  const auto out = merger.take(server, body);
  return out ? std::string(*out) : "error: " + out.error().message;
}

TEST(CopyMerge, RowsInTheOrderTheyCome) {
  CopyMerger merger(CopyFormat::kText, false, 2);
  EXPECT_EQ(take(merger, 1, "1\n"), "1\n");
  EXPECT_EQ(take(merger, 0, "2\n"), "2\n");
  EXPECT_EQ(take(merger, 1, "3\n"), "3\n");
  EXPECT_EQ(merger.finish(), "");
}

TEST(CopyMerge, OneHeaderLine) {
  CopyMerger merger(CopyFormat::kCsv, true, 3);
  EXPECT_EQ(take(merger, 2, "id,name\n"), "id,name\n");
  EXPECT_EQ(take(merger, 2, "1,a\n"), "1,a\n");
  EXPECT_EQ(take(merger, 0, "id,name\n"), "");
  EXPECT_EQ(take(merger, 0, "id,name\n"), "id,name\n");  // a row like any other
  EXPECT_EQ(take(merger, 1, "id,name\n"), "");
}

TEST(CopyMerge, OneBinaryHeaderAndTrailer) {
  const std::string header("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
  const std::string row("\0\1\0\0\0\1x", 7);
  const std::string trailer = "\377\377";
  CopyMerger merger(CopyFormat::kBinary, false, 3);
  EXPECT_EQ(take(merger, 1, header + trailer), header);
  EXPECT_EQ(take(merger, 0, header + row), row);
  EXPECT_EQ(take(merger, 0, row), row);
  EXPECT_EQ(take(merger, 0, trailer), "");
  EXPECT_EQ(take(merger, 2, header + trailer), "");
  EXPECT_EQ(merger.finish(), trailer);
  CopyMerger broken(CopyFormat::kBinary, false, 1);
  EXPECT_EQ(take(broken, 0, row), "error: a server's COPY data has no header");
}

TEST(CopyMerge, RowCounts) {
  EXPECT_EQ(copy_row_count("COPY 17"), 17u);
  EXPECT_EQ(copy_row_count("COPY"), std::nullopt);
  EXPECT_EQ(copy_row_count("COPY x"), std::nullopt);
  EXPECT_EQ(copy_row_count("SELECT 1"), std::nullopt);
}

}  // namespace
}  // namespace pgshunt
