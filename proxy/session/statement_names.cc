#include "proxy/session/statement_names.h"

#include <utility>

namespace pgshunt {

Error duplicate_statement(std::string_view name) {
  return {sqlstate::kDuplicatePreparedStatement,
          "prepared statement \"" + std::string(name) + "\" already exists",
          {}};
}

Error no_such_statement(std::string_view name) {
  if (name.empty()) {
    return {sqlstate::kInvalidStatementName, "unnamed prepared statement does not exist", {}};
  }
  return {sqlstate::kInvalidStatementName,
          "prepared statement \"" + std::string(name) + "\" does not exist",
          {}};
}

const StatementPtr* StatementNames::find(std::string_view name) const {
  const auto found = statements_.find(name);
  return found == statements_.end() ? nullptr : &found->second;
}

std::string_view StatementNames::name_of(std::uint64_t statement_id) const {
  for (const auto& [name, statement] : statements_) {
    if (statement->id == statement_id) return name;
  }
  for (std::size_t i = first_; i < changes_.size(); ++i) {
    const Change& change = changes_[i];
    if (change.before && change.before->id == statement_id) return change.name;
    for (const auto& [name, statement] : change.others) {
      if (statement->id == statement_id) return name;
    }
  }
  return {};
}

bool StatementNames::undecided(std::string_view name) const {
  for (std::size_t i = first_; i < changes_.size(); ++i) {
    const Change& change = changes_[i];
    if (change.segment >= segment_) return false;
    if (change.all || change.name == name) return true;
  }
  return false;
}

ChangeTag StatementNames::add(std::string_view name, StatementPtr statement) {
  Change& change = note(name);
  change.after = statement;
  put(change.name, std::move(statement));
  return change.tag;
}

ChangeTag StatementNames::remove(std::string_view name) {
  Change& change = note(name);
  put(change.name, nullptr);
  return change.tag;
}

ChangeTag StatementNames::remove_all() {
  Change& change = note({});
  change.all = true;
  change.before = nullptr;
  change.others = std::exchange(statements_, {});
  return change.tag;
}

StatementPtr StatementNames::confirm(ChangeTag tag) {
  for (std::size_t i = first_; i < changes_.size(); ++i) {
    if (changes_[i].tag != tag) continue;
    StatementPtr added = std::move(changes_[i].after);
    forget(i);
    return added;
  }
  return nullptr;
}

StatementPtr StatementNames::undo(ChangeTag tag) {
  for (std::size_t i = changes_.size(); i-- > first_;) {
    if (changes_[i].tag != tag) continue;
    StatementPtr added = undo(changes_[i]);
    forget(i);
    return added;
  }
  return nullptr;
}

void StatementNames::undo_all() {
  for (std::size_t i = changes_.size(); i-- > first_;) undo(changes_[i]);
  changes_.clear();
  first_ = 0;
}

void StatementNames::clear() {
  statements_.clear();
  changes_.clear();
  first_ = 0;
}

StatementNames::Change& StatementNames::note(std::string_view name) {
  last_tag_ = last_tag_ == kMaxChangeTag ? 1 : last_tag_ + 1;
  Change& change = changes_.emplace_back();
  change.tag = last_tag_;
  change.segment = segment_;
  change.name = name;
  if (const StatementPtr* before = find(name)) change.before = *before;
  return change;
}

// Answers come in the order of requests: it is the first one nearly always.
void StatementNames::forget(std::size_t index) {
  if (index == first_) {
    changes_[first_++] = {};
  } else {
    changes_.erase(changes_.begin() + static_cast<std::ptrdiff_t>(index));
  }
  if (first_ == changes_.size()) {
    changes_.clear();
    first_ = 0;
  }
}

void StatementNames::put(const std::string& name, StatementPtr statement) {
  if (statement) {
    statements_[name] = std::move(statement);
  } else {
    statements_.erase(name);
  }
}

StatementPtr StatementNames::undo(Change& change) {
  if (change.all) {
    // Whatever was named since then has been undone before.
    statements_ = std::move(change.others);
    return nullptr;
  }
  put(change.name, std::move(change.before));
  return std::move(change.after);
}

}  // namespace pgshunt
