// The ids, and numbers of sequences, that one worker has in stock. On the worker's thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "protocol/result.h"
#include "proxy/net/event_loop.h"

namespace pgshunt {

// Where ids come from.
struct IdSupply {
  std::string database;
  std::string sequence;  // empty: pgshunt.unique_id()
  friend bool operator==(const IdSupply&, const IdSupply&) = default;
  friend bool operator<(const IdSupply& a, const IdSupply& b) {
    return std::tie(a.database, a.sequence) < std::tie(b.database, b.sequence);
  }
};

class IdStock {
 public:
  using Ids = std::vector<std::int64_t>;
  // Asks the source for so many; the answer goes to arrived().
  using Order = std::function<void(const IdSupply& supply, std::size_t count)>;

  explicit IdStock(Order order) : order_(std::move(order)) {}

  // Appends `count` ids to `out`. False: there are not so many yet; `wake` is called when it is
  // worth to ask again. An error is that of the last order.
  Result<bool> draw(const IdSupply& from, std::size_t count, TimePoint now, Ids& out,
                    std::function<void()> wake);
  // So many more will be drawn soon.
  void expect(const IdSupply& from, std::size_t count);
  void arrived(const IdSupply& from, Result<Ids> ids, TimePoint now);

 private:
  struct Supply {
    struct Lot {
      Ids ids;  // ascending
      std::size_t used = 0;
      TimePoint since;
    };
    std::deque<Lot> lots;
    bool ordered = false;
    std::optional<Error> failure;  // of the last order
    TimePoint failed_at{};
    std::vector<std::function<void()>> waiting;

    std::size_t size() const;
  };

  void order(const IdSupply& from, Supply& supply, std::size_t missing);

  Order order_;
  std::map<IdSupply, Supply> supplies_;
};

}  // namespace pgshunt
