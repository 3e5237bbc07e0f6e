// Lists of result formats as a Bind has them, for rows that the proxy asks for and hands on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/wire_value.h"

namespace pgshunt {

// All columns in text.
inline constexpr std::string_view kTextFormats{"\0\0", 2};

FormatList read_formats(std::string_view list);

// The list for rows with so many hidden columns behind the client's, which come in text unless one
// entry stands for all.
std::string formats_for_shards(const FormatList& asked, std::size_t hidden);

// The same formats may be listed one by one, or not at all.
bool same_formats(std::string_view left, std::string_view right, std::size_t columns);

// Of a RowDescription's body.
std::size_t columns_of(std::string_view description);

// A RowDescription of columns in these formats. `description`: its body, with any.
void append_description(std::string& out, std::string_view description, std::string_view formats);

}  // namespace pgshunt
