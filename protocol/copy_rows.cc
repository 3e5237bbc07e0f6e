#include "protocol/copy_rows.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "protocol/byte_search.h"
#include "protocol/frame.h"

namespace pgshunt {
namespace {

constexpr Sqlstate kBadCopyFileFormat{"22P04"};
constexpr std::string_view kBinarySignature{"PGCOPY\n\377\r\n\0", 11};
constexpr std::size_t kBinaryFixedHeader = 19;
// Of a chunk that ends a row begun before, this much is copied at first: most rows are short.
constexpr std::size_t kFirstPiece = 256;
// A buffer larger than this is not kept for the next row.
constexpr std::size_t kKeptBuffer = std::size_t{1} << 20;

}  // namespace

CopyRowReader::CopyRowReader(CopyOptions options, std::size_t columns, std::size_t key,
                             std::size_t max_row)
    : options_(std::move(options)),
      columns_(columns),
      key_(key),
      max_row_(max_row),
      header_left_(options_.header || options_.format == CopyFormat::kBinary) {}

void CopyRowReader::push(std::string_view chunk) { chunk_ = chunk; }

CopyRead CopyRowReader::next(CopyRow& row) {
  if (failed_) return CopyRead::kError;
  if (pending_given_) {
    if (pending_.capacity() > kKeptBuffer) {
      pending_ = std::string();
    } else {
      pending_.clear();
    }
    pending_given_ = false;
  }
  if (ended_) {
    // Whatever follows the end marker is thrown away; but not what follows the binary trailer.
    if (options_.format == CopyFormat::kBinary && !chunk_.empty()) {
      fail("received copy data after EOF marker");
      return CopyRead::kError;
    }
    chunk_ = {};
    return finished_ ? CopyRead::kEnd : CopyRead::kNeedMore;
  }
  if (pending_.empty()) {
    switch (scan(chunk_.data(), chunk_.size(), finished_)) {
      case Scan::kFound: {
        const CopyRead read = give(chunk_.data(), row);
        chunk_.remove_prefix(ended_ && options_.format != CopyFormat::kBinary ? chunk_.size()
                                                                              : row_size_);
        return read;
      }
      case Scan::kNeedMore:
        if (chunk_.size() > max_row_) return too_long();
        pending_.assign(chunk_);
        chunk_ = {};
        return CopyRead::kNeedMore;
      case Scan::kEnd:
        chunk_ = {};
        return finished_ ? CopyRead::kEnd : CopyRead::kNeedMore;
      case Scan::kError:
        break;
    }
    return CopyRead::kError;
  }
  if (chunk_.empty() && !finished_) return CopyRead::kNeedMore;
  for (std::size_t piece = kFirstPiece;; piece *= 4) {
    const std::size_t taken = std::min(piece, chunk_.size());
    pending_.append(chunk_.substr(0, taken));
    const std::string_view rest = chunk_.substr(taken);
    switch (scan(pending_.data(), pending_.size(), finished_ && rest.empty())) {
      case Scan::kFound: {
        // What was copied of the next row goes back. (Of the bytes before this chunk none can: what
        // is left of them is looked at once more, and belongs to the row.)
        if (ended_ && options_.format != CopyFormat::kBinary) {
          chunk_ = {};
        } else {
          chunk_.remove_prefix(taken - (pending_.size() - row_size_));
        }
        pending_given_ = true;
        return give(pending_.data(), row);
      }
      case Scan::kNeedMore:
        if (pending_.size() > max_row_) return too_long();
        chunk_ = rest;
        if (chunk_.empty()) return CopyRead::kNeedMore;
        break;
      case Scan::kEnd:
        chunk_ = {};
        return finished_ ? CopyRead::kEnd : CopyRead::kNeedMore;
      case Scan::kError:
        return CopyRead::kError;
    }
  }
}

CopyRead CopyRowReader::give(const char* base, CopyRow& row) {
  if (row_size_ > max_row_) return too_long();
  row.bytes = {base, row_size_};
  row.line = {base, content_size_};
  row.kind = header_left_ ? CopyRow::Kind::kHeader : CopyRow::Kind::kData;
  row.lines = lines();
  row.lines_if_first = 1 + returns_;
  if (options_.format == CopyFormat::kBinary) {
    if (ended_) row.kind = CopyRow::Kind::kTrailer;
    if (row.kind == CopyRow::Kind::kData) {
      binary_key_.raw = {base + key_at_, key_size_};
    } else {
      row.lines = row.lines_if_first = 0;
    }
  }
  line_number_ += row.lines;
  header_left_ = false;
  scanned_ = 0;
  in_quote_ = after_escape_ = false;
  newlines_ = returns_ = 0;
  row_line_end_ = line_end_;
  return CopyRead::kRow;
}

CopyRowReader::Scan CopyRowReader::scan(const char* base, std::size_t size, bool last) {
  switch (options_.format) {
    case CopyFormat::kText:
      return scan_text(base, size, last);
    case CopyFormat::kCsv:
      return scan_csv(base, size, last);
    case CopyFormat::kBinary:
      break;
  }
  return binary_ == Binary::kHeader ? scan_binary_header(base, size, last)
                                    : scan_binary_row(base, size, last);
}

CopyRead CopyRowReader::too_long() {
  failed_ = true;
  line_number_ += lines();
  error_ = {sqlstate::kProgramLimitExceeded, "out of memory",
            "A row of COPY may not be longer than " + std::to_string(max_row_) + " bytes."};
  return CopyRead::kError;
}

CopyRowReader::Scan CopyRowReader::fail(const char* message, const char* hint) {
  failed_ = true;
  line_number_ += lines();
  error_ = {kBadCopyFileFormat, message, hint};
  return Scan::kError;
}

CopyRowReader::Scan CopyRowReader::found(std::size_t content, std::size_t total) {
  content_size_ = content;
  row_size_ = total;
  return Scan::kFound;
}

// A row that the end of the stream ends.
CopyRowReader::Scan CopyRowReader::end_with_input(std::size_t size) {
  if (size != 0) return found(size, size);
  ended_ = true;
  return Scan::kEnd;
}

CopyRowReader::Scan CopyRowReader::end_at_newline(const char* base, const char* at) {
  if (line_end_ == LineEnd::kReturn || line_end_ == LineEnd::kReturnNewline) {
    return options_.format == CopyFormat::kCsv
               ? fail("unquoted newline found in data",
                      "Use quoted CSV field to represent newline.")
               : fail("literal newline found in data", "Use \"\\n\" to represent newline.");
  }
  line_end_ = LineEnd::kNewline;
  const auto content = static_cast<std::size_t>(at - base);
  return found(content, content + 1);
}

CopyRowReader::Scan CopyRowReader::end_at_return(const char* base, const char* at, const char* end,
                                                 bool last) {
  const auto content = static_cast<std::size_t>(at - base);
  if (line_end_ == LineEnd::kReturn) return found(content, content + 1);
  if (line_end_ != LineEnd::kNewline) {
    if (at + 1 == end && !last) {
      scanned_ = content;
      return Scan::kNeedMore;
    }
    if (at + 1 < end && at[1] == '\n') {
      line_end_ = LineEnd::kReturnNewline;
      return found(content, content + 2);
    }
    if (line_end_ == LineEnd::kUnknown) {
      line_end_ = LineEnd::kReturn;
      return found(content, content + 1);
    }
  }
  return options_.format == CopyFormat::kCsv
             ? fail("unquoted carriage return found in data",
                    "Use quoted CSV field to represent carriage return.")
             : fail("literal carriage return found in data",
                    "Use \"\\r\" to represent carriage return.");
}

// Is what begins with the backslash at `at` the end marker, a line of its own but for its line end?
CopyRowReader::Marker CopyRowReader::end_marker(const char* at, const char* end, bool last) {
  const bool csv = options_.format == CopyFormat::kCsv;
  const auto here = [&](int offset) { return end - at > offset ? at[offset] : '\0'; };
  const auto wait_for = [&](int offset) { return end - at <= offset && !last; };
  const auto corrupt = [&] {
    if (csv) return Marker::kNo;
    fail(options_.strict_end_marker ? "end-of-copy marker is not alone on its line"
                                    : "end-of-copy marker corrupt");
    return Marker::kError;
  };
  const auto mismatch = [&] {
    fail("end-of-copy marker does not match previous newline style");
    return Marker::kError;
  };
  if (csv && options_.strict_end_marker) return Marker::kNo;
  if (wait_for(1)) return Marker::kNeedMore;
  if (here(1) != '.') return Marker::kNo;
  int behind = 2;
  if (line_end_ == LineEnd::kReturnNewline) {
    if (wait_for(2)) return Marker::kNeedMore;
    if (here(2) == '\n') return csv ? Marker::kNo : mismatch();
    if (here(2) != '\r') return corrupt();
    behind = 3;
  }
  if (wait_for(behind)) return Marker::kNeedMore;
  const char line_end = here(behind);
  if (line_end != '\r' && line_end != '\n') return corrupt();
  const bool wants_return = line_end_ == LineEnd::kReturn;
  if (line_end_ != LineEnd::kUnknown && (line_end == '\r') != wants_return) return mismatch();
  return Marker::kYes;
}

CopyRowReader::Scan CopyRowReader::scan_text(const char* base, std::size_t size, bool last) {
  const char* const end = base + size;
  for (const char* at = base + scanned_;;) {
    at = find_any(at, end, '\n', '\\', '\r');
    if (at == end) {
      if (last) return end_with_input(size);
      scanned_ = size;
      return Scan::kNeedMore;
    }
    if (*at == '\n') return end_at_newline(base, at);
    if (*at == '\r') return end_at_return(base, at, end, last);
    switch (end_marker(at, end, last)) {
      case Marker::kNo:
        break;
      case Marker::kYes:
        if (options_.strict_end_marker && at != base) {
          return fail("end-of-copy marker is not alone on its line");
        }
        // What stands before it on its line is a row.
        ended_ = true;
        if (at == base) return Scan::kEnd;
        return found(static_cast<std::size_t>(at - base), static_cast<std::size_t>(at - base));
      case Marker::kNeedMore:
        scanned_ = static_cast<std::size_t>(at - base);
        return Scan::kNeedMore;
      case Marker::kError:
        return Scan::kError;
    }
    // Whatever a backslash stands before is data, a line end as well.
    at = end - at >= 2 ? at + 2 : end;
  }
}

CopyRowReader::Scan CopyRowReader::scan_csv(const char* base, std::size_t size, bool last) {
  const char* const end = base + size;
  if (scanned_ == 0 && size != 0 && *base == '\\') {
    switch (end_marker(base, end, last)) {
      case Marker::kNo:
        break;
      case Marker::kYes:
        ended_ = true;
        return Scan::kEnd;
      case Marker::kNeedMore:
        return Scan::kNeedMore;
      case Marker::kError:
        return Scan::kError;
    }
  }
  const char quote = options_.quote;
  const char escape = options_.escape;
  const bool own_escape = escape != quote;
  for (const char* at = base + scanned_;; ++at) {
    // An escape concerns the next byte only, and only if that is a quote or another escape.
    if (after_escape_ && at < end && *at != quote && *at != escape) after_escape_ = false;
    at = in_quote_ ? find_any(at, end, quote, escape, '\n', '\r')
                   : find_any(at, end, quote, '\n', '\r');
    if (at == end) {
      if (last) return end_with_input(size);
      scanned_ = size;
      return Scan::kNeedMore;
    }
    const char c = *at;
    if (own_escape && in_quote_ && c == escape) {
      after_escape_ = !after_escape_;
      continue;
    }
    if (c == quote) {
      if (!after_escape_) in_quote_ = !in_quote_;
      after_escape_ = false;
      continue;
    }
    if (in_quote_) {
      ++(c == '\n' ? newlines_ : returns_);
      continue;
    }
    return c == '\n' ? end_at_newline(base, at) : end_at_return(base, at, end, last);
  }
}

CopyRowReader::Scan CopyRowReader::scan_binary_header(const char* base, std::size_t size,
                                                      bool last) {
  const auto flags_at = kBinarySignature.size();
  if (size < kBinaryFixedHeader && !last) return Scan::kNeedMore;
  // A server counts no line before the first row.
  const auto refuse = [this](const char* message) {
    fail(message);
    line_number_ = 0;
    return Scan::kError;
  };
  if (std::string_view(base, std::min(size, flags_at)) != kBinarySignature) {
    return refuse("COPY file signature not recognized");
  }
  if (size < flags_at + 4) return refuse("invalid COPY file header (missing flags)");
  const std::uint32_t flags = load_be32(base + flags_at);
  if ((flags & (1u << 16)) != 0) return refuse("invalid COPY file header (WITH OIDS)");
  if ((flags >> 16) != 0) return refuse("unrecognized critical flags in COPY file header");
  if (size < kBinaryFixedHeader) return refuse("invalid COPY file header (missing length)");
  const std::uint32_t extension = load_be32(base + flags_at + 4);
  if ((extension >> 31) != 0) return refuse("invalid COPY file header (missing length)");
  if (size - kBinaryFixedHeader < extension) {
    return last ? refuse("invalid COPY file header (wrong length)") : Scan::kNeedMore;
  }
  binary_ = Binary::kRows;
  return found(kBinaryFixedHeader + extension, kBinaryFixedHeader + extension);
}

CopyRowReader::Scan CopyRowReader::scan_binary_row(const char* base, std::size_t size, bool last) {
  const auto fail_in_field = [&](const char* message) {
    error_field_ = columns_ - fields_left_;
    return fail(message);
  };
  const auto unfinished = [&] {
    return last ? fail_in_field("unexpected EOF in COPY data") : Scan::kNeedMore;
  };
  if (scanned_ == 0) {
    if (size < 2) {
      // The trailer may be missing, and a lone byte is not looked at.
      if (!last) return Scan::kNeedMore;
      ended_ = true;
      return Scan::kEnd;
    }
    const auto count = static_cast<std::int16_t>(load_be16(base));
    if (count == -1) {
      ended_ = true;
      return found(2, 2);
    }
    if (count < 0 || static_cast<std::size_t>(count) != columns_) {
      const std::string message =
          "row field count is " + std::to_string(count) + ", expected " + std::to_string(columns_);
      return fail(message.c_str());
    }
    fields_left_ = columns_;
    scanned_ = 2;
  }
  while (fields_left_ != 0) {
    if (size - scanned_ < 4) return unfinished();
    const auto length = static_cast<std::int32_t>(load_be32(base + scanned_));
    if (length < -1) return fail_in_field("invalid field size");
    const std::size_t bytes = length == -1 ? 0 : static_cast<std::size_t>(length);
    if (columns_ - fields_left_ == key_) {
      binary_key_.state = length == -1 ? CopyField::State::kNull : CopyField::State::kValue;
      key_at_ = scanned_ + 4;
      key_size_ = bytes;
    }
    if (size - scanned_ - 4 < bytes) {
      if (bytes > max_row_) {
        too_long();
        return Scan::kError;
      }
      return unfinished();
    }
    scanned_ += 4 + bytes;
    --fields_left_;
  }
  return found(scanned_, scanned_);
}

}  // namespace pgshunt
