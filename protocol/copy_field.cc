#include "protocol/copy_field.h"

#include "protocol/byte_search.h"

namespace pgshunt {
namespace {

bool is_octal(char c) { return c >= '0' && c <= '7'; }

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// What an escape whose backslash was read stands for; `at` goes behind it.
char unescape(const char*& at, const char* end) {
  const char c = *at++;
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    case 'x': {
      if (at == end || hex_value(*at) < 0) return c;
      int value = hex_value(*at++);
      if (at < end && hex_value(*at) >= 0) value = value * 16 + hex_value(*at++);
      return static_cast<char>(value);
    }
    default:
      break;
  }
  if (!is_octal(c)) return c;
  int value = c - '0';
  for (int digits = 1; digits < 3 && at < end && is_octal(*at); ++digits) {
    value = value * 8 + (*at++ - '0');
  }
  return static_cast<char>(value & 0xff);
}

CopyField::State state_of(const CopyOptions& options, const CopyField& field) {
  if (field.quoted) return CopyField::State::kValue;
  if (field.raw == options.null_text) return CopyField::State::kNull;
  const bool is_default = options.default_text && field.raw == *options.default_text;
  return is_default ? CopyField::State::kDefault : CopyField::State::kValue;
}

CopyField find_text_field(const CopyOptions& options, std::string_view line, std::size_t index) {
  CopyField field;
  const char* const end = line.data() + line.size();
  const char* start = line.data();
  for (const char* at = start;;) {
    at = find_any(at, end, options.delimiter, '\\');
    if (at < end && *at == '\\') {
      field.escaped = true;
      // A backslash that ends the row is no part of the field.
      if (end - at >= 2) {
        at += 2;
        continue;
      }
    }
    if (index == 0) {
      field.raw = {start, static_cast<std::size_t>(at - start)};
      field.state = state_of(options, field);
      return field;
    }
    if (at == end || *at == '\\') return CopyField{};
    --index;
    start = ++at;
    field.escaped = false;
  }
}

CopyField find_csv_field(const CopyOptions& options, std::string_view line, std::size_t index) {
  CopyField field;
  const char* const end = line.data() + line.size();
  const char* start = line.data();
  for (const char* at = start;;) {
    at = find_any(at, end, options.delimiter, options.quote);
    // The delimiter first: it may not be the quote, but the two are told apart in this order.
    if (at < end && *at != options.delimiter) {
      field.quoted = field.escaped = true;
      for (++at;;) {
        at = find_any(at, end, options.quote, options.escape);
        if (at == end) {
          field.state = CopyField::State::kUnterminated;
          return field;
        }
        const char c = *at++;
        if (c == options.escape && at < end && (*at == options.escape || *at == options.quote)) {
          ++at;
          continue;
        }
        if (c == options.quote) break;
      }
      continue;
    }
    if (index == 0) {
      field.raw = {start, static_cast<std::size_t>(at - start)};
      field.state = state_of(options, field);
      return field;
    }
    if (at == end) return CopyField{};
    --index;
    start = ++at;
    field.quoted = field.escaped = false;
  }
}

void decode_text(std::string_view raw, std::string& out) {
  const char* const end = raw.data() + raw.size();
  for (const char* at = raw.data(); at < end;) {
    const char* const stop = find_any(at, end, '\\');
    out.append(at, stop);
    at = stop;
    if (at == end || ++at == end) break;
    out.push_back(unescape(at, end));
  }
}

void decode_csv(const CopyOptions& options, std::string_view raw, std::string& out) {
  const char* const end = raw.data() + raw.size();
  bool in_quote = false;
  for (const char* at = raw.data(); at < end;) {
    const char c = *at++;
    if (in_quote && c == options.escape && at < end &&
        (*at == options.escape || *at == options.quote)) {
      out.push_back(*at++);
    } else if (c == options.quote) {
      in_quote = !in_quote;
    } else {
      out.push_back(c);
    }
  }
}

}  // namespace

CopyField find_copy_field(const CopyOptions& options, std::string_view line, std::size_t index) {
  return options.format == CopyFormat::kCsv ? find_csv_field(options, line, index)
                                            : find_text_field(options, line, index);
}

std::string_view decode_copy_field(const CopyOptions& options, const CopyField& field,
                                   std::string& scratch) {
  if (!field.escaped) return field.raw;
  scratch.clear();
  if (options.format == CopyFormat::kCsv) {
    decode_csv(options, field.raw, scratch);
  } else {
    decode_text(field.raw, scratch);
  }
  return scratch;
}

}  // namespace pgshunt
