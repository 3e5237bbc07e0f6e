// shuntctl directory ...: see README.md.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "router/directory/directory.h"
#include "router/directory/key_file.h"
#include "router/key_encoding.h"
#include "shuntctl/command.h"
#include "shuntctl/output.h"

namespace pgshunt::shuntctl {
namespace {

using nlohmann::json;

// Not UTF-8 is shown as well as it can be: a tool must not end on a name.
void print_json(const json& value, Streams& io) {
  io.out << value.dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
}

Result<std::unique_ptr<Directory>> open(const Arguments& arguments, DirectoryMode mode) {
  return Directory::open(arguments.get("--directory"), mode);
}

Error wrong(std::string message) {
  return {sqlstate::kInvalidParameterValue, std::move(message), {}};
}

// The command line cannot be read, whatever the directory has: report() says so by its exit code.
Error misused(std::string message) { return {sqlstate::kSyntaxError, std::move(message), {}}; }

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back().push_back(c);
    }
  }
  return parts;
}

std::optional<ShardKeyType> key_type_named(std::string_view name) {
  for (const auto type :
       {ShardKeyType::kInt2, ShardKeyType::kInt4, ShardKeyType::kInt8, ShardKeyType::kText,
        ShardKeyType::kVarchar, ShardKeyType::kUuid, ShardKeyType::kBytea, ShardKeyType::kNumeric,
        ShardKeyType::kDate, ShardKeyType::kTimestamp, ShardKeyType::kTimestamptz}) {
    if (name_of(type) == name) return type;
  }
  if (name == "timestamp") return ShardKeyType::kTimestamp;
  if (name == "timestamptz") return ShardKeyType::kTimestamptz;
  if (name == "varchar") return ShardKeyType::kVarchar;
  return std::nullopt;
}

struct Policy {
  NewKeyPolicy policy = NewKeyPolicy::kHash;
  StableShardId fixed_shard = 0;
};

// hash, least-loaded, fixed=SHARD or refuse. `find_shard`: the id of a name, 0 for none.
template <class FindShard>
Result<Policy> read_policy(const std::string& text, FindShard find_shard) {
  const auto parts = split(text, '=');
  const auto named = new_key_policy_named(parts[0]);
  const std::size_t wanted = named == NewKeyPolicy::kFixed ? 2 : 1;
  if (!named || parts.size() != wanted) {
    return misused("\"" + text + "\" is none of hash, least-loaded, fixed=<shard>, refuse");
  }
  Policy out{*named};
  if (wanted == 1) return out;
  out.fixed_shard = find_shard(parts[1]);
  if (out.fixed_shard == 0) return wrong("there is no shard \"" + parts[1] + "\"");
  return out;
}

// name:type[:kind[:policy[=shard]]]. Ids are those that the shards of `names` will get.
Result<map_change::AddKeyspace> read_keyspace(const std::string& text,
                                              const std::vector<std::string>& names) {
  const auto parts = split(text, ':');
  if (parts.size() < 2 || parts.size() > 4) {
    return misused("a keyspace is written name:type[:kind[:policy]], not " + text);
  }
  const auto type = key_type_named(parts[1]);
  if (!type) return misused("\"" + parts[1] + "\" is no type a key can have");
  map_change::AddKeyspace keyspace{parts[0], *type, KeyspaceKind::kDirectory};
  if (parts.size() > 2) {
    const auto kind = keyspace_kind_named(parts[2]);
    if (!kind) return misused("\"" + parts[2] + "\" is none of hash, range, list, directory");
    keyspace.kind = *kind;
  }
  if (parts.size() > 3) {
    const auto policy = read_policy(parts[3], [&names](const std::string& shard) {
      const auto at = std::find(names.begin(), names.end(), shard);
      return at == names.end() ? StableShardId{0}
                               : static_cast<StableShardId>(at - names.begin() + 1);
    });
    if (!policy) return policy.error();
    keyspace.policy = policy->policy;
    keyspace.fixed_shard = policy->fixed_shard;
  }
  return keyspace;
}

