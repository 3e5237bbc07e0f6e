#include "protocol/backend.h"

#include <vector>

#include "tests/protocol/wire_support.h"

namespace pgshunt {
namespace {

using test::body_of;
using namespace std::string_view_literals;

const FieldDescription kFields[] = {
    {"id", 16384, 1, 20, 8, -1, 0}, {"name", 16384, 2, 1043, -1, 24, 1}, {"", 0, 0, 23, 4, -1, 0}};

std::vector<std::string> samples() {
  const std::string_view mechanisms[] = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"};
  const WireValue values[] = {{false, "1"}, {true, ""}, {false, "x"}};
  const std::uint32_t types[] = {20, 25};
  std::vector<std::string> out(12);
  append_authentication_sasl(out[0], mechanisms);
  append_authentication_md5(out[1], "salt");
  append_parameter_status(out[2], "TimeZone", "UTC");
  append_backend_key_data(out[3], 77, "1234");
  append_ready_for_query(out[4], TransactionStatus::kInTransaction);
  append_row_description(out[5], kFields);
  append_data_row(out[6], values);
  append_command_complete(out[7], "INSERT 0 3");
  append_error_response(out[8], Severity::kError, Sqlstate("42P01"), "no table", "detail", "hint");
  append_notification(out[9], 5, "channel", "payload");
  append_copy_response(out[10], 'G', 1, 3);
  append_parameter_description(out[11], types);
  return out;
}

TEST(Backend, AuthenticationRequestsRoundTrip) {
  std::string out;
  append_authentication_ok(out);
  EXPECT_EQ(out, "R\0\0\0\x08\0\0\0\0"sv);
  EXPECT_EQ(decode_authentication(body_of(out, 'R'))->code, AuthenticationCode::kOk);
  out.clear();
  append_authentication_cleartext(out);
  EXPECT_EQ(decode_authentication(body_of(out, 'R'))->code, AuthenticationCode::kCleartextPassword);
  const auto all = samples();
  auto md5 = decode_authentication(body_of(all[1], 'R'));
  ASSERT_TRUE(md5);
  EXPECT_EQ(md5->code, AuthenticationCode::kMd5Password);
  EXPECT_EQ(md5->data, "salt");
  out.clear();
  append_authentication_sasl_continue(out, "r=nonce");
  EXPECT_EQ(decode_authentication(body_of(out, 'R'))->data, "r=nonce");
  out.clear();
  append_authentication_sasl_final(out, "v=proof");
  EXPECT_EQ(decode_authentication(body_of(out, 'R'))->code, AuthenticationCode::kSaslFinal);
}

TEST(Backend, SaslMechanismsAreMatchedWhole) {
  const auto all = samples();
  auto sasl = decode_authentication(body_of(all[0], 'R'));
  ASSERT_TRUE(sasl);
  EXPECT_TRUE(sasl->offers("SCRAM-SHA-256"));
  EXPECT_TRUE(sasl->offers("SCRAM-SHA-256-PLUS"));
  EXPECT_FALSE(sasl->offers("SCRAM-SHA-1"));
  EXPECT_FALSE(sasl->offers("SCRAM"));
  EXPECT_FALSE(sasl->offers(""));
  EXPECT_FALSE(decode_authentication("\0\0\0\x0aSCRAM-SHA-256\0"sv)) << "no final zero";
  EXPECT_FALSE(decode_authentication("\0\0\0\x0a\0x"sv)) << "bytes behind the list";
}

TEST(Backend, OtherAuthenticationIsNamed) {
  auto gss = decode_authentication("\0\0\0\x07"sv);
  ASSERT_TRUE(gss);
  EXPECT_EQ(authentication_name(gss->code), "GSS");
  auto future = decode_authentication("\0\0\0\x63stuff"sv);
  ASSERT_TRUE(future);
  EXPECT_EQ(authentication_name(future->code), "unknown");
  EXPECT_FALSE(decode_authentication("\0\0\0\0x"sv));
  EXPECT_FALSE(decode_authentication("\0\0\0\5sal"sv));
  EXPECT_FALSE(decode_authentication("\0\0\0"sv));
}

TEST(Backend, KeysOfFourTo256BytesAreTaken) {
  for (const std::size_t size : {3u, 4u, 32u, 256u, 257u}) {
    std::string out;
    append_backend_key_data(out, 9, std::string(size, 'k'));
    auto key = decode_backend_key_data(body_of(out, 'K'));
    EXPECT_EQ(key.ok(), size >= 4 && size <= 256) << size;
  }
}

TEST(Backend, ReadyForQueryKnowsThreeStates) {
  EXPECT_EQ(*decode_ready_for_query("I"), TransactionStatus::kIdle);
  EXPECT_EQ(*decode_ready_for_query("T"), TransactionStatus::kInTransaction);
  EXPECT_EQ(*decode_ready_for_query("E"), TransactionStatus::kFailed);
  EXPECT_FALSE(decode_ready_for_query(""));
  EXPECT_FALSE(decode_ready_for_query("X"));
  EXPECT_FALSE(decode_ready_for_query("II"));
}

TEST(Backend, RowDescriptionRoundTrip) {
  const auto all = samples();
  auto row = decode_row_description(body_of(all[5], 'T'));
  ASSERT_TRUE(row);
  ASSERT_EQ(row->size(), 3u);
  std::size_t at = 0;
  for (const FieldDescription field : *row) {
    EXPECT_EQ(field.name, kFields[at].name);
    EXPECT_EQ(field.table_oid, kFields[at].table_oid);
    EXPECT_EQ(field.column, kFields[at].column);
    EXPECT_EQ(field.type_oid, kFields[at].type_oid);
    EXPECT_EQ(field.type_size, kFields[at].type_size);
    EXPECT_EQ(field.type_modifier, kFields[at].type_modifier);
    EXPECT_EQ(field.format, kFields[at].format);
    ++at;
  }
  EXPECT_EQ(at, 3u);
}

TEST(Backend, CuttingKeepsTheFirstColumns) {
  const auto all = samples();
  for (std::uint16_t keep = 0; keep <= 4; ++keep) {
    const std::size_t left = keep < 3 ? keep : 3;
    std::string row;
    ASSERT_TRUE(cut_data_row(body_of(all[6], 'D'), keep, row));
    std::string description;
    ASSERT_TRUE(cut_row_description(body_of(all[5], 'T'), keep, description));
    std::string expected_description;
    append_row_description(expected_description, std::span(kFields).first(left));
    EXPECT_EQ(description, expected_description);
    auto values = decode_data_row(body_of(row, 'D'));
    ASSERT_TRUE(values);
    ASSERT_EQ(values->size(), left);
    if (left > 0) {
      EXPECT_EQ(values->at(0).bytes, "1");
    }
    if (left > 1) {
      EXPECT_TRUE(values->at(1).is_null);
    }
    if (left > 2) {
      EXPECT_EQ(values->at(2).bytes, "x");
    }
  }
  std::string out = "untouched";
  EXPECT_FALSE(cut_data_row("\0\2\0\0\0\1x"sv, 1, out));
  EXPECT_FALSE(cut_row_description("\0\1name"sv, 1, out));
  EXPECT_EQ(out, "untouched");
}

TEST(Backend, CommandTagsAreTakenApart) {
  struct Case {
    std::string_view tag, command;
    std::optional<std::uint64_t> rows;
  };
  for (const Case& c : std::vector<Case>{
           {"SELECT 5", "SELECT", 5},
           {"INSERT 0 3", "INSERT", 3},
           {"INSERT 0 0", "INSERT", 0},
           {"CREATE TABLE", "CREATE TABLE", std::nullopt},
           {"BEGIN", "BEGIN", std::nullopt},
           {"", "", std::nullopt},
           {"7", "7", std::nullopt},
           {"COPY 18446744073709551615", "COPY", UINT64_MAX},
           {"COPY 18446744073709551616", "COPY 18446744073709551616", std::nullopt}}) {
    const CommandTag tag = parse_command_tag(c.tag);
    EXPECT_EQ(tag.command, c.command) << c.tag;
    EXPECT_EQ(tag.rows, c.rows) << c.tag;
  }
}

TEST(Backend, CommandTagsArePutTogether) {
  const auto tag_of = [](std::string_view command, std::optional<std::uint64_t> rows) {
    std::string out;
    append_command_complete(out, command, rows);
    return std::string(*decode_command_complete(body_of(out, 'C')));
  };
  EXPECT_EQ(tag_of("INSERT", 3), "INSERT 0 3");
  EXPECT_EQ(tag_of("UPDATE", 0), "UPDATE 0");
  EXPECT_EQ(tag_of("CREATE TABLE", std::nullopt), "CREATE TABLE");
}

TEST(Backend, ErrorFieldsAreFoundByCode) {
  const auto all = samples();
  auto error = decode_error_response(body_of(all[8], 'E'));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->severity(), "ERROR");
  EXPECT_EQ(error->sqlstate(), Sqlstate("42P01"));
  EXPECT_EQ(error->message(), "no table");
  EXPECT_EQ(error->field(error_field::kDetail), "detail");
  EXPECT_EQ(error->field(error_field::kHint), "hint");
  EXPECT_EQ(error->field(error_field::kWhere), "");
  EXPECT_FALSE(error->fatal());
  const Error own = error->to_error();
  EXPECT_EQ(own.message, "no table");
  EXPECT_EQ(own.hint, "hint");
  std::string copy;
  append_error_response(copy, Severity::kFatal, own);
  EXPECT_TRUE(decode_error_response(body_of(copy, 'E'))->fatal());
  copy.clear();
  append_error_response(copy, Severity::kError, own, "COPY t, line 7");
  EXPECT_EQ(decode_error_response(body_of(copy, 'E'))->field(error_field::kWhere),
            "COPY t, line 7");
}

TEST(Backend, UntranslatedSeverityDecides) {
  auto error = decode_error_response("SFATALER FEHLER\0VFATAL\0Mm\0\0"sv);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->severity(), "FATAL");
  EXPECT_TRUE(error->fatal());
  EXPECT_EQ(decode_error_response("SPANIC\0\0"sv)->severity(), "PANIC") << "before 9.6";
  EXPECT_TRUE(decode_error_response("\0"sv));
  EXPECT_FALSE(decode_error_response(""sv));
  EXPECT_FALSE(decode_error_response("SERROR\0"sv));
  EXPECT_FALSE(decode_error_response("SERROR\0\0x"sv));
}

