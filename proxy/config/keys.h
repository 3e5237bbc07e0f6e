// The one table of configuration keys. Parsing, the refusal of unknown keys, SHOW CONFIG, the
// decision what a reload may change, and the test of the annotated sample all read it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/config/values.h"

namespace pgshunt {

template <class T>
using KeyField =
    std::variant<bool T::*, std::uint16_t T::*, std::uint32_t T::*,
                 std::optional<std::uint32_t> T::*, Seconds T::*, std::string T::*,
                 std::vector<std::string> T::*, PoolMode T::*, std::optional<PoolMode> T::*,
                 SslMode T::*, AuthMethod T::*, LogFormat T::*, PinPolicy T::*,
                 CrossShardWrite T::*, ShardKeyUpdate T::*, KeyType T::*>;

enum class Change : std::uint8_t { kReload, kRestart };

// One key of a table whose fields land in a T.
template <class T>
struct KeySpec {
  std::string_view name;
  KeyField<T> field;
  ValueRules rules{};
  Change change = Change::kReload;
  std::string_view description{};
};

std::span<const KeySpec<Config>> general_keys();           // [pgshunt]
std::span<const KeySpec<TlsConfig>> tls_keys();            // [client_tls], [server_tls]
std::span<const KeySpec<UserConfig>> user_keys();          // [users.NAME]
std::span<const KeySpec<DatabaseConfig>> database_keys();  // [databases.NAME]

template <class T>
std::string format_field(const KeySpec<T>& key, const T& from) {
  return std::visit([&](auto field) { return format_value(from.*field, key.rules); }, key.field);
}

}  // namespace pgshunt
