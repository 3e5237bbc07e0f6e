#include "proxy/session/statement.h"

#include <algorithm>
#include <atomic>

namespace pgshunt {

namespace {

void give_identity(Statement& statement) {
  static std::atomic<std::uint64_t> last{0};
  statement.id = ++last;
  statement.server_name = "pgshunt_" + std::to_string(statement.id);
}

}  // namespace

StatementPtr own_statement(Statement statement) {
  give_identity(statement);
  return std::make_shared<const Statement>(std::move(statement));
}

std::string& StatementTable::make_key(std::uint64_t scope, std::string_view text,
                                      std::span<const std::uint32_t> types,
                                      const NameValuesPtr& settings) {
  const auto append_bytes = [&](const auto& value) {
    key_.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  key_.clear();
  append_bytes(scope);
  // Equal sets are one object, kept alive by the entry's statement.
  append_bytes(reinterpret_cast<std::uintptr_t>(settings.get()));
  append_bytes(text.size());
  key_.append(text);
  if (!types.empty()) {
    key_.append(reinterpret_cast<const char*>(types.data()), types.size_bytes());
  }
  return key_;
}

StatementPtr StatementTable::find(std::uint64_t scope, std::string_view text,
                                  std::span<const std::uint32_t> types,
                                  const NameValuesPtr& settings) {
  const auto found = statements_.find(make_key(scope, text, types, settings));
  return found == statements_.end() ? nullptr : found->second;
}

StatementPtr StatementTable::add(std::uint64_t scope, Statement statement) {
  if (statements_.size() >= sweep_at_) sweep();
  const std::string& text = statement.written.empty() ? statement.text : statement.written;
  std::string& key = make_key(scope, text, statement.types, statement.settings);
  return statements_[key] = own_statement(std::move(statement));
}

void StatementTable::sweep() {
  std::erase_if(statements_, [](const auto& entry) { return entry.second.use_count() == 1; });
  sweep_at_ = std::max<std::size_t>(1024, statements_.size() * 2);
}

}  // namespace pgshunt
