#include "proxy/session/name_values.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>

namespace pgshunt {
namespace {

std::string key_of(const std::vector<NameValues::Pair>& pairs) {
  std::string key;
  for (const auto& [name, value] : pairs) {
    key.append(name).push_back('\0');
    key.append(value).push_back('\0');
  }
  return key;
}

// Every live set by content. Touched when a setting changes, never while queries just flow.
class Interned {
 public:
  NameValuesPtr of(std::vector<NameValues::Pair> sorted) {
    std::string key = key_of(sorted);
    const std::lock_guard lock(mutex_);
    if (auto found = sets_.find(key); found != sets_.end()) {
      if (NameValuesPtr live = found->second.lock()) return live;
    }
    NameValuesPtr fresh = std::make_shared<const NameValues>(std::move(sorted));
    sets_[std::move(key)] = fresh;
    if (sets_.size() > sweep_at_) sweep();
    return fresh;
  }

 private:
  void sweep() {
    std::erase_if(sets_, [](const auto& entry) { return entry.second.expired(); });
    sweep_at_ = std::max<std::size_t>(kFirstSweep, sets_.size() * 2);
  }

  static constexpr std::size_t kFirstSweep = 256;
  std::mutex mutex_;
  std::unordered_map<std::string, std::weak_ptr<const NameValues>> sets_;
  std::size_t sweep_at_ = kFirstSweep;
};

Interned& interned() {
  static Interned table;
  return table;
}

auto position_of(const std::vector<NameValues::Pair>& pairs, std::string_view name) {
  return std::lower_bound(
      pairs.begin(), pairs.end(), name,
      [](const NameValues::Pair& p, std::string_view n) { return p.first < n; });
}

}  // namespace

const NameValuesPtr& NameValues::empty() {
  static const NameValuesPtr none = std::make_shared<const NameValues>(std::vector<Pair>{});
  return none;
}

NameValuesPtr NameValues::of(std::vector<Pair> pairs) {
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const Pair& a, const Pair& b) { return a.first < b.first; });
  std::vector<Pair> sorted;
  sorted.reserve(pairs.size());
  for (Pair& pair : pairs) {
    if (!sorted.empty() && sorted.back().first == pair.first) {
      sorted.back().second = std::move(pair.second);
    } else {
      sorted.push_back(std::move(pair));
    }
  }
  if (sorted.empty()) return empty();
  return interned().of(std::move(sorted));
}

const std::string* NameValues::find(std::string_view name) const {
  const auto at = position_of(pairs_, name);
  return at != pairs_.end() && at->first == name ? &at->second : nullptr;
}

NameValuesPtr with(const NameValuesPtr& set, std::string_view name, std::string_view value) {
  if (const std::string* now = set->find(name); now && *now == value) return set;
  std::vector<NameValues::Pair> pairs = set->pairs();
  pairs.emplace_back(name, value);
  return NameValues::of(std::move(pairs));
}

NameValuesPtr without(const NameValuesPtr& set, std::string_view name) {
  const auto at = position_of(set->pairs(), name);
  if (at == set->pairs().end() || at->first != name) return set;
  std::vector<NameValues::Pair> pairs = set->pairs();
  pairs.erase(pairs.begin() + (at - set->pairs().begin()));
  return NameValues::of(std::move(pairs));
}

}  // namespace pgshunt
