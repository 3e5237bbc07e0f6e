#include "router/directory/key_file.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "protocol/frame.h"
#include "router/key_encoding.h"

namespace pgshunt {
namespace {

constexpr std::uint64_t kProgressStep = 65536;
// What some programs, spreadsheets among them, begin a file of UTF-8 with.
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

Error at_line(std::uint64_t line, std::string message) {
  return {sqlstate::kInvalidTextRepresentation,
          "line " + std::to_string(line) + ": " + std::move(message), "Nothing was imported."};
}

struct Row {
  std::string key;
  std::string shard;
  std::uint64_t line = 0;
};

class RowReader {
 public:
  RowReader(std::istream& in, KeyFileFormat format) : in_(in), format_(format) {}

  // False at the end.
  Result<bool> next(Row& row) {
    while (read_line()) {
      row.line = line_number_;
      if (line_.empty()) continue;
      if (format_ == KeyFileFormat::kNdjson) return next_json(row);
      const bool first = line_number_ == 1;
      if (const Status read = next_csv(row); !read) return read.error();
      if (first && row.key == "key" && row.shard == "shard") continue;
      return true;
    }
    if (in_.bad()) return Error{Sqlstate{"58030"}, "the file cannot be read", {}};
    return false;
  }
  std::uint64_t bytes() const { return bytes_; }

 private:
  bool read_line() {
    if (!std::getline(in_, line_)) return false;
    ++line_number_;
    bytes_ += line_.size() + 1;
    if (line_number_ == 1 && line_.starts_with(kByteOrderMark)) {
      line_.erase(0, kByteOrderMark.size());
    }
    if (line_.ends_with('\r')) line_.pop_back();
    return true;
  }

  Status next_csv(Row& row) {
    std::size_t at = 0;
    if (const Status key = field(at, row.key, row.line); !key) return key.error();
    if (at >= line_.size() || line_[at] != ',') {
      return at_line(row.line, "there must be two columns, key and shard");
    }
    ++at;
    if (const Status shard = field(at, row.shard, row.line); !shard) return shard.error();
    if (at == line_.size()) return Ok{};
    return at_line(row.line, "there must be two columns, key and shard");
  }

  // One field, from `at` to the comma or the end. A quoted one may go on over lines.
  Status field(std::size_t& at, std::string& out, std::uint64_t first_line) {
    out.clear();
    if (at >= line_.size() || line_[at] != '"') {
      const std::size_t end = std::min(line_.find(',', at), line_.size());
      out.assign(line_, at, end - at);
      at = end;
      if (out.find('"') == std::string::npos) return Ok{};
      return at_line(first_line, "a quote inside of a field that is not quoted");
    }
    ++at;
    for (;;) {
      if (at >= line_.size()) {
        out.push_back('\n');
        if (!read_line()) return at_line(first_line, "a quoted field does not end");
        at = 0;
      } else if (line_[at] != '"') {
        out.push_back(line_[at++]);
      } else if (at + 1 < line_.size() && line_[at + 1] == '"') {
        out.push_back('"');
        at += 2;
      } else {
        ++at;
        return Ok{};
      }
    }
  }

  Result<bool> next_json(Row& row) {
    const auto object = nlohmann::json::parse(line_, nullptr, false);
    if (!object.is_object()) return at_line(row.line, "it is not a JSON object");
    const auto key = object.find("key");
    const auto shard = object.find("shard");
    if (key == object.end() || shard == object.end() || !shard->is_string()) {
      return at_line(row.line, "there must be \"key\" and \"shard\", a string");
    }
    // Only integers are numbers in JSON without loss; a numeric comes as a string.
    if (!key->is_string() && !key->is_number_integer()) {
      return at_line(row.line, "\"key\" must be a string or an integer");
    }
    row.key = key->is_string() ? key->get_ref<const std::string&>() : key->dump();
    row.shard = shard->get_ref<const std::string&>();
    return true;
  }

  std::istream& in_;
  KeyFileFormat format_;
  std::string line_;
  std::uint64_t line_number_ = 0;
  std::uint64_t bytes_ = 0;
};

// All rows of a file, sorted by key.
class SortedRows {
 public:
  struct Entry {
    std::uint64_t head;  // the first eight bytes, which decide most comparisons
    std::uint64_t offset;
    std::uint64_t line;
    std::uint16_t length;
    StableShardId shard;
  };

