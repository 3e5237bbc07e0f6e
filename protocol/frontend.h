// What a client sends after startup: views that decode a message body in place, and appenders that
// build or rewrite messages for a server. (PostgreSQL manual, "Message Formats"; the server's side
// is exec_* and SocketBackend() in tcop/postgres.c, whose limits and wording are kept.)
//
// Decoders take a complete body (without the five header bytes) and return views into it. Errors
// are 08P01 (protocol violation): the server answers those with an ErrorResponse and skips to the
// next Sync, it does not hang up.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "protocol/frame.h"
#include "protocol/result.h"
#include "protocol/wire_value.h"

namespace pgshunt {

namespace frontend {
inline constexpr char kBind = 'B';
inline constexpr char kClose = 'C';
inline constexpr char kCopyData = 'd';
inline constexpr char kCopyDone = 'c';
inline constexpr char kCopyFail = 'f';
inline constexpr char kDescribe = 'D';
inline constexpr char kExecute = 'E';
inline constexpr char kFlush = 'H';
inline constexpr char kFunctionCall = 'F';
inline constexpr char kParse = 'P';
inline constexpr char kPassword = 'p';  // also SASLInitialResponse, SASLResponse, GSSResponse
inline constexpr char kQuery = 'Q';
inline constexpr char kSync = 'S';
inline constexpr char kTerminate = 'X';
}  // namespace frontend

// What a client may send depends on how far it has come.
enum class FrontendPhase : std::uint8_t {
  kAuthentication,  // only 'p' (and 'X': a client may give up)
  kReady,  // everything else. COPY messages too: after a failed COPY the server ignores them
};

// PQ_SMALL_MESSAGE_LIMIT: messages that carry names only.
inline constexpr std::uint32_t kSmallBody = 10000;
// PG_MAX_AUTH_TOKEN_LENGTH, what a server allows for 'p'; ours need far less. A SCRAM message of a
// sane client is under 1 KB, a password under 10 KB.
inline constexpr std::uint32_t kMaxAuthenticationBody = 10000;

inline constexpr std::uint32_t kTypeNotAllowed = 0xffffffffu;
// The largest body a message of this type may have in this phase, or kTypeNotAllowed.
std::uint32_t max_frontend_body(char type, FrontendPhase phase);

// read_frame_header() with the type's own limit. kMalformed also for a type that is not allowed,
// which is known from the first byte; frontend_frame_error() says which it was.
FrameStatus read_frontend_header(std::string_view in, FrontendPhase phase, FrameHeader& out);
Error frontend_frame_error(std::string_view in, FrontendPhase phase);

// --- decoders ---------------------------------------------------------------------------------

Result<std::string_view> decode_query(std::string_view body);

struct ParseView {
  std::string_view statement;  // empty: the unnamed one
  std::string_view sql;
  OidList types;  // may be shorter than the statement's parameters
};
Result<ParseView> decode_parse(std::string_view body);

struct BindView {
  std::string_view portal;
  std::string_view statement;
  FormatList formats;  // of(i): format of parameter i
  ValueList values;
  FormatList result_formats;     // of(i): format wanted for column i
  std::string_view after_names;  // everything behind the two names, as sent
};
Result<BindView> decode_bind(std::string_view body);

// Describe and Close name their object the same way.
enum class TargetKind : char { kStatement = 'S', kPortal = 'P' };
struct TargetView {
  TargetKind kind = TargetKind::kStatement;
  std::string_view name;
};
Result<TargetView> decode_describe(std::string_view body);
Result<TargetView> decode_close(std::string_view body);

struct ExecuteView {
  std::string_view portal;
  std::uint32_t max_rows = 0;  // 0: all
};
Result<ExecuteView> decode_execute(std::string_view body);

struct FunctionCallView {
  std::uint32_t function = 0;
  FormatList formats;
  ValueList arguments;
  std::uint16_t result_format = 0;
};
Result<FunctionCallView> decode_function_call(std::string_view body);

// The client's reason.
Result<std::string_view> decode_copy_fail(std::string_view body);

Result<std::string_view> decode_password(std::string_view body);

struct SaslInitialResponseView {
  std::string_view mechanism;
  bool has_response = false;
  std::string_view response;
};
Result<SaslInitialResponseView> decode_sasl_initial_response(std::string_view body);
// A SASLResponse and a CopyData are their bodies: there is nothing to decode.

// --- appenders --------------------------------------------------------------------------------
// Names and SQL are cut at a zero byte, which no decoded view contains.

void append_query(std::string& out, std::string_view sql);
void append_parse(std::string& out, std::string_view statement, std::string_view sql,
                  std::span<const std::uint32_t> types = {});
// The same statement under another name.
void append_parse_renamed(std::string& out, const ParseView& parse, std::string_view statement);
// A Bind of text parameters with results in text, for statements of the proxy's own.
void append_bind_text(std::string& out, std::string_view portal, std::string_view statement,
                      std::span<const WireValue> values);
// The same Bind for another statement name: portal, formats and values are copied as sent.
void append_bind_renamed(std::string& out, const BindView& bind, std::string_view statement);
void append_describe(std::string& out, TargetKind kind, std::string_view name);
void append_close(std::string& out, TargetKind kind, std::string_view name);
void append_execute(std::string& out, std::string_view portal, std::uint32_t max_rows = 0);
void append_sync(std::string& out);
void append_flush(std::string& out);
void append_terminate(std::string& out);
void append_copy_data(std::string& out, std::string_view data);
void append_copy_done(std::string& out);
void append_copy_fail(std::string& out, std::string_view reason);
void append_password(std::string& out, std::string_view password);
void append_sasl_initial_response(std::string& out, std::string_view mechanism,
                                  std::string_view response);
void append_sasl_response(std::string& out, std::string_view response);
void append_function_call(std::string& out, std::uint32_t function,
                          std::span<const std::uint16_t> formats,
                          std::span<const WireValue> arguments, std::uint16_t result_format);

}  // namespace pgshunt
