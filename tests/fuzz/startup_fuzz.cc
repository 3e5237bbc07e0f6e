// The first packet of a connection, and the switches inside its options.
#include <cstddef>
#include <cstdint>

#include "tests/protocol/decode_everything.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  pgshunt::test::decode_startup_bytes(bytes);
  (void)pgshunt::parse_startup_options(bytes);
  return 0;
}
