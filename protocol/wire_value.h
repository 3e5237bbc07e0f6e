// Views over the two repeated structures that messages share: lists of length-prefixed values
// (Bind, FunctionCall, DataRow) and lists of format codes (Bind, FunctionCall, Copy*Response).
//
// Both are built by decoders that have checked every length, so walking them cannot fail. They
// point into the message body and live as long as it does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "protocol/byte_reader.h"
#include "protocol/frame.h"

namespace pgshunt {

inline constexpr std::uint16_t kFormatText = 0;
inline constexpr std::uint16_t kFormatBinary = 1;

// One value as it travels: NULL or bytes (empty bytes are not NULL).
struct WireValue {
  bool is_null = true;
  std::string_view bytes;
};

class ValueList {
 public:
  class Iterator {
   public:
    using value_type = WireValue;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;

    Iterator() = default;
    explicit Iterator(const char* at) : at_(at) {}
    WireValue operator*() const {
      const std::uint32_t length = load_be32(at_);
      if (length == kNullLength) return {};
      return {false, {at_ + 4, length}};
    }
    Iterator& operator++() {
      const std::uint32_t length = load_be32(at_);
      at_ += 4 + (length == kNullLength ? 0 : length);
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator&) const = default;
    // Where this value's length word begins.
    const char* position() const { return at_; }

   private:
    const char* at_ = nullptr;
  };

  ValueList() = default;

  // Reads `count` values; on a bad length `in` is failed and the list is empty.
  static ValueList read(ByteReader& in, std::uint16_t count) {
    const char* const begin = in.rest().data();
    for (std::uint16_t i = 0; i < count && in.ok(); ++i) {
      const std::uint32_t length = in.be32();
      if (length != kNullLength) in.bytes(length);
    }
    ValueList list;
    if (!in.ok()) return list;
    list.raw_ = {begin, static_cast<std::size_t>(in.rest().data() - begin)};
    list.count_ = count;
    return list;
  }

  std::size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  Iterator begin() const { return Iterator(raw_.data()); }
  Iterator end() const { return Iterator(raw_.data() + raw_.size()); }
  // The `index`th value, found by walking. NULL when there are not so many.
  WireValue at(std::size_t index) const {
    if (index >= count_) return {};
    Iterator it = begin();
    for (; index != 0; --index) ++it;
    return *it;
  }
  // All length words and values, as sent.
  std::string_view raw() const { return raw_; }

 private:
  static constexpr std::uint32_t kNullLength = 0xffffffffu;
  std::string_view raw_{"", 0};
  std::uint16_t count_ = 0;
};

// Format codes with the protocol's shorthand: none means text for all, one stands for all.
// Codes other than 0 and 1 are passed on as they are; the server refuses them.
class FormatList {
 public:
  FormatList() = default;
  static FormatList read(ByteReader& in, std::uint16_t count) {
    FormatList list;
    list.raw_ = in.bytes(std::size_t{count} * 2);
    return list;
  }

  std::size_t size() const { return raw_.size() / 2; }
  // The format of the `index`th item.
  std::uint16_t of(std::size_t index) const {
    if (raw_.empty()) return kFormatText;
    if (raw_.size() == 2) return load_be16(raw_.data());
    return index < size() ? load_be16(raw_.data() + index * 2) : kFormatText;
  }
  std::string_view raw() const { return raw_; }

 private:
  std::string_view raw_;
};

// A list of type OIDs (Parse, ParameterDescription).
class OidList {
 public:
  OidList() = default;
  static OidList read(ByteReader& in, std::uint16_t count) {
    OidList list;
    list.raw_ = in.bytes(std::size_t{count} * 4);
    return list;
  }

  std::size_t size() const { return raw_.size() / 4; }
  // 0 (unspecified) past the end, as PostgreSQL treats parameters that Parse left out.
  std::uint32_t of(std::size_t index) const {
    return index < size() ? load_be32(raw_.data() + index * 4) : 0;
  }
  // Big-endian, as sent: equal bytes are equal lists.
  std::string_view raw() const { return raw_; }

 private:
  std::string_view raw_;
};

}  // namespace pgshunt