int init(const Arguments& arguments, Streams& io) {
  const auto& shards = arguments.options.find("--shard");
  if (shards == arguments.options.end()) return report(misused("name a --shard at least"), io);
  MapChange change;
  for (const std::string& name : shards->second) change.push_back(map_change::AddShard{name});
  const auto keyspaces = arguments.options.find("--keyspace");
  if (keyspaces != arguments.options.end()) {
    for (const std::string& text : keyspaces->second) {
      const auto keyspace = read_keyspace(text, shards->second);
      if (!keyspace) return report(keyspace.error(), io);
      change.push_back(*keyspace);
    }
  }
  // Before anything is on the disk.
  if (const auto good = changed_map({}, change); !good) return report(good.error(), io);
  const auto directory = open(arguments, DirectoryMode::kCreate);
  if (!directory) return report(directory.error(), io);
  const auto epoch = (*directory)->apply(0, change);
  if (!epoch) return report(epoch.error(), io);
  if (arguments.json) {
    print_json({{"epoch", *epoch}}, io);
  } else {
    io.out << "made " << arguments.get("--directory") << ", epoch " << *epoch << "\n";
  }
  return kDone;
}

// A keyspace, and a key of it, as named by the command line.
struct Target {
  std::unique_ptr<Directory> directory;
  std::shared_ptr<const ShardMap> map;
  const KeyspaceRecord* keyspace = nullptr;
  std::string key;
};

Result<Target> find_target(const Arguments& arguments, DirectoryMode mode, bool with_key) {
  auto directory = open(arguments, mode);
  if (!directory) return directory.error();
  Target target;
  target.directory = std::move(*directory);
  target.map = target.directory->map();
  target.keyspace = target.map->keyspace_named(arguments.words[0]);
  if (!target.keyspace) return wrong("there is no keyspace \"" + arguments.words[0] + "\"");
  if (!with_key) return target;
  auto key = encode_key_text(target.keyspace->key_type, arguments.words[1]);
  if (!key) return key.error();
  target.key = std::move(*key);
  return target;
}

std::string shard_name(const ShardMap& map, StableShardId id) {
  const ShardRecord* const shard = map.shard(id);
  return shard ? shard->name : "#" + std::to_string(id);
}

void print_key(const Arguments& arguments, const std::string& shard, Streams& io) {
  if (arguments.json) {
    print_json({{"keyspace", arguments.words[0]}, {"key", arguments.words[1]}, {"shard", shard}},
               io);
  } else {
    io.out << shard << "\n";
  }
}

int not_found(const Arguments& arguments, Streams& io) {
  io.err << "shuntctl: key '" << arguments.words[1] << "' is not in keyspace \""
         << arguments.words[0] << "\"\n";
  return kNotFound;
}

int get(const Arguments& arguments, Streams& io) {
  const auto target = find_target(arguments, DirectoryMode::kReadOnly, true);
  if (!target) return report(target.error(), io);
  const auto found = target->directory->find(target->keyspace->id, target->key);
  if (!found) return report(found.error(), io);
  if (found->kind != KeyAnswer::Kind::kFound) return not_found(arguments, io);
  print_key(arguments, shard_name(*target->map, found->shard), io);
  return kDone;
}

int set(const Arguments& arguments, Streams& io) {
  const auto target = find_target(arguments, DirectoryMode::kReadWrite, true);
  if (!target) return report(target.error(), io);
  const ShardRecord* const shard = target->map->shard_named(arguments.words[2]);
  if (!shard) return report(wrong("there is no shard \"" + arguments.words[2] + "\""), io);
  KeyWrite write{KeyWrite::Kind::kPut, target->keyspace->id, target->key, shard->id};
  if (const Status done = target->directory->write({&write, 1}); !done) {
    return report(done.error(), io);
  }
  if (!write.outcome) return report(write.outcome.error(), io);
  print_key(arguments, shard->name, io);
  return kDone;
}

int erase(const Arguments& arguments, Streams& io) {
  const auto target = find_target(arguments, DirectoryMode::kReadWrite, true);
  if (!target) return report(target.error(), io);
  KeyWrite write{KeyWrite::Kind::kErase, target->keyspace->id, target->key};
  if (const Status done = target->directory->write({&write, 1}); !done) {
    return report(done.error(), io);
  }
  if (!write.outcome) return report(write.outcome.error(), io);
  if (*write.outcome == 0) return not_found(arguments, io);
  print_key(arguments, shard_name(*target->map, *write.outcome), io);
  return kDone;
}

