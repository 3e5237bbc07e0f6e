// The rows of a COPY FROM stream, one by one, however the client cut the stream into CopyData
// messages. A row that lies whole in one chunk is not copied; one that crosses chunks is put
// together in a buffer, which is all the memory this takes.
//
// What PostgreSQL's COPY refuses is refused in its words; what it accepts gives the rows it would
// read. (copyfromparse.c: CopyReadLineText, ReceiveCopyBinaryHeader, NextCopyFrom.)
//
//   reader.push(payload);
//   while ((read = reader.next(row)) == CopyRead::kRow) ...;   // then kNeedMore
//   ... at CopyDone: reader.finish(), and next() until kEnd
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/copy_field.h"
#include "protocol/copy_format.h"
#include "protocol/result.h"

namespace pgshunt {

enum class CopyRead : std::uint8_t {
  kRow,
  kNeedMore,  // the chunk is used up and need not be kept any longer
  kEnd,       // after finish(): nothing is left
  kError,     // see error(); for good
};

// Valid until the next call of the reader, as long as the chunk that was pushed.
struct CopyRow {
  enum class Kind : std::uint8_t {
    kData,
    kHeader,   // the header line, or the header of kBinary
    kTrailer,  // kBinary: the end the client has sent; no data follows
  };
  Kind kind = Kind::kData;
  std::string_view bytes;  // as sent, with its line end; the last row may have none
  std::string_view line;   // without its line end
  // By how much a server's line counter goes on over the row: one, and the line ends inside quotes
  // of CSV. Those depend on the line end in use, which a server learns at its first row's end.
  std::uint32_t lines = 1;
  std::uint32_t lines_if_first = 1;
};

class CopyRowReader {
 public:
  // `columns`: fields of a row, checked in kBinary. `key`: the field of a row of kBinary that
  // key_field() gives. Rows longer than `max_row` are an error.
  CopyRowReader(CopyOptions options, std::size_t columns, std::size_t key,
                std::size_t max_row = kMaxCopyRow);

  // The next bytes of the stream; they must stay until next() asks for more. Not before it has.
  void push(std::string_view chunk);
  // There are no more.
  void finish() { finished_ = true; }
  CopyRead next(CopyRow& row);

  // Of the row given last, if it is kData. Field `index`; of kBinary only the key's, by
  // key_field().
  CopyField field(const CopyRow& row, std::size_t index) const {
    return find_copy_field(options_, row.line, index);
  }
  CopyField key_field(const CopyRow& row) const {
    return options_.format == CopyFormat::kBinary ? binary_key_ : field(row, key_);
  }

  const Error& error() const { return error_; }
  // As a server counts: of the row given last, or of the one with the error. From 1.
  std::uint64_t line_number() const { return line_number_; }
  // kBinary: the field the error is in, if it is in one.
  std::optional<std::size_t> error_field() const { return error_field_; }
  const CopyOptions& options() const { return options_; }

 private:
  enum class LineEnd : std::uint8_t { kUnknown, kNewline, kReturn, kReturnNewline };
  enum class Scan : std::uint8_t { kFound, kNeedMore, kEnd, kError };
  enum class Marker : std::uint8_t { kNo, kYes, kNeedMore, kError };
  enum class Binary : std::uint8_t { kHeader, kRows };

  // Goes on from scanned_ in the bytes of a row (and what follows), until they tell its end.
  Scan scan(const char* base, std::size_t size, bool last);
  Scan scan_text(const char* base, std::size_t size, bool last);
  Scan scan_csv(const char* base, std::size_t size, bool last);
  Scan scan_binary_header(const char* base, std::size_t size, bool last);
  Scan scan_binary_row(const char* base, std::size_t size, bool last);
  Scan end_at_newline(const char* base, const char* at);
  Scan end_at_return(const char* base, const char* at, const char* end, bool last);
  Scan end_with_input(std::size_t size);
  Scan found(std::size_t content, std::size_t total);
  Marker end_marker(const char* at, const char* end, bool last);
  Scan fail(const char* message, const char* hint = "");
  CopyRead give(const char* base, CopyRow& row);
  CopyRead too_long();
  std::uint32_t lines() const {
    return 1 + (row_line_end_ == LineEnd::kNewline ? newlines_ : returns_);
  }

  const CopyOptions options_;
  const std::size_t columns_;
  const std::size_t key_;
  const std::size_t max_row_;

  std::string_view chunk_;  // not looked at yet
  std::string pending_;     // the row's bytes from earlier chunks; empty if it began in chunk_
  bool pending_given_ = false;
  bool finished_ = false;
  bool ended_ = false;  // an end marker or trailer was met
  bool failed_ = false;
  bool header_left_;
  LineEnd line_end_ = LineEnd::kUnknown;
  Binary binary_ = Binary::kHeader;
  std::uint64_t line_number_ = 0;
  Error error_;
  std::optional<std::size_t> error_field_;

  // The row now being read.
  std::size_t scanned_ = 0;  // bytes that need not be looked at again
  bool in_quote_ = false;
  bool after_escape_ = false;
  LineEnd row_line_end_ = LineEnd::kUnknown;  // as known at its begin
  std::uint32_t newlines_ = 0;                // inside quotes
  std::uint32_t returns_ = 0;
  std::size_t fields_left_ = 0;  // kBinary
  std::size_t key_at_ = 0;
  std::size_t key_size_ = 0;
  CopyField binary_key_;

  // Set by found().
  std::size_t content_size_ = 0;
  std::size_t row_size_ = 0;
};

}  // namespace pgshunt
