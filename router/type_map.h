// OIDs of the application's own types, which every shard has given itself: from a shard's to the
// first shard's, which are those that clients see, and back.
//
// Immutable; shared by all workers through the Topology. Absent where all OIDs are equal.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgshunt {

struct ShardCatalog;

class TypeMap {
 public:
  // Null if there is nothing to translate.
  static std::shared_ptr<const TypeMap> between(const ShardCatalog& shard,
                                                const ShardCatalog& home);

  // The OID itself if it is the same on both, or not known on one.
  std::uint32_t to_home(std::uint32_t shard_oid) const;
  std::uint32_t to_shard(std::uint32_t home_oid) const;

  // Do binary values of the type (by the shard's OID) have OIDs inside? Arrays and composites do.
  bool carries_oids(std::uint32_t shard_oid) const;

  // In place, since an OID is as long as another. Values that are not as expected stay as they are.
  void translate_value(std::uint32_t shard_oid, char* data, std::size_t size) const;
  // Message bodies from the shard.
  void translate_row_description(char* body, std::size_t size) const;
  void translate_parameter_description(char* body, std::size_t size) const;
  // `description`: a RowDescription's body as the shard sent it, with the formats of this result.
  void translate_row(std::string_view description, char* body, std::size_t size) const;
  // Has the result binary columns that carry OIDs?
  bool row_carries_oids(std::string_view description) const;

 private:
  struct Shape {
    enum class Kind : std::uint8_t { kArray, kComposite, kLike, kRange };
    std::uint32_t oid = 0;
    Kind kind = Kind::kArray;
    std::uint32_t inner = 0;  // kLike (a domain): its base; kRange: its subtype
  };
  const Shape* shape_of(std::uint32_t shard_oid) const;
  void translate(std::uint32_t shard_oid, char* data, std::size_t size, int depth) const;

  // Pairs (from, to), sorted; only those that differ.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> to_home_;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> to_shard_;
  std::vector<Shape> shapes_;  // by oid
};

}  // namespace pgshunt
