#include "protocol/frame.h"

#include "protocol/byte_reader.h"
#include "protocol/frame_writer.h"
#include "tests/protocol/wire_support.h"

namespace pgshunt {
namespace {

using namespace std::string_view_literals;

TEST(Frame, HeadersAreReadWholeOrNotAtAll) {
  FrameHeader header;
  const std::string_view bytes = "D\0\0\0\x07..."sv;
  for (std::size_t size = 0; size < kFrameHeaderSize; ++size) {
    EXPECT_EQ(read_frame_header(bytes.substr(0, size), 100, header), FrameStatus::kNeedMore);
  }
  ASSERT_EQ(read_frame_header(bytes, 100, header), FrameStatus::kComplete);
  EXPECT_EQ(header.type, 'D');
  EXPECT_EQ(header.body_size, 3u);
  EXPECT_EQ(header.frame_size(), 8u);
  EXPECT_EQ(read_frame_header(bytes, 2, header), FrameStatus::kMalformed);
  EXPECT_EQ(read_frame_header("D\0\0\0\3"sv, 100, header), FrameStatus::kMalformed);
  EXPECT_EQ(read_frame_header("D\xff\xff\xff\xff"sv, kMaxBodySize, header),
            FrameStatus::kMalformed);
}

TEST(ByteReader, ReadsInOrderAndKnowsItsEnd) {
  ByteReader in("\1\0\2\0\0\0\3name\0rest"sv);
  EXPECT_EQ(in.u8(), 1);
  EXPECT_EQ(in.be16(), 2);
  EXPECT_EQ(in.be32(), 3u);
  EXPECT_EQ(in.cstring(), "name");
  EXPECT_FALSE(in.finished());
  EXPECT_EQ(in.rest(), "rest");
  EXPECT_EQ(in.take_rest(), "rest");
  EXPECT_TRUE(in.finished());
}

TEST(ByteReader, FailureIsSticky) {
  ByteReader in("\0\1\2"sv);
  EXPECT_EQ(in.be32(), 0u);
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.u8(), 0) << "though a byte is there";
  EXPECT_EQ(in.bytes(0), "");
  EXPECT_EQ(in.cstring(), "");
  EXPECT_FALSE(in.finished());
  ByteReader unterminated("abc");
  EXPECT_EQ(unterminated.cstring(), "");
  EXPECT_FALSE(unterminated.ok());
}

TEST(FrameWriter, PatchesTheLengthAtTheEnd) {
  std::string out = "before";
  {
    FrameWriter frame(out, 'X');
    frame.u8('a');
    frame.be16(0x0102);
    frame.be32(0x03040506);
    frame.cstring("cut\0here"sv);
    frame.value({false, "v"});
    frame.value({true, "ignored"});
  }
  EXPECT_EQ(out,
            "beforeX\0\0\0\x18"
            "a\1\2\3\4\5\6cut\0\0\0\0\1v\xff\xff\xff\xff"sv);
  std::string untyped;
  { FrameWriter frame(untyped); }
  EXPECT_EQ(untyped, "\0\0\0\4"sv);
}

}  // namespace
}  // namespace pgshunt
