#include "router/copy_split.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "protocol/byte_search.h"
#include "protocol/frame.h"
#include "protocol/frontend.h"
#include "router/hint_plan.h"
#include "router/key_location.h"
#include "router/moment_words.h"
#include "router/pg_hash.h"
#include "router/refusal.h"

namespace pgshunt {
namespace {

constexpr Sqlstate kBadCopyFileFormat{"22P04"};
constexpr std::size_t kNotOpen = ~std::size_t{0};
// A message is closed once it is larger: a server reads a whole message before it looks at a row.
constexpr std::size_t kMessageSize = std::size_t{64} << 10;

CopyOptions with_marker(CopyOptions options, bool strict) {
  options.strict_end_marker = strict;
  return options;
}

bool is_ascii(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// The common form of an integer, which needs no care: a sign and up to 18 digits.
std::optional<std::int64_t> plain_integer(std::string_view text) {
  const bool negative = !text.empty() && text[0] == '-';
  if (negative) text.remove_prefix(1);
  if (text.empty() || text.size() > 18) return std::nullopt;
  std::int64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return negative ? -value : value;
}

bool fits(ShardKeyType type, std::int64_t value) {
  if (type == ShardKeyType::kInt2) return value == static_cast<std::int16_t>(value);
  if (type == ShardKeyType::kInt4) return value == static_cast<std::int32_t>(value);
  return type == ShardKeyType::kInt8;
}

// limit_printout_length() of copyfrom.c, for a single-byte view of the text.
std::string shown(std::string_view text) {
  constexpr std::size_t kMax = 100;
  if (text.size() <= kMax) return std::string(text);
  std::size_t size = kMax;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return std::string(text.substr(0, size)) + "...";
}

}  // namespace

CopySplitter::CopySplitter(std::shared_ptr<const Topology> topology,
                           std::shared_ptr<const CopyPlan> plan, const RouterSession& session,
                           bool strict_end_marker, const KeyDirectory* directory)
    : topology_(std::move(topology)),
      plan_(std::move(plan)),
      directory_(directory),
      same_encoding_(session.same_encoding && !plan_->encoding_given),
      reader_(with_marker(plan_->options, strict_end_marker), plan_->columns.size(),
              plan_->key_field),
      lines_(topology_->shards.size()),
      supplies_(plan_->made.size()),
      open_(topology_->shards.size(), kNotOpen) {}

bool CopySplitter::take(std::string_view payload, std::span<std::string> outputs) {
  if (late_failure_) return true;
  reader_.push(payload);
  return drain(outputs);
}

bool CopySplitter::finish(std::span<std::string> outputs) {
  if (late_failure_) return true;
  reader_.finish();
  return drain(outputs);
}

bool CopySplitter::drain(std::span<std::string> outputs) {
  CopyRow row;
  bool good = true;
  while (good) {
    const CopyRead read = reader_.next(row);
    if (read == CopyRead::kError) {
      const auto field = reader_.error_field();
      good = field ? fail(reader_.error(), Shows::kValue, plan_->columns[*field])
                   : fail(reader_.error(), Shows::kLine);
    } else if (read == CopyRead::kRow) {
      good = place(row, outputs);
    } else {
      break;
    }
  }
  close_all(outputs);
  if (good || held_.empty()) return good;
  late_failure_ = std::move(failure_);
  return true;
}

bool CopySplitter::place(const CopyRow& row, std::span<std::string> outputs) {
  const bool data = row.kind == CopyRow::Kind::kData;
  if (data && !check_moments(row)) return false;
  CopyRow filled = row;
  if (!plan_->made.empty() && row.kind != CopyRow::Kind::kTrailer) {
    if (!fill(row)) return false;
    filled.bytes = filled_;
  }
  std::optional<ShardId> shard;
  const bool has_key = data && !plan_->every_shard;
  if (has_key && !find_shard(row, shard)) return false;
  if (shard && is_elsewhere(*shard)) {
    return fail(not_where_hinted(*shard), Shows::kLine);
  }
  const bool unknown = has_key && !shard;
  if (!unknown && held_.empty()) {
    send(filled, reader_.line_number(), shard, outputs);
    return true;
  }
  Held& held = held_.emplace_back();
  held.row = row;
  held.bytes = filled.bytes;
  held.line = reader_.line_number();
  held.shard = shard;
  if (unknown) held.key = key_;
  return true;
}

void CopySplitter::learn(const KeyLookup& lookup, const Result<KeyPlace>& place) {
  learned_.insert_or_assign(lookup.key, place);
}

bool CopySplitter::go_on(std::span<std::string> outputs) {
  const Keyspace& keyspace = topology_->keyspaces[plan_->keyspace];
  const std::vector<Held> held = std::exchange(held_, {});
  lookups_.clear();
  const auto learned = std::exchange(learned_, {});
  bool good = true;
  for (const Held& each : held) {
    std::optional<ShardId> shard = each.shard;
    const bool unknown = !shard && each.row.kind == CopyRow::Kind::kData;
    if (unknown) {
      const auto answer = learned.find(each.key);
      std::optional<Error> why;
      if (answer == learned.end()) {
        why = Error{sqlstate::kInternalError, "a key's shard is not known", {}};
      } else if (!answer->second) {
        why = answer->second.error();
      } else if (answer->second->kind == KeyPlace::Kind::kShard) {
        shard = answer->second->shard;
        if (is_elsewhere(*shard)) why = not_where_hinted(*shard);
      } else {
        why = refuses_new_keys(keyspace);
      }
      if (why) {
        good = fail_at(each.line, *why, Shows::kValue, plan_->key_column(),
                       encoded_key_text(keyspace.key_type, each.key));
        break;
      }
    }
    CopyRow row = each.row;
    row.bytes = each.bytes;
    send(row, each.line, shard, outputs);
  }
  close_all(outputs);
  if (!good || !late_failure_) return good;
  failure_ = std::move(*late_failure_);
  return false;
}

// A hint says where all rows are to go.
bool CopySplitter::is_elsewhere(ShardId shard) const {
  return plan_->only_shard && *plan_->only_shard != shard;
}

Error CopySplitter::not_where_hinted(ShardId shard) const {
  return key_not_where_hinted(*topology_, shard, *plan_->only_shard);
}

// Without a shard to all of them.
void CopySplitter::send(const CopyRow& row, std::uint64_t line, std::optional<ShardId> shard,
                        std::span<std::string> outputs) {
  if (shard) return append(row, line, *shard, outputs[*shard]);
  for (const ShardId each : topology_->all_shards) append(row, line, each, outputs[each]);
}

void CopySplitter::append(const CopyRow& row, std::uint64_t line, ShardId shard,
                          std::string& output) {
  if (row.kind != CopyRow::Kind::kTrailer) lines_.add(shard, row, line);
  std::size_t& open = open_[shard];
  if (open != kNotOpen && output.size() - open + row.bytes.size() > kMessageSize) {
    close(shard, output);
  }
  if (open == kNotOpen) {
    open = output.size();
    const char header[kFrameHeaderSize] = {frontend::kCopyData, 0, 0, 0, 0};
    output.append(header, sizeof header);
  }
  output.append(row.bytes);
}

void CopySplitter::close_all(std::span<std::string> outputs) {
  for (const ShardId shard : topology_->all_shards) close(shard, outputs[shard]);
}

void CopySplitter::close(ShardId shard, std::string& output) {
  std::size_t& open = open_[shard];
  if (open == kNotOpen) return;
  store_be32(output.data() + open + 1, static_cast<std::uint32_t>(output.size() - open - 1));
  open = kNotOpen;
}

bool CopySplitter::find_shard(const CopyRow& row, std::optional<ShardId>& shard) {
  if (plan_->made_key) return locate(row, made_key_, false, shard);
  const CopyField field = reader_.key_field(row);
  const std::string& column = plan_->key_column();
  const bool binary = plan_->options.format == CopyFormat::kBinary;
  std::string_view value;
  bool is_null = false;
  switch (field.state) {
    case CopyField::State::kValue:
      value = binary ? field.raw : decode_copy_field(plan_->options, field, scratch_);
      is_null = plan_->force_null && value == plan_->options.null_text;
      break;
    case CopyField::State::kNull:
      is_null = !plan_->force_not_null;
      value = plan_->options.null_text;
      break;
    case CopyField::State::kDefault:
      return fail(refusal("COPY leaves the shard key \"" + column + "\" of table \"" +
                              plan_->table + "\" to its default",
                          "Give the key a value: it decides which shard the row goes to."),
                  Shows::kRow, {}, row.line);
    case CopyField::State::kMissing:
      return check_field_count(row);
    case CopyField::State::kUnterminated:
      return fail({kBadCopyFileFormat, "unterminated CSV quoted field", {}}, Shows::kRow, {},
                  row.line);
  }
  if (is_null) {
    if (!check_field_count(row)) return false;
    if (plan_->filtered) {
      return fail(
          refusal("null value in shard key column \"" + column + "\" of table \"" + plan_->table +
                      "\", and the servers only can tell whether WHERE "
                      "drops the row",
                  "Leave such rows out of the data."),
          Shows::kRow, {}, row.line);
    }
    return fail(
        {sqlstate::kNotNullViolation,
         "null value in shard key column \"" + column + "\" of table \"" + plan_->table + "\"",
         "Give the key a value: it decides which shard the row goes to."},
        Shows::kRow, {}, row.line);
  }
  return locate(row, value, binary, shard);
}

bool CopySplitter::locate(const CopyRow& row, std::string_view value, bool binary,
                          std::optional<ShardId>& shard) {
  const std::string& column = plan_->key_column();
  const ShardKeyType type = plan_->key_type;
  const Keyspace& keyspace = topology_->keyspaces[plan_->keyspace];
  if (is_integer(type) && !binary) {
    const HashPlacement* placement = keyspace.hash();
    const auto integer = plain_integer(value);
    if (placement && placement->overrides.empty() && integer && fits(type, *integer)) {
      shard = placement->owners[hash_int8(*integer) & (kBucketCount - 1)];
      return true;
    }
  }
  if (!same_encoding_ && is_string(type) && !is_ascii(value)) {
    return fail(refusal("a text shard key with letters beyond ASCII cannot be hashed in another "
                        "encoding",
                        "Set client_encoding to the server's encoding, and leave out ENCODING."),
                Shows::kValue, column, value);
  }
  KeyInput input;
  input.form = binary ? KeyInput::Form::kBinary : KeyInput::Form::kText;
  input.bytes = value;
  const auto location = locate_key(keyspace, KeySource{}, input, plan_->key_use, key_);
  const std::string_view shown = binary ? std::string_view() : value;
  if (!location) {
    if (!check_no_extra_field(row)) return false;
    return fail(location.error(), Shows::kValue, column, shown);
  }
  switch (location->kind) {
    case KeyLocation::Kind::kShard:
      shard = location->shard;
      return true;
    case KeyLocation::Kind::kAskDirectory: {
      const KeyPlace place = place_in_memory(directory_, keyspace, key_);
      if (place.kind == KeyPlace::Kind::kShard) {
        shard = place.shard;
        return true;
      }
      if (place.kind == KeyPlace::Kind::kAbsent && !takes_new_keys(keyspace)) {
        return fail(refuses_new_keys(keyspace), Shows::kValue, column, shown);
      }
      lookups_.add(plan_->keyspace, key_, takes_new_keys(keyspace));
      return true;
    }
    case KeyLocation::Kind::kNull:
    case KeyLocation::Kind::kNoMatch:  // a value that is stored equals itself
    case KeyLocation::Kind::kNobodys:
      break;
  }
  return fail(nobodys_key(keyspace, key_), Shows::kValue, column, shown);
}

// --- values that the proxy makes ---

std::size_t CopySplitter::values_wanted(std::string_view payload) const {
  if (plan_->made.empty()) return 0;
  // One for a row that was begun before, one for the last, which may lack a line end.
  constexpr std::size_t kMore = 2;
  if (plan_->options.format == CopyFormat::kBinary) {
    return payload.size() / (2 + 4 * plan_->columns.size()) + kMore;
  }
  const auto count = [&](char c) {
    return count_byte(payload.data(), payload.data() + payload.size(), c);
  };
  return std::max(count('\n'), count('\r')) + kMore;
}

bool CopySplitter::fill(const CopyRow& row) {
  filled_.clear();
  if (row.kind == CopyRow::Kind::kHeader) {
    fill_header(row);
    return true;
  }
  for (const Supply& supply : supplies_) {
    if (supply.left() == 0) {
      return fail({sqlstate::kInternalError, "a row's own values were not made in time", {}},
                  Shows::kLine);
    }
  }
  if (plan_->options.format == CopyFormat::kBinary) return fill_binary(row);
  for (std::size_t i = 0; i < supplies_.size(); ++i) {
    char number[24];
    const auto written = std::to_chars(number, number + sizeof number, supplies_[i].next());
    if (i == plan_->made_key) made_key_.assign(number, written.ptr);
    filled_.append(number, written.ptr).push_back(plan_->options.delimiter);
  }
  filled_.append(row.bytes);
  return true;
}

bool CopySplitter::fill_binary(const CopyRow& row) {
  const auto append = [this](std::uint64_t value, std::size_t width) {
    for (std::size_t i = width; i-- > 0;) filled_.push_back(static_cast<char>(value >> (8 * i)));
  };
  append(plan_->columns.size() + plan_->made.size(), 2);
  for (std::size_t i = 0; i < supplies_.size(); ++i) {
    const std::uint32_t type = plan_->made[i].type_oid;
    const std::int64_t value = supplies_[i].next();
    const ShardKeyType width = type == type_oid::kInt2   ? ShardKeyType::kInt2
                               : type == type_oid::kInt4 ? ShardKeyType::kInt4
                                                         : ShardKeyType::kInt8;
    if (!fits(width, value)) {
      return fail({Sqlstate("22003"),
                   width == ShardKeyType::kInt2 ? "smallint out of range" : "integer out of range",
                   {}},
                  Shows::kValue, plan_->made[i].column);
    }
    if (i == plan_->made_key) made_key_ = std::to_string(value);
    const std::size_t size = width == ShardKeyType::kInt2   ? 2
                             : width == ShardKeyType::kInt4 ? 4
                                                            : 8;
    append(size, 4);
    append(static_cast<std::uint64_t>(value), size);
  }
  filled_.append(row.bytes.substr(2));
  return true;
}

// Shards that compare the names are given ours too.
void CopySplitter::fill_header(const CopyRow& row) {
  const CopyOptions& options = plan_->options;
  const bool csv = options.format == CopyFormat::kCsv;
  for (const MadeField& field : plan_->made) {
    if (!plan_->header_match) break;
    if (csv) filled_.push_back(options.quote);
    for (const char c : field.column) {
      if (csv && (c == options.quote || c == options.escape)) filled_.push_back(options.escape);
      if (!csv && (c == '\\' || c == options.delimiter)) filled_.push_back('\\');
      filled_.push_back(c);
    }
    if (csv) filled_.push_back(options.quote);
    filled_.push_back(options.delimiter);
  }
  filled_.append(row.bytes);
}

// Of a row that it shows the server has our fields too.
std::string CopySplitter::translate_context(ShardId shard, std::string_view context) const {
  std::string out = lines_.translate(shard, plan_->table, context);
  const auto mention = CopyLines::find_line(plan_->table, out);
  constexpr std::string_view kRow = ": \"";
  if (plan_->made.empty() || !mention || !out.substr(mention->end).starts_with(kRow)) return out;
  const std::size_t begin = mention->end + kRow.size();
  std::size_t end = begin;
  for (std::size_t i = 0; i < plan_->made.size(); ++i) {
    const std::size_t delimiter = out.find(plan_->options.delimiter, end);
    if (delimiter == std::string::npos) return out;
    end = delimiter + 1;
  }
  return out.erase(begin, end - begin);
}

// In a date or time, words such as "now" would be read by each server on its own clock.
bool CopySplitter::check_moments(const CopyRow& row) {
  for (const std::size_t index : plan_->moment_fields) {
    const CopyField field = reader_.field(row, index);
    if (field.state != CopyField::State::kValue) continue;
    const std::string_view value = decode_copy_field(plan_->options, field, scratch_);
    if (!names_a_moment(value)) continue;
    return fail(refusal("a value such as 'now' or 'today' would mean another moment on every shard",
                        "Write the date or time itself."),
                Shows::kValue, plan_->columns[index], value);
  }
  return true;
}

// A server counts the fields of a row before it looks at what is in them.
bool CopySplitter::check_field_count(const CopyRow& row) {
  if (plan_->options.format == CopyFormat::kBinary) return true;  // counted already
  for (std::size_t index = 0; index < plan_->columns.size(); ++index) {
    if (reader_.field(row, index).state != CopyField::State::kMissing) continue;
    return fail(
        {kBadCopyFileFormat, "missing data for column \"" + plan_->columns[index] + "\"", {}},
        Shows::kRow, {}, row.line);
  }
  return check_no_extra_field(row);
}

bool CopySplitter::check_no_extra_field(const CopyRow& row) {
  if (plan_->options.format == CopyFormat::kBinary ||
      reader_.field(row, plan_->columns.size()).state == CopyField::State::kMissing) {
    return true;
  }
  return fail({kBadCopyFileFormat, "extra data after last expected column", {}}, Shows::kRow, {},
              row.line);
}

// CopyFromErrorCallback() of copyfrom.c.
bool CopySplitter::fail(Error error, Shows shows, std::string_view column, std::string_view text) {
  return fail_at(reader_.line_number(), std::move(error), shows, column, text);
}

bool CopySplitter::fail_at(std::uint64_t line, Error error, Shows shows, std::string_view column,
                           std::string_view text) {
  failure_.error = std::move(error);
  std::string& context = failure_.context;
  context.clear();
  // The header of kBinary is read before there is a line to speak of.
  if (line == 0) return false;
  context = "COPY " + plan_->table + ", line " + std::to_string(line);
  if (plan_->options.format == CopyFormat::kBinary) {
    if (shows == Shows::kValue) context += ", column " + std::string(column);
  } else if (shows == Shows::kValue) {
    context += ", column " + std::string(column) + ": \"" + shown(text) + "\"";
  } else if (shows == Shows::kRow) {
    context += ": \"" + shown(text) + "\"";
  }
  return false;
}

}  // namespace pgshunt