int set_policy(const Arguments& arguments, Streams& io) {
  const auto target = find_target(arguments, DirectoryMode::kReadWrite, false);
  if (!target) return report(target.error(), io);
  const ShardMap& map = *target->map;
  const auto policy = read_policy(arguments.words[1], [&map](const std::string& name) {
    const ShardRecord* const shard = map.shard_named(name);
    return shard ? shard->id : StableShardId{0};
  });
  if (!policy) return report(policy.error(), io);
  const auto epoch = target->directory->apply(
      map.epoch,
      {map_change::SetPolicy{target->keyspace->id, policy->policy, policy->fixed_shard}});
  if (!epoch) return report(epoch.error(), io);
  if (arguments.json) {
    print_json({{"epoch", *epoch}}, io);
  } else {
    io.out << "epoch " << *epoch << "\n";
  }
  return kDone;
}

int list(const Arguments& arguments, Streams& io) {
  const auto target = find_target(arguments, DirectoryMode::kReadOnly, false);
  if (!target) return report(target.error(), io);
  const ShardKeyType type = target->keyspace->key_type;
  std::string from;
  if (arguments.has("--from")) {
    const auto key = encode_key_text(type, arguments.get("--from"));
    if (!key) return report(key.error(), io);
    from = *key;
  }
  const std::string limit_text = arguments.get("--limit", "100");
  if (limit_text.empty() || limit_text.size() > 18 ||
      limit_text.find_first_not_of("0123456789") != std::string::npos) {
    return report(misused("--limit takes a number"), io);
  }
  const long limit = std::stol(limit_text);
  Table table({"key", "shard"});
  json rows = json::array();
  long count = 0;
  const Status read = target->directory->for_each_key(
      target->keyspace->id, from, [&](std::string_view key, StableShardId shard) {
        if (count++ >= limit) return false;
        const std::string text = encoded_key_text(type, key);
        const std::string name = shard_name(*target->map, shard);
        if (arguments.json) {
          rows.push_back({{"key", text}, {"shard", name}});
        } else {
          table.add({text, name});
        }
        return true;
      });
  if (!read) return report(read.error(), io);
  if (arguments.json) {
    print_json(rows, io);
  } else {
    table.print(io.out);
  }
  return kDone;
}

Result<KeyFileFormat> format_of(const Arguments& arguments, const std::string& file) {
  const std::string format = arguments.get("--format");
  if (format == "csv" || (format.empty() && file.ends_with(".csv"))) return KeyFileFormat::kCsv;
  if (format == "ndjson" || (format.empty() && file.ends_with(".ndjson"))) {
    return KeyFileFormat::kNdjson;
  }
  return misused("say --format csv or --format ndjson");
}

int import(const Arguments& arguments, Streams& io) {
  const std::string& file = arguments.words[1];
  const auto format = format_of(arguments, file);
  if (!format) return report(format.error(), io);
  const auto target = find_target(arguments, DirectoryMode::kReadWrite, false);
  if (!target) return report(target.error(), io);
  std::ifstream opened;
  std::uint64_t bytes = 0;
  if (file != "-") {
    opened.open(file, std::ios::binary);
    if (!opened) return report(wrong("\"" + file + "\" cannot be opened"), io);
    std::error_code failed;
    const auto size = std::filesystem::file_size(file, failed);
    if (!failed) bytes = size;
  }
  Result<ImportReport> imported = ImportReport{};
  {
    ProgressBar bar(io);
    imported = import_keys(*target->directory, target->keyspace->id,
                           file == "-" ? std::cin : opened, *format, bytes,
                           [&bar](std::string_view phase, std::uint64_t done, std::uint64_t total) {
                             bar.show(phase, done, total);
                           });
  }
  if (!imported) return report(imported.error(), io);
  if (arguments.json) {
    print_json({{"rows", imported->rows}, {"added", imported->added}}, io);
  } else {
    io.out << imported->rows << " rows, " << imported->added << " keys added\n";
  }
  return kDone;
}

