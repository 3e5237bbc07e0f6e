// A COPY FROM stream: three bytes pick options and division, the rest is data. However it is
// divided into chunks, the rows and keys are the same, and together they are the stream.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "protocol/copy_rows.h"
#include "tests/protocol/decode_everything.h"

namespace {

using namespace pgshunt;

void check(bool fact) {
  if (!fact) std::abort();
}

struct Reading {
  std::string rows;
  std::string keys;
  std::size_t count = 0;
  std::string error;
  std::uint64_t line = 0;

  bool operator==(const Reading&) const = default;
};

Reading read_all(const CopyOptions& options, std::string_view data, std::size_t chunk_size,
                 std::size_t key) {
  CopyRowReader reader(options, 3, key, 4096);
  Reading out;
  CopyRow row;
  std::string scratch;
  const auto drain = [&] {
    CopyRead read;
    while ((read = reader.next(row)) == CopyRead::kRow) {
      check(row.bytes.starts_with(row.line));
      out.rows += row.bytes;
      ++out.count;
      out.line += row.lines;
      if (row.kind != CopyRow::Kind::kData) continue;
      const CopyField field = reader.key_field(row);
      out.keys += static_cast<char>('0' + static_cast<int>(field.state));
      if (field.state == CopyField::State::kValue) {
        out.keys += decode_copy_field(options, field, scratch);
      }
    }
    return read;
  };
  for (std::size_t at = 0; at < data.size(); at += chunk_size) {
    const test::ExactCopy chunk(data.substr(at, chunk_size));
    reader.push(chunk.view());
    if (drain() == CopyRead::kError) {
      out.error = reader.error().message;
      check(!out.error.empty());
      return out;
    }
  }
  reader.finish();
  const CopyRead last = drain();
  check(last != CopyRead::kNeedMore);
  if (last == CopyRead::kError) out.error = reader.error().message;
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 3) return 0;
  const std::string_view data(reinterpret_cast<const char*>(bytes) + 3, size - 3);
  CopyOptions options;
  options.format = static_cast<CopyFormat>(bytes[0] % 3);
  if (options.format == CopyFormat::kCsv) {
    options.delimiter = ',';
    options.null_text = "";
  }
  options.header = (bytes[0] & 0x10) != 0;
  options.strict_end_marker = (bytes[0] & 0x20) != 0;
  if ((bytes[0] & 0x40) != 0) options.escape = '\\';
  if ((bytes[0] & 0x80) != 0) options.default_text = "d";
  const std::size_t key = bytes[1] % 3;
  const Reading whole = read_all(options, data, data.size() + 1, key);
  const Reading parts = read_all(options, data, bytes[2] % 64 + std::size_t{1}, key);
  // A row over the limit is found sooner or later, as the chunks have it.
  if (whole.error == "out of memory" || parts.error == "out of memory") return 0;
  check(whole == parts);
  check(data.starts_with(whole.rows));
  return 0;
}
