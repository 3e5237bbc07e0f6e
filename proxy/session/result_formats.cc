#include "proxy/session/result_formats.h"

#include "protocol/backend.h"
#include "protocol/byte_reader.h"
#include "protocol/frame_writer.h"

namespace pgshunt {

FormatList read_formats(std::string_view list) {
  ByteReader reader(list);
  const std::uint16_t count = reader.be16();
  return FormatList::read(reader, count);
}

std::string formats_for_shards(const FormatList& asked, std::size_t hidden) {
  const std::size_t more = asked.size() > 1 ? hidden : 0;
  std::string out(2, '\0');
  store_be16(out.data(), static_cast<std::uint16_t>(asked.size() + more));
  return out.append(asked.raw()).append(more * 2, '\0');
}

bool same_formats(std::string_view left, std::string_view right, std::size_t columns) {
  const FormatList one = read_formats(left);
  const FormatList other = read_formats(right);
  for (std::size_t i = 0; i < columns; ++i) {
    if (one.of(i) != other.of(i)) return false;
  }
  return true;
}

std::size_t columns_of(std::string_view description) { return load_be16(description.data()); }

void append_description(std::string& out, std::string_view description, std::string_view formats) {
  constexpr std::size_t kField = 18;  // behind the name; the format comes last
  std::string body(description);
  const FormatList list = read_formats(formats);
  std::size_t at = 2;
  for (std::size_t i = 0; i < columns_of(description); ++i) {
    at = body.find('\0', at) + 1 + kField;
    store_be16(body.data() + at - 2, list.of(i));
  }
  FrameWriter writer(out, backend::kRowDescription);
  writer.bytes(body);
}

}  // namespace pgshunt
