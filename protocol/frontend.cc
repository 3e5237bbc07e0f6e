#include "protocol/frontend.h"

#include <array>

#include "protocol/byte_reader.h"
#include "protocol/frame_writer.h"

namespace pgshunt {
namespace {

using SizeTable = std::array<std::uint32_t, 256>;

constexpr SizeTable ready_sizes() {
  SizeTable table{};
  for (auto& size : table) size = kTypeNotAllowed;
  auto set = [&table](char type, std::uint32_t size) {
    table[static_cast<unsigned char>(type)] = size;
  };
  for (char type : {frontend::kQuery, frontend::kParse, frontend::kBind, frontend::kFunctionCall,
                    frontend::kCopyData}) {
    set(type, kMaxBodySize);
  }
  for (char type :
       {frontend::kDescribe, frontend::kExecute, frontend::kClose, frontend::kCopyFail}) {
    set(type, kSmallBody);
  }
  for (char type : {frontend::kSync, frontend::kFlush, frontend::kTerminate, frontend::kCopyDone}) {
    set(type, 0);
  }
  return table;
}

constexpr SizeTable authentication_sizes() {
  SizeTable table{};
  for (auto& size : table) size = kTypeNotAllowed;
  table[static_cast<unsigned char>(frontend::kPassword)] = kMaxAuthenticationBody;
  table[static_cast<unsigned char>(frontend::kTerminate)] = 0;
  return table;
}

constexpr SizeTable kReadySizes = ready_sizes();
constexpr SizeTable kAuthenticationSizes = authentication_sizes();

Result<TargetView> decode_target(std::string_view body, std::string_view message) {
  ByteReader in(body);
  TargetView view;
  const char kind = static_cast<char>(in.u8());
  view.name = in.cstring();
  if (!in.finished()) return malformed(message);
  if (kind != 'S' && kind != 'P') return malformed(message);
  view.kind = static_cast<TargetKind>(kind);
  return view;
}

void append_empty(std::string& out, char type) { FrameWriter frame(out, type); }

}  // namespace

std::uint32_t max_frontend_body(char type, FrontendPhase phase) {
  const SizeTable& table = phase == FrontendPhase::kReady ? kReadySizes : kAuthenticationSizes;
  return table[static_cast<unsigned char>(type)];
}

FrameStatus read_frontend_header(std::string_view in, FrontendPhase phase, FrameHeader& out) {
  if (in.empty()) return FrameStatus::kNeedMore;
  const std::uint32_t limit = max_frontend_body(in[0], phase);
  if (limit == kTypeNotAllowed) return FrameStatus::kMalformed;
  return read_frame_header(in, limit, out);
}

Error frontend_frame_error(std::string_view in, FrontendPhase phase) {
  if (!in.empty() && max_frontend_body(in[0], phase) == kTypeNotAllowed) {
    const std::string type = std::to_string(static_cast<unsigned char>(in[0]));
    if (phase == FrontendPhase::kAuthentication) {
      return {
          sqlstate::kProtocolViolation, "expected password response, got message type " + type, {}};
    }
    return {sqlstate::kProtocolViolation, "invalid frontend message type " + type, {}};
  }
  return {sqlstate::kProtocolViolation, "invalid message length", {}};
}

Result<std::string_view> decode_query(std::string_view body) {
  ByteReader in(body);
  const std::string_view sql = in.cstring();
  if (!in.finished()) return malformed("Query");
  return sql;
}

Result<ParseView> decode_parse(std::string_view body) {
  ByteReader in(body);
  ParseView view;
  view.statement = in.cstring();
  view.sql = in.cstring();
  view.types = OidList::read(in, in.be16());
  if (!in.finished()) return malformed("Parse");
  return view;
}

Result<BindView> decode_bind(std::string_view body) {
  ByteReader in(body);
  BindView view;
  view.portal = in.cstring();
  view.statement = in.cstring();
  view.after_names = in.rest();
  view.formats = FormatList::read(in, in.be16());
  view.values = ValueList::read(in, in.be16());
  view.result_formats = FormatList::read(in, in.be16());
  if (!in.finished()) return malformed("Bind");
  if (view.formats.size() > 1 && view.formats.size() != view.values.size()) {
    return Error{sqlstate::kProtocolViolation,
                 "bind message has " + std::to_string(view.formats.size()) +
                     " parameter formats but " + std::to_string(view.values.size()) + " parameters",
                 {}};
  }
  return view;
}

Result<TargetView> decode_describe(std::string_view body) {
  return decode_target(body, "Describe");
}

Result<TargetView> decode_close(std::string_view body) { return decode_target(body, "Close"); }

Result<ExecuteView> decode_execute(std::string_view body) {
  ByteReader in(body);
  ExecuteView view;
  view.portal = in.cstring();
  view.max_rows = in.be32();
  if (!in.finished()) return malformed("Execute");
  return view;
}

Result<FunctionCallView> decode_function_call(std::string_view body) {
  ByteReader in(body);
  FunctionCallView view;
  view.function = in.be32();
  view.formats = FormatList::read(in, in.be16());
  view.arguments = ValueList::read(in, in.be16());
  view.result_format = in.be16();
  if (!in.finished()) return malformed("FunctionCall");
  if (view.formats.size() > 1 && view.formats.size() != view.arguments.size()) {
    return Error{sqlstate::kProtocolViolation,
                 "function call message contains " + std::to_string(view.formats.size()) +
                     " argument formats but " + std::to_string(view.arguments.size()) +
                     " arguments",
                 {}};
  }
  return view;
}

Result<std::string_view> decode_copy_fail(std::string_view body) {
  ByteReader in(body);
  const std::string_view reason = in.cstring();
  if (!in.finished()) return malformed("CopyFail");
  return reason;
}

Result<std::string_view> decode_password(std::string_view body) {
  ByteReader in(body);
  const std::string_view password = in.cstring();
  if (!in.finished()) return malformed("PasswordMessage");
  return password;
}

Result<SaslInitialResponseView> decode_sasl_initial_response(std::string_view body) {
  ByteReader in(body);
  SaslInitialResponseView view;
  view.mechanism = in.cstring();
  const std::uint32_t length = in.be32();
  if (length != 0xffffffffu) {
    view.has_response = true;
    view.response = in.bytes(length);
  }
  if (!in.finished()) return malformed("SASLInitialResponse");
  return view;
}

void append_query(std::string& out, std::string_view sql) {
  FrameWriter frame(out, frontend::kQuery);
  frame.cstring(sql);
}

void append_parse(std::string& out, std::string_view statement, std::string_view sql,
                  std::span<const std::uint32_t> types) {
  FrameWriter frame(out, frontend::kParse);
  frame.cstring(statement);
  frame.cstring(sql);
  frame.be16(static_cast<std::uint16_t>(types.size()));
  for (const std::uint32_t type : types) frame.be32(type);
}

void append_parse_renamed(std::string& out, const ParseView& parse, std::string_view statement) {
  FrameWriter frame(out, frontend::kParse);
  frame.cstring(statement);
  frame.cstring(parse.sql);
  frame.be16(static_cast<std::uint16_t>(parse.types.size()));
  frame.bytes(parse.types.raw());
}

void append_bind_text(std::string& out, std::string_view portal, std::string_view statement,
                      std::span<const WireValue> values) {
  FrameWriter frame(out, frontend::kBind);
  frame.cstring(portal);
  frame.cstring(statement);
  frame.be16(0);
  frame.be16(static_cast<std::uint16_t>(values.size()));
  for (const WireValue& value : values) frame.value(value);
  frame.be16(0);
}

void append_bind_renamed(std::string& out, const BindView& bind, std::string_view statement) {
  FrameWriter frame(out, frontend::kBind);
  frame.cstring(bind.portal);
  frame.cstring(statement);
  frame.bytes(bind.after_names);
}

void append_describe(std::string& out, TargetKind kind, std::string_view name) {
  FrameWriter frame(out, frontend::kDescribe);
  frame.u8(static_cast<char>(kind));
  frame.cstring(name);
}

void append_close(std::string& out, TargetKind kind, std::string_view name) {
  FrameWriter frame(out, frontend::kClose);
  frame.u8(static_cast<char>(kind));
  frame.cstring(name);
}

void append_execute(std::string& out, std::string_view portal, std::uint32_t max_rows) {
  FrameWriter frame(out, frontend::kExecute);
  frame.cstring(portal);
  frame.be32(max_rows);
}

void append_sync(std::string& out) { append_empty(out, frontend::kSync); }
void append_flush(std::string& out) { append_empty(out, frontend::kFlush); }
void append_terminate(std::string& out) { append_empty(out, frontend::kTerminate); }
void append_copy_done(std::string& out) { append_empty(out, frontend::kCopyDone); }

void append_copy_data(std::string& out, std::string_view data) {
  FrameWriter frame(out, frontend::kCopyData);
  frame.bytes(data);
}

void append_copy_fail(std::string& out, std::string_view reason) {
  FrameWriter frame(out, frontend::kCopyFail);
  frame.cstring(reason);
}

void append_password(std::string& out, std::string_view password) {
  FrameWriter frame(out, frontend::kPassword);
  frame.cstring(password);
}

void append_sasl_initial_response(std::string& out, std::string_view mechanism,
                                  std::string_view response) {
  FrameWriter frame(out, frontend::kPassword);
  frame.cstring(mechanism);
  frame.value({false, response});
}

void append_sasl_response(std::string& out, std::string_view response) {
  FrameWriter frame(out, frontend::kPassword);
  frame.bytes(response);
}

void append_function_call(std::string& out, std::uint32_t function,
                          std::span<const std::uint16_t> formats,
                          std::span<const WireValue> arguments, std::uint16_t result_format) {
  FrameWriter frame(out, frontend::kFunctionCall);
  frame.be32(function);
  frame.be16(static_cast<std::uint16_t>(formats.size()));
  for (const std::uint16_t format : formats) frame.be16(format);
  frame.be16(static_cast<std::uint16_t>(arguments.size()));
  for (const WireValue& value : arguments) frame.value(value);
  frame.be16(result_format);
}

}  // namespace pgshunt