TEST(Backend, NoticesCarryTheirSeverity) {
  std::string out;
  append_notice_response(out, Severity::kWarning, Sqlstate("01000"), "careful");
  auto notice = decode_error_response(body_of(out, 'N'));
  ASSERT_TRUE(notice);
  EXPECT_EQ(notice->severity(), "WARNING");
}

TEST(Backend, MessagesCannotSmuggleFields) {
  std::string out;
  append_error_response(out, Severity::kError, Sqlstate("XX000"), "a\0C00000\0"sv);
  EXPECT_EQ(decode_error_response(body_of(out, 'E'))->message(), "a");
  EXPECT_EQ(decode_error_response(body_of(out, 'E'))->sqlstate(), Sqlstate("XX000"));
}

TEST(Backend, OtherMessagesRoundTrip) {
  const auto all = samples();
  auto status = decode_parameter_status(body_of(all[2], 'S'));
  ASSERT_TRUE(status);
  EXPECT_EQ(status->name, "TimeZone");
  EXPECT_EQ(status->value, "UTC");
  auto notification = decode_notification(body_of(all[9], 'A'));
  ASSERT_TRUE(notification);
  EXPECT_EQ(notification->pid, 5u);
  EXPECT_EQ(notification->channel, "channel");
  EXPECT_EQ(notification->payload, "payload");
  auto copy = decode_copy_response(body_of(all[10], 'G'));
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->format, 1);
  EXPECT_EQ(copy->column_formats.size(), 3u);
  EXPECT_EQ(copy->column_formats.of(2), 1);
  auto types = decode_parameter_description(body_of(all[11], 't'));
  ASSERT_TRUE(types);
  EXPECT_EQ(types->of(1), 25u);
  EXPECT_TRUE(decode_function_call_response("\xff\xff\xff\xff"sv)->is_null);
  EXPECT_EQ(decode_function_call_response("\0\0\0\2ab"sv)->bytes, "ab");
  EXPECT_FALSE(decode_function_call_response("\0\0\0\3ab"sv));
}

