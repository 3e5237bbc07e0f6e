// A TOML document as plain data with line numbers. toml++ stays behind toml_tree.cc: it is large,
// slow to compile, and nothing but parsing is wanted of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pgshunt {

struct TomlEntry;
struct TomlValue;

// In the order of the keys' names, not of the document.
using TomlTable = std::vector<TomlEntry>;
using TomlArray = std::vector<TomlValue>;

// A date, a time or both: no key of ours takes one, so its parts are not kept.
struct TomlDate {};

struct TomlValue {
  std::uint32_t line = 0;
  std::variant<std::string, std::int64_t, double, bool, TomlDate, TomlArray, TomlTable> data;

  template <class T>
  const T* get() const {
    return std::get_if<T>(&data);
  }
};

struct TomlEntry {
  std::string key;
  std::uint32_t line = 0;  // of the key
  TomlValue value;
};

// The document, or where and why it is not TOML.
struct TomlDocument {
  TomlTable root;
  bool ok = false;
  std::uint32_t error_line = 0;
  std::string error;
};

TomlDocument parse_toml(std::string_view text);

const TomlEntry* find_entry(const TomlTable& table, std::string_view key);

}  // namespace pgshunt
