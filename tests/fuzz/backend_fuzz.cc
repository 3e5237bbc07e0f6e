// A server's stream: every decoder on every body.
#include <cstddef>
#include <cstdint>

#include "tests/protocol/decode_everything.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgshunt;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  FrameHeader header;
  while (read_frame_header(rest, kMaxBodySize, header) == FrameStatus::kComplete &&
         header.frame_size() <= rest.size()) {
    (void)is_backend_type(header.type);
    test::decode_backend_body(rest.substr(kFrameHeaderSize, header.body_size));
    rest.remove_prefix(header.frame_size());
  }
  return 0;
}
