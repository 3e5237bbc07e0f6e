#include "protocol/scram.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "protocol/base64.h"
#include "protocol/scram_key_cache.h"

namespace pgshunt {
namespace {

// RFC 7677, section 3.
constexpr std::string_view kRfcClientNonce = "rOprNGfwEbeRWgbNEkqO";
constexpr std::string_view kRfcServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr std::string_view kRfcClientFirst = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
constexpr std::string_view kRfcServerFirst =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
constexpr std::string_view kRfcClientFinal =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
constexpr std::string_view kRfcServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

std::string rfc_salt() {
  std::string salt;
  EXPECT_TRUE(decode_base64("W22ZaJ0SNY7soEsUEjb6gQ==", salt));
  return salt;
}

// Few iterations: what is tested here does not depend on their number.
constexpr std::uint32_t kFast = 8;
const std::string kSalt = "0123456789abcdef";

ScramVerifier verifier_of(std::string_view password, std::uint32_t iterations = kFast) {
  return make_scram_verifier(derive_scram_keys(password, kSalt, iterations));
}

// How one exchange ended. `tamper` may change each of the four messages on its way.
struct Outcome {
  bool server_accepts = false;
  bool client_accepts = false;
  Error error;  // of whoever gave up first
};

using Tamper = std::function<void(int message, std::string& text)>;

struct Exchange {
  ScramVerifier verifier = verifier_of("secret");
  bool genuine = true;
  std::string password = "secret";
  ScramBinding binding = ScramBinding::kNone;
  std::string server_hash;  // what the server believes its certificate's hash to be
  std::string client_hash;
  Tamper tamper = [](int, std::string&) {};

