#include "proxy/session/shard_rows.h"

#include <algorithm>
#include <utility>

#include "protocol/backend.h"
#include "protocol/byte_reader.h"
#include "protocol/frame.h"

namespace pgshunt {

Status ShardRows::describe(std::string_view body) {
  if (merger_) return Ok{};
  auto merger = RowMerger::create(spec_, window_, body, nullptr, sources_.size());
  if (!merger) return merger.error();
  merger_.emplace(std::move(*merger));
  shards_description_ = body;
  std::string message;
  const Status cut = cut_row_description(body, merger_->visible_columns(), message);
  if (!cut) return cut.error();
  description_ = message.substr(kFrameHeaderSize);
  return Ok{};
}

Status ShardRows::set_formats(std::string_view formats) {
  ByteReader reader(formats);
  const std::uint16_t count = reader.be16();
  const FormatList list = FormatList::read(reader, count);
  auto merger = RowMerger::create(spec_, window_, shards_description_, &list, sources_.size());
  if (!merger) return merger.error();
  merger_.emplace(std::move(*merger));
  return Ok{};
}

std::vector<std::size_t> ShardRows::wanting() const {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const Source& source = sources_[i];
    if (!source.last && source.at == source.rows.size()) out.push_back(i);
  }
  return out;
}

std::vector<ShardId> ShardRows::shards() const {
  std::vector<ShardId> out;
  for (const Source& source : sources_) out.push_back(source.shard);
  return out;
}

bool ShardRows::reads(ShardId shard) const {
  return std::any_of(sources_.begin(), sources_.end(),
                     [&](const Source& source) { return source.shard == shard; });
}

std::size_t ShardRows::next_portion(std::uint64_t wanted) {
  // Few at first, since nobody knows how large they are, and soon more.
  constexpr std::size_t kFirst = 4;
  constexpr std::size_t kFirstOfMany = 50;
  constexpr std::size_t kGrowth = 8;
  constexpr std::size_t kMost = 10'000;
  std::size_t rows = std::clamp<std::size_t>(wanted, kFirst, kFirstOfMany);
  if (latest_rows_ > 0) {
    const std::size_t average = std::max<std::size_t>(1, latest_bytes_ / latest_rows_);
    rows =
        std::clamp<std::size_t>(kPortion / average, 1, std::min(latest_portion_ * kGrowth, kMost));
  }
  latest_rows_ = latest_bytes_ = 0;
  return latest_portion_ = rows;
}

void ShardRows::add(std::size_t source, std::string rows, std::size_t asked) {
  Source& to = sources_[source];
  to.rows = std::move(rows);
  to.at = 0;
  std::size_t count = 0;
  FrameHeader header;
  for (std::size_t at = 0; at < to.rows.size(); at += header.frame_size()) {
    read_frame_header(std::string_view(to.rows).substr(at), kMaxBodySize, header);
    ++count;
  }
  to.last = asked == 0 || count < asked;
  latest_rows_ += count;
  latest_bytes_ += to.rows.size();
}

std::string_view ShardRows::head(const Source& source) const {
  FrameHeader header;
  const std::string_view rest = std::string_view(source.rows).substr(source.at);
  read_frame_header(rest, kMaxBodySize, header);
  return rest.substr(kFrameHeaderSize, header.body_size);
}

Result<ShardRows::Next> ShardRows::next(std::string_view& row) {
  if (!merger_) return Next::kWanting;
  while (true) {
    const RowMerger::Step step = merger_->next();
    if (step.kind == RowMerger::Step::kDone) return Next::kEnd;
    Source& source = sources_[step.source];
    if (step.kind == RowMerger::Step::kNeed) {
      if (source.at < source.rows.size()) {
        if (const Status set = merger_->set_head(step.source, head(source)); !set) {
          return set.error();
        }
      } else if (source.last) {
        merger_->set_end(step.source);
      } else {
        return Next::kWanting;
      }
      continue;
    }
    const std::string_view body = head(source);
    source.at += kFrameHeaderSize + body.size();
    row_.clear();
    Status cut = Ok{};
    if (step.kind == RowMerger::Step::kRow) {
      cut = cut_data_row(body, merger_->visible_columns(), row_);
    }
    merger_->taken();
    if (!cut) return cut.error();
    if (step.kind == RowMerger::Step::kSkip) continue;
    row = std::string_view(row_).substr(kFrameHeaderSize);
    return Next::kRow;
  }
}

}  // namespace pgshunt
