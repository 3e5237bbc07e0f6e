#include "protocol/frontend.h"

#include <vector>

#include "tests/protocol/wire_support.h"

namespace pgshunt {
namespace {

using test::body_of;
using namespace std::string_view_literals;

constexpr auto kReady = FrontendPhase::kReady;
constexpr auto kAuthentication = FrontendPhase::kAuthentication;

// One of each message that has a body.
std::vector<std::string> samples() {
  const std::uint32_t types[] = {23, 0, 25};
  const WireValue values[] = {{false, "7"}, {true, ""}, {false, ""}};
  const std::uint16_t formats[] = {1};
  std::vector<std::string> out(10);
  append_query(out[0], "select 1");
  append_parse(out[1], "stmt", "select $1", types);
  append_bind_text(out[2], "portal", "stmt", values);
  append_describe(out[3], TargetKind::kStatement, "stmt");
  append_close(out[4], TargetKind::kPortal, "portal");
  append_execute(out[5], "portal", 10);
  append_copy_fail(out[6], "why");
  append_password(out[7], "secret");
  append_sasl_initial_response(out[8], "SCRAM-SHA-256", "n,,n=,r=x");
  append_function_call(out[9], 1234, formats, values, 0);
  return out;
}

TEST(FrontendHeader, TypesAreLimitedByPhase) {
  for (int type = 0; type < 256; ++type) {
    const char c = static_cast<char>(type);
    const bool ready = "QPBFdDECfSHXc"sv.find(c) != std::string_view::npos;
    const bool authentication = "pX"sv.find(c) != std::string_view::npos;
    EXPECT_EQ(max_frontend_body(c, kReady) != kTypeNotAllowed, ready) << type;
    EXPECT_EQ(max_frontend_body(c, kAuthentication) != kTypeNotAllowed, authentication) << type;
  }
}

TEST(FrontendHeader, UnknownTypeIsRefusedFromItsFirstByte) {
  FrameHeader header;
  EXPECT_EQ(read_frontend_header("", kReady, header), FrameStatus::kNeedMore);
  EXPECT_EQ(read_frontend_header("z", kReady, header), FrameStatus::kMalformed);
  EXPECT_EQ(frontend_frame_error("z", kReady).message, "invalid frontend message type 122");
  EXPECT_EQ(read_frontend_header("Q", kAuthentication, header), FrameStatus::kMalformed);
  EXPECT_EQ(frontend_frame_error("Q", kAuthentication).message,
            "expected password response, got message type 81");
}

TEST(FrontendHeader, LengthsAreLimitedByType) {
  FrameHeader header;
  auto status = [&header](char type, std::uint32_t length, FrontendPhase phase = kReady) {
    std::string bytes(1, type);
    bytes.resize(5);
    store_be32(bytes.data() + 1, length);
    return read_frontend_header(bytes, phase, header);
  };
  EXPECT_EQ(status('Q', 4 + kMaxBodySize), FrameStatus::kComplete);
  EXPECT_EQ(header.body_size, kMaxBodySize);
  EXPECT_EQ(status('Q', 5 + kMaxBodySize), FrameStatus::kMalformed);
  EXPECT_EQ(status('D', 4 + kSmallBody), FrameStatus::kComplete);
  EXPECT_EQ(status('D', 5 + kSmallBody), FrameStatus::kMalformed);
  EXPECT_EQ(status('p', 4 + kMaxAuthenticationBody, kAuthentication), FrameStatus::kComplete);
  EXPECT_EQ(status('p', 5 + kMaxAuthenticationBody, kAuthentication), FrameStatus::kMalformed);
  for (const char empty : {'S', 'H', 'X', 'c'}) {
    EXPECT_EQ(status(empty, 4), FrameStatus::kComplete);
    EXPECT_EQ(status(empty, 5), FrameStatus::kMalformed);
    EXPECT_EQ(status(empty, 3), FrameStatus::kMalformed);
  }
  EXPECT_EQ(frontend_frame_error("S\0\0\0\x05"sv, kReady).message, "invalid message length");
}

TEST(Frontend, EmptyMessagesAreHeadersOnly) {
  std::string out;
  append_sync(out);
  append_flush(out);
  append_terminate(out);
  append_copy_done(out);
  EXPECT_EQ(out, "S\0\0\0\4H\0\0\0\4X\0\0\0\4c\0\0\0\4"sv);
}

TEST(Frontend, ParseRoundTrip) {
  const auto frame = samples()[1];
  auto parse = decode_parse(body_of(frame, 'P'));
  ASSERT_TRUE(parse);
  EXPECT_EQ(parse->statement, "stmt");
  EXPECT_EQ(parse->sql, "select $1");
  ASSERT_EQ(parse->types.size(), 3u);
  EXPECT_EQ(parse->types.of(0), 23u);
  EXPECT_EQ(parse->types.of(2), 25u);
  EXPECT_EQ(parse->types.of(3), 0u);
  std::string renamed;
  append_parse_renamed(renamed, *parse, "other");
  std::string expected;
  const std::uint32_t types[] = {23, 0, 25};
  append_parse(expected, "other", "select $1", types);
  EXPECT_EQ(renamed, expected);
}

TEST(Frontend, BindRoundTrip) {
  const auto frame = samples()[2];
  auto bind = decode_bind(body_of(frame, 'B'));
  ASSERT_TRUE(bind);
  EXPECT_EQ(bind->portal, "portal");
  EXPECT_EQ(bind->statement, "stmt");
  ASSERT_EQ(bind->values.size(), 3u);
  auto value = bind->values.begin();
  EXPECT_EQ((*value).bytes, "7");
  ++value;
  EXPECT_TRUE((*value).is_null);
  ++value;
  EXPECT_FALSE((*value).is_null);
  EXPECT_EQ((*value).bytes, "");
  EXPECT_EQ(++value, bind->values.end());
  EXPECT_EQ(bind->values.at(0).bytes, "7");
  EXPECT_TRUE(bind->values.at(3).is_null);
  std::string renamed;
  append_bind_renamed(renamed, *bind, "a longer name");
  auto again = decode_bind(body_of(renamed, 'B'));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->statement, "a longer name");
  EXPECT_EQ(again->portal, "portal");
  EXPECT_EQ(again->after_names, bind->after_names);
}

TEST(Frontend, FormatsMeanNoneOneOrEach) {
  const auto bind_with = [](std::string_view formats, std::string_view results) {
    std::string body(2, 0);
    body += formats;
    body += "\0\2\xff\xff\xff\xff\0\0\0\1x"sv;
    body += results;
    return body;
  };
  std::string body = bind_with("\0\0"sv, "\0\1\0\1"sv);
  auto none = decode_bind(body);
  ASSERT_TRUE(none);
  EXPECT_EQ(none->formats.of(0), kFormatText);
  EXPECT_EQ(none->formats.of(9), kFormatText);
  EXPECT_EQ(none->result_formats.of(5), kFormatBinary);
  std::string one_body = bind_with("\0\1\0\1"sv, "\0\0"sv);
  auto one = decode_bind(one_body);
  ASSERT_TRUE(one);
  EXPECT_EQ(one->formats.of(1), kFormatBinary);
  std::string each_body = bind_with("\0\2\0\0\0\1"sv, "\0\2\0\1\0\0"sv);
  auto each = decode_bind(each_body);
  ASSERT_TRUE(each);
  EXPECT_EQ(each->formats.of(0), kFormatText);
  EXPECT_EQ(each->formats.of(1), kFormatBinary);
  EXPECT_EQ(each->result_formats.of(0), kFormatBinary);
  EXPECT_EQ(each->result_formats.of(1), kFormatText);
}

TEST(Frontend, FormatCountMustFitTheValues) {
  auto bind = decode_bind("\0\0\0\3\0\0\0\0\0\0\0\1\xff\xff\xff\xff\0\0"sv);
  ASSERT_FALSE(bind);
  EXPECT_EQ(bind.error().message, "bind message has 3 parameter formats but 1 parameters");
}

TEST(Frontend, ValueLengthsBelowNullAreMalformed) {
  EXPECT_TRUE(decode_bind("\0\0\0\0\0\1\xff\xff\xff\xff\0\0"sv));
  EXPECT_FALSE(decode_bind("\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"sv));
  EXPECT_FALSE(decode_bind("\0\0\0\0\0\1\x7f\xff\xff\xff\0\0"sv));
}

TEST(Frontend, TargetsAreStatementsOrPortals) {
  EXPECT_EQ(decode_describe("Sname\0"sv)->kind, TargetKind::kStatement);
  EXPECT_EQ(decode_close("P\0"sv)->kind, TargetKind::kPortal);
  EXPECT_EQ(decode_close("Pp1\0"sv)->name, "p1");
  EXPECT_FALSE(decode_describe("Xname\0"sv));
  EXPECT_FALSE(decode_describe("Sname"sv));
  EXPECT_FALSE(decode_close("Sname\0\0"sv));
  EXPECT_FALSE(decode_close(""sv));
}

TEST(Frontend, SaslResponseMayBeAbsent) {
  auto absent = decode_sasl_initial_response("SCRAM-SHA-256\0\xff\xff\xff\xff"sv);
  ASSERT_TRUE(absent);
  EXPECT_FALSE(absent->has_response);
  const auto frame = samples()[8];
  auto present = decode_sasl_initial_response(body_of(frame, 'p'));
  ASSERT_TRUE(present);
  EXPECT_EQ(present->mechanism, "SCRAM-SHA-256");
  EXPECT_TRUE(present->has_response);
  EXPECT_EQ(present->response, "n,,n=,r=x");
}

TEST(Frontend, OtherMessagesRoundTrip) {
  const auto all = samples();
  EXPECT_EQ(*decode_query(body_of(all[0], 'Q')), "select 1");
  EXPECT_EQ(decode_execute(body_of(all[5], 'E'))->max_rows, 10u);
  EXPECT_EQ(decode_execute(body_of(all[5], 'E'))->portal, "portal");
  EXPECT_EQ(*decode_copy_fail(body_of(all[6], 'f')), "why");
  EXPECT_EQ(*decode_password(body_of(all[7], 'p')), "secret");
  auto call = decode_function_call(body_of(all[9], 'F'));
  ASSERT_TRUE(call);
  EXPECT_EQ(call->function, 1234u);
  EXPECT_EQ(call->arguments.size(), 3u);
  EXPECT_EQ(call->formats.of(2), kFormatBinary);
}

TEST(Frontend, TrailingBytesAreMalformed) {
  EXPECT_FALSE(decode_query("select\0x"sv));
  EXPECT_FALSE(decode_query("select"sv));
  EXPECT_FALSE(decode_parse("\0\0\0\0x"sv));
  EXPECT_FALSE(decode_execute("\0\0\0\0\0\0"sv));
  auto error = decode_query("");
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().code, sqlstate::kProtocolViolation);
  EXPECT_EQ(error.error().message, "malformed Query message");
}

