#include "proxy/unique_ids/id_stock.h"

#include <chrono>
#include <utility>

namespace pgshunt {
namespace {

constexpr std::size_t kLotSize = 1024;
// What is lost with a proxy is missed more in a sequence, which may be one of 32 bits.
constexpr std::size_t kNumbersInLot = 32;
// Ids come roughly in the order of their making: what has lain longer is thrown away.
constexpr auto kFresh = std::chrono::seconds(60);
// So long a failure is the answer of all who ask; only then the source is asked again.
constexpr auto kRememberFailure = std::chrono::seconds(1);

std::size_t lot_size(const IdSupply& from) {
  return from.sequence.empty() ? kLotSize : kNumbersInLot;
}

}  // namespace

std::size_t IdStock::Supply::size() const {
  std::size_t size = 0;
  for (const Lot& lot : lots) size += lot.ids.size() - lot.used;
  return size;
}

Result<bool> IdStock::draw(const IdSupply& from, std::size_t count, TimePoint now, Ids& out,
                           std::function<void()> wake) {
  Supply& supply = supplies_[from];
  std::deque<Supply::Lot>& lots = supply.lots;
  const bool ages = from.sequence.empty();
  while (ages && !lots.empty() && now - lots.front().since > kFresh) lots.pop_front();
  if (supply.failure && now - supply.failed_at > kRememberFailure) supply.failure.reset();
  const std::size_t there = supply.size();
  if (there < count) {
    if (supply.failure) return *supply.failure;
    supply.waiting.push_back(std::move(wake));
    order(from, supply, count - there);
    return false;
  }
  while (count > 0) {
    Supply::Lot& lot = lots.front();
    if (lot.used == lot.ids.size()) {
      lots.pop_front();
      continue;
    }
    out.push_back(lot.ids[lot.used++]);
    --count;
  }
  if (supply.size() < lot_size(from) / 2 && !supply.failure) order(from, supply, 0);
  return true;
}

void IdStock::expect(const IdSupply& from, std::size_t count) {
  Supply& supply = supplies_[from];
  const std::size_t there = supply.size();
  if (there < count && !supply.failure) order(from, supply, count - there);
}

void IdStock::order(const IdSupply& from, Supply& supply, std::size_t missing) {
  if (std::exchange(supply.ordered, true)) return;
  order_(from, missing + lot_size(from));
}

void IdStock::arrived(const IdSupply& from, Result<Ids> ids, TimePoint now) {
  Supply& supply = supplies_[from];
  supply.ordered = false;
  if (ids) {
    supply.lots.push_back({std::move(*ids), 0, now});
    supply.failure.reset();
  } else {
    supply.failure = ids.error();
    supply.failed_at = now;
  }
  for (const auto& wake : std::exchange(supply.waiting, {})) wake();
}

}  // namespace pgshunt
