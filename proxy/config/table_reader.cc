#include <algorithm>
#include <utility>

#include "proxy/config/load.h"

namespace pgshunt {
namespace {

// PgBouncer's names for what stands elsewhere here.
constexpr std::pair<std::string_view, std::string_view> kElsewhere[] = {
    {"logfile", "pgshunt.log_file"},
    {"verbose", "pgshunt.log_level"},
    {"so_reuseport", "pgshunt.workers"},
    {"max_packet_size", "pgshunt.max_message_size"},
    {"client_tls_sslmode", "client_tls.mode"},
    {"client_tls_cert_file", "client_tls.cert_file"},
    {"client_tls_key_file", "client_tls.key_file"},
    {"client_tls_ca_file", "client_tls.ca_file"},
    {"client_tls_protocols", "client_tls.protocols_min"},
    {"client_tls_ciphers", "client_tls.ciphers"},
    {"server_tls_sslmode", "server_tls.mode"},
    {"server_tls_cert_file", "server_tls.cert_file"},
    {"server_tls_key_file", "server_tls.key_file"},
    {"server_tls_ca_file", "server_tls.ca_file"},
    {"server_tls_protocols", "server_tls.protocols_min"},
    {"server_tls_ciphers", "server_tls.ciphers"},
};

// Where a table should stand: a connection string in its place may hold a password.
std::string describe_shape(const TomlValue& value) { return describe_value(value, true); }

// Where a key unknown in this table may belong.
std::string suggestion(std::string_view key, bool at_root,
                       const std::vector<std::string_view>& known) {
  for (const auto& [theirs, ours] : kElsewhere) {
    if (theirs == key) return std::string(ours);
  }
  const std::string near = nearest_name(key, known);
  if (!near.empty() || !at_root) return near;
  // A key put before the first [table], or after none.
  std::vector<std::string_view> general;
  for (const KeySpec<Config>& spec : general_keys()) general.push_back(spec.name);
  const std::string meant = nearest_name(key, general);
  return meant.empty() ? meant : join_key("pgshunt", meant);
}

}  // namespace

TableReader::TableReader(const TomlTable& table, std::string path, std::uint32_t line,
                         LoadContext& context)
    : table_(table), path_(std::move(path)), line_(line), context_(context) {
  if (!path_.empty()) context_.report.note_line(path_, line_);
}

const TomlEntry* TableReader::find(std::string_view key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.emplace_back(key);
  const TomlEntry* entry = find_entry(table_, key);
  if (entry != nullptr) context_.report.note_line(path_of(key), entry->line);
  return entry;
}

bool TableReader::require(std::string_view key, std::string& out, std::string_view what) {
  if (!has(key)) {
    error("has no " + std::string(key) + ", expected " + std::string(what));
    return false;
  }
  if (!read(key, out)) return false;
  if (!out.empty()) return true;
  error(key, "is empty, expected " + std::string(what));
  return false;
}

void TableReader::section(std::string_view key,
                          const std::function<void(TableReader&)>& read_section) {
  const TomlEntry* entry = find(key);
  if (entry == nullptr) return;
  if (const auto* table = entry->value.get<TomlTable>()) {
    TableReader reader(*table, path_of(key), entry->line, context_);
    read_section(reader);
    reader.refuse_unknown();
  } else {
    error(key, describe_shape(entry->value) + ", expected a table [" + path_of(key) + "]");
  }
}

void TableReader::each_table(std::string_view key,
                             const std::function<void(const std::string&, TableReader&)>& each) {
  const TomlEntry* entry = find(key);
  if (entry == nullptr) return;
  const auto* tables = entry->value.get<TomlTable>();
  if (tables == nullptr) {
    error(key, describe_shape(entry->value) + ", expected a table");
    return;
  }
  for (const TomlEntry& item : *tables) {
    const std::string path = join_key(path_of(key), item.key);
    context_.report.note_line(path, item.line);
    const auto* table = item.value.get<TomlTable>();
    if (table == nullptr) {
      context_.report.error(path, describe_shape(item.value) + ", expected a table [" + path + "]");
    } else if (item.key.empty() || item.key.find('\0') != std::string::npos) {
      context_.report.error(path, "is no name");
    } else {
      TableReader reader(*table, path, item.line, context_);
      each(item.key, reader);
      reader.refuse_unknown();
    }
  }
}

void TableReader::each_element(std::string_view key,
                               const std::function<void(TableReader&)>& each) {
  const TomlEntry* entry = find(key);
  if (entry == nullptr) return;
  const auto* elements = entry->value.get<TomlArray>();
  if (elements == nullptr) {
    error(key,
          describe_shape(entry->value) + ", expected a list of tables [[" + path_of(key) + "]]");
    return;
  }
  for (std::size_t i = 0; i < elements->size(); ++i) {
    const TomlValue& element = (*elements)[i];
    const std::string path = path_of(key) + "[" + std::to_string(i) + "]";
    if (const auto* table = element.get<TomlTable>()) {
      TableReader reader(*table, path, element.line, context_);
      each(reader);
      reader.refuse_unknown();
    } else {
      context_.report.error_at(element.line, path, describe_shape(element) + ", expected a table");
    }
  }
}

void TableReader::refuse_unknown() {
  const std::vector<std::string_view> known(known_.begin(), known_.end());
  for (const TomlEntry& entry : table_) {
    if (std::find(known_.begin(), known_.end(), entry.key) != known_.end()) continue;
    std::string problem = "is unknown";
    const std::string meant = suggestion(entry.key, path_.empty(), known);
    if (!meant.empty()) {
      problem += ", did you mean " + meant + "?";
    } else if (path_.empty()) {
      problem += ", expected one of the tables " + list_choices(known);
    }
    context_.report.error_at(entry.line, path_of(entry.key), problem);
  }
}

std::vector<std::string> TableReader::names() const {
  std::vector<std::string> out;
  for (const TomlEntry& entry : table_) out.push_back(entry.key);
  return out;
}

void TableReader::error(std::string_view key, std::string_view problem) {
  context_.report.error(path_of(key), problem);
}

void TableReader::error(std::string_view problem) {
  context_.report.error_at(line_, path_, problem);
}

}  // namespace pgshunt
