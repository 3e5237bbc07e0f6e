#include "proxy/log/log_line.h"

#include <cstdio>
#include <span>

namespace pgshunt {
namespace {

// One character of UTF-8 at the front of `text`: its length, or 0 if the bytes are not UTF-8
// (Unicode standard, table 3-7: no overlong forms, no surrogates, nothing past U+10FFFF).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto tail = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
    return i < text.size() && byte(i) >= low && byte(i) <= high;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return tail(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const unsigned low = first == 0xe0 ? 0xa0 : 0x80;
    const unsigned high = first == 0xed ? 0x9f : 0xbf;
    return tail(1, low, high) && tail(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const unsigned low = first == 0xf0 ? 0x90 : 0x80;
    const unsigned high = first == 0xf4 ? 0x8f : 0xbf;
    return tail(1, low, high) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

// C0, DEL, and C1 in UTF-8: what could end a line or drive a terminal.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first < 0x20 || first == 0x7f;
  return first == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0;
}

void append_hex(std::string& out, std::string_view bytes) {
  for (const char c : bytes) {
    char buffer[5];
    std::snprintf(buffer, sizeof buffer, "\\x%02x", static_cast<unsigned char>(c));
    out += buffer;
  }
}

// Calls `append(character, valid)` for each character of at most `longest` bytes of text.
template <class Append>
void each_character(std::string& out, std::string_view text, std::size_t longest, Append append) {
  std::size_t done = 0;
  while (done < text.size()) {
    const std::size_t length = utf8_length(text.substr(done));
    const std::size_t step = length == 0 ? 1 : length;
    if (done + step > longest) {
      out += "...";
      return;
    }
    append(text.substr(done, step), length != 0);
    done += step;
  }
}

void append_escaped_text(std::string& out, std::string_view text, std::size_t longest,
                         bool in_quotes) {
  each_character(out, text, longest, [&](std::string_view character, bool valid) {
    if (character == "\n") {
      out += "\\n";
    } else if (character == "\t") {
      out += "\\t";
    } else if (!valid || is_control(character)) {
      append_hex(out, character);
    } else {
      if (in_quotes && (character == "\"" || character == "\\")) out += '\\';
      out += character;
    }
  });
}

void append_json_string(std::string& out, std::string_view text, std::size_t longest) {
  out += '"';
  each_character(out, text, longest, [&](std::string_view character, bool valid) {
    if (!valid) {
      // The bytes cannot stand in JSON; the replacement character says that something was there.
      out += "\\ufffd";
    } else if (character == "\"" || character == "\\") {
      out += '\\';
      out += character;
    } else if (character == "\n") {
      out += "\\n";
    } else if (is_control(character)) {
      char buffer[8];
      std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned char>(character.back()));
      out += buffer;
    } else {
      out += character;
    }
  });
  out += '"';
}

// A value that stands alone as it is, or else goes into quotes: a user named "x database=y" must
// not look like two fields.
bool needs_quotes(std::string_view value) {
  return value.find_first_of(" \"\\=\t\n:,") != std::string_view::npos;
}

struct Field {
  const char* name;
  std::string_view value;
};

template <class Each>
void each_field(const LogContext& context, Each each) {
  const Field fields[] = {{"client", context.client},
                          {"database", context.database},
                          {"user", context.user},
                          {"shard", context.shard},
                          {"sqlstate", context.sqlstate}};
  for (const Field& field : fields) {
    if (!field.value.empty()) each(field);
  }
}

}  // namespace

void append_text_line(std::string& out, const LogEvent& event) {
  out += event.event;
  each_field(event.context, [&](const Field& field) {
    out.append(" ").append(field.name).append("=");
    // Addresses have colons, and are ours.
    const bool quoted = field.name != std::string_view("client")
                            ? needs_quotes(field.value)
                            : field.value.find(' ') != field.value.npos;
    if (quoted) out += '"';
    append_escaped_text(out, field.value, kLongestLogField, quoted);
    if (quoted) out += '"';
  });
  if (event.context.pid != 0) out.append(" pid=").append(std::to_string(event.context.pid));
  if (event.left_out != 0) out.append(" left_out=").append(std::to_string(event.left_out));
  if (event.message.empty()) return;
  out += ": ";
  append_escaped_text(out, event.message, kLongestLogMessage, false);
}

void append_json_members(std::string& out, const LogEvent& event) {
  out += "\"event\":";
  append_json_string(out, event.event, kLongestLogField);
  each_field(event.context, [&](const Field& field) {
    out.append(",\"").append(field.name).append("\":");
    append_json_string(out, field.value, kLongestLogField);
  });
  if (event.context.pid != 0) out.append(",\"pid\":").append(std::to_string(event.context.pid));
  if (event.left_out != 0) {
    out.append(",\"left_out\":").append(std::to_string(event.left_out));
  }
  if (event.message.empty()) return;
  out += ",\"message\":";
  append_json_string(out, event.message, kLongestLogMessage);
}

}  // namespace pgshunt
