// A client's Bind for texts of the proxy's own that have only some of its parameters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/frontend.h"

namespace pgshunt {

// The Bind message for the unnamed statement and portal. `uses`: how often each parameter stands in
// the text (uses_of_parameters()); one that does not is NULL.
std::string bind_for(const BindView& bind, const std::vector<std::size_t>& uses,
                     std::string_view result_formats);

// The types to declare: a parameter that is not used is NULL of some type.
std::vector<std::uint32_t> types_for(std::vector<std::uint32_t> types, std::size_t count,
                                     const std::vector<std::size_t>& uses);

}  // namespace pgshunt