  Outcome run() const {
    Outcome out;
    ScramKeyCache cache;
    ScramServer server(verifier, genuine, server_hash);
    ScramClient client(binding, client_hash);
    std::string text = client.first_message();
    tamper(0, text);
    const auto first = server.on_client_first(client.mechanism(), text);
    if (!first) return {false, false, first.error()};
    text = std::string(*first);
    tamper(1, text);
    const auto final_message = client.on_server_first(text, password, cache);
    if (!final_message) return {false, false, final_message.error()};
    text = *final_message;
    tamper(2, text);
    const auto server_final = server.on_client_final(text);
    if (!server_final) return {false, false, server_final.error()};
    out.server_accepts = true;
    text = *server_final;
    tamper(3, text);
    const Status verified = client.on_server_final(text);
    out.client_accepts = verified.ok();
    EXPECT_EQ(client.server_verified(), verified.ok());
    if (!verified) out.error = verified.error();
    return out;
  }
};

TEST(ScramServer, AcceptsTheExchangeOfRfc7677) {
  const ScramKeys keys = derive_scram_keys("pencil", rfc_salt(), 4096);
  ScramServer server(make_scram_verifier(keys), true, {}, std::string(kRfcServerNonce));
  const auto first = server.on_client_first(kScramMechanism, kRfcClientFirst);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(*first, kRfcServerFirst);
  const auto last = server.on_client_final(kRfcClientFinal);
  ASSERT_TRUE(last.ok());
  EXPECT_EQ(*last, kRfcServerFinal);
}

TEST(ScramClient, SpeaksTheExchangeOfRfc7677) {
  ScramKeyCache cache;
  ScramClient client(ScramBinding::kNone, {}, std::string(kRfcClientNonce), "user");
  EXPECT_EQ(client.first_message(), kRfcClientFirst);
  const auto last = client.on_server_first(kRfcServerFirst, "pencil", cache);
  ASSERT_TRUE(last.ok());
  EXPECT_EQ(*last, kRfcClientFinal);
  EXPECT_TRUE(client.on_server_final(kRfcServerFinal).ok());
  EXPECT_TRUE(client.server_verified());
}

TEST(ScramClient, EscapesTheUserName) {
  const ScramClient client(ScramBinding::kNone, {}, "nonce", "a=b,c");
  EXPECT_EQ(client.first_message(), "n,,n=a=3Db=2Cc,r=nonce");
}

TEST(ScramExchange, AcceptsTheRightPasswordAndNoOther) {
  Exchange exchange;
  const Outcome right = exchange.run();
  EXPECT_TRUE(right.server_accepts && right.client_accepts) << right.error.message;
  exchange.password = "Secret";
  const Outcome wrong = exchange.run();
  EXPECT_FALSE(wrong.server_accepts);
  EXPECT_EQ(wrong.error.code, sqlstate::kInvalidPassword);
}

TEST(ScramExchange, AMockFailsAtItsEndAsAWrongPasswordDoes) {
  Exchange exchange;
  exchange.verifier = scram_mock_verifier("0123456789abcdef", "nobody");
  exchange.genuine = false;
  const Outcome mock = exchange.run();
  exchange = {};
  exchange.password = "wrong";
  const Outcome wrong = exchange.run();
  EXPECT_FALSE(mock.server_accepts);
  EXPECT_EQ(mock.error.code, wrong.error.code);
  EXPECT_EQ(mock.error.message, wrong.error.message);
}

TEST(ScramExchange, AVerifierThatIsNotGenuineFailsEvenWithTheRightPassword) {
  Exchange exchange;
  exchange.genuine = false;
  EXPECT_FALSE(exchange.run().server_accepts);
}

TEST(ScramExchange, BindsToTheServersCertificate) {
  Exchange exchange;
  exchange.binding = ScramBinding::kUsed;
  exchange.server_hash = exchange.client_hash = "certificate hash";
  const Outcome bound = exchange.run();
  EXPECT_TRUE(bound.server_accepts && bound.client_accepts) << bound.error.message;
  exchange.client_hash = "of the man in the middle";
  const Outcome other = exchange.run();
  EXPECT_FALSE(other.server_accepts);
  EXPECT_EQ(other.error.message, "SCRAM channel binding check failed");
}

TEST(ScramExchange, NoticesThatTheOfferOfBindingWasTakenOut) {
  Exchange exchange;
  exchange.binding = ScramBinding::kServerLacks;  // the client saw no -PLUS in the list
  exchange.server_hash = exchange.client_hash = "certificate hash";
  const Outcome stripped = exchange.run();
  EXPECT_FALSE(stripped.server_accepts);
  EXPECT_EQ(stripped.error.code, sqlstate::kInvalidAuthorization);
  exchange.server_hash.clear();  // a server that cannot bind takes "y"
  EXPECT_TRUE(exchange.run().client_accepts);
  exchange.binding = ScramBinding::kNone;  // a client that cannot bind may come over TLS
  exchange.server_hash = "certificate hash";
  EXPECT_TRUE(exchange.run().client_accepts);
}

TEST(ScramServer, RefusesAFlagThatContradictsTheMechanism) {
  const auto first = [](std::string_view mechanism, std::string_view message, std::string hash) {
    ScramServer server(verifier_of("secret"), true, std::move(hash));
    return server.on_client_first(mechanism, message).ok();
  };
  EXPECT_TRUE(first(kScramMechanism, "n,,n=,r=abc", ""));
  EXPECT_TRUE(first(kScramPlusMechanism, "p=tls-server-end-point,,n=,r=abc", "hash"));
  EXPECT_FALSE(first(kScramPlusMechanism, "p=tls-server-end-point,,n=,r=abc", ""));
  EXPECT_FALSE(first(kScramPlusMechanism, "p=tls-unique,,n=,r=abc", "hash"));
  EXPECT_FALSE(first(kScramPlusMechanism, "n,,n=,r=abc", "hash"));
  EXPECT_FALSE(first(kScramPlusMechanism, "y,,n=,r=abc", "hash"));
  EXPECT_FALSE(first(kScramMechanism, "p=tls-server-end-point,,n=,r=abc", "hash"));
  EXPECT_FALSE(first("SCRAM-SHA-1", "n,,n=,r=abc", ""));
}

TEST(ScramServer, RefusesWhatPostgresqlRefusesInAFirstMessage) {
  const auto error = [](std::string_view message) {
    ScramServer server(verifier_of("secret"), true, {});
    const auto reply = server.on_client_first(kScramMechanism, message);
    return reply ? std::string() : std::string(reply.error().code.view());
  };
  EXPECT_EQ(error("n,,n=,r=abc,x=extension"), "");
  EXPECT_EQ(error("n,a=other,n=,r=abc"), "0A000");
  EXPECT_EQ(error("n,,m=must,n=,r=abc"), "0A000");
  using namespace std::string_view_literals;
  for (const std::string_view message :
       {""sv, "n"sv, "n,"sv, "n,,"sv, "x,,n=,r=abc"sv, "n,,r=abc"sv, "n,,n=,r="sv,
        "n,,n=,r=a\x01"sv, "n,,n=,r=\xc3\xa4"sv, "n,,n=,r=abc,"sv, "n,,n=,r=abc,x"sv,
        "n,,n=,r=abc,1=x"sv, "n,,n=,r=a\0c"sv}) {
    EXPECT_EQ(error(message), "08P01") << message;
  }
  EXPECT_EQ(error("n,,n=,r=" + std::string(kScramMaxMessage, 'a')), "08P01");
}

TEST(ScramServer, CapturesTheKeysThatLogInElsewhere) {
  ScramKeyCache cache;
  const ScramKeys derived = derive_scram_keys("secret", kSalt, kFast);
  ScramServer server(verifier_of("secret"), true, {});
  ScramClient client(ScramBinding::kNone, {});
  const auto challenge = server.on_client_first(kScramMechanism, client.first_message());
  const auto proof = client.on_server_first(*challenge, "secret", cache);
  ASSERT_TRUE(server.on_client_final(*proof).ok());
  const ScramKeys captured = server.captured_keys();
  EXPECT_EQ(captured.client_key, derived.client_key);

  // The same user, towards another server that stores the same secret.
  ScramServer upstream(verifier_of("secret"), true, {});
  ScramClient proxy(ScramBinding::kNone, {});
  const auto upstream_challenge = upstream.on_client_first(kScramMechanism, proxy.first_message());
  const auto upstream_proof = proxy.on_server_first(*upstream_challenge, captured);
  ASSERT_TRUE(upstream_proof.ok());
  const auto confirmation = upstream.on_client_final(*upstream_proof);
  ASSERT_TRUE(confirmation.ok());
  EXPECT_TRUE(proxy.on_server_final(*confirmation).ok());
}

TEST(ScramClient, RefusesKeysOfAnotherSalt) {
  const ScramKeys keys = derive_scram_keys("secret", "another salt 123", kFast);
  ScramServer server(verifier_of("secret"), true, {});
  ScramClient client(ScramBinding::kNone, {});
  const auto challenge = server.on_client_first(kScramMechanism, client.first_message());
  const auto proof = client.on_server_first(*challenge, keys);
  ASSERT_FALSE(proof.ok());
  EXPECT_FALSE(proof.error().hint.empty());
}

TEST(ScramClient, RefusesAServerThatCheats) {
  const auto error = [](std::string_view message) {
    ScramKeyCache cache;
    ScramClient client(ScramBinding::kNone, {}, "mine");
    return !client.on_server_first(message, "secret", cache).ok();
  };
  EXPECT_FALSE(error("r=mineyours,s=c2FsdA==,i=1"));
  EXPECT_FALSE(error("r=mineyours,s=c2FsdA==,i=1,x=y"));
  EXPECT_TRUE(error("r=mine,s=c2FsdA==,i=1"));  // adds nothing: a replay
  EXPECT_TRUE(error("r=other,s=c2FsdA==,i=1"));
  EXPECT_TRUE(error("r=mineyours,s=,i=1"));
  EXPECT_TRUE(error("r=mineyours,s=c2FsdA,i=1"));
  EXPECT_TRUE(error("r=mineyours,s=c2FsdA==,i=0"));
  EXPECT_TRUE(error("r=mineyours,s=c2FsdA==,i=-1"));
  EXPECT_TRUE(error("r=mineyours,s=c2FsdA==,i=1x"));
  EXPECT_TRUE(error("r=mineyours,s=c2FsdA==,i=1000001"));  // would hold the worker
  EXPECT_TRUE(error("r=mineyours,s=c2FsdA==,i=99999999999"));
  EXPECT_TRUE(error("m=x,r=mineyours,s=c2FsdA==,i=1"));
}

TEST(ScramExchange, NoMessageCanBeAlteredAnywhere) {
  for (const bool bound : {false, true}) {
    Exchange exchange;
    exchange.binding = bound ? ScramBinding::kUsed : ScramBinding::kNone;
    if (bound) exchange.server_hash = exchange.client_hash = "certificate hash";
    for (int message = 0; message < 4; ++message) {
      std::size_t size = 1;
      for (std::size_t at = 0; at < size; ++at) {
        for (const int mask : {0x01, 0x02, 0x20, 0x80}) {
          exchange.tamper = [&](int number, std::string& text) {
            if (number != message) return;
            size = text.size();
            text[at] = static_cast<char>(text[at] ^ mask);
          };
          const Outcome outcome = exchange.run();
          EXPECT_FALSE(outcome.client_accepts) << "message " << message << " byte " << at;
          if (message < 3) {
            EXPECT_FALSE(outcome.server_accepts) << "message " << message << " byte " << at;
          }
        }
      }
    }
  }
}

TEST(ScramExchange, NoMessageCanBeCutOrExtended) {
  for (int message = 0; message < 4; ++message) {
    std::size_t size = 1;
    for (std::size_t cut = 0; cut < size; ++cut) {
      Exchange exchange;
      exchange.tamper = [&](int number, std::string& text) {
        if (number != message) return;
        size = text.size();
        text.resize(cut);
      };
      EXPECT_FALSE(exchange.run().client_accepts) << "message " << message << " cut at " << cut;
    }
    for (const std::string_view tail : {",", "=", "A", ",x=y", ",p=AAAA"}) {
      Exchange exchange;
      exchange.tamper = [&](int number, std::string& text) {
        if (number == message) text += tail;
      };
      // An extension behind the server's signature is allowed and carries nothing.
      if (message == 3 && tail.size() > 1) continue;
      EXPECT_FALSE(exchange.run().client_accepts) << "message " << message << " + " << tail;
    }
  }
}

TEST(ScramServer, AnswersNothingOutOfTurn) {
  ScramServer server(verifier_of("secret"), true, {});
  EXPECT_FALSE(server.on_client_final("c=biws,r=x,p=y").ok());
  EXPECT_TRUE(server.on_client_first(kScramMechanism, "n,,n=,r=abc").ok());
  EXPECT_FALSE(server.on_client_first(kScramMechanism, "n,,n=,r=abc").ok());
  EXPECT_FALSE(server.on_client_final("anything").ok());
}

TEST(ScramServer, RefusesAnotherNonceThoughTheProofFits) {
  const ScramKeys keys = derive_scram_keys("secret", kSalt, kFast);
  const ScramKey stored = sha256({as_view(keys.client_key)});
  for (const std::string_view nonce :
       {"abc-server", "abc", "abc-servex", "abc-server2", "-server"}) {
    ScramServer server(verifier_of("secret"), true, {}, "-server");
    const std::string first(*server.on_client_first(kScramMechanism, "n,,n=,r=abc"));
    const std::string bare = "c=biws,r=" + std::string(nonce);
    const ScramKey signature = hmac_sha256(stored, {"n=,r=abc", ",", first, ",", bare});
    ScramKey proof;
    for (std::size_t i = 0; i < proof.size(); ++i) proof[i] = keys.client_key[i] ^ signature[i];
    std::string message = bare + ",p=";
    append_base64(message, as_view(proof));
    EXPECT_EQ(server.on_client_final(message).ok(), nonce == "abc-server") << nonce;
  }
}

TEST(ScramServer, AFailedExchangeCannotBeTriedAgain) {
  ScramKeyCache cache;
  ScramServer server(verifier_of("secret"), true, {});
  ScramClient client(ScramBinding::kNone, {});
  const auto challenge = server.on_client_first(kScramMechanism, client.first_message());
  const auto proof = client.on_server_first(*challenge, "secret", cache);
  std::string wrong = *proof;
  wrong[wrong.size() - 10] ^= 1;
  EXPECT_FALSE(server.on_client_final(wrong).ok());
  EXPECT_FALSE(server.on_client_final(*proof).ok());
}

TEST(ScramVerifier, IsReadAndWrittenAsPostgresqlStoresIt) {
  const std::string text =
      "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
      "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
  const auto verifier = parse_scram_verifier(text);
  ASSERT_TRUE(verifier.ok());
  EXPECT_EQ(verifier->iterations, 4096u);
  EXPECT_EQ(verifier->salt, rfc_salt());
  EXPECT_EQ(format_scram_verifier(*verifier), text);
  // The secret of RFC 7677's user.
  EXPECT_EQ(
      format_scram_verifier(make_scram_verifier(derive_scram_keys("pencil", rfc_salt(), 4096))),
      text);
}

TEST(ScramVerifier, MalformedTextIsRefused) {
  const std::string good = format_scram_verifier(verifier_of("secret"));
  ASSERT_TRUE(parse_scram_verifier(good).ok());
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(parse_scram_verifier(good.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(parse_scram_verifier(good + "=").ok());
  for (const std::string_view text :
       {"SCRAM-SHA-256$0:c2FsdA==$x:y", "SCRAM-SHA-256$:c2FsdA==$x:y", "SCRAM-SHA-256$8$x:y",
        "scram-sha-256$8:c2FsdA==$x:y", "md5aa", "secret"}) {
    EXPECT_FALSE(parse_scram_verifier(text).ok()) << text;
  }
}

TEST(ScramMock, ShowsAStrangerTheSameSaltEveryTime) {
  EXPECT_EQ(scram_mock_salt("secret one", "bob"), scram_mock_salt("secret one", "bob"));
  EXPECT_NE(scram_mock_salt("secret one", "bob"), scram_mock_salt("secret one", "bill"));
  EXPECT_NE(scram_mock_salt("secret one", "bob"), scram_mock_salt("secret two", "bob"));
  EXPECT_EQ(scram_mock_salt("secret one", "bob").size(), kScramSaltSize);
}

TEST(ScramNonce, IsFreshAndPrintable) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string nonce = make_scram_nonce();
    EXPECT_EQ(nonce.size(), 24u);
    EXPECT_EQ(nonce.find(','), std::string::npos);
    EXPECT_TRUE(seen.insert(nonce).second);
  }
}

TEST(ScramKeyCache, GivesWhatDerivationGives) {
  ScramKeyCache cache;
  for (int i = 0; i < 2; ++i) {
    const ScramKeys keys = cache.get("secret", kSalt, kFast);
    EXPECT_EQ(keys.client_key, derive_scram_keys("secret", kSalt, kFast).client_key);
    EXPECT_EQ(keys.server_key, derive_scram_keys("secret", kSalt, kFast).server_key);
    EXPECT_EQ(keys.salt, kSalt);
    EXPECT_EQ(keys.iterations, kFast);
  }
}

TEST(ScramKeyCache, KeepsPasswordsSaltsAndCostsApart) {
  ScramKeyCache cache;
  std::set<ScramKey> keys;
  for (const auto& [password, salt, iterations] : {std::tuple{"a", "salt", 8u},
                                                   {"b", "salt", 8u},
                                                   {"a", "tlas", 8u},
                                                   {"a", "salt", 9u},
                                                   {"ta", "sal", 8u}}) {
    keys.insert(cache.get(password, salt, iterations).client_key);
  }
  EXPECT_EQ(keys.size(), 5u);
}

TEST(ScramKeyCache, ForgetsTheOldestWhenFull) {
  ScramKeyCache cache(2);
  for (const char* password : {"a", "b", "c", "a", "b", "c"}) {
    EXPECT_EQ(cache.get(password, kSalt, kFast).client_key,
              derive_scram_keys(password, kSalt, kFast).client_key);
  }
}

TEST(ScramKeyCache, ChecksPasswordsAgainstVerifiers) {
  ScramKeyCache cache;
  const ScramVerifier verifier = verifier_of("secret");
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(cache.matches("secret", verifier));
    EXPECT_FALSE(cache.matches("guess", verifier));
  }
}

TEST(ScramKeyCache, MayBeUsedByManyThreads) {
  ScramKeyCache cache(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&cache, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string password = std::to_string((i + t) % 7);
        EXPECT_EQ(cache.get(password, kSalt, 2).client_key,
                  derive_scram_keys(password, kSalt, 2).client_key);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Base64, HasOneTextForEachValue) {
  std::string bytes;
  for (int size = 0; size < 70; ++size) {
    std::string text;
    append_base64(text, bytes);
    std::string back;
    ASSERT_TRUE(decode_base64(text, back));
    EXPECT_EQ(back, bytes);
    // Any other text of the same length stands for something else or for nothing.
    for (std::size_t at = 0; at < text.size(); ++at) {
      for (const char c : std::string_view("A/9z= \n")) {
        std::string other = text;
        other[at] = c;
        if (other != text && decode_base64(other, back)) {
          EXPECT_NE(back, bytes);
        }
      }
    }
    bytes.push_back(static_cast<char>(size * 37 + 11));
  }
  std::string out;
  for (const std::string_view bad : {"A", "AA", "AAA", "AB==", "AAB=", "====", "A===", "AA=A"}) {
    EXPECT_FALSE(decode_base64(bad, out)) << bad;
  }
}

}  // namespace
}  // namespace pgshunt
