#include "proxy/session/statement.h"

#include <algorithm>
#include <atomic>

namespace pgshunt {

std::uint64_t next_statement_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

std::string& StatementTable::make_key(std::uint64_t scope, std::string_view text, bool by_sql,
                                      std::span<const std::uint32_t> types) {
  key_.assign(reinterpret_cast<const char*>(&scope), sizeof scope);
  key_.push_back(by_sql ? 'S' : 'P');
  const std::uint64_t length = text.size();
  key_.append(reinterpret_cast<const char*>(&length), sizeof length);
  key_.append(text);
  if (!types.empty()) {
    key_.append(reinterpret_cast<const char*>(types.data()), types.size_bytes());
  }
  return key_;
}

StatementPtr StatementTable::find(std::uint64_t scope, std::string_view text, bool by_sql,
                                  std::span<const std::uint32_t> types) {
  const auto found = statements_.find(make_key(scope, text, by_sql, types));
  return found == statements_.end() ? nullptr : found->second;
}

StatementPtr StatementTable::add(std::uint64_t scope, Statement statement) {
  statement.id = next_statement_id();
  statement.server_name = "pgshunt_" + std::to_string(statement.id);
  if (statements_.size() >= sweep_at_) sweep();
  std::string& key = make_key(scope, statement.text, statement.by_sql, statement.types);
  return statements_[key] = std::make_shared<const Statement>(std::move(statement));
}

void StatementTable::sweep() {
  std::erase_if(statements_, [](const auto& entry) { return entry.second.use_count() == 1; });
  sweep_at_ = std::max<std::size_t>(1024, statements_.size() * 2);
}

}  // namespace pgshunt
