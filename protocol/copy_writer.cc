#include "protocol/copy_writer.h"

#include <utility>

#include "protocol/backend.h"
#include "protocol/byte_reader.h"
#include "protocol/frame_writer.h"

namespace pgshunt {
namespace {

constexpr std::string_view kSignature{"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", 19};

// The letter that stands behind a backslash for a control character; 0: none does.
char letter_of(char c) {
  switch (c) {
    case '\b':
      return 'b';
    case '\f':
      return 'f';
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    case '\v':
      return 'v';
    default:
      return 0;
  }
}

}  // namespace

void CopyWriter::start(std::string& out) {
  const bool binary = options_.format == CopyFormat::kBinary;
  {
    FrameWriter writer(out, backend::kCopyOutResponse);
    writer.bytes(std::string_view(binary ? "\1" : "\0", 1));
    writer.be16(static_cast<std::uint16_t>(columns_.size()));
    for (std::size_t i = 0; i < columns_.size(); ++i) writer.be16(binary ? 1 : 0);
  }
  if (binary) {
    unsent_ = kSignature;
  } else if (options_.header) {
    std::string line;
    for (const std::string& column : columns_) {
      if (&column != &columns_.front()) line += options_.delimiter;
      if (options_.format == CopyFormat::kCsv) {
        write_csv(column, false, line);
      } else {
        write_text(column, line);
      }
    }
    FrameWriter writer(out, backend::kCopyData);
    writer.bytes(line.append(1, '\n'));
  }
}

Status CopyWriter::row(std::string_view body, std::string& out) {
  const Error malformed{sqlstate::kProtocolViolation, "a server sent a malformed row", {}};
  FrameWriter writer(out, backend::kCopyData);
  if (options_.format == CopyFormat::kBinary) {
    writer.bytes(std::exchange(unsent_, {}));
    writer.be16(static_cast<std::uint16_t>(columns_.size()));
  }
  if (body.size() < 2 || load_be16(body.data()) < columns_.size()) return malformed;
  std::string_view rest = body.substr(2);
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (rest.size() < 4) return malformed;
    const auto size = static_cast<std::int32_t>(load_be32(rest.data()));
    const bool null = size < 0;
    const std::size_t bytes = null ? 0 : static_cast<std::size_t>(size);
    if (rest.size() - 4 < bytes) return malformed;
    const std::string_view value = rest.substr(4, bytes);
    if (options_.format == CopyFormat::kBinary) {
      writer.bytes(rest.substr(0, 4 + bytes));
    } else {
      if (i > 0) out += options_.delimiter;
      if (null) {
        out += options_.null_text;
      } else if (options_.format == CopyFormat::kCsv) {
        write_csv(value, i < quoted_.size() && quoted_[i], out);
      } else {
        write_text(value, out);
      }
    }
    rest.remove_prefix(4 + bytes);
  }
  if (options_.format != CopyFormat::kBinary) out += '\n';
  return Ok{};
}

void CopyWriter::finish(std::string& out) const {
  if (options_.format == CopyFormat::kBinary) {
    FrameWriter writer(out, backend::kCopyData);
    writer.bytes(unsent_);
    writer.be16(0xFFFF);
  }
  FrameWriter writer(out, backend::kCopyDone);
}

void CopyWriter::write_text(std::string_view value, std::string& out) const {
  std::size_t begin = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    const char letter = letter_of(c);
    if (letter == 0 && c != '\\' && c != options_.delimiter) continue;
    out.append(value, begin, i - begin).push_back('\\');
    out.push_back(letter != 0 ? letter : c);
    begin = i + 1;
  }
  out.append(value, begin);
}

void CopyWriter::write_csv(std::string_view value, bool quote, std::string& out) const {
  // What would be taken for NULL, for the end of the data, or for more than a value.
  quote = quote || value == options_.null_text || (columns_.size() == 1 && value == "\\.");
  for (std::size_t i = 0; i < value.size() && !quote; ++i) {
    const char c = value[i];
    quote = c == options_.delimiter || c == options_.quote || c == '\n' || c == '\r';
  }
  if (!quote) {
    out.append(value);
    return;
  }
  out.push_back(options_.quote);
  for (const char c : value) {
    if (c == options_.quote || c == options_.escape) out.push_back(options_.escape);
    out.push_back(c);
  }
  out.push_back(options_.quote);
}

}  // namespace pgshunt
