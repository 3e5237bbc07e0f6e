// Errors as values. The data path never throws: what a peer did wrong, or a socket that went
// away, is an Error in a Result, carrying the SQLSTATE a client would see.
#pragma once

#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace pgshunt {

// A five-character SQLSTATE (PostgreSQL manual, appendix A), kept by value: copying is free.
struct Sqlstate {
  char code[6] = "00000";

  constexpr Sqlstate() = default;
  constexpr explicit Sqlstate(std::string_view text) {
    for (std::size_t i = 0; i < 5 && i < text.size(); ++i) code[i] = text[i];
  }
  constexpr std::string_view view() const { return {code, 5}; }
  friend constexpr bool operator==(const Sqlstate& a, const Sqlstate& b) {
    return a.view() == b.view();
  }
};

namespace sqlstate {
inline constexpr Sqlstate kConnectionFailure{"08006"};
inline constexpr Sqlstate kCannotConnect{"08001"};
inline constexpr Sqlstate kConnectionRejected{"08004"};
inline constexpr Sqlstate kProtocolViolation{"08P01"};
inline constexpr Sqlstate kTransactionResolutionUnknown{"08007"};
inline constexpr Sqlstate kFeatureNotSupported{"0A000"};
inline constexpr Sqlstate kNotNullViolation{"23502"};
inline constexpr Sqlstate kCheckViolation{"23514"};
inline constexpr Sqlstate kInFailedTransaction{"25P02"};
inline constexpr Sqlstate kTransactionTimeout{"25P04"};
inline constexpr Sqlstate kInvalidStatementName{"26000"};
inline constexpr Sqlstate kInvalidAuthorization{"28000"};
inline constexpr Sqlstate kInvalidPassword{"28P01"};
inline constexpr Sqlstate kInvalidCatalogName{"3D000"};
inline constexpr Sqlstate kInvalidTextRepresentation{"22P02"};
inline constexpr Sqlstate kInvalidParameterValue{"22023"};
inline constexpr Sqlstate kSyntaxError{"42601"};
inline constexpr Sqlstate kDuplicatePreparedStatement{"42P05"};
inline constexpr Sqlstate kUndefinedTable{"42P01"};
inline constexpr Sqlstate kInvalidColumnReference{"42P10"};
inline constexpr Sqlstate kInsufficientPrivilege{"42501"};
inline constexpr Sqlstate kTooManyConnections{"53300"};
inline constexpr Sqlstate kProgramLimitExceeded{"54000"};
inline constexpr Sqlstate kObjectNotInPrerequisiteState{"55000"};
inline constexpr Sqlstate kQueryCanceled{"57014"};
inline constexpr Sqlstate kAdminShutdown{"57P01"};
inline constexpr Sqlstate kCannotConnectNow{"57P03"};
inline constexpr Sqlstate kInsufficientResources{"53000"};
inline constexpr Sqlstate kIdleSessionTimeout{"57P05"};
inline constexpr Sqlstate kConfigFileError{"F0000"};
inline constexpr Sqlstate kInternalError{"XX000"};
}  // namespace sqlstate

// What went wrong, in the words a client will read. `hint` may be empty.
struct Error {
  Sqlstate code = sqlstate::kInternalError;
  std::string message;
  std::string hint;
};

// A value or an Error. Test before use: `if (!r) return r.error();`.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    assert(ok());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const {
    assert(!ok());
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, Error> state_;
};

// Success without a value.
struct Ok {};
using Status = Result<Ok>;

}  // namespace pgshunt
