// Asks every worker the same question, each on its own thread, and brings the answers back to the
// one that asked. Nobody waits: the answers come as a call of their own.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "proxy/proxy.h"
#include "proxy/worker.h"

namespace pgshunt {

// `ask` runs on each worker's thread; `done` on the asking worker's, with one answer for each
// worker, in their order. What `done` refers to may be gone by then: let it hold a weak_ptr.
template <class Answer>
void ask_workers(Worker& asking, std::function<Answer(Worker&)> ask,
                 std::function<void(std::vector<Answer>)> done) {
  struct Poll {
    std::vector<Answer> answers;
    std::atomic<std::size_t> missing;
    std::function<Answer(Worker&)> ask;
    std::function<void(std::vector<Answer>)> done;
  };
  const std::size_t count = asking.proxy().workers().size();
  auto poll = std::make_shared<Poll>();
  poll->answers.resize(count);
  poll->missing = count;
  poll->ask = std::move(ask);
  poll->done = std::move(done);
  for (std::uint16_t i = 0; i < count; ++i) {
    asking.post_to(i, [poll, home = asking.index()](Worker& there) {
      poll->answers[there.index()] = poll->ask(there);
      // Whoever finds itself last sees what all the others wrote.
      if (poll->missing.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
      there.post_to(home, [poll](Worker&) { poll->done(std::move(poll->answers)); });
    });
  }
}

}  // namespace pgshunt
