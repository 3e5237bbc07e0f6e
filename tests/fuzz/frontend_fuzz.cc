// A client's stream after startup: headers by phase, then every decoder on every body.
#include <cstddef>
#include <cstdint>

#include "tests/protocol/decode_everything.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgshunt;
  std::string_view stream(reinterpret_cast<const char*>(data), size);
  for (const auto phase : {FrontendPhase::kAuthentication, FrontendPhase::kReady}) {
    std::string_view rest = stream;
    FrameHeader header;
    for (;;) {
      const FrameStatus status = read_frontend_header(rest, phase, header);
      if (status == FrameStatus::kMalformed) (void)frontend_frame_error(rest, phase);
      if (status != FrameStatus::kComplete || header.frame_size() > rest.size()) break;
      test::decode_frontend_body(rest.substr(kFrameHeaderSize, header.body_size));
      rest.remove_prefix(header.frame_size());
    }
  }
  return 0;
}
