// How the configuration, SHOW and messages spell the enumerations.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "proxy/config/config.h"

namespace pgshunt {

template <class E>
struct EnumName {
  std::string_view name;
  E value;
};

// All spellings accepted; the first of a value is the one shown.
std::span<const EnumName<PoolMode>> names_of(PoolMode);
std::span<const EnumName<SslMode>> names_of(SslMode);
std::span<const EnumName<AuthMethod>> names_of(AuthMethod);
std::span<const EnumName<LogFormat>> names_of(LogFormat);
std::span<const EnumName<PinPolicy>> names_of(PinPolicy);
std::span<const EnumName<CrossShardWrite>> names_of(CrossShardWrite);
std::span<const EnumName<ShardKeyUpdate>> names_of(ShardKeyUpdate);
std::span<const EnumName<KeyType>> names_of(KeyType);
std::span<const EnumName<Strategy>> names_of(Strategy);
std::span<const EnumName<NewKeys>> names_of(NewKeys);
std::span<const EnumName<HbaRule::Connection>> names_of(HbaRule::Connection);

template <class E>
std::string_view name_of(E value) {
  for (const EnumName<E>& entry : names_of(value)) {
    if (entry.value == value) return entry.name;
  }
  return "?";
}

template <class E>
std::optional<E> value_named(std::string_view name) {
  for (const EnumName<E>& entry : names_of(E{})) {
    if (entry.name == name) return entry.value;
  }
  return std::nullopt;
}

}  // namespace pgshunt
