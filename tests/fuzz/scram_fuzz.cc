// SCRAM: both machines fed with whatever, and the texts secrets are stored in.
//
// The first byte picks the target, the rest is its input; messages are separated by a newline.
// What must hold besides coming back: nobody is let in, because no input knows the password.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "protocol/base64.h"
#include "protocol/saslprep.h"
#include "protocol/scram.h"
#include "protocol/scram_key_cache.h"

namespace pgshunt {
namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

std::string_view next_message(std::string_view& input) {
  const std::size_t end = input.find('\n');
  const std::string_view message = input.substr(0, end);
  input.remove_prefix(end == std::string_view::npos ? input.size() : end + 1);
  return message;
}

const ScramKeys& keys() {
  // Nothing an input could contain.
  static const ScramKeys derived = derive_scram_keys(make_scram_nonce(), "0123456789abcdef", 2);
  return derived;
}

void feed_server(std::string_view input, bool bound) {
  ScramServer server(make_scram_verifier(keys()), true, bound ? "hash" : "", "server-nonce");
  const auto reply =
      server.on_client_first(bound ? kScramPlusMechanism : kScramMechanism, next_message(input));
  if (reply) check(reply->size() <= 2 * kScramMaxMessage);
  while (!input.empty()) check(!server.on_client_final(next_message(input)).ok());
}

void feed_client(std::string_view input) {
  ScramClient client(ScramBinding::kNone, {}, "mine");
  (void)client.on_server_first(next_message(input), keys());
  while (!input.empty()) (void)client.on_server_final(next_message(input));
  check(!client.server_verified());
}

void read_texts(std::string_view input) {
  if (const auto verifier = parse_scram_verifier(input); verifier) {
    check(format_scram_verifier(*verifier) == input ||
          input.find("$0") != std::string_view::npos);  // leading zeros of the iterations
  }
  std::string bytes;
  if (decode_base64(input, bytes)) {
    std::string text;
    append_base64(text, bytes);
    check(text == input);
  }
  const std::string prepared = saslprep(input);
  check(prepared.size() <= input.size() * 18);
}

}  // namespace
}  // namespace pgshunt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgshunt;
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      feed_server(input, false);
      break;
    case 1:
      feed_server(input, true);
      break;
    case 2:
      feed_client(input);
      break;
    default:
      read_texts(input);
      break;
  }
  return 0;
}
