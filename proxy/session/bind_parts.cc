#include "proxy/session/bind_parts.h"

#include "protocol/frame_writer.h"
#include "protocol/wire_value.h"
#include "router/key_type.h"

namespace pgshunt {

std::string bind_for(const BindView& bind, const std::vector<std::size_t>& uses,
                     std::string_view result_formats) {
  const auto used = [&](std::size_t i) { return i < uses.size() && uses[i] > 0; };
  std::string out;
  FrameWriter writer(out, frontend::kBind);
  writer.cstring({});
  writer.cstring({});
  const auto count = static_cast<std::uint16_t>(bind.values.size());
  writer.be16(count);
  for (std::size_t i = 0; i < count; ++i) writer.be16(used(i) ? bind.formats.of(i) : kFormatText);
  writer.be16(count);
  std::size_t index = 0;
  for (const WireValue& value : bind.values) {
    if (value.is_null || !used(index)) {
      writer.be32(0xFFFFFFFF);
    } else {
      writer.be32(static_cast<std::uint32_t>(value.bytes.size()));
      writer.bytes(value.bytes);
    }
    ++index;
  }
  writer.bytes(result_formats);
  return out;
}

std::vector<std::uint32_t> types_for(std::vector<std::uint32_t> types, std::size_t count,
                                     const std::vector<std::size_t>& uses) {
  types.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (i >= uses.size() || uses[i] == 0) types[i] = type_oid::kText;
  }
  return types;
}

}  // namespace pgshunt
