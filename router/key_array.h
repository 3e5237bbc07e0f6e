// The values of an array that a key is compared with: `key = ANY ($1)`, in text or binary form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/byte_reader.h"
#include "router/key_value.h"

namespace pgshunt {

// The element type of an array type that keys are compared with; nothing for any other type.
std::optional<std::uint32_t> array_element_oid(std::uint32_t array_oid);

// Reads one array, element by element, of however many dimensions (array_in and array_recv in
// PostgreSQL's arrayfuncs.c). Each element is a KeyInput as a value of its own would be.
class KeyArrayReader {
 public:
  enum class Step : std::uint8_t {
    kElement,
    kEnd,
    kMalformed,  // not an array the server would take, as far as can be told here
  };

  // `array`: form kText or kBinary with the array's type (0 if left open), or kString. It must stay
  // where it is; `scratch` holds an element's text where quotes or escapes had to be resolved,
  // until the next call.
  KeyArrayReader(const KeyInput& array, std::string& scratch);

  Step next(KeyInput& element);

 private:
  Step next_binary(KeyInput& element);
  Step next_text(KeyInput& element);
  Step text_element(KeyInput& element);
  Step begin_binary();
  void skip_space();
  bool skip_bounds();

  KeyInput::Form form_;
  std::uint32_t element_type_ = 0;
  std::string& scratch_;
  ByteReader binary_;
  std::string_view text_;
  std::uint64_t left_ = 0;  // binary: elements to come
  std::size_t depth_ = 0;   // text: open braces
  bool begun_ = false;
  bool after_element_ = false;  // text: a comma or a closing brace comes
  bool malformed_ = false;
};

}  // namespace pgshunt
