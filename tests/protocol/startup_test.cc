#include "protocol/startup.h"

#include <vector>

#include "tests/protocol/wire_support.h"

namespace pgshunt {
namespace {

using test::body_of;
using namespace std::string_view_literals;

std::string startup_packet(std::vector<StartupParameter> parameters,
                           std::uint32_t version = kProtocolVersion30) {
  std::string out;
  append_startup(out, parameters, version);
  return out;
}

TEST(Startup, DecodesWhatWasEncoded) {
  const std::string bytes = startup_packet({{"user", "ann"}, {"database", "shop"}, {"a.b", ""}});
  const std::string with_more = bytes + "next";
  auto packet = decode_startup(with_more);
  ASSERT_TRUE(packet);
  ASSERT_EQ(packet->kind, StartupKind::kStartup);
  EXPECT_EQ(packet->size, bytes.size());
  EXPECT_EQ(packet->startup.minor(), 0);
  std::vector<StartupParameter> seen(packet->startup.begin(), packet->startup.end());
  EXPECT_EQ(seen,
            (std::vector<StartupParameter>{{"user", "ann"}, {"database", "shop"}, {"a.b", ""}}));
  EXPECT_FALSE(packet->startup.needs_negotiation());
}

TEST(Startup, EveryStrictPrefixNeedsMore) {
  for (const std::string& bytes : {startup_packet({{"user", "ann"}}), startup_packet({})}) {
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      auto packet = decode_startup(std::string_view(bytes).substr(0, size));
      ASSERT_TRUE(packet);
      EXPECT_EQ(packet->kind, StartupKind::kNeedMore) << size;
      EXPECT_EQ(packet->size, 0u);
    }
  }
}

TEST(Startup, LastOfDuplicateParametersWins) {
  const std::string bytes = startup_packet({{"user", "ann"}, {"user", "bob"}});
  auto packet = decode_startup(bytes);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->startup.value("user"), "bob");
}

TEST(Startup, MissingOrEmptyUserIsRefusedAsPostgresDoes) {
  for (const auto& bytes : {startup_packet({{"database", "x"}}), startup_packet({{"user", ""}})}) {
    auto packet = decode_startup(bytes);
    ASSERT_TRUE(packet);
    auto status = check_startup_user(packet->startup);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, sqlstate::kInvalidAuthorization);
    EXPECT_EQ(status.error().message, "no PostgreSQL user name specified in startup packet");
  }
}

TEST(Startup, LengthIsCheckedBeforeTheBodyArrives) {
  // 10,000 bytes behind the length word are allowed, one more is not.
  EXPECT_EQ(decode_startup("\x00\x00\x27\x14"sv)->kind, StartupKind::kNeedMore);
  for (const std::string_view bad :
       {"\x00\x00\x27\x15"sv, "\x7f\xff\xff\xff"sv, "\xff\xff\xff\xff"sv, "\x00\x00\x00\x00"sv,
        "\x00\x00\x00\x07"sv, "GET "sv}) {
    auto packet = decode_startup(bad);
    ASSERT_FALSE(packet);
    EXPECT_EQ(packet.error().code, sqlstate::kProtocolViolation);
    EXPECT_EQ(packet.error().message, "invalid length of startup packet");
  }
}

TEST(Startup, TerminatorMustBeTheLastByte) {
  const std::string good = startup_packet({{"user", "ann"}});
  std::vector<std::string> bad;
  bad.push_back(good.substr(0, good.size() - 1));        // no terminator
  bad.push_back(good + '\0');                            // one too many
  bad.push_back(good.substr(0, good.size() - 1) + "x");  // a name without a value
  bad.push_back(good.substr(0, 8));                      // nothing at all
  for (std::string& bytes : bad) {
    store_be32(bytes.data(), static_cast<std::uint32_t>(bytes.size()));
    auto packet = decode_startup(bytes);
    ASSERT_FALSE(packet);
    EXPECT_EQ(packet.error().message,
              "invalid startup packet layout: expected terminator as last byte");
  }
}

TEST(Startup, OtherMajorVersionsAreRefused) {
  for (const std::uint32_t version : {2u << 16, 4u << 16, 0u, 1234u << 16}) {
    auto packet = decode_startup(startup_packet({{"user", "ann"}}, version));
    ASSERT_FALSE(packet);
    EXPECT_EQ(packet.error().code, sqlstate::kFeatureNotSupported);
  }
}

