// The "a=value,b=value" syntax of SCRAM messages (RFC 5802, section 7).
#pragma once

#include <algorithm>
#include <string_view>

namespace pgshunt {

// Printable ASCII but the comma: what a nonce may be made of.
inline bool scram_nonce_is_printable(std::string_view nonce) {
  return std::all_of(nonce.begin(), nonce.end(),
                     [](char c) { return c > 0x20 && c < 0x7f && c != ','; });
}

// Not empty and without a zero byte, which PostgreSQL's string functions would stop at.
inline bool scram_message_is_text(std::string_view message) {
  return !message.empty() && message.find('\0') == std::string_view::npos;
}

// Reads attributes from front to back; values are views into the message.
class ScramAttributes {
 public:
  explicit ScramAttributes(std::string_view message) : message_(message) {}

  // The next attribute, which must be `name`.
  bool read(char name, std::string_view& value) {
    char found = '\0';
    return read_any(found, value) && found == name;
  }

  // Skips attributes up to `name`, which must be the last one. `before`: the message up to the
  // comma in front of it.
  bool read_last(char name, std::string_view& value, std::string_view& before) {
    char found = '\0';
    do {
      before = message_.substr(0, at_ == 0 ? 0 : at_ - 1);
      if (!read_any(found, value)) return false;
    } while (found != name);
    return at_end();
  }

  // Optional extensions nobody here knows: only their syntax counts.
  bool skip_rest() {
    std::string_view ignored;
    char name = '\0';
    while (!at_end()) {
      if (!read_any(name, ignored)) return false;
    }
    return true;
  }

 private:
  // A comma promises another attribute: "a=1," is not at its end.
  bool at_end() const { return at_ == message_.size() && !after_comma_; }

  bool read_any(char& name, std::string_view& value) {
    if (message_.size() - at_ < 2 || message_[at_ + 1] != '=') return false;
    name = message_[at_];
    if (!((name >= 'a' && name <= 'z') || (name >= 'A' && name <= 'Z'))) return false;
    const std::size_t begin = at_ + 2;
    const std::size_t comma = message_.find(',', begin);
    after_comma_ = comma != std::string_view::npos;
    value = message_.substr(begin, (after_comma_ ? comma : message_.size()) - begin);
    at_ = after_comma_ ? comma + 1 : message_.size();
    return true;
  }

  std::string_view message_;
  std::size_t at_ = 0;
  bool after_comma_ = false;
};

}  // namespace pgshunt
