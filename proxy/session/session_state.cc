#include "proxy/session/session_state.h"

#include <array>

namespace pgshunt {

const NameValuesPtr& SessionState::parse_settings() const {
  if (settings_seen_ != settings.current()) {
    settings_seen_ = settings.current();
    parse_settings_ = settings_for_parsing(settings_seen_);
  }
  return parse_settings_;
}

std::string describe_pins(std::uint32_t pins) {
  struct Name {
    std::uint32_t bit;
    std::string_view text;
  };
  static constexpr std::array kNames = {
      Name{kEffectTempObject, "temporary object"}, Name{kEffectAdvisoryLock, "advisory lock"},
      Name{kEffectHoldCursor, "cursor WITH HOLD"}, Name{kEffectLibrary, "LOAD"},
      Name{kEffectRandomSeed, "random seed"},      Name{kEffectForeignSession, "foreign session"},
      Name{kEffectSetConfig, "set_config"},        Name{kEffectSequenceWrite, "sequence values"},
      Name{kEffectPrepared, "prepared statement"},
  };
  std::string out;
  for (const Name& name : kNames) {
    if (!(pins & name.bit)) continue;
    if (!out.empty()) out.append(", ");
    out.append(name.text);
  }
  return out;
}

}  // namespace pgshunt
