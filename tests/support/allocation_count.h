// How often this process has asked for heap memory: for tests of code that must not.
#pragma once

#include <cstddef>

namespace pgshunt {

// Calls of operator new so far, by all threads. A binary that uses it has its operators replaced.
std::size_t allocation_count();

}  // namespace pgshunt
