// ResponseTracker twice: told any replies in any order, it keeps its own books straight; told what
// a server would say, in a conversation the input makes up, it must be right.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "protocol/extended_state.h"
#include "tests/protocol/server_model.h"

namespace {

using namespace pgshunt;

void any_replies(const std::uint8_t* data, std::size_t size) {
  static constexpr char kTypes[] = "123CDEGHINSTVWZcdntsAKR";
  ResponseTracker tracker;
  for (std::size_t i = 0; i < size; ++i) {
    if (data[i] < 128) {
      const auto kind = static_cast<RequestKind>(
          1 + data[i] % static_cast<std::uint8_t>(RequestKind::kLocalSync));
      tracker.push(kind, ReplyUse::kForward, static_cast<std::uint32_t>(i));
    } else {
      const std::size_t before = tracker.size();
      const Reply reply = tracker.on_message(kTypes[data[i] % (sizeof kTypes - 1)]);
      if (tracker.size() > before) std::abort();
      if (reply.outcome == ReplyOutcome::kViolation) return;  // the owner closes
      for (std::size_t d = 0; d < tracker.discarded_count(); ++d) {
        if (tracker.discarded(d).kind == RequestKind::kSync) std::abort();
      }
    }
    while (tracker.pop_due_local()) {
    }
    if (tracker.clean() && !tracker.empty()) std::abort();
  }
}

void a_conversation(const std::uint8_t* data, std::size_t size) {
  std::size_t at = 0;
  const auto choose = [&](std::uint32_t below) -> std::uint32_t {
    return at < size ? data[at++] % below : 0;
  };
  const std::string failure = test::run_tracker_model(choose, 4);
  if (!failure.empty()) {
    std::fprintf(stderr, "%s\n", failure.c_str());
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  if (data[0] % 2 == 0) {
    any_replies(data + 1, size - 1);
  } else {
    a_conversation(data + 1, size - 1);
  }
  return 0;
}