int export_to(const Arguments& arguments, Streams& io) {
  const std::string& file = arguments.words[1];
  const auto format = format_of(arguments, file);
  if (!format) return report(format.error(), io);
  const auto target = find_target(arguments, DirectoryMode::kReadOnly, false);
  if (!target) return report(target.error(), io);
  std::ofstream opened;
  if (file != "-") {
    opened.open(file, std::ios::binary);
    if (!opened) return report(wrong("\"" + file + "\" cannot be opened"), io);
  }
  Result<std::uint64_t> exported = std::uint64_t{0};
  {
    ProgressBar bar(io);
    exported = export_keys(
        *target->directory, target->keyspace->id, file == "-" ? io.out : opened, *format,
        [&bar](std::uint64_t done, std::uint64_t total) { bar.show("writing", done, total); });
  }
  if (!exported) return report(exported.error(), io);
  if (file == "-") return kDone;
  if (arguments.json) {
    print_json({{"keys", *exported}}, io);
  } else {
    io.out << *exported << " keys\n";
  }
  return kDone;
}

// As "directory policy" takes it.
std::string policy_text(const ShardMap& map, const KeyspaceRecord& keyspace) {
  std::string out(name_of(keyspace.policy));
  if (keyspace.policy == NewKeyPolicy::kFixed) out += "=" + shard_name(map, keyspace.fixed_shard);
  return out;
}

int stats(const Arguments& arguments, Streams& io) {
  const auto directory = open(arguments, DirectoryMode::kReadOnly);
  if (!directory) return report(directory.error(), io);
  const auto map = (*directory)->map();
  const DirectoryStats stats = (*directory)->stats();
  Table table({"keyspace", "type", "kind", "new keys", "shard", "keys"});
  json keyspaces = json::object();
  for (const KeyspaceRecord& keyspace : map->keyspaces) {
    json shards = json::object();
    for (const ShardRecord& shard : map->shards) {
      const auto count = stats.keys.find({keyspace.id, shard.id});
      const std::uint64_t keys = count == stats.keys.end() ? 0 : count->second;
      shards[shard.name] = keys;
      table.add({keyspace.name, std::string(name_of(keyspace.key_type)),
                 std::string(name_of(keyspace.kind)), policy_text(*map, keyspace), shard.name,
                 std::to_string(keys)});
    }
    keyspaces[keyspace.name] = {{"type", name_of(keyspace.key_type)},
                                {"kind", name_of(keyspace.kind)},
                                {"policy", policy_text(*map, keyspace)},
                                {"keys", shards}};
  }
  if (arguments.json) {
    print_json({{"epoch", map->epoch},
                {"commits", stats.commits},
                {"disk_bytes", stats.disk_bytes},
                {"filter_and_index_bytes", stats.filter_and_index_bytes},
                {"keyspaces", keyspaces}},
               io);
    return kDone;
  }
  table.print(io.out);
  io.out << "\nepoch " << map->epoch << ", " << stats.commits << " commits, " << stats.disk_bytes
         << " bytes of tables, " << stats.filter_and_index_bytes
         << " bytes of filters and indexes in memory\n";
  return kDone;
}

// Copies `from` to `to` and says so.
int copy(const std::string& from, const std::string& to, const Arguments& arguments, Streams& io) {
  const auto directory = Directory::open(from, DirectoryMode::kReadOnly);
  if (!directory) return report(directory.error(), io);
  Status copied = Ok{};
  {
    ProgressBar bar(io);
    copied = (*directory)->copy_to(to, [&bar](std::uint64_t done, std::uint64_t total) {
      bar.show("copying", done, total);
    });
  }
  if (!copied) return report(copied.error(), io);
  if (arguments.json) {
    print_json({{"from", from}, {"to", to}, {"epoch", (*directory)->map()->epoch}}, io);
  } else {
    io.out << "copied " << from << " to " << to << ", epoch " << (*directory)->map()->epoch << "\n";
  }
  return kDone;
}

