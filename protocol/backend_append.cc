// The messages a proxy makes up itself.
#include "protocol/backend.h"
#include "protocol/frame_writer.h"

namespace pgshunt {
namespace {

void append_empty(std::string& out, char type) { FrameWriter frame(out, type); }

void append_fields(std::string& out, char type, Severity severity, const Sqlstate& code,
                   std::string_view message, std::string_view detail, std::string_view hint,
                   std::string_view context = {}) {
  FrameWriter frame(out, type);
  auto field = [&frame](char field_code, std::string_view value) {
    frame.u8(field_code);
    frame.cstring(value);
  };
  field(error_field::kSeverity, severity_name(severity));
  field(error_field::kSeverityUntranslated, severity_name(severity));
  field(error_field::kSqlstate, code.view());
  field(error_field::kMessage, message);
  if (!detail.empty()) field(error_field::kDetail, detail);
  if (!hint.empty()) field(error_field::kHint, hint);
  if (!context.empty()) field(error_field::kWhere, context);
  frame.u8(0);
}

void append_authentication(std::string& out, AuthenticationCode code, std::string_view data) {
  FrameWriter frame(out, backend::kAuthentication);
  frame.be32(static_cast<std::uint32_t>(code));
  frame.bytes(data);
}

}  // namespace

std::string_view severity_name(Severity severity) {
  switch (severity) {
    case Severity::kError:
      return "ERROR";
    case Severity::kFatal:
      return "FATAL";
    case Severity::kPanic:
      return "PANIC";
    case Severity::kWarning:
      return "WARNING";
    case Severity::kNotice:
      return "NOTICE";
    case Severity::kInfo:
      return "INFO";
    case Severity::kLog:
      return "LOG";
  }
  return "ERROR";
}

void append_error_response(std::string& out, Severity severity, const Sqlstate& code,
                           std::string_view message, std::string_view detail,
                           std::string_view hint) {
  append_fields(out, backend::kErrorResponse, severity, code, message, detail, hint);
}

void append_error_response(std::string& out, Severity severity, const Error& error,
                           std::string_view context) {
  append_fields(out, backend::kErrorResponse, severity, error.code, error.message, {}, error.hint,
                context);
}

void append_notice_response(std::string& out, Severity severity, const Sqlstate& code,
                            std::string_view message, std::string_view detail,
                            std::string_view hint) {
  append_fields(out, backend::kNoticeResponse, severity, code, message, detail, hint);
}

void append_authentication_ok(std::string& out) {
  append_authentication(out, AuthenticationCode::kOk, {});
}

void append_authentication_cleartext(std::string& out) {
  append_authentication(out, AuthenticationCode::kCleartextPassword, {});
}

void append_authentication_md5(std::string& out, std::string_view salt) {
  append_authentication(out, AuthenticationCode::kMd5Password, salt);
}

void append_authentication_sasl(std::string& out, std::span<const std::string_view> mechanisms) {
  FrameWriter frame(out, backend::kAuthentication);
  frame.be32(static_cast<std::uint32_t>(AuthenticationCode::kSasl));
  for (const std::string_view mechanism : mechanisms) frame.cstring(mechanism);
  frame.u8(0);
}

void append_authentication_sasl_continue(std::string& out, std::string_view data) {
  append_authentication(out, AuthenticationCode::kSaslContinue, data);
}

void append_authentication_sasl_final(std::string& out, std::string_view data) {
  append_authentication(out, AuthenticationCode::kSaslFinal, data);
}

void append_parameter_status(std::string& out, std::string_view name, std::string_view value) {
  FrameWriter frame(out, backend::kParameterStatus);
  frame.cstring(name);
  frame.cstring(value);
}

void append_backend_key_data(std::string& out, std::uint32_t pid, std::string_view key) {
  FrameWriter frame(out, backend::kBackendKeyData);
  frame.be32(pid);
  frame.bytes(key);
}

void append_ready_for_query(std::string& out, TransactionStatus status) {
  FrameWriter frame(out, backend::kReadyForQuery);
  frame.u8(static_cast<char>(status));
}

void append_row_description(std::string& out, std::span<const FieldDescription> fields) {
  FrameWriter frame(out, backend::kRowDescription);
  frame.be16(static_cast<std::uint16_t>(fields.size()));
  for (const FieldDescription& field : fields) {
    frame.cstring(field.name);
    frame.be32(field.table_oid);
    frame.be16(static_cast<std::uint16_t>(field.column));
    frame.be32(field.type_oid);
    frame.be16(static_cast<std::uint16_t>(field.type_size));
    frame.be32(static_cast<std::uint32_t>(field.type_modifier));
    frame.be16(field.format);
  }
}

void append_data_row(std::string& out, std::span<const WireValue> values) {
  FrameWriter frame(out, backend::kDataRow);
  frame.be16(static_cast<std::uint16_t>(values.size()));
  for (const WireValue& value : values) frame.value(value);
}

void append_text_row(std::string& out, std::span<const std::string_view> values) {
  FrameWriter frame(out, backend::kDataRow);
  frame.be16(static_cast<std::uint16_t>(values.size()));
  for (const std::string_view value : values) frame.value({false, value});
}

void append_command_complete(std::string& out, std::string_view tag) {
  FrameWriter frame(out, backend::kCommandComplete);
  frame.cstring(tag);
}

void append_command_complete(std::string& out, std::string_view command,
                             std::optional<std::uint64_t> rows) {
  std::string tag(command);
  if (rows.has_value()) {
    // INSERT keeps the place of the OID that rows once had.
    if (command == "INSERT") tag += " 0";
    tag += ' ';
    tag += std::to_string(*rows);
  }
  append_command_complete(out, tag);
}

void append_parameter_description(std::string& out, std::span<const std::uint32_t> types) {
  FrameWriter frame(out, backend::kParameterDescription);
  frame.be16(static_cast<std::uint16_t>(types.size()));
  for (const std::uint32_t type : types) frame.be32(type);
}

void append_parse_complete(std::string& out) { append_empty(out, backend::kParseComplete); }
void append_bind_complete(std::string& out) { append_empty(out, backend::kBindComplete); }
void append_close_complete(std::string& out) { append_empty(out, backend::kCloseComplete); }
void append_no_data(std::string& out) { append_empty(out, backend::kNoData); }
void append_empty_query_response(std::string& out) {
  append_empty(out, backend::kEmptyQueryResponse);
}
void append_portal_suspended(std::string& out) { append_empty(out, backend::kPortalSuspended); }

void append_notification(std::string& out, std::uint32_t pid, std::string_view channel,
                         std::string_view payload) {
  FrameWriter frame(out, backend::kNotificationResponse);
  frame.be32(pid);
  frame.cstring(channel);
  frame.cstring(payload);
}

void append_copy_response(std::string& out, char type, std::uint8_t format, std::uint16_t columns) {
  FrameWriter frame(out, type);
  frame.u8(static_cast<char>(format));
  frame.be16(columns);
  for (std::uint16_t i = 0; i < columns; ++i) frame.be16(format);
}

}  // namespace pgshunt
