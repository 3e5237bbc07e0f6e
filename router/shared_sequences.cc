#include "router/shared_sequences.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "router/refusal.h"

namespace pgshunt {
namespace {

const CatalogSequence* find_sequence(const ShardCatalog& catalog, const std::string& name) {
  const auto at = std::lower_bound(
      catalog.sequences.begin(), catalog.sequences.end(), name,
      [](const CatalogSequence& each, const std::string& wanted) { return each.name < wanted; });
  return at != catalog.sequences.end() && at->name == name ? &*at : nullptr;
}

// Two progressions have a number in common if and only if their difference is a multiple of what
// both increments are multiples of. One that cycles begins anew at another residue.
bool meet(const CatalogSequence& a, const CatalogSequence& b) {
  if (a.cycles || b.cycles) return true;
  return (a.residue - b.residue) % std::gcd(a.increment, b.increment) == 0;
}

Result<bool> check(const Column& column, const Table& table) {
  switch (column.numbers) {
    case SequenceNumbers::kApart:
      return false;
    case SequenceNumbers::kUnused:
      return true;
    case SequenceNumbers::kCollide:
      break;
  }
  return refusal("sequence " + column.sequence + ", which column " + quoted(column.name) +
                     " of table " + quoted(table.name) +
                     " takes numbers from, gives the same numbers on several shards",
                 "Run SPREAD SEQUENCES with the database's name on the admin console, or give the "
                 "column a value.");
}

template <class IsGiven>
Result<bool> check_all(const Table& table, IsGiven is_given) {
  bool wanted = false;
  for (const Column& column : table.columns) {
    if (column.sequence.empty() || column.name == table.key_column || is_given(column.name)) {
      continue;
    }
    const auto apart = check(column, table);
    if (!apart) return apart.error();
    wanted |= *apart;
  }
  return wanted;
}

bool names(const std::vector<Target>& targets, const std::string& column) {
  return std::any_of(targets.begin(), targets.end(),
                     [&](const Target& target) { return target.name == column; });
}

}  // namespace

SequenceNumbers compare_sequences(const Column& column,
                                  std::span<const ShardCatalog* const> catalogs) {
  std::vector<const CatalogSequence*> known;
  if (column.sequence.empty()) return SequenceNumbers::kApart;
  bool apart = true;
  bool used = false;
  for (const ShardCatalog* catalog : catalogs) {
    if (catalog == nullptr) continue;
    known.push_back(find_sequence(*catalog, column.sequence));
    // One that may not be read gives nobody knows what.
    used |= known.back() == nullptr;
  }
  if (used) return known.size() > 1 ? SequenceNumbers::kCollide : SequenceNumbers::kApart;
  for (std::size_t i = 0; i < known.size(); ++i) {
    used |= known[i]->used;
    for (std::size_t j = 0; j < i; ++j) apart &= !meet(*known[i], *known[j]);
  }
  if (apart) return SequenceNumbers::kApart;
  return used ? SequenceNumbers::kCollide : SequenceNumbers::kUnused;
}

Result<bool> wants_sequences_apart(const Query& query, const Table& table, bool has_default) {
  if (query.verb == QueryVerb::kUpdate) {
    if (!has_default) return false;
    return check_all(table,
                     [&](const std::string& column) { return !names(query.assignments, column); });
  }
  if (query.verb != QueryVerb::kInsert) return false;
  const bool rows = query.source && !query.source->values.empty();
  const std::size_t size = rows ? query.source->values.front().size() : 0;
  return check_all(table, [&](const std::string& column) {
    if (has_default) return false;
    if (!query.columns.empty()) return names(query.columns, column);
    // Without a column list a SELECT may have fewer columns than the table.
    const auto at = std::find_if(table.columns.begin(), table.columns.end(),
                                 [&](const Column& each) { return each.name == column; });
    return static_cast<std::size_t>(at - table.columns.begin()) < size;
  });
}

Result<bool> wants_sequences_apart(std::span<const std::string> columns, const Table& table) {
  return check_all(table, [&](const std::string& column) {
    return std::find(columns.begin(), columns.end(), column) != columns.end();
  });
}

}  // namespace pgshunt
