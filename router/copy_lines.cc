#include "router/copy_lines.h"

#include <charconv>

namespace pgshunt {

std::optional<std::uint64_t> CopyLines::find(ShardId shard, std::uint64_t line) const {
  const Sent& sent = shards_[shard];
  const auto wanted = static_cast<std::uint32_t>(line);
  for (std::size_t back = 1; back <= sent.last.size(); ++back) {
    const Entry& entry = sent.last[(sent.rows - back) % kRemembered];
    if (entry.in_shard == wanted) return entry.in_stream;
  }
  return std::nullopt;
}

std::string CopyLines::translate(ShardId shard, std::string_view table,
                                 std::string_view context) const {
  constexpr std::string_view kLine = ", line ";
  const std::string prefix = "COPY " + std::string(table) + std::string(kLine);
  std::size_t at = context.find(prefix);
  while (at != std::string_view::npos && at != 0 && context[at - 1] != '\n') {
    at = context.find(prefix, at + 1);
  }
  if (at == std::string_view::npos) return std::string(context);
  const char* const digits = context.data() + at + prefix.size();
  const char* const end = context.data() + context.size();
  std::uint64_t line = 0;
  const auto [stop, error] = std::from_chars(digits, end, line);
  if (error != std::errc()) return std::string(context);
  std::string out(context.substr(0, at + prefix.size() - kLine.size()));
  if (const auto known = find(shard, line)) {
    out += kLine;
    out += std::to_string(*known);
  }
  out.append(stop, end);
  return out;
}

}  // namespace pgshunt