TEST(Startup, NewerMinorAndUnknownOptionsAreNegotiatedDown) {
  const std::string plain = startup_packet({{"user", "ann"}}, kProtocolVersion30 + 2);
  const std::string options =
      startup_packet({{"user", "ann"}, {"_pq_.one", "1"}, {"x", "y"}, {"_pq_.two", ""}});
  auto newer = decode_startup(plain);
  auto optional = decode_startup(options);
  ASSERT_TRUE(newer);
  ASSERT_TRUE(optional);
  EXPECT_TRUE(newer->startup.needs_negotiation());
  EXPECT_TRUE(optional->startup.needs_negotiation());

  std::string out;
  append_negotiate_protocol_version(out, newer->startup);
  auto none = decode_negotiate_protocol_version(body_of(out, 'v'));
  ASSERT_TRUE(none);
  EXPECT_EQ(none->version, kProtocolVersion30);
  EXPECT_EQ(none->option_count, 0u);
  out.clear();
  append_negotiate_protocol_version(out, optional->startup);
  auto two = decode_negotiate_protocol_version(body_of(out, 'v'));
  ASSERT_TRUE(two);
  EXPECT_EQ(two->option_count, 2u);
  EXPECT_EQ(two->options, "_pq_.one\0_pq_.two\0"sv);
}

TEST(Startup, EncryptionRequestsAreEightBytes) {
  std::string ssl;
  append_ssl_request(ssl);
  EXPECT_EQ(ssl, "\x00\x00\x00\x08\x04\xd2\x16\x2f"sv);
  EXPECT_EQ(decode_startup(ssl)->kind, StartupKind::kSslRequest);
  std::string gss;
  append_gssenc_request(gss);
  EXPECT_EQ(gss, "\x00\x00\x00\x08\x04\xd2\x16\x30"sv);
  EXPECT_EQ(decode_startup(gss)->kind, StartupKind::kGssEncRequest);
  ssl[3] = 9;
  EXPECT_FALSE(decode_startup(ssl + "x"));
}

TEST(Startup, TlsRecordIsRecognisedByItsFirstByte) {
  auto packet = decode_startup("\x16\x03\x01\x02\x00"sv);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->kind, StartupKind::kDirectTls);
  EXPECT_EQ(packet->size, 0u);
}

TEST(Startup, CancelKeysOfEitherProtocolDecode) {
  for (const std::size_t size : {std::size_t{4}, std::size_t{32}, std::size_t{256}}) {
    const std::string key(size, 'k');
    std::string out;
    append_cancel_request(out, 4711, key);
    auto packet = decode_startup(out);
    ASSERT_TRUE(packet);
    ASSERT_EQ(packet->kind, StartupKind::kCancelRequest);
    EXPECT_EQ(packet->cancel.pid, 4711u);
    EXPECT_EQ(packet->cancel.key, key);
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{3}, std::size_t{257}}) {
    std::string out;
    append_cancel_request(out, 1, std::string(size, 'k'));
    EXPECT_FALSE(decode_startup(out)) << size;
  }
}

TEST(Startup, NamesWithZerosCannotSmuggleParameters) {
  const std::string bytes = startup_packet({{"user"sv, "ann\0database\0secret"sv}});
  auto packet = decode_startup(bytes);
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->startup.value("user"), "ann");
  EXPECT_EQ(packet->startup.value("database"), "");
}

TEST(Startup, SurvivesDamage) {
  std::string cancel;
  append_cancel_request(cancel, 1, "abcdefgh");
  for (const std::string& bytes :
       {cancel, startup_packet({{"user", "u"}, {"options", "-c a=b"}, {"_pq_.x", "y"}})}) {
    test::survive_damage(bytes, [](std::string_view b) { test::decode_startup_bytes(b); });
  }
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = test::random_bytes(random, 64);
    if (bytes.size() >= 8) {
      store_be32(bytes.data(), static_cast<std::uint32_t>(bytes.size()));
      if (random() % 2 == 0) store_be32(bytes.data() + 4, kProtocolVersion30);
    }
    test::decode_startup_bytes(test::ExactCopy(bytes).view());
  }
}

}  // namespace
}  // namespace pgshunt
