// The way into a server, against servers that do not behave.
#include "protocol/frame_writer.h"
#include "protocol/frontend.h"
#include "protocol/startup.h"
#include "tests/proxy/auth_login_support.h"

namespace pgshunt::test {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;
using Kind = ServerLoginStepKind;

struct Server {
  explicit Server(ServerLoginConfig config) : login(std::move(config)) { feed(""); }

  Kind feed(std::string_view bytes) {
    input += bytes;
    const ServerLoginStep step = login.advance(input);
    input.erase(0, step.consumed);
    sent = step.send;
    return step.kind;
  }

  ServerLogin login;
  std::string input;
  std::string sent;
};

std::string ok() {
  std::string out;
  append_authentication_ok(out);
  return out;
}
std::string sasl(std::initializer_list<std::string_view> mechanisms) {
  std::string out;
  append_authentication_sasl(out, std::vector<std::string_view>(mechanisms));
  return out;
}
std::string cleartext() {
  std::string out;
  append_authentication_cleartext(out);
  return out;
}
std::string md5() {
  std::string out;
  append_authentication_md5(out, "salt");
  return out;
}
std::string ready(TransactionStatus status = TransactionStatus::kIdle) {
  std::string out;
  append_ready_for_query(out, status);
  return out;
}

TEST(ServerLogin, SendsTheParametersOfTheStartupMessage) {
  ServerLoginConfig config = make_server_config("secret");
  config.parameters = {{"application_name", "pgshunt"}, {"client_encoding", "UTF8"}};
  const Server server(std::move(config));
  const auto packet = decode_startup(server.sent);
  ASSERT_TRUE(packet.ok());
  EXPECT_EQ(packet->startup.value("user"), "alice");
  EXPECT_EQ(packet->startup.value("database"), "shop");
  EXPECT_EQ(packet->startup.value("application_name"), "pgshunt");
  EXPECT_EQ(packet->startup.value("client_encoding"), "UTF8");
}

TEST(ServerLogin, LeavesWhatComesAfterReadyAlone) {
  Server server(make_server_config("secret"));
  EXPECT_EQ(server.feed(ok() + ready() + "rest"), Kind::kReady);
  EXPECT_EQ(server.input, "rest");
}

TEST(ServerLogin, AsksForTlsAsConfigured) {
  ServerLoginConfig config = make_server_config("secret");
  for (const SslMode mode : {SslMode::kDisable, SslMode::kAllow}) {
    config.tls = mode;
    EXPECT_EQ(decode_startup(Server(config).sent)->kind, StartupKind::kStartup);
  }
  for (const SslMode mode : {SslMode::kPrefer, SslMode::kRequire, SslMode::kVerifyFull}) {
    config.tls = mode;
    Server server(config);
    EXPECT_EQ(decode_startup(server.sent)->kind, StartupKind::kSslRequest);
    EXPECT_EQ(server.feed("S"), Kind::kStartTls);
    server.login.tls_established("hash");
    EXPECT_EQ(server.feed(""), Kind::kNeedMore);
    EXPECT_EQ(decode_startup(server.sent)->kind, StartupKind::kStartup);
  }
  config.tls = SslMode::kPrefer;
  Server prefers(config);
  EXPECT_EQ(prefers.feed("N"), Kind::kNeedMore);
  EXPECT_EQ(decode_startup(prefers.sent)->kind, StartupKind::kStartup);
  config.tls = SslMode::kRequire;
  Server requires_tls(config);
  EXPECT_EQ(requires_tls.feed("N"), Kind::kFailed);
  EXPECT_TRUE(requires_tls.login.refused());
}

TEST(ServerLogin, TlsMayHaveBeenStartedByTheOwner) {
  ServerLogin login(make_server_config("secret"));
  login.tls_established("hash");
  const ServerLoginStep step = login.advance("");
  EXPECT_EQ(decode_startup(step.send)->kind, StartupKind::kStartup);
}

TEST(ServerLogin, DoesNotBelieveWhatComesInPlainTextBesideTheTlsAnswer) {
  ServerLoginConfig config = make_server_config("secret");
  config.tls = SslMode::kRequire;
  Server server(config);
  EXPECT_EQ(server.feed("S" + ok()), Kind::kFailed);
  Server error(config);
  std::string message;
  append_error_response(message, Severity::kFatal, sqlstate::kInvalidPassword, "call 555-1234");
  EXPECT_EQ(error.feed(message), Kind::kFailed);
  EXPECT_EQ(error.login.error().message.find("555"), std::string::npos);
}

TEST(ServerLogin, TellsTheServersOwnError) {
  Server server(make_server_config("secret"));
  std::string message;
  append_error_response(message, Severity::kFatal, sqlstate::kTooManyConnections,
                        "sorry, too many clients already", {}, "come back later");
  EXPECT_EQ(server.feed(message), Kind::kFailed);
  EXPECT_EQ(server.login.error().code, sqlstate::kTooManyConnections);
  EXPECT_EQ(server.login.error().message, "sorry, too many clients already");
  EXPECT_EQ(server.login.error().hint, "come back later");
  EXPECT_FALSE(server.login.refused());
  Server refusing(make_server_config("secret"));
  message.clear();
  append_error_response(message, Severity::kFatal, sqlstate::kInvalidPassword, "no");
  EXPECT_EQ(refusing.feed(message), Kind::kFailed);
  EXPECT_TRUE(refusing.login.refused());
}

// What happens when a server asks for `request`.
Kind asked(std::uint8_t allowed, const std::string& request) {
  ServerLoginConfig config = make_server_config("secret");
  config.allowed_methods = allowed;
  Server server(std::move(config));
  return server.feed(request);
}

TEST(ServerLogin, ProvesItselfOnlyByAllowedMethods) {
  const std::string offer = sasl({"SCRAM-SHA-256"});
  EXPECT_EQ(asked(kServerAuthAny, offer), Kind::kNeedMore);
  EXPECT_EQ(asked(kServerAuthScram, offer), Kind::kNeedMore);
  EXPECT_EQ(asked(kServerAuthScram, md5()), Kind::kFailed);
  EXPECT_EQ(asked(kServerAuthScram, cleartext()), Kind::kFailed);
  EXPECT_EQ(asked(kServerAuthScram, ok()), Kind::kFailed);  // it did not ask at all
  EXPECT_EQ(asked(kServerAuthMd5, md5()), Kind::kNeedMore);
  EXPECT_EQ(asked(kServerAuthMd5, offer), Kind::kFailed);
  EXPECT_EQ(asked(kServerAuthCleartext, cleartext()), Kind::kNeedMore);
  EXPECT_EQ(asked(kServerAuthNone, ok()), Kind::kNeedMore);
}

TEST(ServerLogin, SendsAPasswordInPlainTextOnlyUnderTlsOrWhenTold) {
  ServerLoginConfig config = make_server_config("secret");
  config.cleartext_without_tls = false;
  Server plain(config);
  EXPECT_EQ(plain.feed(cleartext()), Kind::kFailed);
  EXPECT_EQ(plain.sent, "");
  ServerLogin tls(config);
  tls.tls_established("hash");
  (void)tls.advance("");
  EXPECT_EQ(tls.advance(cleartext()).send, "p\0\0\0\x0bsecret\0"sv);
}

TEST(ServerLogin, RefusesASecondAuthentication) {
  Server server(make_server_config("secret"));
  EXPECT_EQ(server.feed(md5()), Kind::kNeedMore);
  EXPECT_EQ(server.feed(cleartext()), Kind::kFailed);  // it would get the password after all
  Server again(make_server_config("secret"));
  EXPECT_EQ(again.feed(ok() + cleartext()), Kind::kFailed);
}

TEST(ServerLogin, DoesNotTakeAnOkForTheEndOfScram) {
  Server server(make_server_config("secret"));
  EXPECT_EQ(server.feed(sasl({"SCRAM-SHA-256"})), Kind::kNeedMore);
  EXPECT_EQ(server.feed(ok()), Kind::kFailed);
  EXPECT_TRUE(server.login.refused());
}

TEST(ServerLogin, SaysWhatItIsMissing) {
  for (const std::string& request : {cleartext(), md5(), sasl({"SCRAM-SHA-256"})}) {
    ServerLoginConfig config = make_server_config("secret");
    config.credentials.password.reset();
    Server server(std::move(config));
    EXPECT_EQ(server.feed(request), Kind::kFailed);
    EXPECT_NE(server.login.error().message.find("pgshunt does not know one"), std::string::npos);
    EXPECT_FALSE(server.login.error().hint.empty());
  }
}

TEST(ServerLogin, NamesAMethodItDoesNotKnow) {
  std::string request;
  {
    FrameWriter writer(request, 'R');
    writer.be32(7);
  }
  Server server(make_server_config("secret"));
  EXPECT_EQ(server.feed(request), Kind::kFailed);
  EXPECT_NE(server.login.error().message.find("GSS"), std::string::npos);
}

TEST(ServerLogin, ChoosesTheBoundMechanismWhenBothCan) {
  const auto choice = [](ChannelBindingMode mode, bool tls,
                         std::initializer_list<std::string_view> offer) {
    ServerLoginConfig config = make_server_config("secret");
    config.channel_binding = mode;
    ServerLogin login(std::move(config));
    if (tls) login.tls_established("hash");
    (void)login.advance("");
    const std::string request = sasl(offer);
    const ServerLoginStep step = login.advance(request);
    if (step.kind == Kind::kFailed) return std::string("refused");
    const auto body = decode_sasl_initial_response(step.send.substr(kFrameHeaderSize));
    return std::string(body->mechanism.substr(13)) + std::string(body->response.substr(0, 1));
  };
  using Mode = ChannelBindingMode;
  const std::initializer_list<std::string_view> both = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"};
  const std::initializer_list<std::string_view> plain = {"SCRAM-SHA-256"};
  EXPECT_EQ(choice(Mode::kPrefer, true, both), "-PLUSp");
  EXPECT_EQ(choice(Mode::kRequire, true, both), "-PLUSp");
  EXPECT_EQ(choice(Mode::kDisable, true, both), "n");
  EXPECT_EQ(choice(Mode::kPrefer, true, plain), "y");
  EXPECT_EQ(choice(Mode::kRequire, true, plain), "refused");
  EXPECT_EQ(choice(Mode::kDisable, true, plain), "n");
  EXPECT_EQ(choice(Mode::kPrefer, false, both), "n");
  EXPECT_EQ(choice(Mode::kRequire, false, both), "refused");
  EXPECT_EQ(choice(Mode::kPrefer, false, {"SCRAM-SHA-512"}), "refused");
}

TEST(ServerLogin, ChannelBindingRefusesMethodsThatCannotBind) {
  for (const std::string& request : {ok(), md5(), cleartext()}) {
    ServerLoginConfig config = make_server_config("secret");
    config.channel_binding = ChannelBindingMode::kRequire;
    Server server(std::move(config));
    EXPECT_EQ(server.feed(request), Kind::kFailed);
  }
}

TEST(ServerLogin, RefusesMessagesOutOfPlaceAndOutOfSize) {
  const auto fails = [](std::string_view bytes) {
    Server server(make_server_config("secret"));
    return server.feed(bytes) == Kind::kFailed;
  };
  EXPECT_TRUE(fails("HTTP/1.1 400 Bad Request"));
  EXPECT_TRUE(fails(ready()));  // before AuthenticationOk
  EXPECT_TRUE(
      fails("S\0\0\0\x08"
            "a\0b\0"sv));                   // likewise
  EXPECT_TRUE(fails("R\0\0\x10\0"sv));      // a challenge of 4 KB
  EXPECT_TRUE(fails("E\x7f\xff\xff\xff"));  // an error of 2 GB
  EXPECT_TRUE(fails("R\0\0\0\3"sv));
  EXPECT_TRUE(fails(ok() + "D\0\0\0\6\0\0"s));
  EXPECT_TRUE(fails(ok() + ready(TransactionStatus::kInTransaction)));
  EXPECT_TRUE(fails(ok() + ok()));
  EXPECT_FALSE(fails("R\0\0\0"sv));
}

TEST(ServerLogin, NoticesAreSkipped) {
  std::string notice;
  append_notice_response(notice, Severity::kWarning, Sqlstate("01000"), "the disk is nearly full");
  Server server(make_server_config("secret"));
  EXPECT_EQ(server.feed(notice + ok() + notice + ready()), Kind::kReady);
}

TEST(ServerLogin, TakesLongCancelKeysAndNegotiation) {
  ServerLoginConfig config = make_server_config("secret");
  config.protocol_minor = 2;
  Server server(config);
  EXPECT_EQ(decode_startup(server.sent)->startup.minor(), 2);
  const std::string key(256, 'k');
  std::string greeting = ok();
  append_backend_key_data(greeting, 1, key);
  EXPECT_EQ(server.feed(greeting + ready()), Kind::kReady);
  const ServerGreeting told = server.login.take_greeting();
  EXPECT_EQ(told.cancel_key, key);
  EXPECT_EQ(told.protocol_minor, 2u);

  const std::string negotiation = "v\0\0\0\x0c\0\3\0\0\0\0\0\0"s;
  Server older(config);
  EXPECT_EQ(older.feed(negotiation + ok() + ready()), Kind::kReady);
  EXPECT_EQ(older.login.take_greeting().protocol_minor, 0u);
  Server mad(make_server_config("secret"));
  EXPECT_EQ(mad.feed("v\0\0\0\x0c\0\3\0\2\0\0\0\0"sv), Kind::kFailed);
}

TEST(ServerLogin, AParameterStormIsRefused) {
  std::string storm = ok();
  for (int i = 0; i < 2000; ++i) append_parameter_status(storm, "p" + std::to_string(i), "v");
  Server server(make_server_config("secret"));
  EXPECT_EQ(server.feed(storm), Kind::kFailed);
}

}  // namespace
}  // namespace pgshunt::test
