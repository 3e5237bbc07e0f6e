// What a server sends: views that decode a message body in place, and appenders for every message a
// proxy makes up itself. (PostgreSQL manual, "Message Formats".)
//
// Decoders take a complete body (without the five header bytes) and return views into it, every
// length checked, so that walking a view cannot fail. Their errors are 08P01: a server that sends
// such a thing cannot be trusted with another query.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "protocol/frame.h"
#include "protocol/result.h"
#include "protocol/wire_value.h"

namespace pgshunt {

namespace backend {
inline constexpr char kAuthentication = 'R';
inline constexpr char kBackendKeyData = 'K';
inline constexpr char kBindComplete = '2';
inline constexpr char kCloseComplete = '3';
inline constexpr char kCommandComplete = 'C';
inline constexpr char kCopyBothResponse = 'W';
inline constexpr char kCopyData = 'd';
inline constexpr char kCopyDone = 'c';
inline constexpr char kCopyInResponse = 'G';
inline constexpr char kCopyOutResponse = 'H';
inline constexpr char kDataRow = 'D';
inline constexpr char kEmptyQueryResponse = 'I';
inline constexpr char kErrorResponse = 'E';
inline constexpr char kFunctionCallResponse = 'V';
inline constexpr char kNegotiateProtocolVersion = 'v';
inline constexpr char kNoData = 'n';
inline constexpr char kNoticeResponse = 'N';
inline constexpr char kNotificationResponse = 'A';
inline constexpr char kParameterDescription = 't';
inline constexpr char kParameterStatus = 'S';
inline constexpr char kParseComplete = '1';
inline constexpr char kPortalSuspended = 's';
inline constexpr char kReadyForQuery = 'Z';
inline constexpr char kRowDescription = 'T';
}  // namespace backend

// A message type a server of protocol 3.x can send.
bool is_backend_type(char type);

// --- authentication and session ---------------------------------------------------------------

enum class AuthenticationCode : std::uint32_t {
  kOk = 0,
  kKerberosV5 = 2,
  kCleartextPassword = 3,
  kMd5Password = 5,
  kGss = 7,
  kGssContinue = 8,
  kSspi = 9,
  kSasl = 10,
  kSaslContinue = 11,
  kSaslFinal = 12,
};
// "MD5Password" and the like, for messages about what is not supported; "unknown" for others.
std::string_view authentication_name(AuthenticationCode code);

struct AuthenticationView {
  AuthenticationCode code = AuthenticationCode::kOk;
  // kMd5Password: the four salt bytes. kSaslContinue, kSaslFinal, kGssContinue: the payload.
  // kSasl: the mechanism names, each with its zero, without the list's final zero.
  std::string_view data;

  // kSasl: is `mechanism` offered?
  bool offers(std::string_view mechanism) const;
};
// Codes that are not listed decode too (their data is what follows): the caller names and refuses
// them.
Result<AuthenticationView> decode_authentication(std::string_view body);

struct ParameterStatusView {
  std::string_view name;
  std::string_view value;
};
Result<ParameterStatusView> decode_parameter_status(std::string_view body);

struct BackendKeyDataView {
  std::uint32_t pid = 0;
  std::string_view key;  // 4 bytes in protocol 3.0, 4 .. 256 in 3.2
};
Result<BackendKeyDataView> decode_backend_key_data(std::string_view body);

enum class TransactionStatus : char { kIdle = 'I', kInTransaction = 'T', kFailed = 'E' };
Result<TransactionStatus> decode_ready_for_query(std::string_view body);

// --- results ----------------------------------------------------------------------------------

struct FieldDescription {
  std::string_view name;
  std::uint32_t table_oid = 0;  // 0: not a column of a table
  std::int16_t column = 0;      // attribute number in that table
  std::uint32_t type_oid = 0;
  std::int16_t type_size = 0;  // negative: variable
  std::int32_t type_modifier = -1;
  std::uint16_t format = kFormatText;
};

class RowDescriptionView {
 public:
  class Iterator {
   public:
    using value_type = FieldDescription;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;

    Iterator() = default;
    explicit Iterator(const char* at);
    FieldDescription operator*() const;
    Iterator& operator++();
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator&) const = default;
    const char* position() const { return at_; }

   private:
    const char* at_ = nullptr;
  };

  RowDescriptionView() = default;
  RowDescriptionView(std::uint16_t count, std::string_view raw) : count_(count), raw_(raw) {}
  std::size_t size() const { return count_; }
  Iterator begin() const { return Iterator(raw_.data()); }
  Iterator end() const { return Iterator(raw_.data() + raw_.size()); }

 private:
  std::uint16_t count_ = 0;
  std::string_view raw_{"", 0};
};
Result<RowDescriptionView> decode_row_description(std::string_view body);

// A DataRow's values, by column.
Result<ValueList> decode_data_row(std::string_view body);

// Appends the message anew with only its first `keep` columns (all, if it has no more): how columns
// that the proxy added for sorting are taken off again. Values are copied as sent.
Status cut_data_row(std::string_view body, std::uint16_t keep, std::string& out);
Status cut_row_description(std::string_view body, std::uint16_t keep, std::string& out);

