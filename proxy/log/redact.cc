#include "proxy/log/redact.h"

#include <algorithm>
#include <cctype>

namespace pgshunt {
namespace {

constexpr std::string_view kMask = "***";

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

// "a=1&password=x" of a URI.
void append_query(std::string& out, std::string_view query) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    const std::size_t equals = pair.find('=');
    // A name with percent escapes may spell a secret's; nobody writes it so without reason.
    const bool hide = equals != std::string_view::npos &&
                      (is_secret_parameter(pair.substr(0, equals)) ||
                       pair.substr(0, equals).find('%') != std::string_view::npos);
    out += hide ? pair.substr(0, equals + 1) : pair;
    if (hide) out += kMask;
    query.remove_prefix(pair.size());
    if (!query.empty()) {
      out += '&';
      query.remove_prefix(1);
    }
  }
}

// postgresql://user:secret@host:port/name?parameters
std::string redact_uri(std::string_view text) {
  const std::size_t start = text.find("://") + 3;
  std::string out(text.substr(0, start));
  std::string_view rest = text.substr(start);
  const std::size_t question = rest.find('?');
  // A bare "?" in a secret: where the secret ends is anybody's guess.
  if (question != std::string_view::npos && rest.find('@', question) != std::string_view::npos) {
    return out.append(kMask);
  }
  // The last one: a secret may hold an "@" too.
  const std::size_t at = rest.substr(0, question).rfind('@');
  if (at != std::string_view::npos) {
    const std::string_view login = rest.substr(0, at);
    const std::size_t colon = login.find(':');
    out += login.substr(0, colon);
    if (colon != std::string_view::npos) out.append(":").append(kMask);
    rest.remove_prefix(at);
  }
  const std::size_t parameters = rest.find('?');
  out += rest.substr(0, parameters);
  if (parameters != std::string_view::npos) {
    out += '?';
    append_query(out, rest.substr(parameters + 1));
  }
  return out;
}

// The length of a value of "key=value": in single quotes, or up to a space; a backslash takes the
// next character along.
std::size_t value_length(std::string_view text) {
  const bool quoted = !text.empty() && text.front() == '\'';
  std::size_t i = quoted ? 1 : 0;
  while (i < text.size()) {
    if (text[i] == '\\') {
      i += 2;
    } else if (quoted && text[i] == '\'') {
      return i + 1;
    } else if (!quoted && is_space(text[i])) {
      break;
    } else {
      ++i;
    }
  }
  return std::min(i, text.size());
}

std::string redact_key_values(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::size_t name = 0;
    while (name < text.size() && is_space(text[name])) ++name;
    out += text.substr(0, name);
    text.remove_prefix(name);
    if (text.empty()) break;
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) return out.append(kMask);
    std::string_view key = text.substr(0, equals);
    while (!key.empty() && is_space(key.back())) key.remove_suffix(1);
    if (std::any_of(key.begin(), key.end(), is_space)) return out.append(kMask);
    std::size_t start = equals + 1;
    while (start < text.size() && is_space(text[start])) ++start;
    const std::size_t length = value_length(text.substr(start));
    out += text.substr(0, start);
    out += is_secret_parameter(key) ? kMask : text.substr(start, length);
    text.remove_prefix(start + length);
  }
  return out;
}

}  // namespace

bool is_secret_parameter(std::string_view name) {
  const std::string folded = lower(name);
  for (const std::string_view part : {"password", "passwd", "passphrase", "secret", "token"}) {
    if (folded.find(part) != std::string::npos) return true;
  }
  return folded == "pwd" || folded == "pass";
}

std::string redact_connection_string(std::string_view text) {
  return text.find("://") != std::string_view::npos && text.find("://") < text.find('=')
             ? redact_uri(text)
             : redact_key_values(text);
}

}  // namespace pgshunt
