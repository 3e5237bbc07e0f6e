// Arrays of keys, and rows of INSERT: whatever the bytes are, reading them ends, and what is read
// lies inside of them.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "router/insert_rows.h"
#include "router/insert_split.h"
#include "router/key_array.h"

namespace pgshunt {
namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

void read_array(KeyInput::Form form, std::uint32_t type, std::string_view bytes) {
  std::string scratch;
  KeyArrayReader reader({form, type, bytes}, scratch);
  KeyInput element;
  std::size_t count = 0;
  while (reader.next(element) == KeyArrayReader::Step::kElement) {
    // In text an element has a byte at least; in binary its length has four.
    check(++count <= bytes.size());
    check(element.bytes.size() <= bytes.size());
  }
}

void read_rows(std::string_view sql) {
  InsertRows rows;
  if (!find_insert_rows(sql, true, rows)) return;
  std::size_t last = 0;
  for (const TextRange& row : rows.rows) {
    check(row.begin >= last && row.end > row.begin && row.end <= sql.size());
    check(sql[row.begin] == '(' && sql[row.end - 1] == ')');
    last = row.end;
  }
  const auto split = make_insert_split(sql, rows);
  const std::vector<std::uint16_t> all(rows.rows.size());
  static_cast<void>(part_of_insert(*split, all, 0));
}

}  // namespace
}  // namespace pgshunt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgshunt;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  read_array(KeyInput::Form::kString, 0, bytes);
  read_array(KeyInput::Form::kText, 1016, bytes);
  read_array(KeyInput::Form::kBinary, 0, bytes);
  read_array(KeyInput::Form::kBinary, 1007, bytes);
  read_rows(bytes);
  return 0;
}