TEST(Frontend, EveryStrictPrefixOfABodyIsMalformed) {
  const auto all = samples();
  const auto prefix_fails = [](std::string_view body, auto decode) {
    for (std::size_t size = 0; size < body.size(); ++size) {
      EXPECT_FALSE(decode(test::ExactCopy(body.substr(0, size)).view())) << size;
    }
    EXPECT_TRUE(decode(body));
  };
  prefix_fails(body_of(all[0], 'Q'), decode_query);
  prefix_fails(body_of(all[1], 'P'), decode_parse);
  prefix_fails(body_of(all[2], 'B'), decode_bind);
  prefix_fails(body_of(all[3], 'D'), decode_describe);
  prefix_fails(body_of(all[5], 'E'), decode_execute);
  prefix_fails(body_of(all[8], 'p'), decode_sasl_initial_response);
  prefix_fails(body_of(all[9], 'F'), decode_function_call);
}

TEST(Frontend, SurvivesDamage) {
  for (const std::string& frame : samples()) {
    test::survive_damage(std::string_view(frame).substr(kFrameHeaderSize),
                         [](std::string_view body) { test::decode_frontend_body(body); });
  }
  std::mt19937 random(2);
  for (int i = 0; i < 50000; ++i) {
    test::decode_frontend_body(test::ExactCopy(test::random_bytes(random, 40)).view());
  }
}

// Bind messages of any shape come through encode, decode and rename unharmed.
TEST(Frontend, RandomBindsRoundTrip) {
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    std::vector<std::string> storage(random() % 20);
    std::vector<WireValue> values;
    for (std::string& text : storage) {
      text = test::random_bytes(random, 300);
      values.push_back({random() % 4 == 0, text});
    }
    std::string frame;
    append_bind_text(frame, "p", "s", values);
    auto bind = decode_bind(body_of(frame, 'B'));
    ASSERT_TRUE(bind);
    std::size_t at = 0;
    for (const WireValue value : bind->values) {
      ASSERT_EQ(value.is_null, values[at].is_null);
      if (!value.is_null) {
        ASSERT_EQ(value.bytes, values[at].bytes);
      }
      ++at;
    }
    ASSERT_EQ(at, values.size());
  }
}

}  // namespace
}  // namespace pgshunt