int backup(const Arguments& arguments, Streams& io) {
  return copy(arguments.get("--directory"), arguments.words[0], arguments, io);
}

int restore(const Arguments& arguments, Streams& io) {
  return copy(arguments.words[0], arguments.get("--directory"), arguments, io);
}

int verify(const Arguments& arguments, Streams& io) {
  const auto directory = open(arguments, DirectoryMode::kReadOnly);
  if (!directory) return report(directory.error(), io);
  Status good = Ok{};
  {
    ProgressBar bar(io);
    good = (*directory)->verify([&bar](std::uint64_t done, std::uint64_t total) {
      bar.show("checking", done, total);
    });
  }
  if (!good) return report(good.error(), io);
  if (arguments.json) {
    print_json({{"good", true}}, io);
  } else {
    io.out << "good\n";
  }
  return kDone;
}

const Command kCommands[] = {
    {"init",
     "--directory PATH --shard NAME... [--keyspace NAME:TYPE[:KIND[:POLICY]]]...",
     "Makes a directory with its shards and keyspaces.",
     "  --shard NAME       a shard; repeated for each\n"
     "  --keyspace ...     TYPE as in SQL; KIND hash, range, list or directory (the default);\n"
     "                     POLICY for new keys hash (the default), least-loaded, fixed=SHARD, "
     "refuse",
     {"--shard", "--keyspace"},
     0,
     0,
     init},
    {"get",
     "--directory PATH KEYSPACE KEY",
     "Prints the shard of a key.",
     "Exit code 3 if the key is not there.",
     {},
     2,
     2,
     get},
    {"set",
     "--directory PATH KEYSPACE KEY SHARD",
     "Puts a key on a shard.",
     "Rows are not moved. The directory must not be open elsewhere.",
     {},
     3,
     3,
     set},
    {"delete",
     "--directory PATH KEYSPACE KEY",
     "Forgets a key; prints the shard it was on.",
     "Exit code 3 if the key is not there. The directory must not be open elsewhere.",
     {},
     2,
     2,
     erase},
    {"policy",
     "--directory PATH KEYSPACE POLICY",
     "Says where keys go that are new to a keyspace.",
     "POLICY is hash, least-loaded, fixed=SHARD or refuse. Keys that are there stay where they "
     "are.\nThe directory must not be open elsewhere; pgshunt's configuration must say the same.",
     {},
     2,
     2,
     set_policy},
    {"list",
     "--directory PATH KEYSPACE [--from KEY] [--limit N]",
     "Lists keys in their order.",
     "  --from KEY         begins there\n  --limit N          at most so many (100)",
     {"--from", "--limit"},
     1,
     1,
     list},
    {"import",
     "--directory PATH KEYSPACE FILE [--format csv|ndjson]",
     "Adds the keys of a file: all or none.",
     "Columns key and shard; - reads standard input. The directory must not be open elsewhere.\n"
     "  --format           if the file's name does not end in .csv or .ndjson",
     {"--format"},
     2,
     2,
     import},
    {"export",
     "--directory PATH KEYSPACE FILE [--format csv|ndjson]",
     "Writes all keys of a keyspace to a file; - is standard output.",
     "  --format           if the file's name does not end in .csv or .ndjson",
     {"--format"},
     2,
     2,
     export_to},
    {"stats",
     "--directory PATH",
     "Shows keys by keyspace and shard, and sizes.",
     "",
     {},
     0,
     0,
     stats},
    {"backup",
     "--directory PATH TO",
     "Copies the directory, in use or not, to a new folder.",
     "Everything is checked on the way. TO is complete or not there.",
     {},
     1,
     1,
     backup},
    {"restore",
     "--directory PATH FROM",
     "Makes the directory from a backup; it must not exist.",
     "Everything is checked on the way.",
     {},
     1,
     1,
     restore},
    {"verify",
     "--directory PATH",
     "Reads everything and checks it.",
     "Exit code 1 and the first thing that is wrong, if there is one.",
     {},
     0,
     0,
     verify},
};

}  // namespace

CommandGroup directory_commands() {
  return {"directory", "which key is on which shard", kCommands};
}

}  // namespace pgshunt::shuntctl
