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

std::optional<CopyLines::Mention> CopyLines::find_line(std::string_view table,
                                                       std::string_view context) {
  constexpr std::string_view kLine = ", line ";
  const std::string prefix = "COPY " + std::string(table) + std::string(kLine);
  std::size_t at = context.find(prefix);
  while (at != std::string_view::npos && at != 0 && context[at - 1] != '\n') {
    at = context.find(prefix, at + 1);
  }
  if (at == std::string_view::npos) return std::nullopt;
  Mention out;
  const char* const digits = context.data() + at + prefix.size();
  const auto [stop, error] = std::from_chars(digits, context.data() + context.size(), out.number);
  if (error != std::errc()) return std::nullopt;
  out.begin = at + prefix.size() - kLine.size();
  out.end = static_cast<std::size_t>(stop - context.data());
  return out;
}

std::string CopyLines::translate(ShardId shard, std::string_view table,
                                 std::string_view context) const {
  const auto mention = find_line(table, context);
  if (!mention) return std::string(context);
  std::string out(context.substr(0, mention->begin));
  if (const auto known = find(shard, mention->number)) {
    out.append(", line ").append(std::to_string(*known));
  }
  return out.append(context.substr(mention->end));
}

}  // namespace pgshunt