TEST(Backend, EmptyMessagesAreHeadersOnly) {
  std::string out;
  append_parse_complete(out);
  append_bind_complete(out);
  append_close_complete(out);
  append_no_data(out);
  append_empty_query_response(out);
  append_portal_suspended(out);
  EXPECT_EQ(out,
            "1\0\0\0\4"
            "2\0\0\0\4"
            "3\0\0\0\4"
            "n\0\0\0\4"
            "I\0\0\0\4"
            "s\0\0\0\4"sv);
}

TEST(Backend, TextRowsHaveNoNulls) {
  const std::string_view texts[] = {"a", "", "ccc"};
  std::string out;
  append_text_row(out, texts);
  auto row = decode_data_row(body_of(out, 'D'));
  ASSERT_TRUE(row);
  ASSERT_EQ(row->size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_FALSE(row->at(i).is_null);
    EXPECT_EQ(row->at(i).bytes, texts[i]);
  }
}

TEST(Backend, KnowsEveryTypeItHasANameFor) {
  for (const char c : "RKS3C2WdcGHDIEVvnNAtS1sZT"sv) EXPECT_TRUE(is_backend_type(c)) << c;
  for (const char c : "QPBX\0 z"sv) EXPECT_FALSE(is_backend_type(c)) << c;
}

TEST(Backend, SurvivesDamage) {
  for (const std::string& frame : samples()) {
    test::survive_damage(std::string_view(frame).substr(kFrameHeaderSize),
                         [](std::string_view body) { test::decode_backend_body(body); });
  }
  std::mt19937 random(4);
  for (int i = 0; i < 50000; ++i) {
    test::decode_backend_body(test::ExactCopy(test::random_bytes(random, 60)).view());
  }
}

}  // namespace
}  // namespace pgshunt
