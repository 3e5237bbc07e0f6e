// An immutable, sorted set of (name, value) pairs, shared by pointer. Sessions and servers hold
// many equal ones (settings applied, parameters reported), so equal sets are one object: comparing
// two of them on the query path is comparing pointers, and a rollback is putting an old pointer
// back.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgshunt {

class NameValues;
using NameValuesPtr = std::shared_ptr<const NameValues>;

class NameValues {
 public:
  using Pair = std::pair<std::string, std::string>;

  // The one empty set. Never null.
  static const NameValuesPtr& empty();
  // The shared object equal to `pairs`. Any thread. Later pairs win over earlier ones of the same
  // name. Names are compared byte by byte.
  static NameValuesPtr of(std::vector<Pair> pairs);

  const std::vector<Pair>& pairs() const { return pairs_; }
  // The value of `name`, null if there is none. Valid as long as the set.
  const std::string* find(std::string_view name) const;

  explicit NameValues(std::vector<Pair> sorted) : pairs_(std::move(sorted)) {}

 private:
  std::vector<Pair> pairs_;
};

// The set with `name` at `value`, or without it. The very same pointer if nothing changes.
NameValuesPtr with(const NameValuesPtr& set, std::string_view name, std::string_view value);
NameValuesPtr without(const NameValuesPtr& set, std::string_view name);

}  // namespace pgshunt
