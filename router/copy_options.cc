#include "router/copy_options.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "protocol/value_text.h"
#include "router/refusal.h"

namespace pgshunt {
namespace {

constexpr Sqlstate kInvalidParameter{"22023"};

Error invalid(std::string message) { return {kInvalidParameter, std::move(message), {}}; }
Error unsupported(std::string message) {
  return {sqlstate::kFeatureNotSupported, std::move(message), {}};
}

std::optional<bool> boolean_of(const CopyOption& option) {
  if (!option.value) {
    if (option.columns.empty() && !option.all_columns) return true;
    return std::nullopt;
  }
  for (const char* word : {"true", "on", "1"}) {
    if (equals_ignoring_case(*option.value, word)) return true;
  }
  for (const char* word : {"false", "off", "0"}) {
    if (equals_ignoring_case(*option.value, word)) return false;
  }
  return std::nullopt;
}

// What was written; defaults depend on the format, which may come last.
struct Written {
  std::optional<CopyFormat> format;
  std::optional<bool> header;
  bool header_match = false;
  std::optional<std::string> delimiter;
  std::optional<std::string> null_text;
  std::optional<std::string> quote;
  std::optional<std::string> escape;
  std::optional<std::string> default_text;
  std::optional<std::string> encoding;
  std::optional<CopyColumnChoice> force_quote;
  std::optional<CopyColumnChoice> force_null;
  std::optional<CopyColumnChoice> force_not_null;
};

Error redundant() { return {sqlstate::kSyntaxError, "conflicting or redundant options", {}}; }

Status read_string(const CopyOption& option, std::optional<std::string>& out) {
  if (out) return redundant();
  if (!option.value) {
    return Error{sqlstate::kSyntaxError, option.name + " requires a parameter", {}};
  }
  out = option.value;
  return Ok{};
}

Status read_columns(const CopyOption& option, std::optional<CopyColumnChoice>& out) {
  if (out) return redundant();
  if (option.columns.empty() && !option.all_columns) {
    return invalid("argument to option \"" + option.name + "\" must be a list of column names");
  }
  out = CopyColumnChoice{option.all_columns, option.columns};
  return Ok{};
}

Status read_format(const CopyOption& option, std::optional<CopyFormat>& out) {
  if (out) return redundant();
  if (!option.value) return Error{sqlstate::kSyntaxError, "format requires a parameter", {}};
  if (*option.value == "text") {
    out = CopyFormat::kText;
  } else if (*option.value == "csv") {
    out = CopyFormat::kCsv;
  } else if (*option.value == "binary") {
    out = CopyFormat::kBinary;
  } else {
    return invalid("COPY format \"" + *option.value + "\" not recognized");
  }
  return Ok{};
}

Status read_header(const CopyOption& option, bool from, Written& out) {
  if (out.header) return redundant();
  out.header = boolean_of(option);
  if (out.header) return Ok{};
  if (!option.value || !equals_ignoring_case(*option.value, "match")) {
    return Error{
        sqlstate::kSyntaxError, option.name + " requires a Boolean value or \"match\"", {}};
  }
  if (!from) return unsupported("cannot use \"match\" with HEADER in COPY TO");
  out.header = out.header_match = true;
  return Ok{};
}

Status read_boolean(const CopyOption& option) {
  if (boolean_of(option)) return Ok{};
  return Error{sqlstate::kSyntaxError, option.name + " requires a Boolean value", {}};
}

Status read_option(const CopyOption& option, bool from, Written& out) {
  const std::string& name = option.name;
  if (name == "format") return read_format(option, out.format);
  if (name == "header") return read_header(option, from, out);
  if (name == "delimiter") return read_string(option, out.delimiter);
  if (name == "null") return read_string(option, out.null_text);
  if (name == "quote") return read_string(option, out.quote);
  if (name == "escape") return read_string(option, out.escape);
  if (name == "default") return read_string(option, out.default_text);
  if (name == "encoding") return read_string(option, out.encoding);
  if (name == "force_quote") return read_columns(option, out.force_quote);
  if (name == "force_null") return read_columns(option, out.force_null);
  if (name == "force_not_null") return read_columns(option, out.force_not_null);
  if (name == "freeze") return read_boolean(option);
  if (name == "log_verbosity") return Ok{};
  if (name == "on_error" && option.value && equals_ignoring_case(*option.value, "stop")) {
    return Ok{};
  }
  return refusal("COPY's option " + name + " is not supported over several shards",
                 "Leave it out, or COPY on each shard.");
}

Status check_delimiter(const std::string& delimiter, CopyFormat format) {
  if (delimiter.size() != 1 || static_cast<unsigned char>(delimiter[0]) >= 0x80) {
    return unsupported("COPY delimiter must be a single one-byte character");
  }
  if (delimiter == "\n" || delimiter == "\r") {
    return invalid("COPY delimiter cannot be newline or carriage return");
  }
  constexpr std::string_view kTaken = "\\.abcdefghijklmnopqrstuvwxyz0123456789";
  if (format != CopyFormat::kCsv && kTaken.find(delimiter[0]) != std::string_view::npos) {
    return invalid("COPY delimiter cannot be \"" + delimiter + "\"");
  }
  return Ok{};
}

// A quote or escape that is a line end is taken by servers, and read by them in ways of their own.
Status check_one_byte(const std::string& value, const char* name) {
  if (value.size() == 1 && static_cast<unsigned char>(value[0]) < 0x80 && value != "\n" &&
      value != "\r") {
    return Ok{};
  }
  return unsupported(std::string("COPY ") + name + " must be a single one-byte character");
}

// The NULL or the DEFAULT string.
Status check_marker(const std::string& marker, const char* name, const CopyOptions& options) {
  if (marker.find_first_of("\r\n") != std::string::npos) {
    return invalid(std::string("COPY ") + name +
                   " representation cannot use newline or carriage return");
  }
  const std::string what = equals_ignoring_case(name, "null") ? "NULL" : "DEFAULT";
  if (marker.find(options.delimiter) != std::string::npos) {
    return unsupported("COPY delimiter must not appear in the " + what + " specification");
  }
  if (options.format == CopyFormat::kCsv && marker.find(options.quote) != std::string::npos) {
    return unsupported("CSV quote character must not appear in the " + what + " specification");
  }
  return Ok{};
}

Status check_binary(const Written& written) {
  if (written.delimiter) {
    return Error{sqlstate::kSyntaxError, "cannot specify DELIMITER in BINARY mode", {}};
  }
  if (written.null_text) {
    return Error{sqlstate::kSyntaxError, "cannot specify NULL in BINARY mode", {}};
  }
  if (written.default_text) {
    return Error{sqlstate::kSyntaxError, "cannot specify DEFAULT in BINARY mode", {}};
  }
  if (written.header.value_or(false)) {
    return unsupported("cannot specify HEADER in BINARY mode");
  }
  return Ok{};
}

Status check_csv_only(const Written& written, bool from) {
  const bool csv = written.format == CopyFormat::kCsv;
  struct Rule {
    bool given;
    const char* name;
    bool of_from;  // for COPY FROM only
    bool of_to;
  };
  const Rule rules[] = {
      {written.quote.has_value(), "quote", false, false},
      {written.escape.has_value(), "escape", false, false},
      {written.force_quote.has_value(), "force quote", false, true},
      {written.force_not_null.has_value(), "force not null", true, false},
      {written.force_null.has_value(), "force null", true, false},
  };
  for (const Rule& rule : rules) {
    if (!rule.given) continue;
    const std::string name = std::string("COPY ") + rule.name;
    if (!csv) return unsupported(name + " available only in CSV mode");
    if (rule.of_to && from) return unsupported(name + " only available using COPY TO");
    if (rule.of_from && !from) return unsupported(name + " only available using COPY FROM");
  }
  return Ok{};
}

}  // namespace

bool CopyColumnChoice::has(const std::string& column) const {
  return all || std::find(names.begin(), names.end(), column) != names.end();
}

Result<ParsedCopyOptions> parse_copy_options(const SqlStatement& copy) {
  Written written;
  for (const CopyOption& option : copy.copy_options) {
    if (const Status read = read_option(option, copy.from, written); !read) return read.error();
  }
  ParsedCopyOptions out;
  CopyOptions& bytes = out.bytes;
  bytes.format = written.format.value_or(CopyFormat::kText);
  bytes.header = written.header.value_or(false);
  const bool csv = bytes.format == CopyFormat::kCsv;
  if (bytes.format == CopyFormat::kBinary) {
    if (const Status ok = check_binary(written); !ok) return ok.error();
  }
  const std::string delimiter = written.delimiter.value_or(csv ? "," : "\t");
  if (const Status ok = check_delimiter(delimiter, bytes.format); !ok) return ok.error();
  bytes.delimiter = delimiter[0];
  if (const Status ok = check_csv_only(written, copy.from); !ok) return ok.error();
  const std::string quote = written.quote.value_or("\"");
  if (const Status ok = check_one_byte(quote, "quote"); !ok) return ok.error();
  if (csv && delimiter == quote) return invalid("COPY delimiter and quote must be different");
  bytes.quote = quote[0];
  const std::string escape = written.escape.value_or(quote);
  if (const Status ok = check_one_byte(escape, "escape"); !ok) return ok.error();
  bytes.escape = escape[0];
  bytes.null_text = written.null_text.value_or(csv ? "" : "\\N");
  if (const Status ok = check_marker(bytes.null_text, "null", bytes); !ok) return ok.error();
  bytes.default_text = written.default_text;
  if (bytes.default_text) {
    if (const Status ok = check_marker(*bytes.default_text, "default", bytes); !ok) {
      return ok.error();
    }
  }
  out.encoding = written.encoding.value_or("");
  out.header_match = written.header_match;
  out.force_quote = written.force_quote.value_or(CopyColumnChoice{});
  out.force_null = written.force_null.value_or(CopyColumnChoice{});
  out.force_not_null = written.force_not_null.value_or(CopyColumnChoice{});
  return out;
}

}  // namespace pgshunt
