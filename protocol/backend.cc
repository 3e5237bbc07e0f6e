#include "protocol/backend.h"

#include <charconv>
#include <cstring>

#include "protocol/byte_reader.h"
#include "protocol/frame_writer.h"
#include "protocol/startup.h"

namespace pgshunt {
namespace {

constexpr std::size_t kFieldTailSize = 18;  // of a RowDescription field, behind its name

bool all_digits(std::string_view text) {
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
  }
  return !text.empty();
}

}  // namespace

bool is_backend_type(char type) {
  switch (type) {
    case backend::kAuthentication:
    case backend::kBackendKeyData:
    case backend::kBindComplete:
    case backend::kCloseComplete:
    case backend::kCommandComplete:
    case backend::kCopyBothResponse:
    case backend::kCopyData:
    case backend::kCopyDone:
    case backend::kCopyInResponse:
    case backend::kCopyOutResponse:
    case backend::kDataRow:
    case backend::kEmptyQueryResponse:
    case backend::kErrorResponse:
    case backend::kFunctionCallResponse:
    case backend::kNegotiateProtocolVersion:
    case backend::kNoData:
    case backend::kNoticeResponse:
    case backend::kNotificationResponse:
    case backend::kParameterDescription:
    case backend::kParameterStatus:
    case backend::kParseComplete:
    case backend::kPortalSuspended:
    case backend::kReadyForQuery:
    case backend::kRowDescription:
      return true;
    default:
      return false;
  }
}

std::string_view authentication_name(AuthenticationCode code) {
  switch (code) {
    case AuthenticationCode::kOk:
      return "Ok";
    case AuthenticationCode::kKerberosV5:
      return "KerberosV5";
    case AuthenticationCode::kCleartextPassword:
      return "CleartextPassword";
    case AuthenticationCode::kMd5Password:
      return "MD5Password";
    case AuthenticationCode::kGss:
      return "GSS";
    case AuthenticationCode::kGssContinue:
      return "GSSContinue";
    case AuthenticationCode::kSspi:
      return "SSPI";
    case AuthenticationCode::kSasl:
      return "SASL";
    case AuthenticationCode::kSaslContinue:
      return "SASLContinue";
    case AuthenticationCode::kSaslFinal:
      return "SASLFinal";
  }
  return "unknown";
}

bool AuthenticationView::offers(std::string_view mechanism) const {
  ByteReader in(data);
  while (in.remaining() > 0) {
    if (in.cstring() == mechanism && in.ok()) return true;
    if (!in.ok()) return false;
  }
  return false;
}

Result<AuthenticationView> decode_authentication(std::string_view body) {
  ByteReader in(body);
  AuthenticationView view;
  view.code = static_cast<AuthenticationCode>(in.be32());
  switch (view.code) {
    case AuthenticationCode::kOk:
    case AuthenticationCode::kCleartextPassword:
      break;
    case AuthenticationCode::kMd5Password:
      view.data = in.bytes(4);
      break;
    case AuthenticationCode::kSasl: {
      const std::string_view list = in.rest();
      while (!in.cstring().empty()) {
      }
      if (in.ok()) view.data = list.substr(0, list.size() - in.remaining() - 1);
      break;
    }
    default:
      view.data = in.take_rest();
      break;
  }
  if (!in.finished()) return malformed("Authentication");
  return view;
}

Result<ParameterStatusView> decode_parameter_status(std::string_view body) {
  ByteReader in(body);
  ParameterStatusView view;
  view.name = in.cstring();
  view.value = in.cstring();
  if (!in.finished()) return malformed("ParameterStatus");
  return view;
}

Result<BackendKeyDataView> decode_backend_key_data(std::string_view body) {
  ByteReader in(body);
  BackendKeyDataView view;
  view.pid = in.be32();
  view.key = in.take_rest();
  if (!in.ok() || view.key.size() < kMinCancelKey || view.key.size() > kMaxCancelKey) {
    return malformed("BackendKeyData");
  }
  return view;
}

Result<TransactionStatus> decode_ready_for_query(std::string_view body) {
  if (body.size() == 1 && (body[0] == 'I' || body[0] == 'T' || body[0] == 'E')) {
    return static_cast<TransactionStatus>(body[0]);
  }
  return malformed("ReadyForQuery");
}

RowDescriptionView::Iterator::Iterator(const char* at) : at_(at) {}

FieldDescription RowDescriptionView::Iterator::operator*() const {
  FieldDescription field;
  field.name = std::string_view(at_);
  const char* p = at_ + field.name.size() + 1;
  field.table_oid = load_be32(p);
  field.column = static_cast<std::int16_t>(load_be16(p + 4));
  field.type_oid = load_be32(p + 6);
  field.type_size = static_cast<std::int16_t>(load_be16(p + 10));
  field.type_modifier = static_cast<std::int32_t>(load_be32(p + 12));
  field.format = load_be16(p + 16);
  return field;
}

RowDescriptionView::Iterator& RowDescriptionView::Iterator::operator++() {
  at_ += std::strlen(at_) + 1 + kFieldTailSize;
  return *this;
}

