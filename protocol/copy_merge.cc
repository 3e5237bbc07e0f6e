#include "protocol/copy_merge.h"

#include <charconv>

#include "protocol/frame.h"

namespace pgshunt {
namespace {

constexpr std::string_view kTrailer{"\377\377", 2};
constexpr std::string_view kSignature{"PGCOPY\n\377\r\n\0", 11};
constexpr std::size_t kFixedHeader = 19;  // signature, flags, length of the extension

// Size of the header at the front of the first CopyData of kBinary; 0 if there is none.
std::size_t header_size(std::string_view body) {
  if (body.size() < kFixedHeader || !body.starts_with(kSignature)) return 0;
  const std::size_t extension = load_be32(body.data() + kFixedHeader - 4);
  return body.size() - kFixedHeader < extension ? 0 : kFixedHeader + extension;
}

}  // namespace

CopyMerger::CopyMerger(CopyFormat format, bool header, std::size_t servers)
    : format_(format), header_due_(servers, header || format == CopyFormat::kBinary) {}

Result<std::string_view> CopyMerger::take(std::size_t server, std::string_view body) {
  const bool with_header = header_due_[server];
  header_due_[server] = false;
  const bool first = with_header && !header_given_;
  header_given_ |= with_header;
  if (format_ != CopyFormat::kBinary) return with_header && !first ? std::string_view() : body;
  // The header comes in one message with the first row, or with the trailer.
  std::size_t header = 0;
  if (with_header) {
    header = header_size(body);
    if (header == 0) {
      return Error{sqlstate::kInternalError, "a server's COPY data has no header", {}};
    }
  }
  if (body.substr(header) == kTrailer) body.remove_suffix(kTrailer.size());
  if (!first) body.remove_prefix(header);
  return body;
}

std::string_view CopyMerger::finish() const {
  return format_ == CopyFormat::kBinary ? kTrailer : std::string_view();
}

std::optional<std::uint64_t> copy_row_count(std::string_view tag) {
  constexpr std::string_view kName = "COPY ";
  if (!tag.starts_with(kName)) return std::nullopt;
  tag.remove_prefix(kName.size());
  std::uint64_t rows = 0;
  const auto [end, error] = std::from_chars(tag.data(), tag.data() + tag.size(), rows);
  if (error != std::errc() || end != tag.data() + tag.size()) return std::nullopt;
  return rows;
}

}  // namespace pgshunt
