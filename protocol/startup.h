// The first packet of a connection, the only one without a type byte: StartupMessage, SSLRequest,
// GSSENCRequest or CancelRequest (PostgreSQL manual, "Start-up" and "Message Formats"; the server's
// side is ProcessStartupPacket() in tcop/backend_startup.c). Also what belongs to it: protocol
// version negotiation and the switches inside the `options` parameter.
//
// Pure functions; views point into the input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/result.h"

namespace pgshunt {

// MAX_STARTUP_PACKET_LENGTH (libpq/pqcomm.h): limit of the packet without its length word.
inline constexpr std::uint32_t kMaxStartupBody = 10000;
inline constexpr std::uint32_t kCancelRequestCode = 80877102;
inline constexpr std::uint32_t kSslRequestCode = 80877103;
inline constexpr std::uint32_t kGssEncRequestCode = 80877104;
inline constexpr std::uint32_t kProtocolVersion30 = 3u << 16;

// BackendKeyData's secret: four bytes in protocol 3.0, up to 256 in 3.2.
inline constexpr std::size_t kMinCancelKey = 4;
inline constexpr std::size_t kMaxCancelKey = 256;

// name and value of one startup parameter.
using StartupParameter = std::pair<std::string_view, std::string_view>;

// A StartupMessage of protocol 3.x.
class StartupMessageView {
 public:
  class Iterator {
   public:
    using value_type = StartupParameter;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;

    Iterator() = default;
    explicit Iterator(const char* at) : at_(at) {}
    StartupParameter operator*() const;
    Iterator& operator++();
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const char* at_ = nullptr;
  };

  StartupMessageView() = default;
  StartupMessageView(std::uint16_t minor, std::string_view parameters)
      : minor_(minor), parameters_(parameters) {}

  std::uint16_t minor() const { return minor_; }
  // Every parameter in the order sent, `_pq_.` options included, duplicates too.
  Iterator begin() const { return Iterator(parameters_.data()); }
  Iterator end() const { return Iterator(parameters_.data() + parameters_.size()); }
  // The value of `name`, the last one if it was sent more than once (as PostgreSQL applies them in
  // order); empty if it was not sent. Names are compared byte by byte, as PostgreSQL does for the
  // ones it knows itself (user, database, options, replication).
  std::string_view value(std::string_view name) const;
  // An option of a later protocol, which the receiver may decline in NegotiateProtocolVersion.
  static bool is_protocol_option(std::string_view name) { return name.starts_with("_pq_."); }
  // The client wants something newer than 3.0: it must be sent NegotiateProtocolVersion.
  bool needs_negotiation() const;

 private:
  std::uint16_t minor_ = 0;
  std::string_view parameters_{"", 0};  // name\0value\0 ..., without the final zero
};

struct CancelRequestView {
  std::uint32_t pid = 0;
  std::string_view key;  // kMinCancelKey .. kMaxCancelKey bytes
};

enum class StartupKind : std::uint8_t {
  kNeedMore,
  kStartup,
  kSslRequest,
  kGssEncRequest,
  kCancelRequest,
  // The first byte is a TLS handshake record: a client with sslnegotiation=direct (PostgreSQL 17).
  // Nothing was consumed.
  kDirectTls,
};

struct StartupPacket {
  StartupKind kind = StartupKind::kNeedMore;
  std::size_t size = 0;  // bytes of input this packet takes; 0 for kNeedMore and kDirectTls
  StartupMessageView startup;
  CancelRequestView cancel;
};

// Decodes the packet at the front of `in`. An oversized length is refused as soon as its four bytes
// are there. Errors carry PostgreSQL's own wording.
Result<StartupPacket> decode_startup(std::string_view in);

// `user` must be there and not empty: PostgreSQL's check, kept apart because the admin console of a
// proxy may word it differently. 28000 if it is not.
Status check_startup_user(const StartupMessageView& startup);

void append_startup(std::string& out, std::span<const StartupParameter> parameters,
                    std::uint32_t version = kProtocolVersion30);
void append_ssl_request(std::string& out);
void append_gssenc_request(std::string& out);
void append_cancel_request(std::string& out, std::uint32_t pid, std::string_view key);

// NegotiateProtocolVersion, answer to a client that asked for more than 3.0: names the version that
// will be spoken and every `_pq_.` option, none of which is known.
void append_negotiate_protocol_version(std::string& out, const StartupMessageView& startup);

struct NegotiateProtocolVersionView {
  // major << 16 | minor. The manual says "newest minor version"; every server sends both.
  std::uint32_t version = 0;
  std::uint32_t option_count = 0;
  std::string_view options;  // option_count zero-terminated names
};
Result<NegotiateProtocolVersionView> decode_negotiate_protocol_version(std::string_view body);

// One setting found in `options`.
struct OptionSetting {
  std::string name;
  std::string value;
  friend bool operator==(const OptionSetting&, const OptionSetting&) = default;
};

// Reads the `options` startup parameter as a server does (pg_split_opts() and
// process_postgres_switches() in tcop/postgres.c): white space separates, backslash escapes;
// `-c name=value`, `--name=value` and the one-letter switches that stand for a setting. In order;
// later ones win. Errors: 42601 in the server's words.
Result<std::vector<OptionSetting>> parse_startup_options(std::string_view options);

}  // namespace pgshunt