Result<RowDescriptionView> decode_row_description(std::string_view body) {
  ByteReader in(body);
  const std::uint16_t count = in.be16();
  const std::string_view fields = in.rest();
  for (std::uint16_t i = 0; i < count && in.ok(); ++i) {
    in.cstring();
    in.bytes(kFieldTailSize);
  }
  if (!in.finished()) return malformed("RowDescription");
  return RowDescriptionView(count, fields);
}

Result<ValueList> decode_data_row(std::string_view body) {
  ByteReader in(body);
  const ValueList values = ValueList::read(in, in.be16());
  if (!in.finished()) return malformed("DataRow");
  return values;
}

Status cut_data_row(std::string_view body, std::uint16_t keep, std::string& out) {
  auto row = decode_data_row(body);
  if (!row) return row.error();
  if (keep > row->size()) keep = static_cast<std::uint16_t>(row->size());
  ValueList::Iterator end = row->begin();
  for (std::uint16_t i = 0; i < keep; ++i) ++end;
  const char* const begin = row->begin().position();
  FrameWriter frame(out, backend::kDataRow);
  frame.be16(keep);
  frame.bytes({begin, static_cast<std::size_t>(end.position() - begin)});
  return Ok{};
}

Status cut_row_description(std::string_view body, std::uint16_t keep, std::string& out) {
  auto row = decode_row_description(body);
  if (!row) return row.error();
  if (keep > row->size()) keep = static_cast<std::uint16_t>(row->size());
  RowDescriptionView::Iterator end = row->begin();
  for (std::uint16_t i = 0; i < keep; ++i) ++end;
  const char* const begin = row->begin().position();
  FrameWriter frame(out, backend::kRowDescription);
  frame.be16(keep);
  frame.bytes({begin, static_cast<std::size_t>(end.position() - begin)});
  return Ok{};
}

Result<OidList> decode_parameter_description(std::string_view body) {
  ByteReader in(body);
  const OidList types = OidList::read(in, in.be16());
  if (!in.finished()) return malformed("ParameterDescription");
  return types;
}

Result<CopyResponseView> decode_copy_response(std::string_view body) {
  ByteReader in(body);
  CopyResponseView view;
  view.format = in.u8();
  view.column_formats = FormatList::read(in, in.be16());
  if (!in.finished()) return malformed("CopyResponse");
  return view;
}

Result<WireValue> decode_function_call_response(std::string_view body) {
  ByteReader in(body);
  const ValueList values = ValueList::read(in, 1);
  if (!in.finished()) return malformed("FunctionCallResponse");
  return values.at(0);
}

Result<std::string_view> decode_command_complete(std::string_view body) {
  ByteReader in(body);
  const std::string_view tag = in.cstring();
  if (!in.finished()) return malformed("CommandComplete");
  return tag;
}

CommandTag parse_command_tag(std::string_view tag) {
  CommandTag parsed{tag, std::nullopt};
  // Numbers stand at the end, one or (INSERT's OID and rows) two.
  for (int numbers = 0; numbers < 2; ++numbers) {
    const std::size_t space = parsed.command.rfind(' ');
    if (space == std::string_view::npos) break;
    const std::string_view word = parsed.command.substr(space + 1);
    if (!all_digits(word)) break;
    if (numbers == 0) {
      std::uint64_t rows = 0;
      const auto read = std::from_chars(word.data(), word.data() + word.size(), rows);
      if (read.ec != std::errc()) break;
      parsed.rows = rows;
    }
    parsed.command = parsed.command.substr(0, space);
  }
  return parsed;
}

Result<NotificationView> decode_notification(std::string_view body) {
  ByteReader in(body);
  NotificationView view;
  view.pid = in.be32();
  view.channel = in.cstring();
  view.payload = in.cstring();
  if (!in.finished()) return malformed("NotificationResponse");
  return view;
}

std::string_view ErrorResponseView::field(char code) const {
  ByteReader in(fields_);
  while (in.remaining() > 0) {
    const char found = static_cast<char>(in.u8());
    const std::string_view value = in.cstring();
    if (!in.ok()) break;
    if (found == code) return value;
  }
  return {};
}

std::string_view ErrorResponseView::severity() const {
  const std::string_view untranslated = field(error_field::kSeverityUntranslated);
  return untranslated.empty() ? field(error_field::kSeverity) : untranslated;
}

bool ErrorResponseView::fatal() const {
  const std::string_view level = severity();
  return level == "FATAL" || level == "PANIC";
}

Error ErrorResponseView::to_error() const {
  return {sqlstate(), std::string(message()), std::string(field(error_field::kHint))};
}

Result<ErrorResponseView> decode_error_response(std::string_view body) {
  ByteReader in(body);
  while (in.u8() != 0) in.cstring();
  if (!in.finished()) return malformed("ErrorResponse");
  return ErrorResponseView(body.substr(0, body.size() - 1));
}

}  // namespace pgshunt
