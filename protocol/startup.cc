#include "protocol/startup.h"

#include <cstring>

#include "protocol/byte_reader.h"
#include "protocol/frame.h"
#include "protocol/frame_writer.h"

namespace pgshunt {
namespace {

constexpr char kTlsHandshakeRecord = 0x16;  // ContentType handshake, RFC 8446 section 5.1

Error invalid_length() {
  return {sqlstate::kProtocolViolation, "invalid length of startup packet", {}};
}

// `body`: what follows the version.
Result<StartupMessageView> decode_parameters(std::uint16_t minor, std::string_view body) {
  ByteReader in(body);
  for (;;) {
    if (in.cstring().empty()) break;  // the final zero, or nothing left
    in.cstring();
  }
  if (!in.finished()) {
    return Error{sqlstate::kProtocolViolation,
                 "invalid startup packet layout: expected terminator as last byte",
                 {}};
  }
  return StartupMessageView(minor, body.substr(0, body.size() - 1));
}

}  // namespace

StartupParameter StartupMessageView::Iterator::operator*() const {
  const std::string_view name(at_);
  return {name, std::string_view(at_ + name.size() + 1)};
}

StartupMessageView::Iterator& StartupMessageView::Iterator::operator++() {
  at_ += std::strlen(at_) + 1;
  at_ += std::strlen(at_) + 1;
  return *this;
}

std::string_view StartupMessageView::value(std::string_view name) const {
  std::string_view found;
  for (const auto& [key, value] : *this) {
    if (key == name) found = value;
  }
  return found;
}

bool StartupMessageView::needs_negotiation() const {
  if (minor_ > 0) return true;
  for (const auto& [name, value] : *this) {
    if (is_protocol_option(name)) return true;
  }
  return false;
}

Result<StartupPacket> decode_startup(std::string_view in) {
  StartupPacket packet;
  if (in.empty()) return packet;
  if (in[0] == kTlsHandshakeRecord) {
    packet.kind = StartupKind::kDirectTls;
    return packet;
  }
  if (in.size() < 4) return packet;
  const std::uint32_t size = load_be32(in.data());
  if (size < 8 || size > kMaxStartupBody + 4) return invalid_length();
  if (in.size() < size) return packet;

  packet.size = size;
  const std::uint32_t code = load_be32(in.data() + 4);
  const std::string_view body = in.substr(8, size - 8);
  switch (code) {
    case kSslRequestCode:
      if (!body.empty()) return invalid_length();
      packet.kind = StartupKind::kSslRequest;
      return packet;
    case kGssEncRequestCode:
      if (!body.empty()) return invalid_length();
      packet.kind = StartupKind::kGssEncRequest;
      return packet;
    case kCancelRequestCode:
      if (body.size() < 4 + kMinCancelKey || body.size() > 4 + kMaxCancelKey) {
        return invalid_length();
      }
      packet.kind = StartupKind::kCancelRequest;
      packet.cancel = {load_be32(body.data()), body.substr(4)};
      return packet;
    default:
      break;
  }

  const std::uint32_t major = code >> 16;
  const auto minor = static_cast<std::uint16_t>(code & 0xffff);
  if (major != 3) {
    return Error{sqlstate::kFeatureNotSupported,
                 "unsupported frontend protocol " + std::to_string(major) + "." +
                     std::to_string(minor) + ": server supports 3.0 to 3.0",
                 {}};
  }
  auto startup = decode_parameters(minor, body);
  if (!startup) return startup.error();
  packet.kind = StartupKind::kStartup;
  packet.startup = *startup;
  return packet;
}

Status check_startup_user(const StartupMessageView& startup) {
  if (!startup.value("user").empty()) return Ok{};
  return Error{
      sqlstate::kInvalidAuthorization, "no PostgreSQL user name specified in startup packet", {}};
}

void append_startup(std::string& out, std::span<const StartupParameter> parameters,
                    std::uint32_t version) {
  FrameWriter frame(out);
  frame.be32(version);
  for (const auto& [name, value] : parameters) {
    frame.cstring(name);
    frame.cstring(value);
  }
  frame.u8(0);
}

void append_ssl_request(std::string& out) {
  FrameWriter frame(out);
  frame.be32(kSslRequestCode);
}

void append_gssenc_request(std::string& out) {
  FrameWriter frame(out);
  frame.be32(kGssEncRequestCode);
}

void append_cancel_request(std::string& out, std::uint32_t pid, std::string_view key) {
  FrameWriter frame(out);
  frame.be32(kCancelRequestCode);
  frame.be32(pid);
  frame.bytes(key);
}

void append_negotiate_protocol_version(std::string& out, const StartupMessageView& startup) {
  std::uint32_t options = 0;
  for (const auto& [name, value] : startup) {
    if (StartupMessageView::is_protocol_option(name)) ++options;
  }
  FrameWriter frame(out, 'v');
  frame.be32(kProtocolVersion30);
  frame.be32(options);
  for (const auto& [name, value] : startup) {
    if (StartupMessageView::is_protocol_option(name)) frame.cstring(name);
  }
}

Result<NegotiateProtocolVersionView> decode_negotiate_protocol_version(std::string_view body) {
  ByteReader in(body);
  NegotiateProtocolVersionView view;
  view.version = in.be32();
  view.option_count = in.be32();
  view.options = in.rest();
  for (std::uint32_t i = 0; i < view.option_count && in.ok(); ++i) in.cstring();
  if (!in.finished()) return malformed("NegotiateProtocolVersion");
  return view;
}

}  // namespace pgshunt
