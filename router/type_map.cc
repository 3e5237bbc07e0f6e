#include "router/type_map.h"

#include <algorithm>

#include "protocol/backend.h"
#include "router/shard_catalog.h"

namespace pgshunt {
namespace {

// pg_type.dat. Everything the application has made is above.
constexpr std::uint32_t kRecord = 2249;
constexpr std::uint32_t kRecordArray = 2287;
constexpr std::uint32_t kFirstNormalOid = 16384;
// Types nest through columns and domains, never this deep; values are a peer's.
constexpr int kDeepest = 32;

using Pairs = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

std::uint32_t look_up(const Pairs& pairs, std::uint32_t oid) {
  if (oid < kFirstNormalOid) return oid;
  const auto at = std::lower_bound(pairs.begin(), pairs.end(), std::pair{oid, std::uint32_t{0}});
  return at == pairs.end() || at->first != oid ? oid : at->second;
}

// A cursor over bytes that may be too few.
class Cursor {
 public:
  Cursor(char* data, std::size_t size) : at_(data), left_(size) {}
  // Null once there is not enough.
  char* take(std::size_t size) {
    if (left_ < size) return left_ = 0, nullptr;
    left_ -= size;
    return std::exchange(at_, at_ + size);
  }

 private:
  char* at_;
  std::size_t left_;
};

// A value's length, then itself; false at the end. `value` is null for NULL.
bool next_value(Cursor& cursor, char*& value, std::size_t& size) {
  const char* length = cursor.take(4);
  if (length == nullptr) return false;
  const auto signed_size = static_cast<std::int32_t>(load_be32(length));
  value = nullptr;
  size = 0;
  if (signed_size < 0) return true;
  size = static_cast<std::size_t>(signed_size);
  value = cursor.take(size);
  return value != nullptr;
}

}  // namespace

std::shared_ptr<const TypeMap> TypeMap::between(const ShardCatalog& shard,
                                                const ShardCatalog& home) {
  auto map = std::make_shared<TypeMap>();
  const auto name_of = [](const CatalogType& type) { return std::tie(type.schema, type.name); };
  for (const CatalogType& there : shard.types) {
    if (there.array) {
      map->shapes_.push_back({there.oid, Shape::Kind::kArray, there.element});
    } else if (there.kind == 'c') {
      map->shapes_.push_back({there.oid, Shape::Kind::kComposite, 0});
    } else if (there.kind == 'd') {
      map->shapes_.push_back({there.oid, Shape::Kind::kLike, there.element});
    } else if (there.kind == 'r') {
      map->shapes_.push_back({there.oid, Shape::Kind::kRange, there.element});
    }
    const auto here = std::lower_bound(
        home.types.begin(), home.types.end(), there,
        [&](const CatalogType& a, const CatalogType& b) { return name_of(a) < name_of(b); });
    if (here == home.types.end() || name_of(*here) != name_of(there)) continue;
    if (here->oid == there.oid) continue;
    map->to_home_.emplace_back(there.oid, here->oid);
    map->to_shard_.emplace_back(here->oid, there.oid);
  }
  if (map->to_home_.empty()) return nullptr;
  std::sort(map->to_home_.begin(), map->to_home_.end());
  std::sort(map->to_shard_.begin(), map->to_shard_.end());
  std::sort(map->shapes_.begin(), map->shapes_.end(),
            [](const Shape& a, const Shape& b) { return a.oid < b.oid; });
  return map;
}

std::uint32_t TypeMap::to_home(std::uint32_t shard_oid) const {
  return look_up(to_home_, shard_oid);
}

std::uint32_t TypeMap::to_shard(std::uint32_t home_oid) const {
  return look_up(to_shard_, home_oid);
}

const TypeMap::Shape* TypeMap::shape_of(std::uint32_t shard_oid) const {
  static constexpr Shape kRecordShape{kRecord, Shape::Kind::kComposite, 0};
  static constexpr Shape kRecordArrayShape{kRecordArray, Shape::Kind::kArray, kRecord};
  if (shard_oid == kRecord) return &kRecordShape;
  if (shard_oid == kRecordArray) return &kRecordArrayShape;
  if (shard_oid < kFirstNormalOid) return nullptr;
  const auto at =
      std::lower_bound(shapes_.begin(), shapes_.end(), shard_oid,
                       [](const Shape& shape, std::uint32_t oid) { return shape.oid < oid; });
  return at == shapes_.end() || at->oid != shard_oid ? nullptr : &*at;
}

bool TypeMap::carries_oids(std::uint32_t shard_oid) const {
  const Shape* shape = shape_of(shard_oid);
  for (int depth = 0; shape != nullptr && depth < kDeepest; ++depth) {
    if (shape->kind == Shape::Kind::kArray || shape->kind == Shape::Kind::kComposite) return true;
    shape = shape_of(shape->inner);
  }
  return false;
}

void TypeMap::translate_value(std::uint32_t shard_oid, char* data, std::size_t size) const {
  translate(shard_oid, data, size, 0);
}

// array_send, record_send, range_send (PostgreSQL 15, src/backend/utils/adt).
void TypeMap::translate(std::uint32_t shard_oid, char* data, std::size_t size, int depth) const {
  const Shape* shape = shape_of(shard_oid);
  if (shape == nullptr || depth > kDeepest) return;
  Cursor cursor(data, size);
  char* value = nullptr;
  std::size_t value_size = 0;
  switch (shape->kind) {
    case Shape::Kind::kLike:
      return translate(shape->inner, data, size, depth + 1);
    case Shape::Kind::kRange: {
      if (cursor.take(1) == nullptr) return;
      while (next_value(cursor, value, value_size)) {
        if (value != nullptr) translate(shape->inner, value, value_size, depth + 1);
      }
      return;
    }
    case Shape::Kind::kArray: {
      // Dimensions, flags, element type; then length and lower bound of each dimension.
      char* header = cursor.take(12);
      if (header == nullptr) return;
      const std::uint32_t dimensions = load_be32(header);
      const std::uint32_t element = load_be32(header + 8);
      store_be32(header + 8, to_home(element));
      if (dimensions > 6 || cursor.take(std::size_t{dimensions} * 8) == nullptr) return;
      if (!carries_oids(element)) return;
      while (next_value(cursor, value, value_size)) {
        if (value != nullptr) translate(element, value, value_size, depth + 1);
      }
      return;
    }
    case Shape::Kind::kComposite: {
      if (cursor.take(4) == nullptr) return;
      while (char* oid = cursor.take(4)) {
        const std::uint32_t field = load_be32(oid);
        store_be32(oid, to_home(field));
        if (!next_value(cursor, value, value_size)) return;
        if (value != nullptr) translate(field, value, value_size, depth + 1);
      }
      return;
    }
  }
}

void TypeMap::translate_row_description(char* body, std::size_t size) const {
  const auto fields = decode_row_description({body, size});
  if (!fields) return;
  for (auto field = fields->begin(); field != fields->end(); ++field) {
    const FieldDescription& description = *field;
    const std::uint32_t oid = to_home(description.type_oid);
    if (oid == description.type_oid) continue;
    // Name and its zero, table OID, attribute number; then the type's.
    const std::ptrdiff_t at = field.position() - body;
    store_be32(body + at + static_cast<std::ptrdiff_t>(description.name.size()) + 1 + 4 + 2, oid);
  }
}

void TypeMap::translate_parameter_description(char* body, std::size_t size) const {
  const auto types = decode_parameter_description({body, size});
  if (!types) return;
  for (std::size_t i = 0; i < types->size(); ++i) {
    store_be32(body + 2 + i * 4, to_home(types->of(i)));
  }
}

bool TypeMap::row_carries_oids(std::string_view description) const {
  const auto fields = decode_row_description(description);
  if (!fields) return false;
  return std::any_of(fields->begin(), fields->end(), [this](const FieldDescription& field) {
    return field.format == kFormatBinary && carries_oids(field.type_oid);
  });
}

void TypeMap::translate_row(std::string_view description, char* body, std::size_t size) const {
  const auto fields = decode_row_description(description);
  if (!fields) return;
  Cursor cursor(body, size);
  if (cursor.take(2) == nullptr) return;
  for (const FieldDescription& field : *fields) {
    char* value = nullptr;
    std::size_t value_size = 0;
    if (!next_value(cursor, value, value_size)) return;
    if (value != nullptr && field.format == kFormatBinary) {
      translate_value(field.type_oid, value, value_size);
    }
  }
}

}  // namespace pgshunt
