#include "router/key_array.h"

#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

constexpr std::uint32_t kMaxDimensions = 6;          // MAXDIM
constexpr std::uint64_t kMaxElements = 134'217'727;  // MaxArraySize

struct ArrayType {
  std::uint32_t array;
  std::uint32_t element;
};

// pg_type.typarray of the types in key_type.h.
constexpr ArrayType kArrayTypes[] = {
    {1005, type_oid::kInt2},      {1007, type_oid::kInt4},        {1016, type_oid::kInt8},
    {1009, type_oid::kText},      {1015, type_oid::kVarchar},     {2951, type_oid::kUuid},
    {1001, type_oid::kBytea},     {1231, type_oid::kNumeric},     {1182, type_oid::kDate},
    {1115, type_oid::kTimestamp}, {1185, type_oid::kTimestamptz},
};

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

}  // namespace

std::optional<std::uint32_t> array_element_oid(std::uint32_t array_oid) {
  for (const ArrayType& type : kArrayTypes) {
    if (type.array == array_oid) return type.element;
  }
  return std::nullopt;
}

KeyArrayReader::KeyArrayReader(const KeyInput& array, std::string& scratch)
    : form_(array.form), scratch_(scratch), binary_(array.bytes), text_(array.bytes) {
  if (array.type == 0) return;
  if (const auto element = array_element_oid(array.type)) {
    element_type_ = *element;
  } else {
    malformed_ = true;
  }
}

KeyArrayReader::Step KeyArrayReader::next(KeyInput& element) {
  if (malformed_) return Step::kMalformed;
  const Step step = form_ == KeyInput::Form::kBinary ? next_binary(element) : next_text(element);
  malformed_ = step == Step::kMalformed;
  return step;
}

// --- binary -----------------------------------------------------------------------------------

KeyArrayReader::Step KeyArrayReader::begin_binary() {
  begun_ = true;
  const std::uint32_t dimensions = binary_.be32();
  const std::uint32_t flags = binary_.be32();
  const std::uint32_t element_type = binary_.be32();
  if (!binary_.ok() || dimensions > kMaxDimensions || flags > 1) return Step::kMalformed;
  if (element_type_ != 0 && element_type_ != element_type) return Step::kMalformed;
  element_type_ = element_type;
  left_ = dimensions == 0 ? 0 : 1;
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    left_ *= binary_.be32();
    binary_.be32();  // lower bound
    if (!binary_.ok() || left_ > kMaxElements) return Step::kMalformed;
  }
  return Step::kEnd;
}

KeyArrayReader::Step KeyArrayReader::next_binary(KeyInput& element) {
  if (!begun_ && begin_binary() == Step::kMalformed) return Step::kMalformed;
  if (left_ == 0) return binary_.finished() ? Step::kEnd : Step::kMalformed;
  --left_;
  element = {};
  const std::uint32_t size = binary_.be32();
  if (size == 0xFFFFFFFF) return binary_.ok() ? Step::kElement : Step::kMalformed;
  element.form = KeyInput::Form::kBinary;
  element.type = element_type_;
  element.bytes = binary_.bytes(size);
  return binary_.ok() ? Step::kElement : Step::kMalformed;
}

// --- text -------------------------------------------------------------------------------------

void KeyArrayReader::skip_space() {
  while (!text_.empty() && is_space(text_.front())) text_.remove_prefix(1);
}

// "[1:2][0:5]=" before the first brace. What the bounds are does not matter here.
bool KeyArrayReader::skip_bounds() {
  skip_space();
  if (text_.empty() || text_.front() != '[') return true;
  const std::size_t end = text_.find('=');
  if (end == std::string_view::npos ||
      text_.substr(0, end).find_first_not_of("[]:+-0123456789 ") != std::string_view::npos) {
    return false;
  }
  text_.remove_prefix(end + 1);
  skip_space();
  return true;
}

KeyArrayReader::Step KeyArrayReader::next_text(KeyInput& element) {
  if (!begun_) {
    begun_ = true;
    if (!skip_bounds() || text_.empty() || text_.front() != '{') return Step::kMalformed;
  }
  while (true) {
    skip_space();
    if (text_.empty()) return Step::kMalformed;
    const char c = text_.front();
    switch (c) {
      case '{':
        if (after_element_ || depth_ == kMaxDimensions) return Step::kMalformed;
        ++depth_;
        text_.remove_prefix(1);
        break;
      case '}':
        text_.remove_prefix(1);
        after_element_ = true;
        if (--depth_ > 0) break;
        skip_space();
        // The end is met again if it is asked for again.
        if (!text_.empty()) return Step::kMalformed;
        depth_ = 1;
        text_ = "}";
        return Step::kEnd;
      case ',':
        if (!after_element_) return Step::kMalformed;
        after_element_ = false;
        text_.remove_prefix(1);
        break;
      default:
        if (after_element_ || depth_ == 0) return Step::kMalformed;
        after_element_ = true;
        return text_element(element);
    }
  }
}

KeyArrayReader::Step KeyArrayReader::text_element(KeyInput& element) {
  element = {};
  element.form = form_;
  element.type = element_type_;
  const bool quoted = text_.front() == '"';
  if (!quoted) {
    const std::size_t end = text_.find_first_of(",{}\"\\");
    if (end == std::string_view::npos) return Step::kMalformed;
    if (text_[end] == ',' || text_[end] == '}') {
      std::string_view bare = text_.substr(0, end);
      text_.remove_prefix(end);
      while (is_space(bare.back())) bare.remove_suffix(1);
      if (word_is(bare, "null")) {
        element = {};
      } else {
        element.bytes = bare;
      }
      return Step::kElement;
    }
    // Escapes outside of quotes are rare, and braces or quotes in the middle an error.
    return Step::kMalformed;
  }
  text_.remove_prefix(1);
  const std::size_t plain = text_.find_first_of("\"\\");
  if (plain != std::string_view::npos && text_[plain] == '"') {
    element.bytes = text_.substr(0, plain);
    text_.remove_prefix(plain + 1);
  } else {
    scratch_.clear();
    std::size_t at = 0;
    while (at < text_.size() && text_[at] != '"') {
      if (text_[at] == '\\') ++at;
      if (at < text_.size()) scratch_.push_back(text_[at++]);
    }
    if (at >= text_.size()) return Step::kMalformed;
    element.bytes = scratch_;
    text_.remove_prefix(at + 1);
  }
  skip_space();
  const bool ends = !text_.empty() && (text_.front() == ',' || text_.front() == '}');
  return ends ? Step::kElement : Step::kMalformed;
}

}  // namespace pgshunt