  void add(std::string_view key, StableShardId shard, std::uint64_t line) {
    char head[8] = {};
    std::memcpy(head, key.data(), std::min(key.size(), sizeof head));
    entries_.push_back(
        {load_be64(head), bytes_.size(), line, static_cast<std::uint16_t>(key.size()), shard});
    bytes_ += key;
  }
  void sort() {
    std::sort(entries_.begin(), entries_.end(), [this](const Entry& a, const Entry& b) {
      if (a.head != b.head) return a.head < b.head;
      const int order = key(a).compare(key(b));
      return order != 0 ? order < 0 : a.line < b.line;
    });
  }
  std::string_view key(const Entry& entry) const {
    return std::string_view(bytes_).substr(entry.offset, entry.length);
  }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::string bytes_;
  std::vector<Entry> entries_;
};

Result<SortedRows> read_rows(const ShardMap& map, const KeyspaceRecord& keyspace, std::istream& in,
                             KeyFileFormat format, std::uint64_t total,
                             const ImportProgress& progress) {
  std::unordered_map<std::string, StableShardId> shards;
  for (const ShardRecord& shard : map.shards) shards[shard.name] = shard.id;
  RowReader reader(in, format);
  SortedRows rows;
  Row row;
  for (;;) {
    const auto more = reader.next(row);
    if (!more) return more.error();
    if (!*more) break;
    const auto shard = shards.find(row.shard);
    if (shard == shards.end()) {
      return at_line(row.line, "there is no shard \"" + row.shard + "\"");
    }
    const auto key = encode_key_text(keyspace.key_type, row.key);
    if (!key) return at_line(row.line, key.error().message);
    rows.add(*key, shard->second, row.line);
    if (progress && rows.entries().size() % kProgressStep == 0) {
      progress("reading", reader.bytes(), total);
    }
  }
  rows.sort();
  return rows;
}

Status check_contradictions(const ShardMap& map, const KeyspaceRecord& keyspace,
                            const SortedRows& rows) {
  const auto& entries = rows.entries();
  for (std::size_t i = 1; i < entries.size(); ++i) {
    const auto& a = entries[i - 1];
    const auto& b = entries[i];
    if (a.head != b.head || a.shard == b.shard || rows.key(a) != rows.key(b)) continue;
    return at_line(b.line, "key '" + encoded_key_text(keyspace.key_type, rows.key(b)) +
                               "' is on shard \"" + map.shard(b.shard)->name + "\" here and on \"" +
                               map.shard(a.shard)->name + "\" in line " + std::to_string(a.line));
  }
  return Ok{};
}

void append_csv(std::string& out, std::string_view field) {
  if (field.find_first_of(",\"\r\n") == std::string_view::npos) {
    out += field;
    return;
  }
  out.push_back('"');
  for (const char c : field) {
    if (c == '"') out.push_back('"');
    out.push_back(c);
  }
  out.push_back('"');
}

// False if it is no UTF-8, which JSON cannot hold.
bool append_json(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  const std::size_t begin = out.size();
  bool ascii = true;
  out.push_back('"');
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) ascii = false;
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20) {
      out += "\\u00";
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return ascii || nlohmann::json::accept(std::string_view(out).substr(begin));
}

}  // namespace

Result<ImportReport> import_keys(Directory& directory, KeyspaceId keyspace_id, std::istream& in,
                                 KeyFileFormat format, std::uint64_t bytes,
                                 const ImportProgress& progress) {
  const auto map = directory.map();
  const KeyspaceRecord* const keyspace = map->keyspace(keyspace_id);
  if (!keyspace) {
    return Error{sqlstate::kObjectNotInPrerequisiteState, "there is no such keyspace", {}};
  }
  const auto rows = read_rows(*map, *keyspace, in, format, bytes, progress);
  if (!rows) return rows.error();
  if (const Status good = check_contradictions(*map, *keyspace, *rows); !good) return good.error();
  const auto& entries = rows->entries();
  std::size_t at = 0;
  std::uint64_t line = 0;  // of the row given last
  const auto added =
      directory.load_sorted(keyspace_id, [&](std::string_view& key, StableShardId& shard) {
        while (at != 0 && at < entries.size() && entries[at].head == entries[at - 1].head &&
               rows->key(entries[at]) == rows->key(entries[at - 1])) {
          ++at;
        }
        if (at >= entries.size()) return false;
        line = entries[at].line;
        key = rows->key(entries[at]);
        shard = entries[at].shard;
        ++at;
        if (progress && at % kProgressStep == 0) progress("writing", at, entries.size());
        return true;
      });
  if (!added && added.error().code == sqlstate::kObjectNotInPrerequisiteState && line != 0) {
    return at_line(line, added.error().message);
  }
  if (!added) return added.error();
  if (progress) progress("writing", entries.size(), entries.size());
  return ImportReport{entries.size(), *added};
}

Result<std::uint64_t> export_keys(const Directory& directory, KeyspaceId keyspace_id,
                                  std::ostream& out, KeyFileFormat format,
                                  const KeyProgress& progress) {
  const auto map = directory.map();
  const KeyspaceRecord* const keyspace = map->keyspace(keyspace_id);
  if (!keyspace) {
    return Error{sqlstate::kObjectNotInPrerequisiteState, "there is no such keyspace", {}};
  }
  std::uint64_t total = 0;
  for (const auto& [ids, count] : directory.stats().keys) {
    if (ids.first == keyspace_id) total += count;
  }
  std::uint64_t done = 0;
  std::string line;
  std::optional<Error> failed;
  if (format == KeyFileFormat::kCsv) out << "key,shard\n";
  const Status read =
      directory.for_each_key(keyspace_id, {}, [&](std::string_view key, StableShardId shard_id) {
        const std::string text = encoded_key_text(keyspace->key_type, key);
        const ShardRecord* const shard = map->shard(shard_id);
        const std::string name = shard ? shard->name : std::to_string(shard_id);
        line.clear();
        if (format == KeyFileFormat::kCsv) {
          append_csv(line, text);
          line.push_back(',');
          append_csv(line, name);
          line.push_back('\n');
        } else {
          line += "{\"key\":";
          bool utf8 = append_json(line, text);
          line += ",\"shard\":";
          utf8 = append_json(line, name) && utf8;
          line += "}\n";
          if (!utf8) {
            failed = Error{Sqlstate{"22021"}, "a key is no UTF-8, which JSON cannot hold",
                           "Export it as CSV."};
            return false;
          }
        }
        out << line;
        if (++done % kProgressStep == 0 && progress) progress(done, total);
        return static_cast<bool>(out);
      });
  if (!read) return read.error();
  if (failed) return *failed;
  out.flush();
  if (!out) return Error{Sqlstate{"58030"}, "the file cannot be written", {}};
  if (progress) progress(done, total);
  return done;
}

}  // namespace pgshunt
