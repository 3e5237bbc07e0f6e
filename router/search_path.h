// A session's search_path where it is not the topology's: parsed once, then shared by every
// statement. With schemas that are tenants' it decides where an unqualified table is.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "router/pg_hash.h"

namespace pgshunt {

class SearchPath {
 public:
  explicit SearchPath(std::vector<std::string> schemas) : schemas_(std::move(schemas)) {
    for (const std::string& schema : schemas_) text_.append(schema).push_back('\0');
    hash_ = hash_bytes(text_);
  }

  const std::vector<std::string>& schemas() const { return schemas_; }
  // What caches of plans compare. Not empty.
  const std::string& text() const { return text_; }
  std::uint64_t hash() const { return hash_; }

 private:
  std::vector<std::string> schemas_;
  std::string text_;
  std::uint64_t hash_ = 0;
};

}  // namespace pgshunt
