// Typed values: the first byte picks the type, then come up to three values, each a byte of format
// and length and its bytes. Whatever decodes must be totally ordered.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "protocol/row_value.h"
#include "tests/protocol/decode_everything.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgshunt;
  if (size == 0) return 0;
  const auto type = static_cast<ValueType>(data[0] % 14);
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<test::ExactCopy> blocks;  // texts are views into these
  std::vector<RowValue> values;
  while (!rest.empty() && values.size() < 3) {
    const auto head = static_cast<unsigned char>(rest[0]);
    rest.remove_prefix(1);
    const std::size_t length = head / 2 == 127 ? rest.size() : head / 2;
    blocks.emplace_back(rest.substr(0, length));
    rest.remove_prefix(blocks.back().view().size());
    auto value = RowValue::decode(type, head % 2, {false, blocks.back().view()});
    if (value) values.push_back(std::move(*value));
  }
  for (const RowValue& a : values) {
    if (a != a) std::abort();
    for (const RowValue& b : values) {
      if ((a < b) != (b > a) || (a == b) != (b == a)) std::abort();
      for (const RowValue& c : values) {
        if (a <= b && b <= c && a > c) std::abort();
      }
    }
  }
  return 0;
}