Result<OidList> decode_parameter_description(std::string_view body);

// CopyInResponse, CopyOutResponse, CopyBothResponse.
struct CopyResponseView {
  std::uint8_t format = 0;  // 0: text, 1: binary
  FormatList column_formats;
};
Result<CopyResponseView> decode_copy_response(std::string_view body);

Result<WireValue> decode_function_call_response(std::string_view body);

// CommandComplete's tag: "SELECT 5", "INSERT 0 3", "CREATE TABLE".
struct CommandTag {
  std::string_view command;           // without the numbers: "INSERT"
  std::optional<std::uint64_t> rows;  // the last number
};
Result<std::string_view> decode_command_complete(std::string_view body);
CommandTag parse_command_tag(std::string_view tag);

struct NotificationView {
  std::uint32_t pid = 0;
  std::string_view channel;
  std::string_view payload;
};
Result<NotificationView> decode_notification(std::string_view body);

// --- errors and notices -----------------------------------------------------------------------

namespace error_field {
inline constexpr char kSeverity = 'S';              // translated
inline constexpr char kSeverityUntranslated = 'V';  // since 9.6
inline constexpr char kSqlstate = 'C';
inline constexpr char kMessage = 'M';
inline constexpr char kDetail = 'D';
inline constexpr char kHint = 'H';
inline constexpr char kPosition = 'P';
inline constexpr char kInternalPosition = 'p';
inline constexpr char kInternalQuery = 'q';
inline constexpr char kWhere = 'W';
inline constexpr char kSchema = 's';
inline constexpr char kTable = 't';
inline constexpr char kColumn = 'c';
inline constexpr char kDataType = 'd';
inline constexpr char kConstraint = 'n';
inline constexpr char kFile = 'F';
inline constexpr char kLine = 'L';
inline constexpr char kRoutine = 'R';
}  // namespace error_field

// An ErrorResponse or NoticeResponse.
class ErrorResponseView {
 public:
  ErrorResponseView() = default;
  explicit ErrorResponseView(std::string_view fields) : fields_(fields) {}

  // The first field with this code, empty if there is none.
  std::string_view field(char code) const;
  // Untranslated if the server sends it.
  std::string_view severity() const;
  Sqlstate sqlstate() const { return Sqlstate(field(error_field::kSqlstate)); }
  std::string_view message() const { return field(error_field::kMessage); }
  // The connection is going away: FATAL or PANIC.
  bool fatal() const;
  // Message and hint as a value of ours, for what is not forwarded verbatim.
  Error to_error() const;

 private:
  std::string_view fields_{"", 0};  // code, value, zero; repeated; without the final zero
};
Result<ErrorResponseView> decode_error_response(std::string_view body);

// --- appenders --------------------------------------------------------------------------------

enum class Severity : std::uint8_t { kError, kFatal, kPanic, kWarning, kNotice, kInfo, kLog };
std::string_view severity_name(Severity severity);

void append_error_response(std::string& out, Severity severity, const Sqlstate& code,
                           std::string_view message, std::string_view detail = {},
                           std::string_view hint = {});
// `context`: what the server was doing, for CONTEXT.
void append_error_response(std::string& out, Severity severity, const Error& error,
                           std::string_view context = {});
void append_notice_response(std::string& out, Severity severity, const Sqlstate& code,
                            std::string_view message, std::string_view detail = {},
                            std::string_view hint = {});

void append_authentication_ok(std::string& out);
void append_authentication_cleartext(std::string& out);
// `salt`: exactly four bytes.
void append_authentication_md5(std::string& out, std::string_view salt);
void append_authentication_sasl(std::string& out, std::span<const std::string_view> mechanisms);
void append_authentication_sasl_continue(std::string& out, std::string_view data);
void append_authentication_sasl_final(std::string& out, std::string_view data);

void append_parameter_status(std::string& out, std::string_view name, std::string_view value);
void append_backend_key_data(std::string& out, std::uint32_t pid, std::string_view key);
void append_ready_for_query(std::string& out, TransactionStatus status);

void append_row_description(std::string& out, std::span<const FieldDescription> fields);
void append_data_row(std::string& out, std::span<const WireValue> values);
// A row of texts, none NULL: what consoles answer with.
void append_text_row(std::string& out, std::span<const std::string_view> values);
void append_command_complete(std::string& out, std::string_view tag);
// `rows` in the place where the command's tag has it: "INSERT 0 3", "SELECT 5", but "BEGIN" stays.
void append_command_complete(std::string& out, std::string_view command,
                             std::optional<std::uint64_t> rows);
void append_parameter_description(std::string& out, std::span<const std::uint32_t> types);

void append_parse_complete(std::string& out);
void append_bind_complete(std::string& out);
void append_close_complete(std::string& out);
void append_no_data(std::string& out);
void append_empty_query_response(std::string& out);
void append_portal_suspended(std::string& out);
void append_notification(std::string& out, std::uint32_t pid, std::string_view channel,
                         std::string_view payload);
// `type`: kCopyInResponse, kCopyOutResponse or kCopyBothResponse.
void append_copy_response(std::string& out, char type, std::uint8_t format, std::uint16_t columns);

}  // namespace pgshunt
